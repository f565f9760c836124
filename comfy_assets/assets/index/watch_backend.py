"""Threads that receive file system events from the operating system through the ``watchfiles`` package."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from ...background.interruption import CancelToken
from ...fs.drives import ejectable
from ...fs.paths import FOLDER, identity_at, path_state, real_path
from ...names import folded

log = logging.getLogger("comfy_assets.library")

STEP_MS = 200  # interval at which a thread reports events and checks for its end
LONGEST_MS = 500  # longest time that events are collected while more arrive
CHECK_S = 2.0  # interval of checks that the path still leads to the watched folder
MOST_PATHS = 50_000
_MODIFIED = 2  # the kind of change that neither adds nor removes a path
_LIMITS = ("limit reached", "os error 24", "os error 28")  # in messages about exhausted watches or watchers
_HINT = " (on Linux it can be raised: sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances)"

# Creates a watcher of folders: watchfiles' RustNotify.
WatchBackend = Callable[..., Any]


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
