"""Errors of SQLite by their cause: the state of the store, which may pass, or the values of a statement."""

from __future__ import annotations

import errno
import sqlite3

from ..errors import StoreBusyError
from ..fs import shared_files

READ_ONLY = "readonly database"
_LOCKED = "is locked"
# Python 3.10 has no error codes, so the text must do.
_STATES = (
    (_LOCKED, "another process holds it"),
    ("disk is full", "the disk is full"),
    ("disk I/O error", "the disk cannot be read or written"),
    ("unable to open database file", "its file cannot be opened"),
    (READ_ONLY, "its file cannot be written"),
    ("disk image is malformed", "its file is damaged"),
    ("file is not a database", "its file is damaged"),
    # A full-text index is opened by the first query of a connection, which finds its pages damaged, or is interrupted.
    ("vtable constructor failed", "its search index cannot be read"),
    ("interrupted", "it is being opened again or closed"),
)
# States at the start that may pass. SQLite cannot open a file that a backup or a virus scanner of Windows holds.
_PASSING = (_LOCKED, "disk is full", "disk I/O error", "unable to open database file")
# Operational errors that values cause.
_DATA = ("malformed JSON", "JSON path error", "too big", "integer overflow")


def may_pass(error: sqlite3.Error | OSError) -> bool:
    """Return whether a store that could not be opened may be opened later, without anybody's help."""
    if isinstance(error, OSError):
        return shared_files.is_in_use(error) or error.errno == errno.ENOSPC
    return isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _PASSING)


def as_busy(error: sqlite3.Error) -> StoreBusyError | None:
    """Return the error as StoreBusyError if the state of the store is the cause, or None."""
    text = str(error)
    for words, reason in _STATES:
        if words in text:
            busy = StoreBusyError(f"The library store cannot be used now: {reason}.")
            busy.is_passing = words == _LOCKED
            return busy
    return None


def is_data_error(error: Exception) -> bool:
    """Return whether the values of a statement are the cause, not the state of the store or of the process."""
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _DATA)
    if isinstance(error, sqlite3.ProgrammingError):
        return "closed" not in str(error)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError))
    return isinstance(error, RecursionError) or not isinstance(error, (RuntimeError, OSError))
