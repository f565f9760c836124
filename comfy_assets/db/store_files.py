"""The files of a store: notice that they were removed or replaced, and keep the write-ahead log.

SQLite removes the log when it closes the last connection. It mistakes a connection for the last one if another process
has lost its locks, which on POSIX happens to a server that opens and closes the store's file in any other way. So no
process may remove the log: connections are closed while a read-only one (a *guard*) is open, which cannot remove it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from .. import store_guard
from ..store_guard import Identity, identity_of

StoreState = Literal["in place", "log gone", "file gone", "file replaced"]
LOG, INDEX = "-wal", "-shm"
_UNKNOWN: Identity = (0, 0)


class StoreFiles:
    """The identities of the files that SQLite has open for a store. Create it while the connections are open."""

    def __init__(self, path: Path) -> None:
        self._file, self._log = str(path), f"{path}{LOG}"
        self._file_identity = _identity_at(self._file)
        self._log_identity = _identity_at(self._log)
        found = (self._file_identity, self._log_identity, _identity_at(f"{path}{INDEX}"))
        self._identities = [each for each in found if each is not None and each != _UNKNOWN]
        self._is_open = True
        store_guard.add_open_files(self._identities)

    def forget(self) -> None:
        """End the protection of the files after their connections were closed."""
        if self._is_open:
            store_guard.remove_open_files(self._identities)
            self._is_open = False

    def state(self) -> StoreState:
        """Compare with the files at the paths now: two system calls, cheap enough for the event loop."""
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
    """Return whether these are two files, or only one exists. An unknown identity equals any."""
    return one != other and _UNKNOWN not in (one, other)


def _identity_at(path: str) -> Identity | None:
    """Return device and inode, _UNKNOWN if they cannot be told, or None if there is no file."""
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
    """Open a connection that does not change the write-ahead log when it is closed."""
    posix = path.absolute().as_posix()
    uri = f"file://{'' if posix.startswith('/') else '/'}{quote(os.fsencode(posix))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


def open_guard(path: Path) -> sqlite3.Connection:
    """Open a read-only connection. Until it is closed, no other connection of this process is the last one."""
    guard = connect_read_only(path)
    try:
        guard.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        guard.close()
        raise
    return guard


def close_guarded(connection: sqlite3.Connection, path: Path) -> None:
    """Checkpoint the write-ahead log and close a connection without removing the log."""
    with closing(connection), suppress(sqlite3.Error, OSError):
        guard = open_guard(path)
        fold(connection)
        connection.close()
        guard.close()


def fold_log(path: Path) -> None:
    """Checkpoint the write-ahead log of a store. A guard must be open."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        fold(connection)


def fold(connection: sqlite3.Connection) -> None:
    """Checkpoint the write-ahead log into the store's file and truncate it, unless another process is reading it."""
    connection.execute(f"PRAGMA busy_timeout = {_FOLD_TIMEOUT_MS}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
