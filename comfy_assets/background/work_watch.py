"""Background work that rows in the store tell of: looked for at an interval, each look a cheap query."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress

log = logging.getLogger("comfy_assets.library")

INTERVAL_S = 2.0
AFTER_FAILURE_S = 60.0


class WorkWatch:
    """Looks for work, and does it, until it is closed."""

    def __init__(self, look: Callable[[], Awaitable[bool]], name: str, trouble: str) -> None:
        """``look`` does the work there is, and returns False if that failed. ``trouble`` begins the log's warning."""
        self._look = look
        self._name = name
        self._trouble = trouble
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for work in the background."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name=self._name)

    async def close(self) -> None:
        """Stop looking for work. A task that runs ends with the other tasks."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    async def _watch(self) -> None:
        while True:
            try:
                is_well = await self._look()
            except (sqlite3.Error, ValueError) as error:  # aiosqlite raises ValueError on a closed connection
                log.warning("%s: %s", self._trouble, error)
                is_well = False
            await asyncio.sleep(INTERVAL_S if is_well else AFTER_FAILURE_S)
