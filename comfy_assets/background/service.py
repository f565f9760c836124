"""Questions about background work: every scan, hash run, prune and the like, under way or over."""

from __future__ import annotations

import uuid

from ..db import tasks
from ..db.connection import Database
from ..errors import TaskNotFoundError
from ..models import Page, TaskFilter, TaskPage, TaskRecord


class TaskList:
    """What the store has of tasks; the progress of one under way is at most about a second old."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, wanted: TaskFilter, page: TaskPage) -> Page[TaskRecord]:
        """One page of tasks (listTasks)."""
        return await tasks.list_page(self._db, wanted, page)

    async def get(self, task_id: str, owner: str) -> TaskRecord:
        """A task (getTask). Raises TaskNotFoundError, also for another user's and for what is no id."""
        try:
            found = await tasks.get(self._db, uuid.UUID(task_id), owner)
        except ValueError:
            found = None
        if found is None:
            raise TaskNotFoundError("There is no such task.", details={"id": task_id})
        return found
