"""Cancellation by the official Python SDK, and by the buttons of ComfyUI's page."""

from __future__ import annotations

import pytest
from comfy_sdk import JobFailed
from support.sdk import WAIT_S, SdkServer, check_job, events_of, picture, statuses, wait_for, word, work

pytestmark = pytest.mark.slow


def test_a_queued_job_is_canceled_at_once(server: SdkServer) -> None:
    with server.held():
        job = server.submit(picture())
        assert job.cancel().status == "canceled"
        assert job.refresh().status == "canceled" and job.outputs == []
        assert statuses(events_of(job)) == ["canceled"]


def test_a_running_job_is_canceled_soon(server: SdkServer) -> None:
    job = server.submit(work(word()))
    wait_for(job, "running")
    assert job.cancel().status in ("canceling", "canceled")
    assert job.wait(WAIT_S).status == "canceled"
    model = check_job(server.raw_job(job.id))
    assert model.completed_at is not None and model.queue_position is None
    with pytest.raises(JobFailed, match="canceled"):
        job.result()


def test_a_stream_tells_that_a_job_is_canceled(server: SdkServer) -> None:
    job = server.submit(work(word()))
    wait_for(job, "running")
    stream = job.events()
    events = [next(stream)]
    job.cancel()
    events += stream
    assert statuses(events) in (["running", "canceling", "canceled"], ["running", "canceled"])


def test_an_ended_job_stays_as_it_is(server: SdkServer) -> None:
    job = server.run(picture())
    assert job.cancel().status == "succeeded" and len(job.outputs) == 1
    assert job.cancel().status == "succeeded"


def test_a_job_is_canceled_twice_as_once(server: SdkServer) -> None:
    with server.held(deaf=True) as job:
        assert job.cancel().status == "canceling"
        assert job.cancel().status == "canceling"
    assert job.refresh().status == "canceled"


def test_only_the_job_is_canceled(server: SdkServer) -> None:
    """Canceling one job must not reach the one that runs after it, nor one before it."""
    with server.held() as running:
        queued, other = server.submit(picture()), server.submit(picture())
        queued.cancel()
        assert running.refresh().status == "running"
    assert other.result().status == "succeeded"
    assert queued.refresh().status == "canceled"


@pytest.mark.parametrize("path", ["/interrupt", "/api/interrupt"])
def test_the_page_interrupts_a_running_job(server: SdkServer, path: str) -> None:
    job = server.submit(work(word()))
    wait_for(job, "running")
    assert server.http.post(path, {}).status == 200
    assert job.wait(WAIT_S).status == "canceled"


@pytest.mark.parametrize("all_of_them", [False, True])
def test_the_page_removes_a_queued_job(server: SdkServer, all_of_them: bool) -> None:
    with server.held() as running:
        job = server.submit(picture())
        body = {"clear": True} if all_of_them else {"delete": [job.id]}
        assert server.http.post("/api/queue", body).status == 200
        assert job.refresh().status == "canceled"
        assert statuses(events_of(job)) == ["canceled"]
        assert wait_for(running, "running")
