"""Looks at the workflows folders: when the server starts, and then every few seconds."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import suppress

from ..host.base import Host
from .sync import WorkflowFiles

log = logging.getLogger("comfy_assets.workflows")

LOOK_S, LOOK_SHARE = 2.0, 50  # looked at this often, or after so many times what that takes


class FileWatch:
    """Has what is done to files outside of requests taken up, and written what could not be."""

    def __init__(self, host: Host, files: WorkflowFiles) -> None:
        self._host = host
        self._files = files
        self._looking: asyncio.Task[None] | None = None

    def start(self, *, follow: bool) -> None:
        """Begin to look; only once, unless ``follow``."""
        self._looking = asyncio.create_task(self._look(follow=follow), name="comfy-assets workflow files")

    async def _look(self, *, follow: bool) -> None:
        tidied: set[str] = set()
        while True:
            took_s = 0.0
            for owner in self._host.user_ids():
                try:
                    if owner not in tidied:
                        tidied.add(owner)
                        await self._files.remove_leftovers(owner)
                    took_s += await self._files.look_through(owner)
                except (OSError, sqlite3.Error, LookupError):
                    log.exception("The workflows of %s could not be looked at; that is tried again", owner)
            if not follow:
                return
            await asyncio.sleep(max(LOOK_S, LOOK_SHARE * took_s))

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
            self._looking = None
