"""Refreshing of ComfyUI's own panels: its page loads lists of assets again when assets have changed.

The page's versions since 1.58 react to ``assets.seed.completed``. With the phase ``fast`` they add what is new at the
head of each list. With any other phase they empty the lists and load the first page again, which loses the place to
which the user has scrolled, so that phase is sent only for changes that the former cannot show. Their library of models
reacts to ``assets.seed.fast_complete``, as it does in pages since 1.49. Older versions ignore both messages.
``assets.changed``, on which all of this depends, is for the panel of this project.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..db import assets
from ..db.connection import Database
from ..errors import ApiError
from ..host.base import Host

log = logging.getLogger("comfy_assets.library")

DELAY_S = 0.1  # changes that come together make one message
INTERVAL_S = 0.5  # least time between messages
_SOURCES = frozenset({"assets.changed", "assets.seed.fast_complete"})
_CHANGES = "changes"  # what the messages of this module name as their source
_ADDED = "created"
_OTHER = ("changed", "deleted", "moved", "missing", "returned", "reread")
_MAX_ADDED = 100  # the page loads these one page after another; for more, it is faster to load the list again
_HEAD = 10  # assets that the page compares at once with those it knows


class PageRefresh:
    """Sends a message to pages at most twice a second while assets change."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._newest = 0  # the last asset of which pages have been told
        self._sending: asyncio.Task[None] | None = None
        self._is_awake = self._is_closed = False

    async def start(self) -> None:
        """Send messages from now on."""
        self._newest = await assets.newest_row(self._db)
        self._host.on_emit(self._note)

    async def close(self) -> None:
        """Send no more messages."""
        self._is_closed = True
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])

    def _note(self, event: str, data: Mapping[str, Any]) -> None:
        """Count the changes in a message to pages. Safe from any thread."""
        if event not in _SOURCES or data.get("source") == _CHANGES or self._is_closed:
            return
        with self._lock:
            for name in (_ADDED, *_OTHER):
                self._counts[name] += data.get(name, 0)
            wake = not self._is_awake and bool(+self._counts)
            self._is_awake = self._is_awake or wake
        if wake:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if not self._is_closed:
            self._sending = self._loop.create_task(self._send(), name="comfy-assets refresh of pages")

    async def _send(self) -> None:
        await asyncio.sleep(DELAY_S)
        while counts := self._take():
            try:
                phase, are_models = await self._assess(counts)
            except (sqlite3.Error, ApiError) as error:
                log.warning("Pages load their lists again, because the new assets cannot be read: %s", error)
                phase, are_models = "full", True
            message = completed(phase, created=counts[_ADDED], total=sum(counts.values()), source=_CHANGES)
            if are_models:
                self._host.emit("assets.seed.fast_complete", {"roots": [], **message})
            self._host.emit("assets.seed.completed", message)
            await asyncio.sleep(INTERVAL_S)

    def _take(self) -> Counter[str]:
        with self._lock:
            counts, self._counts = +self._counts, Counter()
            self._is_awake = bool(counts)
        return counts

    async def _assess(self, counts: Counter[str]) -> tuple[str, bool]:
        """Return the phase that shows these changes, and whether there may be models among the assets."""
        after, self._newest = self._newest, await assets.newest_row(self._db)
        is_added = not any(counts[name] for name in _OTHER)
        if is_added and counts[_ADDED] <= _MAX_ADDED and await assets.are_first(self._db, after, _HEAD):
            return "fast", await assets.models_above(self._db, after)
        return "full", not is_added or await assets.models_above(self._db, after)


def completed(
    phase: str,
    *,
    created: int = 0,
    enriched: int = 0,
    skipped: int = 0,
    total: int = 0,
    elapsed: float = 0.0,
    source: str,
) -> dict[str, Any]:
    """Make the data of the message. ``source`` is "scan" after a scan, "changes" after other changes."""
    return {
        "phase": phase,
        "created": created,
        "enriched": enriched,
        "skipped": skipped,
        "total": total,
        "elapsed": round(elapsed, 3),
        "source": source,
    }
