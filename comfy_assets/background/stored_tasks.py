"""Has the tasks that a runner runs recorded in the store, where lists of them are read."""

from __future__ import annotations

import uuid
from typing import Any

from ..db import tasks
from ..db.connection import Database

_KEPT = 100  # of each name


class StoredTasks:
    """A ``TaskJournal``."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def created(self, task_id: uuid.UUID, name: str, payload: dict[str, Any], owner: str) -> None:
        """The task begins."""
        await tasks.keep_newest(self._db, name, _KEPT)
        await tasks.create(self._db, task_id, name, payload, owner)

    async def progressed(self, task_id: uuid.UUID, result: dict[str, Any]) -> None:
        """The task is this far."""
        await tasks.update(self._db, task_id, result)

    async def finished(self, task_id: uuid.UUID, result: dict[str, Any], error: str | None) -> None:
        """The task ended, with a message if it failed."""
        await tasks.finish(self._db, task_id, result, error)
