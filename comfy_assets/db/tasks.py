"""Rows of background tasks: name, parameters, progress, outcome."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from ..ids import now_ms
from ..models import Page, TaskFilter, TaskPage, TaskRecord, TaskState
from .connection import Database
from .sql import Columns, json_array, order_by

STOPPED = "The server stopped before the task was finished."
_COLUMNS = Columns(TaskRecord, **{name: name for name in TaskRecord.__struct_fields__})


async def create(
    db: Database,
    task_id: uuid.UUID,
    name: str,
    payload: dict[str, Any],
    owner: str = "",
    instance: int = 0,
    key: str | None = None,
) -> None:
    """Add a task that this server (``instance``) is about to run, or take over the stored one that has the id.

    All users may see a task of the owner "". ``key`` is its idempotency key, by default its id.
    """
    now = now_ms()
    async with db.transaction() as tx:
        await tx.execute(
            "INSERT INTO tasks"
            " (id, owner, name, idempotency_key, status, payload, created_at, updated_at, started_at, instance)"
            " VALUES (?, ?, ?, ?, 'running', ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET status = 'running',"
            " updated_at = excluded.updated_at, started_at = excluded.started_at, instance = excluded.instance",
            (task_id.bytes, owner, name, key or str(task_id), _json(payload), now, now, now, instance),
        )


async def update(db: Database, task_id: uuid.UUID, result: dict[str, Any]) -> None:
    """Store the progress of a running task."""
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET result = ?, updated_at = ? WHERE id = ? AND status = 'running'",
            (_json(result), now_ms(), task_id.bytes),
        )


async def finish(
    db: Database, task_id: uuid.UUID, status: TaskState, result: dict[str, Any], error: str | None
) -> None:
    """Store the end of a task, with a message unless it completed."""
    now = now_ms()
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET status = ?, result = ?, error_message = ?, updated_at = ?, completed_at = ? WHERE id = ?",
            (status, _json(result), error, now, now, task_id.bytes),
        )


_IS_ACTIVE = "status IN ('created', 'running')"


async def fail_interrupted(db: Database, running: Collection[int] = (), resumed: Collection[str] = ()) -> None:
    """Mark the tasks of servers that have ended as failed, but those of the names in ``resumed``.

    ``running`` are the instances of other servers that run.
    """
    await _fail(db, "instance NOT IN (SELECT value FROM json_each(?3))", running, resumed)


async def fail_tasks_of(db: Database, instances: Collection[int], resumed: Collection[str] = ()) -> None:
    """Mark the tasks that servers left running when they ended, while this one runs, as failed.

    Those of the names in ``resumed`` are left as they are.
    """
    await _fail(db, "instance IN (SELECT value FROM json_each(?3))", instances, resumed)


async def _fail(db: Database, condition: str, instances: Collection[int], resumed: Collection[str]) -> None:
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET status = 'failed', error_message = ?1, updated_at = ?2, completed_at = ?2"
            f" WHERE {_IS_ACTIVE} AND {condition} AND name NOT IN (SELECT value FROM json_each(?4))",
            (STOPPED, now_ms(), json_array(instances), json_array(resumed)),
        )


class InterruptedTask(NamedTuple):
    """A task that a server left running when it ended. ``payload`` is a JSON object."""

    id: uuid.UUID
    owner: str
    key: str
    payload: str


async def interrupted(db: Database, name: str, running: Collection[int] = ()) -> list[InterruptedTask]:
    """Return the tasks of this name that servers have left running, the oldest first.

    ``running`` are the instances of servers that run.
    """
    rows = await db.fetch_all(
        f"SELECT id, owner, idempotency_key, payload FROM tasks WHERE name = ? AND {_IS_ACTIVE}"
        " AND instance NOT IN (SELECT value FROM json_each(?)) ORDER BY created_at, id",
        (name, json_array(running)),
    )
    return [InterruptedTask(uuid.UUID(bytes=row[0]), *row[1:]) for row in rows]


async def running_instances(db: Database) -> set[int]:
    """Return the servers that have tasks which have not ended."""
    rows = await db.fetch_all(f"SELECT DISTINCT instance FROM tasks WHERE {_IS_ACTIVE}")
    return {row[0] for row in rows}


async def keep_newest(db: Database, name: str, count: int) -> None:
    """Delete all but the newest ended tasks of a name."""
    # A running one stays in any case: its server, which may be another one, still updates it.
    async with db.transaction() as tx:
        await tx.execute(
            "DELETE FROM tasks WHERE name = ?1 AND status <> 'running' AND id NOT IN"
            " (SELECT id FROM tasks WHERE name = ?1 ORDER BY created_at DESC LIMIT ?2)",
            (name, count),
        )


async def list_page(db: Database, wanted: TaskFilter, page: TaskPage) -> Page[TaskRecord]:
    """Return one page of the tasks that pass the filter, and the total number of them."""
    where, parameters = _select(wanted)
    total = int((await db.fetch_all(f"SELECT count(*) FROM tasks WHERE {where}", parameters))[0][0])
    if page.offset >= total:
        return Page([], total, has_more=False)
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM tasks WHERE {where} {order_by('created_at', 'id', page.order)}"
        f" LIMIT {page.limit:d} OFFSET {page.offset:d}",
        parameters,
    )
    return Page(_COLUMNS.read_all(rows), total, has_more=page.offset + len(rows) < total)


async def get(db: Database, task_id: uuid.UUID, owner: str) -> TaskRecord | None:
    """Return the task if it is this owner's or everybody's, or None."""
    row = await db.fetch_one(
        f"SELECT {_COLUMNS.sql} FROM tasks WHERE id = ? AND owner IN ('', ?)", (task_id.bytes, owner)
    )
    return _COLUMNS.read(row) if row is not None else None


def _select(wanted: TaskFilter) -> tuple[str, list[Any]]:
    conditions, parameters = ["owner IN ('', ?)"], [wanted.owner]
    comparisons: list[tuple[str, Any]] = [
        ("name =", wanted.name),
        ("idempotency_key =", wanted.idempotency_key),
        ("created_at >=", wanted.since),
        ("created_at <=", wanted.until),
    ]
    for comparison, value in comparisons:
        if value is not None:
            conditions.append(f"{comparison} ?")
            parameters.append(value)
    if wanted.statuses:
        conditions.append(f"status IN ({', '.join('?' * len(wanted.statuses))})")
        parameters.extend(wanted.statuses)
    return " AND ".join(conditions), parameters


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
