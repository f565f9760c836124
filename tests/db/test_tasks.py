"""The rows of background tasks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db import tasks
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.models import TaskState


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "library.db")
    yield database
    await database.close()


async def row(db: Database, task_id: uuid.UUID) -> Any:
    return await db.fetch_one(
        "SELECT name, status, payload, result, error_message, completed_at IS NULL FROM tasks WHERE id = ?",
        (task_id.bytes,),
    )


@pytest.mark.parametrize(("error", "status"), [(None, "completed"), ("no", "failed"), ("stop", "cancelled")])
async def test_a_task_from_beginning_to_end(db: Database, error: str | None, status: TaskState) -> None:
    task_id = uuid.uuid4()
    await tasks.create(db, task_id, "scan", {"roots": ["größe"]})
    assert await row(db, task_id) == ("scan", "running", '{"roots":["größe"]}', None, None, 1)
    await tasks.update(db, task_id, {"n": 1})
    assert await row(db, task_id) == ("scan", "running", '{"roots":["größe"]}', '{"n":1}', None, 1)
    await tasks.finish(db, task_id, status, {"n": 2}, error)
    await tasks.update(db, task_id, {"n": 1})  # late: what is finished stays as it is
    assert await row(db, task_id) == ("scan", status, '{"roots":["größe"]}', '{"n":2}', error, 0)


async def test_what_another_process_left_running(db: Database) -> None:
    left, done = uuid.uuid4(), uuid.uuid4()
    for task_id in (left, done):
        await tasks.create(db, task_id, "scan", {})
    await tasks.finish(db, done, "completed", {}, None)
    await tasks.fail_interrupted(db)
    assert (await row(db, left))[1::3] == ("failed", tasks.STOPPED)
    assert (await row(db, done))[1::3] == ("completed", None)


async def test_tasks_of_servers_that_run_are_left_alone(db: Database) -> None:
    ids = {instance: uuid.uuid4() for instance in (0, 1, 2, 3)}
    for instance, task_id in ids.items():
        await tasks.create(db, task_id, "scan", {}, instance=instance)
    assert await tasks.running_instances(db) == {0, 1, 2, 3}
    await tasks.fail_interrupted(db, {2, 3})
    assert [(await row(db, ids[at]))[1] for at in ids] == ["failed", "failed", "running", "running"]
    await tasks.fail_tasks_of(db, {3})
    assert [(await row(db, ids[at]))[1] for at in ids] == ["failed", "failed", "running", "failed"]


async def test_tasks_that_are_resumed(db: Database) -> None:
    """They stay as they are until the server that goes on with them takes them over."""
    ids = [uuid.uuid4() for _ in range(3)]
    await tasks.create(db, ids[0], "export", {"n": 1}, "ann", instance=1, key="k")
    await tasks.create(db, ids[1], "scan", {}, instance=1)
    await tasks.create(db, ids[2], "export", {"n": 2}, "bob", instance=2)
    await tasks.fail_interrupted(db, {2}, ("export",))
    assert [(await row(db, task_id))[1] for task_id in ids] == ["running", "failed", "running"]
    assert await tasks.interrupted(db, "export", {2}) == [(ids[0], "ann", "k", '{"n":1}')]
    await tasks.create(db, ids[0], "export", {}, "", instance=3)
    found = await db.fetch_all("SELECT owner, payload, instance FROM tasks WHERE id = ?", (ids[0].bytes,))
    assert [tuple(each) for each in found] == [("ann", '{"n":1}', 3)]
    await tasks.fail_tasks_of(db, {3}, ("export",))
    assert (await row(db, ids[0]))[1] == "running"
    await tasks.fail_tasks_of(db, {3})
    assert (await row(db, ids[0]))[1] == "failed"


async def test_only_the_newest_are_kept(db: Database) -> None:
    ids = [uuid.uuid4() for _ in range(6)]
    for number, task_id in enumerate(ids):
        await tasks.create(db, task_id, "hash" if number == 5 else "scan", {})
        async with db.transaction() as tx:
            await tx.execute("UPDATE tasks SET created_at = ? WHERE id = ?", (number, task_id.bytes))
        if number:
            await tasks.finish(db, task_id, "completed", {}, None)
    await tasks.keep_newest(db, "scan", 2)
    kept = [task_id in {uuid.UUID(bytes=r[0]) for r in await db.fetch_all("SELECT id FROM tasks")} for task_id in ids]
    assert kept == [True, False, False, True, True, True]  # the first still runs, the last has another name
