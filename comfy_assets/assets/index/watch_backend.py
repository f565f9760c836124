"""Threads that hear from the operating system what happens in folders, by way of the ``watchfiles`` package."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from ...background.cancel import CancelToken
from ...fs.stat import identity_at
from .debounce import FOLDER, glance

log = logging.getLogger("comfy_assets.library")

STEP_MS = 200  # how often a thread looks whether there is something to tell, or to end for
LONGEST_MS = 500  # how long events are gathered while others keep coming
CHECK_S = 2.0  # how often to see whether a folder is still the one that is watched
MOST_PATHS = 50_000
_MODIFIED = 2  # of the kinds of change, the one that leaves a path where it is
_LIMITS = ("limit reached", "os error 24", "os error 28")  # as the package tells of watches or watchers used up
_HINT = " (on Linux it can be raised: sysctl fs.inotify.max_user_watches and fs.inotify.max_user_instances)"

# Makes a watcher of folders: see watchfiles' RustNotify.
Backend = Callable[..., Any]


def load_backend() -> Backend | None:
    """What to watch with; None where the package is not installed or does not work."""
    try:
        from watchfiles._rust_notify import RustNotify
    except (ImportError, OSError):
        return None
    return RustNotify


class Watch(threading.Thread):
    """Watches one folder with all below it, until asked to end, or until another folder or none is in its place.

    Not a daemon: a thread that is inside the package's own code when Python ends would take the process down.
    """

    def __init__(self, place: str, backend: Backend, token: CancelToken) -> None:
        super().__init__(name=f"comfy-assets-watch {place}")
        self.place = place
        self.problem: str | None = None
        self._real = os.path.realpath(place)
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

    def take(self) -> tuple[dict[str, bool], bool]:
        """Paths of which something was heard, True for those that came, went or were renamed; whether some are lost."""
        with self._lock:
            heard, self._heard = self._heard, {}
            missed, self._missed = self._missed, False
        return heard, missed

    def run(self) -> None:
        """Watch; if that fails, ``problem`` tells why."""
        try:
            with closing(self._backend([self.place], False, False, 0, True, True)) as watcher:
                # Without a time limit of its own: events that come just when it ends are lost.
                while isinstance(found := watcher.watch(LONGEST_MS, STEP_MS, 0, self), set):
                    self._note(found)
        except FileNotFoundError:
            return  # it went while it was being opened
        except (OSError, RuntimeError, TypeError) as error:  # the last from an old version of the package
            text = str(error)
            self.problem = text + _HINT if any(sign in text for sign in _LIMITS) else text

    def is_set(self) -> bool:
        """Whether to leave the watcher, which asks this at every step."""
        if self._ended.is_set() or self._token.is_cancelled:
            return True
        now = time.monotonic()
        if now - self._checked_at < CHECK_S:
            return False
        self._checked_at = now
        return identity_at(self.place) != self._identity

    def _note(self, found: set[tuple[int, str]]) -> None:
        with self._lock:
            for kind, told in found:
                path = self._as_asked(told)
                self._heard[path] = kind != _MODIFIED or self._heard.get(path, False)
            if len(self._heard) > MOST_PATHS:
                self._heard, self._missed = {}, True

    def _as_asked(self, told: str) -> str:
        """Some systems tell where things really are, rather than the path that was asked for."""
        if self._real != self.place and told.startswith(self._real) and not told.startswith(self.place):
            return self.place + told[len(self._real) :]
        return told


class Watches:
    """The watches on the library's places; at those that cannot be watched nothing is heard."""

    def __init__(self, backend: Backend | None, token: CancelToken) -> None:
        self._backend = backend
        self._token = token
        self._watches: dict[str, Watch] = {}
        self._reported: set[str] = set()

    def take(self) -> tuple[dict[str, bool], bool]:
        """What was heard anywhere since the last call, and whether some of it was lost: see ``Watch.take``."""
        heard: dict[str, bool] = {}
        missed = False
        for watch in self._watches.values():
            paths, is_incomplete = watch.take()
            missed = missed or is_incomplete
            for path, is_change_of_place in paths.items():
                heard[path] = is_change_of_place or heard.get(path, False)
        return heard, missed

    def tend(self, places: Iterable[str]) -> None:
        """Watch these places and no others; a watch that has failed is left for ``retry``. Blocks."""
        wanted = set(places) if self._backend is not None else set()
        for place in self._watches.keys() - wanted:
            self._watches.pop(place).end()
        for place in wanted:
            watch = self._watches.get(place)
            if watch is None or not (watch.is_alive() or watch.problem):
                self._open(place)
            elif watch.problem and place not in self._reported:
                self._reported.add(place)
                log.warning("Changes in %s are looked for every few seconds, not heard of: %s", place, watch.problem)

    def _open(self, place: str) -> None:
        if self._backend is not None and glance(place) == FOLDER:
            self._watches[place] = Watch(place, self._backend, self._token)
            self._watches[place].start()

    def retry(self) -> None:
        """Watch again where that has failed: ``tend`` sees to it."""
        self._watches = {place: watch for place, watch in self._watches.items() if not watch.problem}

    def counts(self) -> dict[str, int]:
        """How many places are watched, as JSON members."""
        return {"watched": sum(watch.is_alive() for watch in self._watches.values())}

    def join(self) -> None:
        """Wait for the end of all watches, which have been asked to end. Blocks."""
        for watch in self._watches.values():
            watch.join()
