"""Thumbnails ahead of time: those of the newest assets are made while the server is idle.

A list that is scrolled later then shows pictures at once. Prompts, scans, hashing and requests for thumbnails go first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...background.interruption import Throttle
from ...background.tasks import TaskRunner
from ...background.work_watch import WorkWatch
from ...db import assets
from ...db.connection import Database
from ...errors import ApiError, StoreUnavailableError
from ...host.base import Host
from . import decoders
from .thumbnail_service import ThumbnailService

log = logging.getLogger("comfy_assets.library")

AT_ONCE = 2  # as many as there are threads that make thumbnails
NEWEST = 1000  # assets: 50 MB of thumbnails, and some screens of every list
_MAX_DONE = 4 * NEWEST  # contents remembered as done, so that a change of one asset costs one query


class IdleThumbnails:
    """Makes the thumbnails of the newest assets after the start and after each change, two at a time."""

    def __init__(
        self,
        db: Database,
        host: Host,
        tasks: TaskRunner,
        throttle: Throttle,
        thumbnails: ThumbnailService,
        after: Sequence[str] = (),
    ) -> None:
        """``after`` are the names of tasks that go first."""
        self._db = db
        self._host = host
        self._tasks = tasks
        self._throttle = throttle
        self._thumbnails = thumbnails
        self._after = after
        self._is_due = True
        self._done: OrderedDict[bytes, None] = OrderedDict()
        self._watch = WorkWatch(self._look, "comfy-assets idle thumbnails", "Thumbnails could not be made ahead")

    def start(self) -> None:
        """Make thumbnails in the background from now on."""
        self._host.on_emit(self._note)
        self._watch.start()

    async def close(self) -> None:
        """Make no more thumbnails."""
        await self._watch.close()

    def _note(self, event: str, _: Mapping[str, Any]) -> None:
        """Look again after a change. Safe from any thread."""
        if event.startswith("assets."):  # changes, and ends of scans and of hashing
            self._is_due = True

    async def _look(self) -> bool:
        """Make the thumbnails that are missing; return False if the store cannot be used."""
        if not self._is_due or not self._is_idle():
            return True
        self._is_due = False
        try:
            newest = await assets.newest_contents(self._db, NEWEST, decoders.decoders_version())
            waiting = (content for content in newest if self._needs_thumbnail(content))
            # Both have ended before an error is raised: none goes on after ``close``.
            for error in await asyncio.gather(*(self._make(waiting) for _ in range(AT_ONCE)), return_exceptions=True):
                if error is not None:
                    raise error
        except StoreUnavailableError:
            self._is_due = True
            return False
        return True

    async def _make(self, waiting: Iterator[assets.DrawableContent]) -> None:
        """Make thumbnails until none is waiting or the server has something else to do."""
        for content in waiting:
            if not self._is_idle():
                self._is_due = True
                return
            await self._prepare(content)

    def _is_idle(self) -> bool:
        others = (self._tasks.latest(name) for name in self._after)
        is_working = any(task is not None and task.is_running for task in others)
        return not (is_working or self._host.is_executing() or self._throttle.is_on_hold or self._thumbnails.is_busy)

    def _needs_thumbnail(self, content: assets.DrawableContent) -> bool:
        is_drawable = content.has_picture or decoders.has_thumbnail(content.mime_type)
        return is_drawable and content.hash not in self._done

    async def _prepare(self, content: assets.DrawableContent) -> None:
        try:
            await self._thumbnails.prepare(content.hash)
        except StoreUnavailableError:
            raise
        except ApiError as error:  # requests get the same error, and the service remembers it
            log.debug("A thumbnail could not be made ahead of time: %s", error.message)
        self._done[content.hash] = None
        if len(self._done) > _MAX_DONE:
            self._done.popitem(last=False)
