"""The files of a store: keep the write-ahead log, notice that files were removed or replaced, and restore them.

SQLite removes the log when it closes the last connection. It mistakes a connection for the last one if another process
has lost its locks, which on POSIX happens to a server that opens and closes the store's file in any other way. So no
process may remove the log: connections are closed while a read-only one (a *guard*) is open, which cannot remove it.

After a removal, the server's connections still show the whole store, because the system keeps removed files for
processes that have them open. A copy is made through them; then they are closed, and ``restore`` decides what to do
with the copy. Everything here blocks, except ``StoreFiles.state``.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from .. import store_guard
from ..fs import shared_files
from ..fs.paths import Identity, identity_of

log = logging.getLogger("comfy_assets.db")

StoreState = Literal["in place", "log gone", "file gone", "file replaced"]
LOG, INDEX = "-wal", "-shm"
_UNKNOWN: Identity = (0, 0)
LOCK_TIMEOUT_S = 10  # how long SQLite waits for another process
_FOLD_TIMEOUT_MS = 200  # short: what is not folded now stays in the log, where it is just as safe


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


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a connection that does not change the write-ahead log when it is closed."""
    # A path of Windows begins with a drive, so the slash that begins the path of a URI has to be added.
    posix = path.absolute().as_posix()
    uri = f"file://{'' if posix.startswith('/') else '/'}{quote(os.fsencode(posix))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


def open_guard(path: Path) -> sqlite3.Connection:
    """Open a read-only connection. Until it is closed, no other connection of this process is the last one."""
    guard = connect_read_only(path)
    try:
        # SQLite opens the write-ahead log with the first statement, not before.
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


class CommitMark(NamedTuple):
    """A transaction: the connection that wrote it, and its number there."""

    writer: str
    number: int


class RestoreResult(NamedTuple):
    """The outcome. ``is_complete``: the file has everything that the server had committed.

    ``problem`` is the reason why the server cannot continue with the file, or None.
    """

    is_complete: bool
    problem: str | None = None


def copy_path(path: Path) -> Path:
    """Return a free name for a copy of the store, beside it."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        ending = "" if number == 1 else f"-{number}"
        copy = path.with_name(f"{path.name}.rescued-{stamp}{ending}")
        if not copy.exists():
            return copy
        number += 1


def open_copy(copy: Path) -> sqlite3.Connection:
    """Create a file to copy the store into. Any thread may use the connection."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(copy, isolation_level=None, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


def restore(
    path: Path, copy: Path, state: StoreState, files: StoreFiles, started: CommitMark, latest: CommitMark
) -> RestoreResult:
    """Put the copy where it belongs, after all connections of this process were closed.

    ``started`` is the last transaction before the server's own, ``latest`` its last. Raises sqlite3.Error or OSError;
    the copy is kept then.
    """
    if state == "file replaced":
        _remove_own_logs(path, files)
        return RestoreResult(
            is_complete=False,
            problem=f"{path.name} was replaced while the server ran. What the server had is kept as {copy.name}."
            " Restart the server to use the new file.",
        )
    if not _is_sound(copy):
        log.error("What the server had of the library store is damaged. It was kept as %s.", copy.name)
        return RestoreResult(is_complete=False)
    if state == "file gone":
        return _put_back(path, copy, files)
    return _merge(path, copy, started, latest)


def _put_back(path: Path, copy: Path, files: StoreFiles) -> RestoreResult:
    """Make the copy the store, unless there is another file by now."""
    _remove_own_logs(path, files)
    for side in (LOG, INDEX):
        with suppress(FileNotFoundError):  # of another process; a log is useless without its file
            shared_files.rename(path.with_name(path.name + side), copy.with_name(f"{copy.name}.other{side}"))
    try:
        os.link(copy, path)  # fails if there is a file by now, which a rename would replace on POSIX
    except FileExistsError:
        return RestoreResult(is_complete=False, problem=f"{path.name} is another file now; restart the server.")
    except OSError:  # the file system has no hard links
        shared_files.rename(copy, path)
    else:
        shared_files.remove(copy)
    log.error("The library store %s was removed while the server ran. It was written again.", path.name)
    return RestoreResult(is_complete=True)


def _merge(path: Path, copy: Path, started: CommitMark, latest: CommitMark) -> RestoreResult:
    """Write what the store lacks of the copy into it, unless another process has written to the store."""
    guard = open_guard(path)
    try:
        found = last_commit(guard)
        is_complete = found == latest
        is_behind = found == started or (found.writer == latest.writer and found.number < latest.number)
        if is_behind and not is_complete:
            _copy_into(copy, path)
            is_complete = True
    finally:
        guard.close()
    if is_complete:
        _remove(copy)
        log.error("The write-ahead log of %s was removed while the server ran. Nothing was lost.", path.name)
    else:
        log.error(
            "The write-ahead log of %s was removed while the server ran, and another program has changed the store."
            " What the server had is kept as %s.",
            path.name,
            copy.name,
        )
    return RestoreResult(is_complete)


def last_commit(connection: sqlite3.Connection) -> CommitMark:
    """Return the last transaction in the store."""
    return CommitMark(*connection.execute("SELECT writer, number FROM last_commit").fetchone())


def _copy_into(copy: Path, path: Path) -> None:
    """Replace all pages of the store in one transaction, as other processes may have it open."""
    target = sqlite3.connect(path, isolation_level=None, timeout=LOCK_TIMEOUT_S)
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as source:
            source.backup(target)
    finally:
        close_guarded(target, path)


def _is_sound(copy: Path) -> bool:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False


def _remove_own_logs(path: Path, files: StoreFiles) -> None:
    """Remove a log of the file that is gone: SQLite would apply it to the next file."""
    for suffix in (LOG, INDEX):
        side = path.with_name(path.name + suffix)
        if files.is_own(side):
            shared_files.remove(side)


def _remove(copy: Path) -> None:
    for suffix in ("", LOG, INDEX):
        with suppress(OSError):
            shared_files.remove(copy.with_name(copy.name + suffix), missing_ok=True)
