"""Flush files and folders to the disk, so that a power failure cannot take them. Blocks: for worker threads.

On macOS, fsync leaves the bytes in the cache of the drive, which may lose them or write them in another order.
F_FULLFSYNC empties that cache as well (manual page fcntl(2) of macOS).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_flush_drive: Callable[[int], object] | None = None
if sys.platform == "darwin":
    import fcntl

    def _full_fsync(handle: int) -> None:
        fcntl.fcntl(handle, fcntl.F_FULLFSYNC)

    _flush_drive = _full_fsync

# A file system may refuse to flush a folder, or a file that is open for reading.
_CANNOT_FLUSH = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS, *([errno.EACCES] if os.name == "nt" else [])}
)


def fsync(handle: int) -> None:
    """Flush an open file or folder to the disk, through the cache of the drive if the system can. Raises OSError."""
    if _flush_drive is not None:
        # Network shares and some external drives do not know it. A disk that fails also fails the plain call.
        with suppress(OSError):
            _flush_drive(handle)
            return
    os.fsync(handle)


def fsync_if_possible(handle: int) -> None:
    """Flush an open file or folder to the disk, unless its file system does not offer that. Raises OSError."""
    try:
        fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system has a way to do so. Raises OSError."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fsync_if_possible(handle)
        finally:
            os.close(handle)
