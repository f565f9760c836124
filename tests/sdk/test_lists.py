"""Lists of jobs, by the official Python SDK: pages, labels, cursors."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest
from comfy_sdk import ComfyError
from support.sdk import SdkServer, is_error, low, one_node, picture, word

pytestmark = pytest.mark.slow

JOBS = 12


def submit_labelled(server: SdkServer, count: int) -> tuple[str, list[str]]:
    """A label, and the ids of the jobs that have it, newest first; all have ended."""
    label = word()
    jobs = [server.submit(picture(size=4), metadata={"client": label, "n": str(n % 2)}) for n in range(count)]
    jobs[-1].result()
    return label, [job.id for job in reversed(jobs)]


@pytest.fixture(scope="module")
def labelled(shared_server: SdkServer) -> tuple[str, list[str]]:
    """Jobs that the tests of this module share."""
    return submit_labelled(shared_server, JOBS)


@pytest.mark.parametrize("limit", [None, 1, 5, 12, 100])
def test_pages_give_every_job_once_newest_first(
    server: SdkServer, labelled: tuple[str, list[str]], limit: int | None
) -> None:
    label, ids = labelled
    found = list(server.client.list_jobs(metadata={"client": label}, limit=limit))
    assert [summary.id for summary in found] == ids
    assert {summary.status for summary in found} == {"succeeded"}
    now = datetime.now(timezone.utc)
    for summary in found:
        assert summary.metadata["client"] == label
        assert summary.create_time is not None and summary.update_time is not None
        assert summary.create_time <= summary.update_time <= now + timedelta(seconds=5)


def test_the_page_is_as_long_as_asked_for(server: SdkServer, labelled: tuple[str, list[str]]) -> None:
    label, ids = labelled
    page = low(server.client).list_jobs(metadata={"client": label}, limit=5)
    assert [job["id"] for job in page["jobs"]] == ids[:5] and page["next_cursor"]
    last = low(server.client).list_jobs(metadata={"client": label}, limit=12)
    assert len(last["jobs"]) == 12 and not last.get("next_cursor")


def test_every_label_must_match(server: SdkServer, labelled: tuple[str, list[str]]) -> None:
    label, ids = labelled
    of_one = [summary.id for summary in server.client.list_jobs(metadata={"client": label, "n": "1"}, limit=4)]
    assert of_one == ids[::2]
    assert list(server.client.list_jobs(metadata={"client": label, "n": "2"})) == []
    assert list(server.client.list_jobs(metadata={"client": label.upper()})) == []


def test_odd_labels_are_found(server: SdkServer) -> None:
    label = {"key with ]": word() + " & = %20 日本"}
    job = server.submit(picture(size=4))
    job.result()
    try:
        job = server.submit(picture(size=4), metadata=label)
    except ComfyError as error:  # the server owns the rules of keys
        assert error.code == "metadata_invalid"
        return
    assert [summary.id for summary in server.client.list_jobs(metadata=label)] == [job.id]


def test_jobs_of_the_page_are_listed_without_labels(server: SdkServer) -> None:
    job_id = server.http.post("/prompt", {"prompt": picture(size=4)}).json["prompt_id"]
    server.client.jobs.get(job_id).result()
    found = next(summary for summary in server.client.list_jobs(limit=5) if summary.id == job_id)
    assert (found.status, found.metadata) == ("succeeded", {})


def test_waiting_and_failed_jobs_are_listed(server: SdkServer) -> None:
    label = word()
    failed = server.submit(one_node("SdkFail", message=word()), metadata={"client": label}).wait(60)
    with server.held():
        waiting = server.submit(picture(), metadata={"client": label})
        found = {summary.id: summary.status for summary in server.client.list_jobs(metadata={"client": label})}
    assert found == {failed.id: "failed", waiting.id: "queued"}


def test_new_jobs_move_no_page(server: SdkServer) -> None:
    label, ids = submit_labelled(server, 5)
    pages = server.client.list_jobs(metadata={"client": label}, limit=2)
    first = [next(pages).id for _ in range(2)]
    server.submit(picture(size=4), metadata={"client": label}).result()
    assert first + [summary.id for summary in pages] == ids


@pytest.mark.parametrize("cursor", ["x", "AAAA", "0", quote("{}"), "x" * 5000])
def test_a_cursor_of_nobody_is_refused(server: SdkServer, cursor: str) -> None:
    is_error(server.http.get(f"/api/v2/jobs?cursor={cursor}"), 422, "invalid_cursor")


@pytest.mark.parametrize("query", ["metadata[]=1", "metadata=1", "metadata[a]=" + "x" * 5000])
def test_a_bad_filter_is_refused(server: SdkServer, query: str) -> None:
    answer = server.http.get(f"/api/v2/jobs?{query.replace('[', '%5B').replace(']', '%5D')}")
    assert answer.status in (400, 422)
    is_error(answer, answer.status, "invalid_metadata_filter")


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "100000"])
def test_a_bad_limit_is_refused_or_bounded(server: SdkServer, limit: str) -> None:
    answer = server.http.get(f"/api/v2/jobs?limit={limit}")
    if answer.status == 200:
        assert limit == "100000" and len(answer.json["jobs"]) <= 1000
    else:
        is_error(answer, answer.status)
        assert answer.status in (400, 422)
