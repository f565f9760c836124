"""A row for each background task: what was asked, how far it is, how it ended."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec

from .connection import Database

STOPPED = "The server stopped before the task was finished."


def _now() -> int:
    return time.time_ns() // 1_000_000


async def create(db: Database, task_id: uuid.UUID, name: str, payload: dict[str, Any]) -> None:
    """Add a task that is about to run."""
    now = _now()
    async with db.transaction() as tx:
        await tx.execute(
            "INSERT INTO tasks"
            " (id, name, idempotency_key, status, payload, created_at, updated_at, started_at)"
            " VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
            (task_id.bytes, name, str(task_id), _json(payload), now, now, now),
        )


async def update(db: Database, task_id: uuid.UUID, result: dict[str, Any]) -> None:
    """Store the progress of a running task."""
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET result = ?, updated_at = ? WHERE id = ? AND status = 'running'",
            (_json(result), _now(), task_id.bytes),
        )


async def finish(db: Database, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
    """Store the outcome; the task failed when there is an error message."""
    now = _now()
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET status = ?, result = ?, error_message = ?, updated_at = ?, completed_at = ? WHERE id = ?",
            ("failed" if error else "completed", _json(result), error, now, now, task_id.bytes),
        )


async def fail_interrupted(db: Database) -> None:
    """Close the tasks that a process which is no more left running."""
    now = _now()
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE tasks SET status = 'failed', error_message = ?, updated_at = ?, completed_at = ?"
            " WHERE status IN ('created', 'running')",
            (STOPPED, now, now),
        )


async def keep_newest(db: Database, name: str, count: int) -> None:
    """Forget all but the newest finished tasks of a name."""
    async with db.transaction() as tx:
        await tx.execute(
            "DELETE FROM tasks WHERE name = ?1 AND status <> 'running' AND id NOT IN"
            " (SELECT id FROM tasks WHERE name = ?1 ORDER BY created_at DESC LIMIT ?2)",
            (name, count),
        )


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
