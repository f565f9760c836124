"""What has happened on the disk, until it is over: a file that is still written to, or being moved, is left alone."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...fs.paths import extended
from ...fs.stat import file_stat
from ...models import FileStat

SETTLE_S = 1.0  # how long a file must look the same
REMOVAL_S = 2.0  # how long one must be away: longer, so that it is seen first where it has been moved to
_MOST_AT_ONCE = 5000

# What lies at a path: a file's stat, a folder, or nothing.
Looks = FileStat | None
FOLDER: FileStat = (-1, 0, 0)


@dataclass
class _Waiting:
    looks: Looks
    due: float


class Settling:
    """Paths of which something was heard, and what they looked like then. One thread at a time.

    ``patience`` is how much longer (s) a removal waits that nobody has told of: it is only seen when that is looked for
    that a file is somewhere else now.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.patience = 0.0
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._settled: dict[str, Looks] = {}

    def hear(self, path: str, looks: Looks) -> None:
        """Something was heard of a path, which looks like this now."""
        self._wait(path, looks, REMOVAL_S if looks is None else SETTLE_S)

    def find(self, path: str, looks: Looks) -> None:
        """A path was found to look like this, other than it was known."""
        waiting = self._waiting.get(path)
        if waiting is None or waiting.looks != looks:
            self._wait(path, looks, REMOVAL_S + self.patience if looks is None else SETTLE_S)

    def _wait(self, path: str, looks: Looks, seconds: float) -> None:
        before = self._waiting.get(path)
        if before is None or before.looks is not None or looks is not None:
            self._waiting[path] = _Waiting(looks, self._clock() + seconds)

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to take, now or later."""
        return bool(self._waiting)

    def take(self) -> Mapping[str, Looks]:
        """What has settled; it is believed until the next call. Blocks."""
        now = self._clock()
        due = [path for path, waiting in self._waiting.items() if waiting.due <= now][:_MOST_AT_ONCE]
        self._settled = {}
        for path in due:
            before = self._waiting.pop(path).looks
            looks = glance(path)
            if looks == before:
                self._settled[path] = looks
            else:
                self.hear(path, looks)
        return self._settled

    def put_back(self) -> None:
        """What was taken last has come to nothing: take it again later."""
        for path, looks in self._settled.items():
            self.hear(path, looks)

    def is_settled(self, path: str, looks: Looks) -> bool:
        """Whether a path that looks like this is to stay so; if that is too early to say, it counts as found."""
        if path in self._settled and self._settled[path] == looks:
            return True
        self.find(path, looks)
        return False


def glance(path: str) -> Looks:
    """What lies at a path now; nothing, too, where it cannot be looked at. Blocks."""
    try:
        info = os.stat(extended(path))  # noqa: PTH116
    except OSError:
        return None
    return FOLDER if stat.S_ISDIR(info.st_mode) else _as_listed(info)


def _as_listed(info: os.stat_result) -> FileStat:
    """Listings tell no inodes on Windows."""
    size, mtime_ns, inode = file_stat(info)
    return size, mtime_ns, inode if os.name != "nt" else 0
