"""listTasks and getTask: what is recorded of background work, its filters, and what they refuse."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

FIRST = 1_700_000_000_000  # 2023-11-14T22:13:20Z
NAMES = ("asset_scan", "asset_hash", "bundle_import")


async def without_search(library: Any) -> None:
    """End the upkeep of the search index, and forget it: it has tasks of its own."""
    services = library.services
    await services.search.close()
    upkeep = services.tasks.latest("asset_search")
    if upkeep is not None:
        await upkeep.done.wait()
    async with services.db.transaction() as tx:
        await tx.execute("DELETE FROM tasks", ())


@pytest.fixture
async def tasks(library: Any, hand: Any) -> list[str]:
    """The ids of six tasks that began a second apart: three names, twice; the last one runs."""
    ids: list[str] = []
    await without_search(library)

    async def work(task: Any) -> None:
        ids.append(str(task.id))
        task.result = {"n": len(ids)}
        if len(ids) == 2:
            raise ValueError("no")

    for name in NAMES * 2:
        running, _ = library.services.tasks.start(name, work, {"name": name})
        await running.done.wait()
    for number, task_id in enumerate(ids):
        await hand.execute(
            "UPDATE tasks SET created_at = ? WHERE id = ?", FIRST + number * 1000, uuid.UUID(task_id).bytes
        )
    await hand.execute("UPDATE tasks SET status = 'running', completed_at = NULL WHERE id = ?", uuid.UUID(ids[5]).bytes)
    return ids


AT_2 = "2023-11-14T22:13:22Z"
FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [5, 4, 3, 2, 1, 0]),
    ({"sort_order": "asc"}, [0, 1, 2, 3, 4, 5]),
    ({"task_name": "asset_scan"}, [3, 0]),
    ({"task_name": "asset"}, []),
    ({"task_name": ""}, []),
    ({"status": "failed"}, [1]),
    ({"status": "running"}, [5]),
    ({"status": "running,failed"}, [5, 1]),
    ({"status": "created"}, []),
    ({"status": ""}, [5, 4, 3, 2, 1, 0]),
    ({"created_after": AT_2}, [5, 4, 3]),
    ({"created_after": "2023-11-14T22:13:21.999999Z"}, [5, 4, 3, 2]),
    ({"created_after": "2023-11-15T00:13:22.0000001+02:00"}, [5, 4, 3]),
    ({"created_before": AT_2}, [1, 0]),
    ({"created_before": "2023-11-14T22:13:22.000001Z"}, [2, 1, 0]),
    ({"created_after": "2023-11-14T22:13:20Z", "created_before": AT_2}, [1]),
    ({"created_after": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T23:59:59Z"}, [5, 4, 3, 2, 1, 0]),
    ({"limit": 2}, [5, 4]),
    ({"limit": 2, "offset": 5}, [0]),
    ({"offset": 6}, []),
    ({"unknown": "x"}, [5, 4, 3, 2, 1, 0]),
]


async def test_filters(tasks: list[str], api: Any) -> None:
    for parameters, expected in FILTERS:
        page = (await api.send("GET", "/api/tasks", params=parameters)).json
        assert [tasks.index(task["id"]) for task in page["tasks"]] == expected, parameters
        shown = page["pagination"]
        assert (shown["limit"], shown["offset"]) == (parameters.get("limit", 20), parameters.get("offset", 0))
        assert shown["has_more"] == (shown["offset"] + len(expected) < shown["total"])
    key = (await api.get(f"/api/tasks/{tasks[3]}"))["idempotency_key"]
    page = await api.get("/api/tasks", idempotency_key=key)
    assert [task["id"] for task in page["tasks"]] == [tasks[3]]


REFUSED = [
    ("status", "finished"), ("status", "running,done"), ("sort_order", "up"), ("limit", "0"),
    ("limit", "101"), ("limit", "x"), ("offset", "-1"), ("offset", "1.5"), ("created_after", "yesterday"),
    ("created_after", "1700000000"), ("created_after", "2023-11-14"), ("created_after", "2023-11-14T22:13:20"),
    ("created_before", "2023-13-14T22:13:20Z"), ("created_before", ""), ("task_name", "a\0b"),
]  # fmt: skip


async def test_filters_that_are_refused(api: Any) -> None:
    for field, value in REFUSED:
        body = (await api.send("GET", "/api/tasks", 422, params={field: value})).json
        assert (body["code"], body["details"]["field"].rstrip("[0123456789.]")) == ("INVALID_QUERY", field), value


async def test_all_there_is_of_a_task(tasks: list[str], api: Any) -> None:
    failed = await api.get(f"/api/tasks/{tasks[1]}")
    assert failed["task_name"] == "asset_hash" and failed["payload"] == {"name": "asset_hash"}
    assert (failed["status"], failed["error_message"], failed["result"]) == ("failed", "ValueError: no", {"n": 2})
    running = await api.get(f"/api/tasks/{tasks[5]}")
    assert running["status"] == "running" and not running.keys() & {"completed_at", "error_message"}
    assert (await api.get(f"/api/tasks/{tasks[5].upper()}"))["id"] == tasks[5]


@pytest.mark.parametrize("task_id", ["00000000-0000-4000-8000-000000000000", "x", "..%2F", "%00", "-"])
async def test_no_such_task(api: Any, task_id: str) -> None:
    assert (await api.get(f"/api/tasks/{task_id}", 404))["code"] == "TASK_NOT_FOUND"


async def test_what_the_server_does_is_a_task(library: Any, api: Any) -> None:
    """A scan, the reading of what it found, and a prune; each with what came of it."""
    library.write("output/a.png")
    await library.scan()
    await api.send("POST", "/api/assets/prune")
    found = {task["task_name"]: task["id"] for task in (await api.get("/api/tasks"))["tasks"]}
    assert found.keys() - {"asset_search"} == {"asset_scan", "asset_hash", "asset_prune"}
    found.pop("asset_search", None)  # which may be under way
    results = {name: (await api.get(f"/api/tasks/{task_id}"))["result"] for name, task_id in found.items()}
    assert results["asset_scan"]["created"] == 1
    assert results["asset_hash"]["hashed"] == 1
    assert results["asset_prune"] == {"marked": 0}


async def test_progress_while_it_runs(library: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy_assets_node.comfy_assets.background import tasks as task_module

    monkeypatch.setattr(task_module, "PROGRESS_INTERVAL_S", 0.001)
    go_on = asyncio.Event()

    async def work(task: Any) -> None:
        task.result = {"done": 3, "of": 9}
        await go_on.wait()
        task.result = {"done": 9, "of": 9}

    task, _ = library.services.tasks.start("import", work)
    path = f"/api/tasks/{task.id}"
    while (await api.send("GET", path, None)).status == 404 or "result" not in (shown := await api.get(path)):
        await asyncio.sleep(0.001)
    assert (shown["status"], shown["result"]) == ("running", {"done": 3, "of": 9})
    go_on.set()
    await task.done.wait()
    shown = await api.get(path)
    assert (shown["status"], shown["result"]) == ("completed", {"done": 9, "of": 9})
    assert shown["create_time"] <= shown["started_at"] <= shown["update_time"] == shown["completed_at"]


async def test_a_users_own_tasks_are_nobody_elses(make_library: Any, api_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    api = api_of(library)
    await without_search(library)

    async def work(task: Any) -> None:
        pass

    own = (await library.services.tasks.run("bundle_export", work, {"file": "a.zip"}, "ann")).id
    everybodys = (await library.services.tasks.run("asset_scan", work)).id
    for user, seen in (("ann", {str(own), str(everybodys)}), ("bob", {str(everybodys)})):
        assert {task["id"] for task in (await api.as_user(user).get("/api/tasks"))["tasks"]} == seen
        await api.as_user(user).get(f"/api/tasks/{own}", 200 if user == "ann" else 404)
