"""Following the disk: what happens in the library's folders is taken in within seconds, without a scan.

Where the operating system tells of changes, threads listen. Everywhere the folders' own times are looked at now and
then, which needs nobody to tell, and more rarely all files are, for what neither shows. What is found that way is
taken in once it has settled.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from ...background.cancel import CancelToken
from ...background.runner import Task, TaskRunner
from ...background.throttle import Throttle
from ...host.base import Host
from ..roots import Roots, is_ignored, root_of
from .apply import ScanProgress
from .debounce import FOLDER, Settling, glance
from .directory_cache import Differences
from .indexer import Indexer
from .scanner import Wanted
from .watch_backend import Watches, load_backend

log = logging.getLogger("comfy_assets.library")

FOLLOW = "asset_follow"
TICK_S = 0.25
POLL_S, POLL_SHARE = 2.0, 50  # folders are looked at this often, or after so many times what that takes
CHECK_S, SWEEP_SHARE = 60.0, 100  # files likewise
LONGEST_SWEEP_S = 3600.0
REST_SHARE, LONGEST_REST_S = 10, 10.0  # looks take a tenth of the time at most
RETRY_S = 30.0
MOST_LINKS = 24  # that are watched: each takes a thread and one of the few watchers that Linux lets a user have


class Follower:
    """Follows the disk, as one long task."""

    def __init__(self, host: Host, tasks: TaskRunner, gate: Throttle, indexer: Indexer) -> None:
        self._host = host
        self._tasks = tasks
        self._gate = gate
        self._indexer = indexer

    def start(self) -> Task:
        """Begin, once the library has been listed; answers the task."""

        async def follow(task: Task) -> None:
            while not self._indexer.scanner.completed.is_set():
                await _pause(task.token)
            self._indexer.is_followed = True
            backend = await asyncio.to_thread(load_backend)
            if backend is None:
                log.info("The watchfiles package is not installed: changes on disk are looked for every few seconds.")
            watches = Watches(backend, task.token)
            try:
                await _Following(self._host, self._gate, self._indexer, watches, task).run()
            finally:
                task.token.cancel()
                await asyncio.shield(asyncio.to_thread(watches.join))

        return self._tasks.start(FOLLOW, follow)[0]


class _Following:
    """A run of the follower: what it has heard, and when to do what. Times are of ``time.monotonic``."""

    def __init__(self, host: Host, gate: Throttle, indexer: Indexer, watches: Watches, task: Task) -> None:
        self._host = host
        self._gate = gate
        self._indexer = indexer
        self._scanner = indexer.scanner
        self._watches = watches
        self._task = task
        self._token = task.token
        self._settling = Settling()
        self._wanted = Wanted()
        self._poll_at = 0.0
        self._sweep_at = time.monotonic() + CHECK_S
        self._look_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled. Raises Cancelled."""
        while True:
            await self._hear()
            try:
                await self._step()
            except (sqlite3.Error, OSError):
                log.exception("Changes on disk could not be taken in; that is tried again")
                self._settling.put_back()
                self._look_at = self._poll_at = self._sweep_at = time.monotonic() + RETRY_S
            await _pause(self._token)

    async def _hear(self) -> None:
        heard, missed = self._watches.take()
        if missed:
            self._sweep_at = 0.0
        if heard:
            await asyncio.to_thread(self._note, heard)

    async def _step(self) -> None:
        """Do what is due; not while a prompt executes."""
        now = time.monotonic()
        if now < self._look_at:
            return
        if now >= self._poll_at:
            await self._pass_gate()
            await self._poll()
        if self._settling.is_waiting:
            await asyncio.to_thread(self._take_settled)
        if self._wanted.trees or self._wanted.folders:
            await self._pass_gate()
            await self._look()
        elif now >= self._sweep_at:
            await self._pass_gate()
            await self._sweep()

    def _take_settled(self) -> None:
        for path in self._settling.take():
            self._wanted.add(path)

    async def _pass_gate(self) -> None:
        await asyncio.to_thread(self._gate.wait, self._token)

    async def _poll(self) -> None:
        """Find the folders that have changed; see whether there are other places to watch."""
        began = time.monotonic()
        found = await self._scanner.differences(self._token)
        if found is not None:
            await asyncio.to_thread(self._note_differences, found)
        await asyncio.to_thread(self._tend_watches)
        now = time.monotonic()
        self._settling.patience = max(POLL_S, POLL_SHARE * (now - began))
        self._poll_at = now + self._settling.patience

    def _note_differences(self, found: Differences) -> None:
        self._wanted.trees.update(found.trees)
        for folder in found.folders:
            self._wanted.folders[folder] = None
        for folder in found.gone:
            self._settling.find(folder, glance(folder))

    def _tend_watches(self) -> None:
        roots = Roots(self._host.folders())
        links = sorted(self._scanner.links)[:MOST_LINKS]
        self._watches.tend([*map(str, roots.walk_roots()), *links])
        self._task.result = self._watches.counts()

    def _note(self, heard: Mapping[str, bool]) -> None:
        """Note what was heard, unless a scan would take no notice of it. Blocks."""
        roots = Roots(self._host.folders())
        walk_roots = roots.walk_roots()
        folders: dict[str, str | None] = {}
        for told, is_change_of_place in heard.items():
            folder, name = os.path.split(told)
            if folder not in folders:
                folders[folder] = self._scanner.as_listed(folder) if _is_inside(folder, roots, walk_roots) else None
            listed = folders[folder]
            if listed is None or not name or name.startswith("."):
                continue
            path = os.path.join(listed, name)  # noqa: PTH118
            looks = glance(path)
            # That something in a folder has changed is told of what is in it.
            if is_change_of_place if looks == FOLDER else not is_ignored(name, 1):
                self._settling.hear(path, looks)

    async def _look(self) -> None:
        wanted, self._wanted = self._wanted, Wanted()
        began = time.monotonic()
        await self._tell(await self._scanner.look(wanted, self._settling.is_settled, self._token))
        self._rest(began)

    async def _sweep(self) -> None:
        """Look at everything."""
        began = time.monotonic()
        progress = ScanProgress()
        await self._scanner.scan(None, self._token, progress, self._settling.is_settled)
        await self._tell(progress)
        now = self._rest(began)
        self._watches.retry()
        self._sweep_at = now + min(max(CHECK_S, SWEEP_SHARE * (now - began)), LONGEST_SWEEP_S)

    def _hear_again(self, paths: list[str]) -> None:
        for path in paths:
            self._settling.hear(path, glance(path))

    def _rest(self, began: float) -> float:
        now = time.monotonic()
        self._look_at = now + min(REST_SHARE * (now - began), LONGEST_REST_S)
        return now

    async def _tell(self, progress: ScanProgress) -> None:
        """Tell pages what has changed, have read what is new, and look again at what could not be taken in."""
        if progress.unsettled:
            await asyncio.to_thread(self._hear_again, progress.unsettled)
        counts = progress.differences()
        if counts:
            self._host.emit("assets.changed", counts)
        if progress.created or progress.changed or progress.moved:
            self._indexer.start_reading()


async def _pause(token: CancelToken) -> None:
    await asyncio.sleep(TICK_S)
    token.check()


def _is_inside(folder: str, roots: Roots, walk_roots: list[Path]) -> bool:
    """Whether a walk comes by this folder."""
    path = Path(folder)
    root = root_of(folder, walk_roots)
    if root is None or roots.is_excluded(path):
        return False
    return not any(part.startswith(".") for part in path.relative_to(root).parts)
