"""Follow the disk: list changes in the library's folders within seconds, without a scan.

Three sources find changes. Events of the operating system, which threads receive through the ``watchfiles`` package;
the times of folders, polled every few seconds on every file system; and, rarely, a scan of all files, for changes that
neither shows. Changes are debounced: a file that is still being written or moved is left alone until it is stable.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...background.interruption import CancelToken, Throttle
from ...background.tasks import Task, TaskRunner
from ...fs.drives import ejectable
from ...fs.paths import FOLDER, PathState, identity_at, path_state, real_path
from ...host.base import Host
from ...names import folded
from ..roots import Roots, root_of
from .apply import ScanProgress
from .indexer import Indexer
from .scanner import ScanScope
from .walker import DirectoryChanges

log = logging.getLogger("comfy_assets.library")

FOLLOW = "asset_follow"
TICK_S = 0.25  # between looks at what is due, each of which is cheap
POLL_S, POLL_SHARE = 2.0, 50  # interval of checks of folder times, or so many times their duration
SWEEP_S, SWEEP_SHARE = 60.0, 100  # the same for all files
LONGEST_SWEEP_S = 3600.0  # however slow the disk is
REST_SHARE, LONGEST_REST_S = 10, 10.0  # scanning takes a tenth of the time at most
RETRY_S = 30.0  # after a failure, such as a store that is locked by another process
STABLE_S = 1.0  # a file must keep its size and time for so long
REMOVAL_S = 2.0  # longer, so that a moved file is seen at its new path first
HAS_FSEVENTS = sys.platform == "darwin"
MOST_LINKS = 24  # each takes a thread and one of the few inotify instances of a user
_MOST_AT_ONCE = 5000  # paths of one scan, each of which is looked at before it

# Of the threads that receive events:
STEP_MS = 200  # interval at which a thread reports events and checks for its end
LONGEST_MS = 500  # longest time that events are collected while more arrive
CHECK_S = 2.0  # interval of checks that the path still leads to the watched folder
MOST_PATHS = 50_000
_MODIFIED = 2  # the kind of change that neither adds nor removes a path
_LIMITS = ("limit reached", "os error 24", "os error 28")  # in messages about exhausted watches or watchers
_HINT = " (on Linux it can be raised: sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances)"

# Creates a watcher of folders: watchfiles' RustNotify.
WatchBackend = Callable[..., Any]


@dataclass
class _PendingPath:
    """The state of a path when it was noted, and when it counts as stable (by the debouncer's clock)."""

    looks: PathState
    due: float


class Debouncer:
    """Paths with recent changes, and their state at the time. One thread at a time.

    ``patience`` is an extra delay (s) for removals that were found without an event: the search must first have had a
    chance to find the file at a new path.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = 0.0
        self._clock = clock
        self._pending: dict[str, _PendingPath] = {}
        self._stable: dict[str, PathState] = {}

    def note_event(self, path: str, looks: PathState) -> None:
        """Note an event at a path that has this state now; the wait starts again."""
        self._wait(path, looks, REMOVAL_S if looks is None else STABLE_S)

    def note_difference(self, path: str, looks: PathState) -> None:
        """Note that a path differs from the store; the wait goes on while the state stays the same."""
        waiting = self._pending.get(path)
        if waiting is None or waiting.looks != looks:
            self._wait(path, looks, REMOVAL_S + self.patience if looks is None else STABLE_S)

    def _wait(self, path: str, looks: PathState, seconds: float) -> None:
        before = self._pending.get(path)
        # A path that is still gone keeps its time: events of a removal that continue must not delay it for ever.
        if before is None or before.looks is not None or looks is not None:
            self._pending[path] = _PendingPath(looks, self._clock() + seconds)

    @property
    def has_pending(self) -> bool:
        """Whether any path is pending, due or not."""
        return bool(self._pending)

    def pop_stable(self) -> Mapping[str, PathState]:
        """Return the paths that are stable now; ``is_stable`` is true of them until the next call. Blocks."""
        now = self._clock()
        due = [path for path, waiting in self._pending.items() if waiting.due <= now][:_MOST_AT_ONCE]
        self._stable = {}
        for path in due:
            before = self._pending.pop(path).looks
            looks = path_state(path)
            if looks == before:
                self._stable[path] = looks
            else:
                self.note_event(path, looks)
        return self._stable

    def restore(self) -> None:
        """Wait for the last stable paths once more, as they could not be processed."""
        for path, looks in self._stable.items():
            self.note_event(path, looks)

    def is_stable(self, path: str, looks: PathState) -> bool:
        """Return whether a path is stable in this state; if it is too early to tell, the path is noted."""
        if path in self._stable and self._stable[path] == looks:
            return True
        self.note_difference(path, looks)
        return False


def load_backend() -> WatchBackend | None:
    """Return the constructor of watchers; None if the package is not installed or does not work."""
    try:
        from watchfiles._rust_notify import RustNotify
    except (ImportError, OSError):
        return None
    return RustNotify


class DirectoryWatch(threading.Thread):
    """Watches a folder and all below it until told to stop, or until its path leads elsewhere.

    Not a daemon: a thread inside the package's native code when Python ends would crash the process.
    """

    def __init__(self, place: str, backend: WatchBackend, token: CancelToken) -> None:
        super().__init__(name=f"comfy-assets-watch {place}")
        self.place = place
        self.problem: str | None = None
        self._real = str(real_path(place))
        self._backend = backend
        self._token = token
        self._ended = threading.Event()
        self._identity = identity_at(place)
        self._checked_at = time.monotonic()
        self._lock = threading.Lock()
        self._heard: dict[str, bool] = {}
        self._missed = False

    def end(self) -> None:
        """Ask the thread to end."""
        self._ended.set()

    def drain(self) -> tuple[dict[str, bool], bool]:
        """Return the paths with events, True if one was added, removed or renamed; and whether events were lost."""
        with self._lock:
            heard, self._heard = self._heard, {}
            missed, self._missed = self._missed, False
        return heard, missed

    def run(self) -> None:
        """Watch; ``problem`` has the reason if that fails."""
        try:
            with closing(self._backend([self.place], False, False, 0, True, True)) as watcher:
                # No time limit: events that arrive just as a call times out would be lost.
                while isinstance(found := watcher.watch(LONGEST_MS, STEP_MS, 0, self), set):
                    self._note(found)
        except FileNotFoundError:
            return  # removed while it was being opened
        except (OSError, RuntimeError, TypeError) as error:  # the last from an old version of the package
            text = str(error)
            self.problem = text + _HINT if any(sign in text for sign in _LIMITS) else text

    def is_set(self) -> bool:
        """Return whether to stop. The watcher calls this at every step, as it would an event's ``is_set``."""
        if self._ended.is_set() or self._token.is_cancelled:
            return True
        now = time.monotonic()
        if now - self._checked_at < CHECK_S:
            return False
        self._checked_at = now
        # Some network drives and RAM disks have no inodes: there the identity is None whether it is there or not.
        return path_state(self.place) != FOLDER or identity_at(self.place) != self._identity

    def _note(self, found: set[tuple[int, str]]) -> None:
        with self._lock:
            for kind, reported in found:
                path = self._as_requested(reported)
                self._heard[path] = kind != _MODIFIED or self._heard.get(path, False)
            if len(self._heard) > MOST_PATHS:
                self._heard, self._missed = {}, True

    def _as_requested(self, reported: str) -> str:
        """Translate a path back to the requested one: some systems report it resolved, or as it is spelled on disk."""
        if reported.startswith(self.place):
            return reported
        if reported.startswith(self._real):
            return self.place + reported[len(self._real) :]
        parts = Path(reported).parts
        for base in (self.place, self._real):
            depth = len(Path(base).parts)
            if folded(str(Path(*parts[:depth]))) == folded(base):
                return str(Path(self.place, *parts[depth:]))
        return reported


class WatchSet:
    """The watches of the library's folders. Folders that cannot be watched give no events.

    Nor do those that a watch would keep open on a drive that users eject: see ``ejectable``.
    """

    def __init__(self, backend: WatchBackend | None, token: CancelToken, store: Path) -> None:
        self._backend = backend
        self._token = token
        self._store = store
        self._watches: dict[str, DirectoryWatch] = {}
        self._reported: set[str] = set()

    def drain(self) -> tuple[dict[str, bool], bool]:
        """Return the events of all watches since the last call: see ``DirectoryWatch.drain``."""
        heard: dict[str, bool] = {}
        missed = False
        for watch in self._watches.values():
            paths, is_incomplete = watch.drain()
            missed = missed or is_incomplete
            for path, is_entry_change in paths.items():
                heard[path] = is_entry_change or heard.get(path, False)
        return heard, missed

    def update(self, places: Iterable[str]) -> None:
        """Watch exactly these folders; a watch that has failed waits for ``retry``. Blocks."""
        wanted = set(places) if self._backend is not None else set()
        unwatched = ejectable(wanted, self._store)
        for place in sorted(unwatched):
            self._report_once(logging.INFO, place, "watching it would keep its drive from being ejected")
        wanted -= unwatched
        for place in self._watches.keys() - wanted:
            self._watches.pop(place).end()
        for place in wanted:
            watch = self._watches.get(place)
            if watch is None or not (watch.is_alive() or watch.problem):
                self._open(place)
            elif watch.problem:
                self._report_once(logging.WARNING, place, f"it cannot be watched: {watch.problem}")

    def _report_once(self, level: int, place: str, reason: str) -> None:
        if place not in self._reported:
            self._reported.add(place)
            log.log(level, "Changes in %s are polled every few seconds, as %s", place, reason)

    def _open(self, place: str) -> None:
        if self._backend is not None and path_state(place) == FOLDER:
            self._watches[place] = DirectoryWatch(place, self._backend, self._token)
            self._watches[place].start()

    def retry(self) -> None:
        """Drop the watches that have failed, so that ``update`` opens them again."""
        self._watches = {place: watch for place, watch in self._watches.items() if not watch.problem}

    def counts(self) -> dict[str, int]:
        """Return the number of watched folders, as JSON members."""
        return {"watched": sum(watch.is_alive() for watch in self._watches.values())}

    def join(self) -> None:
        """Wait until all watches, which have been told to stop, have ended. Blocks."""
        for watch in self._watches.values():
            watch.join()


class Follower:
    """Follows the disk, as one task that runs until the server stops."""

    def __init__(self, host: Host, tasks: TaskRunner, gate: Throttle, indexer: Indexer) -> None:
        self._host = host
        self._tasks = tasks
        self._gate = gate
        self._indexer = indexer

    def start(self) -> Task:
        """Start a task that begins once the library has been listed; return it."""

        async def follow(task: Task) -> None:
            while not self._indexer.scanner.completed.is_set():
                await _pause(task.token)
            self._indexer.is_followed = True
            backend = await asyncio.to_thread(load_backend)
            if backend is None:
                log.info("The watchfiles package is not installed: changes on disk are polled every few seconds.")
            watches = WatchSet(backend, task.token, self._host.data_directory())
            try:
                await _FollowRun(self._host, self._gate, self._indexer, watches, task).run()
            finally:
                task.token.cancel()
                await asyncio.shield(asyncio.to_thread(watches.join))

        return self._tasks.start(FOLLOW, follow, is_cancellable=False)[0]


class _FollowRun:
    """A run of the follower: pending changes and due times (``time.monotonic``)."""

    def __init__(self, host: Host, gate: Throttle, indexer: Indexer, watches: WatchSet, task: Task) -> None:
        self._host = host
        self._gate = gate
        self._indexer = indexer
        self._scanner = indexer.scanner
        self._watches = watches
        self._task = task
        self._token = task.token
        self._debouncer = Debouncer()
        self._scope = ScanScope()
        self._poll_at = 0.0
        self._sweep_at = time.monotonic() + SWEEP_S
        self._scan_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled. Raises Cancelled."""
        while True:
            await self._collect_events()
            try:
                await self._step()
            except (sqlite3.Error, OSError):
                log.exception("Changes on disk could not be processed; trying again")
                self._debouncer.restore()
                self._scan_at = self._poll_at = self._sweep_at = time.monotonic() + RETRY_S
            await _pause(self._token)

    async def _collect_events(self) -> None:
        heard, missed = self._watches.drain()
        if missed:
            self._sweep_at = 0.0
        if heard:
            await asyncio.to_thread(self._note, heard)

    async def _step(self) -> None:
        """Do the work that is due, unless a prompt executes."""
        now = time.monotonic()
        if now < self._scan_at:
            return
        if now >= self._poll_at:
            await self._wait_for_prompts()
            await self._poll()
        if self._debouncer.has_pending:
            await asyncio.to_thread(self._add_stable)
        if self._scope.trees or self._scope.folders:
            await self._wait_for_prompts()
            await self._scan_scope()
        elif now >= self._sweep_at:
            await self._wait_for_prompts()
            await self._sweep()

    def _add_stable(self) -> None:
        for path in self._debouncer.pop_stable():
            self._scope.add(path)

    async def _wait_for_prompts(self) -> None:
        await asyncio.to_thread(self._gate.wait, self._token)

    async def _poll(self) -> None:
        """Find changed folders, and update the set of watched ones."""
        began = time.monotonic()
        found = await self._scanner.directory_changes(self._token)
        if found is not None:
            await asyncio.to_thread(self._note_changes, found)
        await asyncio.to_thread(self._update_watches)
        now = time.monotonic()
        self._debouncer.patience = max(POLL_S, POLL_SHARE * (now - began))
        self._poll_at = now + self._debouncer.patience

    def _note_changes(self, found: DirectoryChanges) -> None:
        self._scope.trees.update(found.trees)
        for folder in found.folders:
            self._scope.folders[folder] = None
        for folder in found.gone:
            self._debouncer.note_difference(folder, path_state(folder))

    def _update_watches(self) -> None:
        roots = Roots(self._host.folders())
        links = sorted(self._scanner.links)[:MOST_LINKS]
        self._watches.update([*map(str, roots.walk_roots()), *links])
        self._task.result = self._watches.counts()

    def _note(self, heard: Mapping[str, bool]) -> None:
        """Note events, except those of files that scans ignore. Blocks."""
        roots = Roots(self._host.folders())
        walk_roots = roots.walk_roots()
        folders: dict[str, str | None] = {}
        for reported, is_entry_change in heard.items():
            folder, name = os.path.split(reported)
            if folder not in folders:
                folders[folder] = self._scanner.as_listed(folder) if _is_inside(folder, roots, walk_roots) else None
            listed = folders[folder]
            if listed is None or not name or name.startswith("."):
                continue
            path = os.path.join(listed, name)  # noqa: PTH118
            looks = path_state(path)
            # A change inside a folder has an event of its own.
            if is_entry_change if looks == FOLDER else not roots.is_ignored(Path(listed), name, 1):
                self._debouncer.note_event(path, looks)
            if HAS_FSEVENTS:
                # One event may stand for all changes in a folder, and letters may be composed otherwise than in the
                # listing, by which files are known.
                if looks == FOLDER and not is_entry_change and _is_inside(path, roots, walk_roots):
                    self._scope.folders[path] = None
                if not name.isascii():
                    self._scope.folders[listed] = None

    async def _scan_scope(self) -> None:
        wanted, self._scope = self._scope, ScanScope()
        began = time.monotonic()
        await self._report(await self._scanner.scan_scope(wanted, self._debouncer.is_stable, self._token))
        self._rest(began)

    async def _sweep(self) -> None:
        """Scan everything."""
        began = time.monotonic()
        progress = ScanProgress()
        await self._scanner.scan(None, self._token, progress, self._debouncer.is_stable)
        await self._report(progress)
        now = self._rest(began)
        self._watches.retry()
        self._sweep_at = now + min(max(SWEEP_S, SWEEP_SHARE * (now - began)), LONGEST_SWEEP_S)

    def _retry_deferred(self, paths: list[str]) -> None:
        for path in paths:
            self._debouncer.note_event(path, path_state(path))

    def _rest(self, began: float) -> float:
        now = time.monotonic()
        self._scan_at = now + min(REST_SHARE * (now - began), LONGEST_REST_S)
        return now

    async def _report(self, progress: ScanProgress) -> None:
        """Report changes to pages, start reading new files, and note deferred paths again."""
        if progress.deferred:
            await asyncio.to_thread(self._retry_deferred, progress.deferred)
        counts = progress.differences()
        if counts:
            self._host.emit("assets.changed", counts)
        if progress.created or progress.changed or progress.moved:
            self._indexer.start_reading()


async def _pause(token: CancelToken) -> None:
    await asyncio.sleep(TICK_S)
    token.check()


def _is_inside(folder: str, roots: Roots, walk_roots: list[Path]) -> bool:
    """Return whether walks enter this folder."""
    path = Path(folder)
    root = root_of(folder, walk_roots)
    return root is not None and not roots.is_excluded(path) and not roots.is_left_out(path)
