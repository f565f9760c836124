"""Paths on the disk: their texts for the system, and the state of files, compared with their records.

Blocks, except for the texts: for worker threads.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from ..models import FileStat

Identity = tuple[int, int]  # device and inode

# The state of a path: a file's stat, FOLDER, or None for nothing.
PathState = FileStat | None
FOLDER: FileStat = (-1, 0, 0)

# Windows refuses paths of more than 259 characters, and folders of more than 247, without the prefix.
_LONGEST_PLAIN = 240
_PREFIX = "\\\\?\\"
_INT64 = (1 << 63) - 1
_JUNCTION = 0xA0000003  # stat.IO_REPARSE_TAG_MOUNT_POINT, which Python defines on Windows alone
COARSE_TICK_NS = 2_000_000_000  # FAT keeps even seconds; others keep whole ones
# The clock of time stamps ticks every 1 to 10 ms on Linux, and every 16 ms on Windows. The rest is for rounding.
_TICK_NS = 20_000_000
_HUNDREDTH_NS = 10_000_000  # exFAT keeps hundredths of a second


class ChangedWhileReading(Exception):  # an outcome rather than an error
    """The file was written to, or replaced, while it was read."""


def extended(path: str) -> str:
    """Return an absolute path in the form that Windows accepts beyond 260 characters; unchanged elsewhere."""
    if os.name != "nt" or len(path) < _LONGEST_PLAIN or path.startswith(_PREFIX):
        return path
    return _prefixed(path)


def unlimited(folder: Path) -> Path:
    """Return an absolute folder in the form in which Windows walks everything below it, however deep."""
    return folder if os.name != "nt" or str(folder).startswith(_PREFIX) else Path(_prefixed(str(folder)))


def _prefixed(path: str) -> str:
    if path.startswith("\\\\"):  # a network share
        return f"{_PREFIX}UNC\\{path[2:]}"
    return _PREFIX + path


def plain(path: str) -> str:
    """Return a path without the prefix that ``extended`` adds."""
    if path.startswith(f"{_PREFIX}UNC\\"):
        return "\\\\" + path[len(_PREFIX) + 4 :]
    return path.removeprefix(_PREFIX)


def extended_path(folder: Path | str, name: str = "") -> Path:
    """Return a path, or that of a file in a folder, in the form that Windows accepts beyond 260 characters."""
    return Path(extended(os.path.join(folder, name) if name else str(folder)))  # noqa: PTH118 - called for every file


def file_stat(info: os.stat_result) -> FileStat:
    """Return size, time and inode of a file, with times and inodes that SQLite can hold.

    Listings on Windows have no inodes. There the time of creation stands in for it, which stays when a file is renamed
    or moved within a volume, and is another one for a copy; 0 if the file system keeps none.
    """
    mtime_ns = info.st_mtime_ns
    if not -_INT64 <= mtime_ns <= _INT64:
        mtime_ns = _INT64 if mtime_ns > 0 else -_INT64
    created_ns = birth_ns(info)
    return info.st_size, mtime_ns, info.st_ino & _INT64 if created_ns is None else max(0, min(created_ns, _INT64))


def matches_record(info: os.stat_result, size: int, mtime_ns: int) -> bool:
    """Return whether this is a regular file of the recorded size and time, so that its recorded content is valid.

    The inode does not count: a restored backup or a remounted network drive gives a file another one.
    """
    return (
        info.st_size == size
        and (info.st_mtime_ns == mtime_ns or file_stat(info)[1] == mtime_ns)
        and stat.S_ISREG(info.st_mode)
    )


def is_replaced(info: os.stat_result, inode: int, folder_ns: int, listed_ns: int | None) -> bool:
    """Return whether another file of the recorded size and time has come to a path since its folder was listed.

    ``inode`` is the recorded one, ``folder_ns`` the folder's mtime now and ``listed_ns`` at the listing, None if that
    is unknown. A remounted network drive, or a FAT one at any time, gives files other inodes, which does not count:
    then the folder's time or the file's ctime is older, while creating or renaming a file changes both.
    """
    if listed_ns is None or folder_ns == listed_ns or not inode or file_stat(info)[2] in (0, inode):
        return False
    return info.st_ctime_ns >= listed_ns


def stat_as_recorded(path: Path | str, size: int, mtime_ns: int) -> os.stat_result | None:
    """Return the stat of the file at a path if it matches its record, else None."""
    try:
        info = os.stat(extended(str(path)))  # noqa: PTH116 - called for every file
    except (OSError, ValueError):  # the latter for a path with a null character
        return None
    return info if matches_record(info, size, mtime_ns) else None


def fresh_for_ns(mtime_ns: int) -> int:
    """Return for how long (ns) a further change could still leave this time stamp as it is; 0 once it is reliable.

    A time far in the future says nothing of when the file was written.
    """
    tick = _TICK_NS
    if mtime_ns % _HUNDREDTH_NS == 0:
        tick += COARSE_TICK_NS if mtime_ns % 1_000_000_000 == 0 else _HUNDREDTH_NS
    age = time.time_ns() - mtime_ns
    return tick - age if abs(age) < tick else 0


def birth_ns(info: os.stat_result) -> int | None:
    """Return the time (ns) at which a file was created, on Windows; None elsewhere."""
    if os.name != "nt":
        return None
    # Before Python 3.12 the time of creation was in ctime.
    return int(getattr(info, "st_birthtime_ns", info.st_ctime_ns))


def identity_of(info: os.stat_result) -> Identity | None:
    """Return device and inode; None if the file system has no inodes."""
    return (info.st_dev, info.st_ino) if info.st_ino else None


def identity_at(path: str) -> Identity | None:
    """Return the device and inode that a path leads to; None if there is none, or no inodes."""
    try:
        return identity_of(os.stat(extended(path)))  # noqa: PTH116
    except (OSError, ValueError):
        return None


def real_path(path: Path | str) -> Path:
    """Return an absolute path with all links resolved. Blocks.

    Some file systems of Windows cannot resolve links: RAM disks, for example, and network drives. Their paths stay.
    """
    long = extended(os.path.abspath(path))  # noqa: PTH100
    try:
        return Path(plain(os.path.realpath(long if long.startswith(_PREFIX) else path)))
    except OSError:
        return Path(os.path.abspath(path))  # noqa: PTH100 - ``absolute`` keeps ``..``


def path_state(path: str) -> PathState:
    """Return the state of a path; None also if it cannot be examined. Blocks."""
    try:
        info = os.stat(extended(path))  # noqa: PTH116
    except OSError:
        return None
    return FOLDER if stat.S_ISDIR(info.st_mode) else file_stat(info)


def is_junction(info: os.stat_result) -> bool:
    """Return whether an lstat result is that of a junction, the link to a folder of Windows."""
    return getattr(info, "st_reparse_tag", 0) == _JUNCTION


def is_definitely_gone(folder: str, root: Path | None, unreachable: Iterable[str] = ()) -> bool:
    """Return whether a folder has been removed, rather than being out of reach for the time being.

    It is out of reach below an ``unreachable`` folder, below a link whose target is missing, or when its root is
    missing.
    """
    path = Path(folder)
    if any(path.is_relative_to(base) for base in unreachable):
        return False
    for ancestor in (path, *path.parents):
        if root is not None and not ancestor.is_relative_to(root):
            return False
        try:
            info = os.stat(extended(str(ancestor)))  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            if is_link(str(ancestor)):
                return False
        except OSError:
            return False
        else:
            return ancestor != root or stat.S_ISDIR(info.st_mode)
    return False


def free_bytes(folder: Path) -> int:
    """Return the free space of the disk that a folder is on, or would be on. Raises OSError."""
    existing = next(each for each in map(extended_path, (folder, *folder.parents)) if each.exists())
    return shutil.disk_usage(existing).free


def is_link(path: str) -> bool:
    """Return whether there is a symbolic link or a junction at a path. Blocks."""
    try:
        info = os.lstat(extended(path))
    except OSError:
        return False
    return stat.S_ISLNK(info.st_mode) or is_junction(info)


def file_names(folder: str) -> frozenset[str]:
    """Return the names of the files, and links to files, in a folder, as they are spelled. Raises OSError.

    A query for a single name would also find a name in another case where the file system ignores case.
    """
    with os.scandir(extended(folder)) as entries:
        return frozenset(entry.name for entry in entries if _may_be_file(entry))


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file or cannot be examined."""
    try:
        return entry.is_file()
    except OSError:
        return True
