"""Protection of the store's files, which only SQLite may open.

On POSIX systems, a process that opens and closes a file loses all its locks on that file, whatever name it used. SQLite
in other processes then assumes that the store is closed and removes its write-ahead log. Therefore every path from
outside is checked here before it is opened. ``is_open_store_file`` is the cheap check for files that a scan has found.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .fs.paths import Identity, extended, extended_path, identity_at, identity_of, real_path

_lock = threading.Lock()
_folders: Counter[str] = Counter()
_open_files: Counter[Identity] = Counter()


class StoreFileError(PermissionError):
    """A path leads to a file of the library's store."""

    def __init__(self) -> None:
        super().__init__(1, "the file belongs to the library's store")


def protect(folder: Path) -> None:
    """Protect a folder with all its contents until ``release`` has been called as often."""
    with _lock:
        _folders[str(folder)] += 1


def release(folder: Path) -> None:
    """Undo one call of ``protect``."""
    with _lock:
        _folders[str(folder)] -= 1
        if _folders[str(folder)] <= 0:
            del _folders[str(folder)]


def add_open_files(identities: Iterable[Identity]) -> None:
    """Add files that SQLite opens in this process."""
    with _lock:
        _open_files.update(identities)


def remove_open_files(identities: Iterable[Identity]) -> None:
    """Remove files that SQLite has closed."""
    with _lock:
        _open_files.subtract(identities)
        for identity in [each for each, count in _open_files.items() if count <= 0]:
            del _open_files[identity]


def is_open_store_file(info: os.stat_result) -> bool:
    """Return whether SQLite has this file open in this process."""
    return identity_of(info) in _open_files


def check(path: Path | str) -> None:
    """Raise StoreFileError for a path into a protected folder, or to a hard link of a store file. Blocks."""
    if is_protected(path):
        raise StoreFileError


def check_found(path: str) -> None:
    """Raise StoreFileError for a scanned file that SQLite has open. Cheaper than ``check``. Blocks."""
    try:
        info = os.stat(extended(path))  # noqa: PTH116 - called for every file
    except (OSError, ValueError):
        return
    if is_open_store_file(info):
        raise StoreFileError


def stat_found(path: str) -> os.stat_result:
    """Return the stat of a scanned file. Raises StoreFileError if SQLite has it open, and OSError. Blocks."""
    info = os.stat(extended(path))  # noqa: PTH116 - called for every file
    if is_open_store_file(info):
        raise StoreFileError
    return info


def is_protected(path: Path | str) -> bool:
    """Return whether a path leads into a protected folder, or to a hard link of a store file. Blocks.

    Links, junctions and names in another case are resolved, even if only a part of the path exists.
    """
    try:
        real = real_path(path)
    except (OSError, ValueError):
        return False
    folders = list(_folders)
    if not folders:
        return False
    # By name for folders that do not exist yet, and by identity for those that are mounted in two places.
    names = {os.path.normcase(real_path(folder)) for folder in folders}
    identities = {identity for folder in folders if (identity := identity_at(folder)) is not None}
    for each in (real, *real.parents):
        if os.path.normcase(str(each)) in names or identity_at(str(each)) in identities:
            return True
    return _is_linked(real, folders)


def _is_linked(path: Path, folders: Iterable[str]) -> bool:
    """Return whether a file is a hard link of a database, its side files or its backups in the folders."""
    try:
        info = extended_path(path).stat()
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(info.st_mode) or info.st_nlink == 1:  # the usual case, without a look at the databases
        return False
    identity = identity_of(info)
    return identity is not None and (identity in _open_files or identity in _database_files(folders))


def _database_files(folders: Iterable[str]) -> set[Identity]:
    found: set[Identity] = set()
    for folder in folders:
        for path in Path(folder).glob("*.db*"):
            if (identity := identity_at(str(path))) is not None:
                found.add(identity)
    return found
