"""listTasks, getTask and cancelTask: what is recorded of background work, its filters, and what they refuse."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.background import tasks as task_module
from comfy_assets_node.comfy_assets.background.tasks import Task
from comfy_assets_node.comfy_assets.db import tasks as task_rows

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
    ({"status": "cancelled"}, []),
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


async def work_until_cancelled(task: Any) -> None:
    while True:
        task.token.check()
        await asyncio.sleep(0.001)


async def test_a_task_is_cancelled(library: Any, api: Any) -> None:
    task = await library.services.tasks.spawn(Task("import", {"n": 1}), work_until_cancelled)
    path = f"/api/tasks/{str(task.id).upper()}"
    assert (await api.get(path))["status"] == "running"
    assert (await api.send("DELETE", path, 204)).body == b""
    await task.done.wait()
    shown = await api.get(path)
    assert (shown["status"], shown["error_message"]) == ("cancelled", task_module.CANCELLED)
    page = (await api.send("GET", "/api/tasks?status=cancelled")).json
    assert [each["id"] for each in page["tasks"]] == [str(task.id)]
    refused = (await api.send("DELETE", path, 409)).json  # it has ended
    assert refused["code"] == "TASK_NOT_CANCELLABLE"
    assert await api.get(path) == shown


async def test_tasks_that_cannot_be_cancelled(library: Any, api: Any) -> None:
    """Those that the server needs, and those that another server on the same store runs."""
    await without_search(library)
    needed, _ = library.services.tasks.start("asset_follow", work_until_cancelled, is_cancellable=False)
    elsewhere = uuid.uuid4()
    await task_rows.create(library.services.db, elsewhere, "import", {}, instance=99)
    await needed.stored.wait()
    for task_id in (needed.id, elsewhere):
        assert (await api.send("DELETE", f"/api/tasks/{task_id}", 409)).json["code"] == "TASK_NOT_CANCELLABLE"
        assert (await api.get(f"/api/tasks/{task_id}"))["status"] == "running"
    for task_id in ("00000000-0000-4000-8000-000000000000", "x", "%00"):
        assert (await api.send("DELETE", f"/api/tasks/{task_id}", 404)).json["code"] == "TASK_NOT_FOUND"
    needed.cancel()
    await needed.done.wait()


async def test_the_same_work_is_done_once(library: Any) -> None:
    spawn = library.services.tasks.spawn
    first, same = await asyncio.gather(
        spawn(Task("import", {}, "ann", key="k"), work_until_cancelled),
        spawn(Task("import", {}, "ann", key="k"), work_until_cancelled),
    )
    assert first is same
    others = [
        await spawn(Task("import", {}, owner, key=key), work_until_cancelled)
        for owner, key in (("bob", "k"), ("ann", "l"))
    ]
    assert len({first.id, *(each.id for each in others)}) == 3
    first.cancel()  # it does not take on new requests while it ends
    again = await spawn(Task("import", {}, "ann", key="k"), work_until_cancelled)
    assert again is not first


async def test_nobody_cancels_the_tasks_of_others(make_library: Any, api_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    task = await library.services.tasks.spawn(Task("import", {}, "ann"), work_until_cancelled)
    assert (await bob.send("DELETE", f"/api/tasks/{task.id}", 404)).json["code"] == "TASK_NOT_FOUND"
    assert (await ann.get(f"/api/tasks/{task.id}"))["status"] == "running"
    await ann.send("DELETE", f"/api/tasks/{task.id}", 204)
    await task.done.wait()
    assert task.status == "cancelled"


@pytest.mark.parametrize("resumable", [False, True])
async def test_a_task_that_the_end_of_the_server_interrupts(make_library: Any, resumable: bool) -> None:
    """It failed, unless the next start goes on with it: then its row says that it runs."""
    library = await make_library()
    task = await library.services.tasks.spawn(Task("import", {}, is_resumable=resumable), work_until_cancelled)
    await library.services.stop()
    assert task.status == "cancelled"
    with sqlite3.connect(library.host.data_directory() / "library.db") as store:
        found = store.execute("SELECT status, error_message FROM tasks WHERE id = ?", (task.id.bytes,)).fetchone()
    store.close()
    assert found == (("running", None) if resumable else ("failed", task_rows.STOPPED))
