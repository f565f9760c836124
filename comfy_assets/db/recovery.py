"""Bring a store back whose files were removed or replaced under the server. Everything here blocks.

The server's connections still show the whole store, as the system keeps removed files for those who have them open.
So a copy is made through them; then they are closed, and ``restore`` decides what becomes of the copy.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from .store_files import INDEX, LOCK_TIMEOUT_S, LOG, State, StoreFiles, close_guarded, open_guard

log = logging.getLogger("comfy_assets.db")


class Mark(NamedTuple):
    """A transaction: the connection that wrote it, and its number there."""

    writer: str
    number: int


class Restored(NamedTuple):
    """The outcome for the store. ``is_complete``: all that the server had committed is in the file.

    ``problem`` says why the server cannot go on with the file; None when it can.
    """

    is_complete: bool
    problem: str | None = None


def copy_path(path: Path) -> Path:
    """A free name for a copy of the store beside it."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        ending = "" if number == 1 else f"-{number}"
        copy = path.with_name(f"{path.name}.rescued-{stamp}{ending}")
        if not copy.exists():
            return copy
        number += 1


def open_copy(copy: Path) -> sqlite3.Connection:
    """A new file to copy the store into, for any thread."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(copy, isolation_level=None, timeout=LOCK_TIMEOUT_S, check_same_thread=False)


def restore(path: Path, copy: Path, state: State, files: StoreFiles, started: Mark, latest: Mark) -> Restored:
    """Bring the copy to where it belongs, after all connections of this process were closed.

    ``started`` is the last transaction before the server's own, ``latest`` its last. Raises sqlite3.Error, OSError;
    then the copy stays.
    """
    if state == "file replaced":
        _remove_own_logs(path, files)
        return Restored(
            is_complete=False,
            problem=f"{path.name} was replaced while the server ran. What the server had is kept as {copy.name}."
            " Restart the server to use the new file.",
        )
    if not _is_sound(copy):
        log.error("What the server had of the library store is damaged. It was kept as %s.", copy.name)
        return Restored(is_complete=False)
    if state == "file gone":
        return _put_back(path, copy, files)
    return _merge(path, copy, started, latest)


def _put_back(path: Path, copy: Path, files: StoreFiles) -> Restored:
    """Make the copy the store, unless another file has come meanwhile."""
    _remove_own_logs(path, files)
    for side in (LOG, INDEX):
        with suppress(FileNotFoundError):  # of another process: nothing of it can be used without its file
            path.with_name(path.name + side).rename(copy.with_name(f"{copy.name}.other{side}"))
    try:
        os.link(copy, path)
    except FileExistsError:
        return Restored(is_complete=False, problem=f"{path.name} is another file now; restart the server.")
    except OSError:  # a file system without hard links
        copy.rename(path)
    else:
        copy.unlink()
    log.error("The library store %s was removed while the server ran. It was written again.", path.name)
    return Restored(is_complete=True)


def _merge(path: Path, copy: Path, started: Mark, latest: Mark) -> Restored:
    """Write into the store what it lacks of the copy, if nobody else has written to it."""
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
    return Restored(is_complete)


def last_commit(connection: sqlite3.Connection) -> Mark:
    """The last transaction that the store has."""
    return Mark(*connection.execute("SELECT writer, number FROM last_commit").fetchone())


def _copy_into(copy: Path, path: Path) -> None:
    """Replace all pages of the store, in one transaction: other processes may have it open."""
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
    """Remove a log that belonged to the file that is gone: SQLite would apply it to the next one."""
    for suffix in (LOG, INDEX):
        side = path.with_name(path.name + suffix)
        if files.is_own(side):
            side.unlink()


def _remove(copy: Path) -> None:
    for suffix in ("", LOG, INDEX):
        with suppress(OSError):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
