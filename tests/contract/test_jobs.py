"""listJobs, getJobDetail, getJobStatus, cancelJob, cancelJobs, and the assets of a job."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.models import CursorKey
from comfy_assets_node.routes.params import encode_cursor

UNKNOWN = "00000000-0000-4000-8000-00000000ffff"
STATUSES = ["pending", "in_progress", "completed", "failed", "cancelled"]
FILE = {"filename": "made_00001_.png", "subfolder": "", "type": "output"}


async def page_of(api: Any, **parameters: Any) -> Any:
    """A page of jobs."""
    return (await api.send("GET", "/api/jobs", params=parameters)).json


async def listed(api: Any, **parameters: Any) -> list[str]:
    """The ids on a page."""
    return [job["id"] for job in (await page_of(api, **parameters))["jobs"]]


async def test_no_jobs(api: Any) -> None:
    page = await api.get("/api/jobs")
    assert page == {"jobs": [], "pagination": {"offset": 0, "limit": 100, "total": 0, "has_more": False}}


async def test_what_a_list_shows_in_each_state(api: Any, prompts: Any) -> None:
    before = time.time_ns() // 1_000_000
    ids = prompts.one_of_each()
    jobs = {job["status"]: job for job in (await api.get("/api/jobs"))["jobs"]}
    assert {status: job["id"] for status, job in jobs.items()} == ids
    for number, status in enumerate(ids):
        job = jobs[status]
        assert (job["create_time"], job["priority"]) == (1_700_000_000_000 + number * 1000, number)
        times = {name: job.pop(name) for name in ("execution_start_time", "execution_end_time") if name in job}
        assert len(times) == (2 if status in ("completed", "failed", "cancelled") else 0)
        assert all(before <= moment <= time.time_ns() // 1_000_000 for moment in times.values())
    always = {"id", "status", "create_time", "priority"}
    assert set(jobs["pending"]) == set(jobs["in_progress"]) == always
    assert set(jobs["cancelled"]) == always | {"outputs_count", "previewable_outputs_count"}
    assert set(jobs["failed"]) == set(jobs["cancelled"]) | {"execution_error"}
    assert jobs["completed"]["preview_output"] == {**FILE, "nodeId": "2", "mediaType": "images"}
    assert (jobs["completed"]["outputs_count"], jobs["completed"]["previewable_outputs_count"]) == (1, 1)
    assert jobs["failed"]["execution_error"] == {
        "node_id": "2",
        "node_type": "SaveImage",
        "exception_message": "it broke\n",
        "exception_type": "LookupError",
        "traceback": ["  File x, line 1\n"],
        "current_inputs": {"width": [1]},
        "current_outputs": {},
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"traceback": None, "current_inputs": None}, {"traceback": [], "current_inputs": {}}),
        ({"traceback": "no list"}, {"traceback": []}),
        ({"node_id": 7, "node_type": None}, {"node_id": "7", "node_type": ""}),
        ({"current_outputs": {"1": [2]}}, {"current_outputs": {"1": [2]}}),
        ({"current_inputs": {"x": "y" * 100_000}}, {"current_inputs": {}}),
        (
            {"exception_message": "", "exception_type": ""},
            {"exception_message": "The server's log tells what went wrong.", "exception_type": "UnknownError"},
        ),
    ],
)
async def test_an_error_has_the_contracts_members_whatever_the_server_told(
    api: Any, prompts: Any, change: Any, expected: Any
) -> None:
    prompts.submit()
    prompts.start()
    prompts.fail(**change)
    (job,) = (await api.get("/api/jobs"))["jobs"]
    whole = job["execution_error"]
    assert {name: whole[name] for name in expected} == expected
    assert len(whole) == 7


async def test_a_failure_that_the_server_tells_nothing_of(api: Any, prompts: Any) -> None:
    prompts.submit()
    prompts.start()
    prompts.finish({}, {"status_str": "error", "completed": False, "messages": []})
    (job,) = (await api.get("/api/jobs"))["jobs"]
    assert job["status"] == "failed"
    assert job["execution_error"]["exception_type"] == "UnknownError"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", STATUSES),
        ("?status=", STATUSES),
        ("?status=pending", ["pending"]),
        ("?status=pending,in_progress", ["pending", "in_progress"]),
        ("?status=failed&status=cancelled", ["failed", "cancelled"]),
        ("?status=failed,%20completed&status=failed,", ["completed", "failed"]),
        ("?status=completed,failed,cancelled,pending,in_progress", STATUSES),
        ("?workflow_id=nothing", []),
        ("?output_type=image", ["completed"]),
        ("?output_type=image&status=pending", []),
        ("?output_type=video", []),
        ("?unknown=x", STATUSES),
    ],
)
async def test_filters(api: Any, prompts: Any, query: str, expected: list[str]) -> None:
    ids = prompts.one_of_each()
    page = (await api.send("GET", f"/api/jobs{query}")).json
    assert {job["id"] for job in page["jobs"]} == {ids[status] for status in expected}
    assert page["pagination"]["total"] == len(expected)


@pytest.mark.parametrize(
    "query",
    [
        "status=bogus",
        "status=pending,bogus",
        "status=PENDING",
        "output_type=text",
        "output_type=",
        "sort_by=priority",
        "sort_order=up",
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=1.5",
        "offset=-1",
        "offset=x",
        "after=x",
        "after=",
        "after=!!!",
        "workflow_id=a%00b",
        "asset_id=a%00",
    ],
)
async def test_malformed_queries(api: Any, prompts: Any, query: str) -> None:
    prompts.run()
    body = (await api.send("GET", f"/api/jobs?{query}", 400)).json
    assert body["details"]["field"] == query.partition("=")[0]


async def test_output_types(api: Any, prompts: Any) -> None:
    def files(key: str, *names: str) -> Any:
        return {"9": {key: [{"filename": name, "subfolder": "", "type": "output"} for name in names]}}

    made = {
        "image": prompts.run(files("images", "a.png")),
        "video": prompts.run(files("gifs", "a.mp4")),
        "audio": prompts.run(files("audio", "a.flac")),
        "3d": prompts.run({"9": {"result": ["3d/a.ply", None, []]}}),
    }
    both = prompts.run(files("images", "a.png", "b.mp4"))
    nothing = prompts.run({"9": {"text": ["words"]}})
    prompts.submit()
    for kind, job in made.items():
        expected = {job, both} if kind in ("image", "video") else {job}
        page = await api.get("/api/jobs", output_type=kind)
        assert {each["id"] for each in page["jobs"]} == expected, kind
        assert page["pagination"]["total"] == len(expected)
    (entry,) = [job for job in (await api.get("/api/jobs"))["jobs"] if job["id"] == nothing]
    assert (entry["outputs_count"], entry["preview_output"]["content"]) == (0, "words")


async def test_workflows(api: Any, prompts: Any) -> None:
    by_request = prompts.run(workflow_id="wf-1", workflow_version_id="v-2")
    by_page = prompts.run(extra={"extra_pnginfo": {"workflow": {"id": "wf-1", "nodes": []}}})
    both = prompts.run(workflow_id="wf-2", extra={"extra_pnginfo": {"workflow": {"id": "wf-1"}}})
    without = prompts.run(extra={"extra_pnginfo": {"workflow": {"id": 5}}})
    page = await api.get("/api/jobs", workflow_id="wf-1")
    assert [job["id"] for job in page["jobs"]] == [by_page, by_request]
    assert page["pagination"]["total"] == 2
    assert await listed(api, workflow_id="wf-2") == [both]
    assert await listed(api, workflow_id="wf-1", status="failed") == []
    detail = await api.get(f"/api/jobs/{by_request}")
    assert (detail["workflow_id"], detail["workflow_version_id"]) == ("wf-1", "v-2")
    assert not {"workflow_id", "workflow_version_id"} & set(await api.get(f"/api/jobs/{without}"))


@pytest.mark.parametrize(
    ("sort", "order", "expected"),
    [
        ({}, None, [4, 3, 2, 1, 0]),
        ({}, "asc", [0, 1, 2, 3, 4]),
        ({"sort_by": "create_time"}, "desc", [4, 3, 2, 1, 0]),
        ({"sort_by": "created_at"}, "asc", [0, 1, 2, 3, 4]),
        ({"sort_by": "execution_time"}, None, [3, 1, 4, 2, 0]),
        ({"sort_by": "execution_duration"}, "asc", [0, 2, 4, 1, 3]),
    ],
)
async def test_sort_orders(
    api: Any, prompts: Any, hand: Any, sort: Any, order: str | None, expected: list[int]
) -> None:
    ids = [prompts.run() for _ in range(5)]
    await api.get("/api/jobs")
    for job_id, duration in zip(ids, [1, 30, 2, 40, 20], strict=True):
        await hand.execute("UPDATE jobs SET duration = ? WHERE uuid = ?", duration, job_id)
    parameters = {**sort, **({"sort_order": order} if order else {})}
    assert await listed(api, **parameters) == [ids[index] for index in expected]
    paged = [await listed(api, **parameters, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert list(itertools.chain(*paged)) == [ids[index] for index in expected]


def make_many(prompts: Any, count: int) -> list[str]:
    """Jobs of every state, several of them created in the same millisecond; the last one waits."""
    ids = []
    for number in range(count):
        ids.append(prompts.submit(extra={"create_time": 1_700_000_000_000 + number // 3}))
        if number % 3 == 0:
            prompts.queue.cancel(ids[-1])
        elif number < count - 1:
            prompts.start()
            prompts.fail() if number % 5 == 0 else prompts.finish()
    return ids


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4, 7, 100])
@pytest.mark.parametrize("status", [None, "completed,cancelled", "failed"])
async def test_pages_by_cursor_are_complete_and_without_duplicates(
    api: Any, prompts: Any, order: str, limit: int, status: str | None
) -> None:
    make_many(prompts, 23)
    chosen = {"status": status} if status else {}
    whole = await listed(api, sort_order=order, limit=1000, **chosen)
    there = len(whole)
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await page_of(api, sort_order=order, limit=limit, **chosen, **after)
        figures = page["pagination"]
        found += [job["id"] for job in page["jobs"]]
        assert (figures["limit"], figures["total"], figures["offset"]) == (limit, len(whole), 0)
        assert figures["has_more"] == ("next_cursor" in figures) == (len(found) < there)
        if "next_cursor" not in figures:
            break
        after = {"after": figures["next_cursor"]}
        prompts.submit(extra={"create_time": 1_700_000_000_000 + (10**9 if order == "desc" else -(10**9))})
        if status is None:
            whole.append("new")  # counted, and on no page to come
    assert found == [job_id for job_id in whole if job_id != "new"]


async def test_pages_by_offset(api: Any, prompts: Any) -> None:
    make_many(prompts, 23)
    whole = await listed(api)
    for offset, limit in [(0, 5), (5, 5), (20, 5), (22, 1), (23, 5), (1000, 5), (2**63 - 1, 1000)]:
        page = await api.get("/api/jobs", offset=offset, limit=limit)
        assert [job["id"] for job in page["jobs"]] == whole[offset : offset + limit]
        figures = {"offset": offset, "limit": limit, "total": 23, "has_more": offset + limit < 23}
        assert {name: page["pagination"][name] for name in figures} == figures


async def test_a_cursor_goes_before_an_offset(api: Any, prompts: Any) -> None:
    ids = [prompts.run() for _ in range(6)]
    after = (await api.get("/api/jobs", limit=2))["pagination"]["next_cursor"]
    page = await api.get("/api/jobs", limit=2, after=after, offset=5)
    assert [job["id"] for job in page["jobs"]] == [ids[3], ids[2]]
    assert page["pagination"]["offset"] == 0


async def test_cursors_of_another_order_or_none(api: Any, prompts: Any) -> None:
    ids = [prompts.run() for _ in range(3)]
    good = (await api.get("/api/jobs", limit=1))["pagination"]["next_cursor"]
    wrong = [
        encode_cursor(CursorKey("a", 1), "name", "desc"),
        encode_cursor(CursorKey("a", 1), "create_time", "desc"),
        encode_cursor(CursorKey(2**63, 1), "create_time", "desc"),
        encode_cursor(CursorKey(1, 1), "created_at", "desc"),
        good[:-2],
        good + "A",
        "A" * 5000,
    ]
    for after in wrong:
        body = await api.get("/api/jobs", 400, after=after)
        assert (body["code"], body["details"]["field"]) == ("INVALID_CURSOR", "after"), after
    assert (await api.get("/api/jobs", 400, after=good, sort_order="asc"))["code"] == "INVALID_CURSOR"
    # With the other order a cursor is ignored, as the contract says.
    page = await api.get("/api/jobs", after="whatever", sort_by="execution_time", limit=2, offset=1)
    assert len(page["jobs"]) == 2 and page["pagination"]["offset"] == 1
    assert page["pagination"]["total"] == len(ids) and "next_cursor" not in page["pagination"]


async def test_detail_of_each_state(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    entries = {job["id"]: job for job in (await api.get("/api/jobs"))["jobs"]}
    for status, job_id in ids.items():
        detail = await api.get(f"/api/jobs/{job_id}")
        assert {name: detail[name] for name in entries[job_id]} == entries[job_id]
        assert detail["workflow"]["prompt"]["2"]["class_type"] == "SaveImage"
        assert detail["workflow"]["extra_data"]["create_time"] == detail["create_time"]
        assert detail["update_time"] >= detail["create_time"]
        assert ("outputs" in detail) == (status in ("completed", "failed", "cancelled")), status
    detail = await api.get(f"/api/jobs/{ids['completed']}")
    assert detail["outputs"] == {"2": {"images": [FILE]}}
    assert detail["execution_status"] == {"status_str": "success", "completed": True, "messages": []}


async def test_detail_of_everything_that_came_along(api: Any, prompts: Any) -> None:
    workflow = {"id": "wf", "nodes": [{"id": 1, "ü": "ÿ 😀"}]}
    extra = {"client_id": "page", "extra_pnginfo": {"workflow": workflow, "other": 1}, "preview_method": "auto"}
    meta = {"2": {"node_id": "2", "display_node": "2", "real_node_id": "2"}}
    job_id = prompts.run(extra=extra, meta=meta)
    detail = await api.get(f"/api/jobs/{job_id}")
    assert {name: detail["workflow"]["extra_data"][name] for name in extra} == extra
    assert detail["execution_meta"] == meta


async def test_outputs_of_a_job_that_was_cancelled_while_it_ran(api: Any, prompts: Any) -> None:
    job_id = prompts.submit()
    prompts.start()
    prompts.queue.show("2", {"images": [FILE]})
    assert (await api.send("POST", f"/api/jobs/{job_id}/cancel")).json == {"cancelled": True}
    assert (await api.get(f"/api/jobs/{job_id}"))["status"] == "in_progress"
    prompts.finish({"2": {"images": [FILE]}}, prompts_interrupted())
    detail = await api.get(f"/api/jobs/{job_id}")
    assert (detail["status"], detail["outputs_count"]) == ("cancelled", 1)
    assert detail["outputs"] == {"2": {"images": [FILE]}}
    assert "execution_error" not in detail


def prompts_interrupted() -> Any:
    return {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {"node_id": "2"}]]}


@pytest.mark.parametrize("end", ["success", "failure"])
async def test_a_cancelled_job_is_cancelled_however_it_ends(api: Any, prompts: Any, end: str) -> None:
    job_id = prompts.submit()
    prompts.start()
    await api.send("POST", f"/api/jobs/{job_id}/cancel")
    prompts.finish() if end == "success" else prompts.fail()
    assert (await api.get(f"/api/jobs/{job_id}"))["status"] == "cancelled"


async def test_status_of_each_state(api: Any, prompts: Any) -> None:
    names = {"failed": "error"}
    for status, job_id in prompts.one_of_each().items():
        body = await api.get(f"/api/job/{job_id}/status")
        assert (body["id"], body["status"]) == (job_id, names.get(status, status))
        assert body["created_at"].startswith("2023-11-14T22:13:2") and body["created_at"].endswith("Z")
        assert (body.get("error_message") == "it broke\n") == (status == "failed")
        assert body["last_state_update"] <= body["updated_at"] or status == "pending"


@pytest.mark.parametrize("path", ["/api/jobs/{}", "/api/job/{}/status", "/api/jobs/{}/assets"])
@pytest.mark.parametrize("job_id", [UNKNOWN, "no-uuid", "%00", "%ff", "a%2Fb", "0" * 5000])
async def test_unknown_jobs(api: Any, prompts: Any, path: str, job_id: str) -> None:
    prompts.run()
    assert (await api.send("GET", path.format(job_id), 404)).json["code"] == "JOB_NOT_FOUND"


async def test_ids_may_be_spelt_as_uuids_are(api: Any, prompts: Any) -> None:
    job_id = prompts.submit(prompt_id="00000000-0000-4000-8000-0000000000ab")
    for spelling in (job_id.upper(), job_id.replace("-", ""), "{" + job_id + "}"):
        assert (await api.get(f"/api/jobs/{spelling}"))["id"] == job_id
    assert (await api.send("POST", f"/api/jobs/{job_id.upper()}/cancel")).json == {"cancelled": True}


async def test_cancel(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    for status, job_id in ids.items():
        expected = status in ("pending", "in_progress")
        for cancelled in (expected, False):
            answer = await api.send("POST", f"/api/jobs/{job_id}/cancel")
            assert answer.json == {"cancelled": cancelled}, status
    assert prompts.queue.interrupted[0] == ids["in_progress"]
    prompts.finish({}, prompts_interrupted())
    states = {job["id"]: job["status"] for job in (await api.get("/api/jobs"))["jobs"]}
    assert states == {job_id: s if s in ("completed", "failed") else "cancelled" for s, job_id in ids.items()}


@pytest.mark.parametrize(
    ("job_id", "status", "code"),
    [
        (UNKNOWN, 404, "JOB_NOT_FOUND"),
        ("no-uuid", 400, "INVALID_ID"),
        ("%00", 400, "INVALID_ID"),
        ("0" * 33, 400, "INVALID_ID"),
    ],
)
async def test_cancel_of_what_is_no_job(api: Any, prompts: Any, job_id: str, status: int, code: str) -> None:
    waiting = prompts.submit()
    assert (await api.send("POST", f"/api/jobs/{job_id}/cancel", status)).json["code"] == code
    assert (await api.get(f"/api/jobs/{waiting}"))["status"] == "pending"


async def test_an_interrupt_that_comes_too_early_is_repeated_until_it_is_heard(api: Any, prompts: Any) -> None:
    job_id = prompts.submit()
    prompts.start()
    await api.send("POST", f"/api/jobs/{job_id}/cancel")
    deadline = time.monotonic() + 10
    while len(prompts.queue.interrupted) < 3:
        await asyncio.sleep(0.01)
        assert time.monotonic() < deadline
    prompts.finish({}, prompts_interrupted())
    assert (await api.get(f"/api/jobs/{job_id}"))["status"] == "cancelled"
    heard = len(prompts.queue.interrupted)
    await asyncio.sleep(0.6)
    assert len(prompts.queue.interrupted) == heard


@pytest.mark.parametrize("count", [1, 2, 100])
async def test_cancel_many(api: Any, prompts: Any, count: int) -> None:
    ids = [prompts.submit() for _ in range(count)]
    others = [prompts.submit()]
    body = {"job_ids": [*reversed(ids)]}
    assert (await api.send("POST", "/api/jobs/cancel", json=body)).json == {"cancelled": [*reversed(ids)]}
    assert (await api.send("POST", "/api/jobs/cancel", json=body)).json == {"cancelled": []}
    assert await listed(api, status="pending") == others
    assert (await page_of(api, status="cancelled"))["pagination"]["total"] == count


async def test_cancel_many_in_every_state_and_an_id_twice(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    answer = await api.send("POST", "/api/jobs/cancel", json={"job_ids": [*ids.values(), ids["pending"].upper()]})
    assert answer.json == {"cancelled": [ids["in_progress"], ids["pending"]]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"null", 400),
        (b"\xff", 400),
        (b'{"job_ids": []}', 400),
        (b'{"job_ids": null}', 400),
        (b'{"job_ids": "x"}', 400),
        (b'{"job_ids": [1]}', 400),
        (b'{"job_ids": ["no-uuid"]}', 400),
        (b'{"job_ids": ["$ID", "no-uuid"]}', 400),
        (b'{"job_ids": ["$ID"], "more": 1}', 400),
        (b'{"job_ids": ["$ID", "00000000-0000-4000-8000-00000000ffff"]}', 404),
        (b'{"job_ids": [$MANY]}', 400),
    ],
)
async def test_cancel_many_refused_cancels_none(api: Any, prompts: Any, body: bytes, status: int) -> None:
    job_id = prompts.submit()
    many = b", ".join(b'"%s"' % job_id.encode() for _ in range(101))
    raw = body.replace(b"$ID", job_id.encode()).replace(b"$MANY", many)
    await api.send("POST", "/api/jobs/cancel", status, data=raw)
    assert (await api.get(f"/api/jobs/{job_id}"))["status"] == "pending"
    assert [each.prompt_id for each in prompts.queue.waiting] == [job_id]


@pytest.fixture
async def shared(make_library: Callable[..., Any], api_of: Any, prompts_of: Any) -> Any:
    """A library of two users; Api and Prompts."""
    library = await make_library(users=frozenset({"ann", "ben"}))
    return api_of(library), prompts_of(library)


async def test_users_see_their_own_and_everybodys(shared: Any) -> None:
    api, prompts = shared
    nobodys, anns, bens = prompts.run(), prompts.run(owner="ann"), prompts.run(owner="ben")
    for user, own in (("ann", anns), ("ben", bens)):
        page = await api.as_user(user).get("/api/jobs")
        assert [job["id"] for job in page["jobs"]] == [own, nobodys]
        assert page["pagination"]["total"] == 2
    for path in (
        "/api/jobs/{}",
        "/api/job/{}/status",
        "/api/jobs/{}/assets",
        "/api/jobs/{}/progress",
        "/api/history_v2/{}",
    ):
        await api.as_user("ann").get(path.format(anns))
        await api.as_user("ann").get(path.format(nobodys))
        assert (await api.as_user("ann").get(path.format(bens), 403))["code"] == "JOB_FORBIDDEN"
        assert (await api.as_user("nobody").get(path.format(bens), 401))["code"] == "UNAUTHORIZED"


async def test_users_cancel_their_own_and_everybodys(shared: Any) -> None:
    api, prompts = shared
    nobodys, anns, bens = prompts.submit(), prompts.submit(owner="ann"), prompts.submit(owner="ben")
    ann = api.as_user("ann")
    await ann.send("POST", f"/api/jobs/{bens}/cancel", 404)
    await ann.send("POST", "/api/jobs/cancel", 404, json={"job_ids": [anns, bens]})
    await api.as_user("nobody").send("POST", f"/api/jobs/{nobodys}/cancel", 401)
    assert [each.prompt_id for each in prompts.queue.waiting] == [nobodys, anns, bens]
    answer = await ann.send("POST", "/api/jobs/cancel", json={"job_ids": [anns, nobodys]})
    assert answer.json == {"cancelled": [anns, nobodys]}
    assert [each.prompt_id for each in prompts.queue.waiting] == [bens]


async def test_progress_while_a_job_is_executed(api: Any, prompts: Any) -> None:
    job_id, behind = prompts.submit(), prompts.submit()
    nothing = {"prompt_id": job_id, "nodes": {}}
    assert await api.get(f"/api/jobs/{job_id}/progress") == nothing
    prompts.start()
    assert await api.get(f"/api/jobs/{job_id}/progress") == nothing
    node = {"value": 3.0, "max": 20.0, "state": "running", "display_node_id": "2"}
    waiting = {"value": 0, "max": 1, "state": "pending", "display_node_id": "3"}
    prompts.queue.progress_listeners.progressed(job_id, {"2.0.1": {**node, "node_id": "2.0.1"}, "3": waiting})
    assert await api.get(f"/api/jobs/{job_id}/progress") == {"prompt_id": job_id, "nodes": {"2.0.1": node}}
    assert await api.get(f"/api/jobs/{behind}/progress") == {"prompt_id": behind, "nodes": {}}
    prompts.finish()
    assert await api.get(f"/api/jobs/{job_id}/progress") == nothing
    assert (await api.get(f"/api/jobs/{UNKNOWN}/progress", 404))["code"] == "JOB_NOT_FOUND"


async def test_the_assets_of_a_job_and_the_jobs_of_an_asset(library: Any, api: Any, prompts: Any) -> None:
    library.write("models/loras/style/ink.safetensors", b"model")
    library.write("input/sub/photo.png", b"photo")
    await library.scan()
    library.write("output/made_00001_.png", b"made")
    loader = {"class_type": "LoraLoader", "inputs": {"lora_name": "style/ink.safetensors"}}
    photo = {"class_type": "LoadImage", "inputs": {"image": "sub/photo.png"}}
    job_id = prompts.submit(graph={"1": loader, "3": photo, "2": {"class_type": "SaveImage", "inputs": {}}})
    prompts.start()
    outputs = {"2": {"images": [{**FILE, "filename": "gone.png"}, FILE]}}
    prompts.finish(outputs)
    library.services.outputs.record(finished(job_id, outputs))
    await library.services.outputs.drain()
    body = await api.get(f"/api/jobs/{job_id}/assets")
    (asset,) = body["assets"]
    assert (asset["name"], asset["node_id"], asset["output_key"], asset["output_index"]) == (
        "made_00001_.png",
        "2",
        "images",
        1,
    )
    assert body["total"] == 1 and asset["job_id"] == job_id
    assert asset["hash"].startswith("blake3:")
    prompts.run()
    for name in ("ink.safetensors", "photo.png"):
        assert await listed(api, asset_id=(await library.asset(name))["id"]) == [job_id]
    assert await listed(api, asset_id=asset["id"]) == []
    assert await listed(api, asset_id=UNKNOWN) == []
    # From an asset to what was made with it, or with another of the same content.
    library.write("input/again.png", b"photo")
    await library.scan()
    for name in ("ink.safetensors", "photo.png", "again.png"):
        query = {"made_with": (await library.asset(name))["id"]}
        page = await api.get("/api/assets", **query)
        assert ([each["id"] for each in page["assets"]], page["total"]) == ([asset["id"]], 1), name
        assert (await api.get("/api/assets", **query, tags_all="input"))["total"] == 0
        assert (await api.get("/api/assets", **query, q="made", folder="output"))["total"] == 1
        assert await api.get("/api/assets/tags/refine", **query) == {"tag_counts": {"output": 1}}
        assert [each["total_count"] for each in (await api.get("/api/assets/folders", **query))["folders"]] == [1]
    for unused in (asset["id"], UNKNOWN, "no-id"):
        assert (await api.get("/api/assets", made_with=unused))["total"] == 0
    assert (await api.get("/api/assets", made_with=""))["total"] == 4


def finished(job_id: str, outputs: Any) -> Any:
    from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt

    return FinishedPrompt(job_id, outputs)


async def test_head_is_as_get(api: Any, prompts: Any) -> None:
    job_id = prompts.run()
    for path, status in [("/api/jobs", 200), (f"/api/jobs/{job_id}", 200), (f"/api/jobs/{UNKNOWN}", 404)]:
        assert (await api.send("HEAD", path, status)).body == b""
