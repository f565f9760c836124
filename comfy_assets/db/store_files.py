"""The store's file and its write-ahead log as they were opened, to notice when they are removed or replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from .. import store_guard
from ..store_guard import Identity, identity_of

State = Literal["in place", "log gone", "file gone", "file replaced"]
LOG, INDEX = "-wal", "-shm"
_UNKNOWN: Identity = (0, 0)


class StoreFiles:
    """The files that SQLite has open for a store; made when its connections are open."""

    def __init__(self, path: Path) -> None:
        self._file, self._log = str(path), f"{path}{LOG}"
        self._file_identity = _identity_at(self._file)
        self._log_identity = _identity_at(self._log)
        found = (self._file_identity, self._log_identity, _identity_at(f"{path}{INDEX}"))
        self._identities = [each for each in found if each is not None and each != _UNKNOWN]
        self._is_open = True
        store_guard.add_open_files(self._identities)

    def forget(self) -> None:
        """End the protection of the files: their connections are closed."""
        if self._is_open:
            store_guard.remove_open_files(self._identities)
            self._is_open = False

    def state(self) -> State:
        """Compare what is at the paths now. Two calls of the system, cheap enough for the event loop."""
        found = _identity_at(self._file)
        if found is None:
            return "file gone"
        if _differ(found, self._file_identity):
            return "file replaced"
        return "log gone" if _differ(_identity_at(self._log), self._log_identity) else "in place"

    def is_own(self, path: Path) -> bool:
        """Return whether a file is one of those that were opened."""
        return _identity_at(str(path)) in self._identities


def _differ(one: Identity | None, other: Identity | None) -> bool:
    """Return whether these are two files, or only one is there. An unknown identity differs from none."""
    return one != other and _UNKNOWN not in (one, other)


def _identity_at(path: str) -> Identity | None:
    """Device and inode, _UNKNOWN where that cannot be told; None for a file that is not there."""
    try:
        info = os.stat(path)  # noqa: PTH116 - called for every transaction
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return _UNKNOWN
    return identity_of(info) or _UNKNOWN
