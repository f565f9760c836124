"""Background tasks in the store: the rows that a runner writes, and the queries of requests."""

from __future__ import annotations

import uuid
from typing import Any

from ..db import tasks
from ..db.connection import Database
from ..errors import TaskNotFoundError
from ..models import Page, TaskFilter, TaskPage, TaskRecord

_KEPT = 100  # rows of each name: a scan at every start and every hash run would fill the table over the years


class TaskStore:
    """Write the tasks of a runner to the store, as those of this server (``instance``). Implements ``TaskJournal``."""

    def __init__(self, db: Database, instance: int = 0) -> None:
        self._db = db
        self._instance = instance

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str) -> None:
        """Add a row for a task that begins, and remove the oldest rows of its name."""
        await tasks.keep_newest(self._db, name, _KEPT)
        await tasks.create(self._db, task_id, name, payload, owner, self._instance)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """Store the progress of a task."""
        await tasks.update(self._db, task_id, result)

    async def finished(self, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
        """Store the end of a task, with a message if it failed."""
        await tasks.finish(self._db, task_id, result, error)


class TaskService:
    """Read tasks from the store. The progress of a running task is at most about a second old."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, wanted: TaskFilter, page: TaskPage) -> Page[TaskRecord]:
        """Return one page of tasks (listTasks)."""
        return await tasks.list_page(self._db, wanted, page)

    async def get(self, task_id: str, owner: str) -> TaskRecord:
        """Return a task (getTask).

        Raises TaskNotFoundError, also for another user's task and for a malformed id.
        """
        try:
            found = await tasks.get(self._db, uuid.UUID(task_id), owner)
        except ValueError:
            found = None
        if found is None:
            raise TaskNotFoundError("There is no such task.", details={"id": task_id})
        return found
