"""Keep the write-ahead log in place when connections are closed. Everything here blocks.

SQLite removes the log with the last connection. It takes itself for the last when another process has lost its locks,
which on POSIX systems happens to a server that opens and closes the store's file in any other way. So no process
removes the log: all connections are closed while a read-only one is open, which cannot remove it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

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
