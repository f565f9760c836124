"""getHistory, getHistoryForPrompt, manageHistory, and the server's own way of removing history."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

UNKNOWN = "00000000-0000-4000-8000-00000000ffff"
OVER = ["cancelled", "failed", "completed"]  # the latest first


async def listed(api: Any, query: str = "") -> list[str]:
    return [entry["prompt_id"] for entry in (await api.send("GET", f"/api/history_v2{query}")).json["history"]]


async def test_no_history(api: Any) -> None:
    assert await api.get("/api/history_v2") == {"history": []}


async def test_what_is_over_is_listed_the_latest_first(api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    entries = (await api.get("/api/history_v2"))["history"]
    assert [entry["prompt_id"] for entry in entries] == [ids[status] for status in OVER]
    cancelled, failed, completed = entries
    assert completed == {
        "prompt_id": ids["completed"],
        "create_time": 1_700_000_000_000,
        "prompt": {
            "priority": 0,
            "prompt_id": ids["completed"],
            "extra_data": {"create_time": 1_700_000_000_000},
        },
        "outputs": {"2": {"images": [{"filename": "made_00001_.png", "subfolder": "", "type": "output"}]}},
        "status": {"status_str": "success", "completed": True, "messages": []},
        "meta": {},
    }
    assert failed["status"]["messages"][1][0] == "execution_error"
    assert cancelled["outputs"] == {}


async def test_the_graph_in_either_form_is_only_in_the_details(api: Any, prompts: Any) -> None:
    extra = {"client_id": "page", "extra_pnginfo": {"workflow": {"id": "wf", "nodes": []}, "other": 1}}
    job_id = prompts.run(extra=extra)
    (entry,) = (await api.get("/api/history_v2"))["history"]
    assert entry["workflow_id"] == "wf"
    assert entry["prompt"]["extra_data"]["extra_pnginfo"] == {"other": 1}
    assert "prompt" not in entry["prompt"]
    detail = (await api.get(f"/api/history_v2/{job_id}"))[job_id]
    assert {name: detail["prompt"]["extra_data"][name] for name in extra} == extra
    assert detail["prompt"]["prompt"]["2"]["class_type"] == "SaveImage"
    assert detail["prompt"]["outputs_to_execute"] == ["2"]
    assert {name: detail[name] for name in ("outputs", "status", "meta")} == {
        name: entry[name] for name in ("outputs", "status", "meta")
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", slice(0, 200)),
        ("?max_items=3", slice(0, 3)),
        ("?max_items=3&offset=2", slice(2, 5)),
        ("?offset=4", slice(4, 204)),
        ("?offset=1000", slice(0, 0)),
        ("?offset=9223372036854775807", slice(0, 0)),
        ("?max_items=0", slice(0, 0)),
        ("?max_items=9223372036854775807", slice(0, 10_000)),
        ("?max_items=2&unknown=x", slice(0, 2)),
    ],
)
async def test_parts_of_the_history(api: Any, prompts: Any, query: str, expected: slice) -> None:
    ids = [prompts.run() for _ in range(7)]
    prompts.submit()
    assert await listed(api, query) == ids[::-1][expected]


@pytest.mark.parametrize(
    "query", ["max_items=-1", "max_items=x", "offset=-1", "offset=x", "offset=9223372036854775808"]
)
async def test_malformed_queries(api: Any, query: str) -> None:
    body = (await api.send("GET", f"/api/history_v2?{query}", 400)).json
    assert body["details"]["field"] == query.partition("=")[0]


async def test_details_of_each_state(api: Any, prompts: Any) -> None:
    for status, job_id in prompts.one_of_each().items():
        body = await api.get(f"/api/history_v2/{job_id}")
        assert list(body) == ([job_id] if status in OVER else []), status


@pytest.mark.parametrize("job_id", [UNKNOWN, "no-uuid", "%00", "%ff"])
async def test_details_of_unknown_jobs(api: Any, prompts: Any, job_id: str) -> None:
    prompts.run()
    await api.send("GET", f"/api/history_v2/{job_id}", 404)


async def test_deleted_history_is_gone_for_good_and_files_stay(
    library: Any, api: Any, prompts: Any, make_library: Callable[..., Any], api_of: Any
) -> None:
    ids = prompts.one_of_each()
    prompts.queue.history = {ids["completed"]: {}, ids["failed"]: {}}
    made = library.write("output/made_00001_.png", b"made")
    wanted = [*ids.values(), UNKNOWN, "no-uuid", ids["failed"]]
    announced = prompts.queue.announced
    answer = (await api.send("POST", "/api/history", json={"delete": wanted})).json
    assert sorted(answer["deleted"]) == sorted(ids[status] for status in OVER)
    assert prompts.queue.announced == announced + 1
    assert prompts.queue.history == {}
    left = sorted([ids["pending"], ids["in_progress"]])
    assert sorted(job["id"] for job in (await api.get("/api/jobs"))["jobs"]) == left
    for path, status in itertools.product(("/api/jobs/{}", "/api/job/{}/status", "/api/history_v2/{}"), OVER):
        await api.get(path.format(ids[status]), 404)
    await api.send("POST", f"/api/jobs/{ids['completed']}/cancel", 404)
    assert (await api.send("POST", "/api/history", json={"delete": wanted})).json == {"deleted": []}
    assert prompts.queue.announced == announced + 1
    assert made.read_bytes() == b"made"
    await library.services.stop()
    again = api_of(await make_library())
    found = {job["id"]: job["status"] for job in (await again.get("/api/jobs"))["jobs"]}
    assert found == {ids["pending"]: "pending", ids["in_progress"]: "failed"}


async def test_clear_removes_all_that_is_over(library: Any, api: Any, prompts: Any) -> None:
    ids = prompts.one_of_each()
    prompts.queue.history = {ids["completed"]: {}}
    announced = prompts.queue.announced
    assert (await api.send("POST", "/api/history", json={"clear": True})).json == {"cleared": True}
    assert prompts.queue.announced == announced + 1
    assert prompts.queue.history == {}
    page = await api.get("/api/jobs")
    assert {job["status"] for job in page["jobs"]} == {"pending", "in_progress"}
    assert page["pagination"]["total"] == 2
    rows = await library.services.db.fetch_all("SELECT (SELECT count(*) FROM job_records), (SELECT count(*) FROM jobs)")
    assert [tuple(row) for row in rows] == [(2, 2)]


async def test_a_long_history_is_cleared(library: Any, api: Any, prompts: Any) -> None:
    for _ in range(1203):
        prompts.run()
    waiting = prompts.submit()
    await api.send("POST", "/api/history", json={"clear": True})
    assert [job["id"] for job in (await api.get("/api/jobs"))["jobs"]] == [waiting]


async def test_a_graph_that_another_job_or_a_picture_has_too_stays(library: Any, api: Any, prompts: Any) -> None:
    workflow = {"extra_pnginfo": {"workflow": {"id": "shared"}}}
    first, second = prompts.run(extra=workflow), prompts.run(extra=workflow)
    other = prompts.run(graph={"9": {"class_type": "Other", "inputs": {}}})

    async def documents() -> int:
        return int((await library.services.db.fetch_all("SELECT count(*) FROM documents"))[0][0])

    await api.get("/api/jobs")
    assert await documents() == 3
    await api.send("POST", "/api/history", json={"delete": [first, other]})
    assert await documents() == 2
    assert (await api.get(f"/api/jobs/{second}"))["workflow"]["extra_data"]["extra_pnginfo"] == {
        "workflow": {"id": "shared"}
    }
    await api.send("POST", "/api/history", json={"clear": True})
    assert await documents() == 0


async def test_users_remove_their_own_and_everybodys(
    make_library: Callable[..., Any], api_of: Any, prompts_of: Any
) -> None:
    library = await make_library(users=frozenset({"ann", "ben"}))
    api, prompts = api_of(library), prompts_of(library)
    nobodys, anns, bens = prompts.run(), prompts.run(owner="ann"), prompts.run(owner="ben")
    ann, ben = api.as_user("ann"), api.as_user("ben")
    assert await listed(ann) == [anns, nobodys]
    assert (await ann.send("POST", "/api/history", json={"delete": [bens]})).json == {"deleted": []}
    assert (await ann.send("POST", "/api/history", json={"delete": [anns]})).json == {"deleted": [anns]}
    assert (await ann.send("POST", "/api/history", json={"clear": True})).json == {"cleared": True}
    assert (await listed(ann), await listed(ben)) == ([], [bens])
    await api.as_user("nobody").send("GET", "/api/history_v2", 401)


@pytest.mark.parametrize(
    ("body", "status", "left"),
    [
        ({"clear": True}, 200, []),
        ({"delete": [0]}, 200, [1]),
        ({"delete": [0]}, 400, [0, 1]),  # the server itself refuses
        ({"clear": True, "more": 1}, 200, [0, 1]),  # which it understands and we do not
        ({}, 200, [0, 1]),
    ],
)
async def test_what_is_removed_through_the_servers_own_path_is_removed(
    library: Any, api: Any, prompts: Any, aiohttp_client: Any, body: Any, status: int, left: list[int]
) -> None:
    ids = [prompts.run(), prompts.run()]
    seen = []

    async def stock(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.Response(status=status)

    app = web.Application(middlewares=[library.host.plugin.middleware])
    app.router.add_post("/history", stock)
    client = await aiohttp_client(app)
    sent = {**body, **({"delete": [ids[index] for index in body["delete"]]} if "delete" in body else {})}
    async with client.post("/history", json=sent) as response:
        assert (response.status, await response.read()) == (status, b"")
    assert seen == [sent]
    assert sorted(await listed(api)) == sorted(ids[index] for index in left)


async def test_the_servers_own_history_is_filled_at_start(
    make_library: Callable[..., Any], prompts_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy_assets_node.comfy_assets.host.testing import MemoryQueue

    library = await make_library()
    prompts = prompts_of(library)
    extra = {"client_id": "page", "api_key_comfy_org": "[REDACTED]", "extra_pnginfo": {"workflow": {"id": "w"}}}
    ids = [prompts.run(extra=extra) for _ in range(5)]
    dropped = prompts.submit()
    prompts.queue.cancel(dropped)
    assert library.host.execution.history == {}
    await library.services.stop()

    def with_room(self: Any) -> int:
        return 3

    monkeypatch.setattr(MemoryQueue, "history_room", with_room)
    again = await make_library()
    history = again.host.execution.history
    assert list(history) == ids[2:]
    entry = history[ids[4]]
    number, prompt_id, graph, kept, targets = entry["prompt"]
    assert (number, prompt_id, targets) == (4, ids[4], ["2"])
    assert graph["2"]["class_type"] == "SaveImage"
    assert kept == {"client_id": "page", "extra_pnginfo": {"workflow": {"id": "w"}}, "create_time": 1_700_000_004_000}
    assert entry["outputs"]["2"]["images"][0]["filename"] == "made_00001_.png"
    assert entry["status"]["completed"] is True


async def stock_client(library: Any, aiohttp_client: Any, known: Any = None) -> Any:
    """A client of a server that remembers these entries alone."""

    async def entry(request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        return web.json_response({prompt_id: known[prompt_id]} if prompt_id in (known or {}) else {})

    app = web.Application(middlewares=[library.host.plugin.middleware])
    app.router.add_get("/history/{prompt_id}", entry)
    app.router.add_get("/api/history/{prompt_id}", entry)
    return await aiohttp_client(app)


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_jobs_of_earlier_runs_are_in_the_servers_own_history(
    make_library: Callable[..., Any], prompts_of: Any, aiohttp_client: Any, prefix: str
) -> None:
    library = await make_library()
    prompts = prompts_of(library)
    extra = {"client_id": "page", "extra_pnginfo": {"workflow": {"id": "w"}}}
    completed, cut_short, waiting = prompts.run(extra=extra), prompts.submit(), prompts.submit()
    prompts.start()
    await library.services.stop()
    again = await make_library()
    client = await stock_client(again, aiohttp_client)
    found = {}
    for job_id in (completed, cut_short, waiting, UNKNOWN, "no-uuid"):
        async with client.get(f"{prefix}/history/{job_id}") as response:
            assert (response.status, response.content_type) == (200, "application/json")
            found[job_id] = await response.json()
    assert [list(body) for body in found.values()] == [[completed], [cut_short], [], [], []]
    entry = found[completed][completed]
    number, prompt_id, graph, kept, targets = entry["prompt"]
    assert (number, prompt_id, targets) == (0, completed, ["2"])
    assert graph["2"]["class_type"] == "SaveImage"
    assert (kept["client_id"], kept["extra_pnginfo"]) == ("page", {"workflow": {"id": "w"}})
    assert entry["outputs"]["2"]["images"][0]["filename"] == "made_00001_.png"
    assert entry["status"] == {"status_str": "success", "completed": True, "messages": []}
    assert entry["meta"] == {}
    assert found[cut_short][cut_short]["status"]["status_str"] == "error"


async def test_what_the_server_remembers_stays_its_own_answer(library: Any, prompts: Any, aiohttp_client: Any) -> None:
    job_id = prompts.run()
    client = await stock_client(library, aiohttp_client, {job_id: {"own": True}})
    async with client.get(f"/history/{job_id}") as response:
        assert await response.json() == {job_id: {"own": True}}


async def test_another_users_job_of_an_earlier_run_is_not_in_the_history(
    make_library: Callable[..., Any], prompts_of: Any, aiohttp_client: Any, api_of: Any
) -> None:
    library = await make_library(users=frozenset({"ann", "ben"}))
    anns, nobodys = prompts_of(library).run(owner="ann"), prompts_of(library).run(prompt_id=UNKNOWN)
    await api_of(library).as_user("ann").send("GET", "/api/jobs")  # it is in the store by now
    client = await stock_client(library, aiohttp_client)
    seen = {}
    for user, job_id in itertools.product(("ann", "ben", "stranger"), (anns, nobodys)):
        async with client.get(f"/history/{job_id}", headers={"comfy-user": user}) as response:
            assert response.status == 200
            seen[user, job_id == anns] = list(await response.json())
    assert seen == {
        ("ann", True): [anns],
        ("ann", False): [nobodys],
        ("ben", True): [],
        ("ben", False): [nobodys],
        ("stranger", True): [],
        ("stranger", False): [nobodys],
    }


async def test_pages_older_than_their_server(library: Any, prompts: Any, aiohttp_client: Any) -> None:
    """They ask for the server's own history, which is empty after a restart."""
    own = {"own": 1}

    async def history(_: web.Request) -> web.Response:
        return web.json_response(own)

    app = web.Application(middlewares=[library.host.plugin.middleware])
    for path in ("/history", "/api/history"):
        app.router.add_get(path, history)
    client = await aiohttp_client(app)

    async def ask(path: str) -> Any:
        async with client.get(path) as response:
            assert response.status == 200
            return await response.json()

    ids = [prompts.run() for _ in range(3)]
    found = await ask("/api/history?max_items=2")
    assert list(found) == ids[1:]
    assert found[ids[2]]["prompt"][1] == ids[2] and found[ids[2]]["status"]["completed"]
    for path in ("/api/history", "/history?max_items=2", "/api/history?max_items=x"):
        assert await ask(path) == own
    library.host.lists_jobs = False
    assert await ask("/api/history?max_items=2") == own
