"""Debounce changes on the disk: a file that is still being written or moved is left alone until it is stable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...fs.paths import PathState, path_state

STABLE_S = 1.0  # a file must keep its size and time for so long
REMOVAL_S = 2.0  # longer, so that a moved file is seen at its new path first
_MOST_AT_ONCE = 5000


@dataclass
class _PendingPath:
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
