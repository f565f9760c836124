"""The store's file and its write-ahead log as they were opened, to notice when they are removed or replaced."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

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


LOCK_TIMEOUT_S = 10
_FOLD_TIMEOUT_MS = 200


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that leaves the write-ahead log as it is when it is closed."""
    posix = path.absolute().as_posix()
    uri = f"file://{'' if posix.startswith('/') else '/'}{quote(os.fsencode(posix))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


def open_guard(path: Path) -> sqlite3.Connection:
    """A read-only connection that has the store open: until it is closed no other in this process is the last."""
    guard = connect_read_only(path)
    try:
        guard.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        guard.close()
        raise
    return guard


def close_guarded(connection: sqlite3.Connection, path: Path) -> None:
    """Close a connection after folding the write-ahead log; the log's file stays where it is."""
    with closing(connection), suppress(sqlite3.Error, OSError):
        guard = open_guard(path)
        fold(connection)
        connection.close()
        guard.close()


def fold_log(path: Path) -> None:
    """Fold the write-ahead log of a store. Only while a guard is open."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        fold(connection)


def fold(connection: sqlite3.Connection) -> None:
    """Bring what is in the write-ahead log into the store's file and empty the log, unless somebody is reading it."""
    connection.execute(f"PRAGMA busy_timeout = {_FOLD_TIMEOUT_MS}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
