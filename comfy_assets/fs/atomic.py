"""Write, move and flush files so that none is ever overwritten, seen half written, or lost in a power failure.

Blocks: for worker threads. A file has a temporary name until it is complete. What a killed process leaves under such
names is removed by ``remove_leftovers``.

On macOS, fsync leaves the bytes in the cache of the drive, which may lose them or write them in another order.
F_FULLFSYNC empties that cache as well (manual page fcntl(2) of macOS).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from ..errors import FileInUseError, StorageError
from ..names import WINDOWS, folded, numbered, split_suffix
from ..store_guard import check_found
from .paths import extended, extended_path, real_path, unlimited
from .shared_files import is_in_use, open_shared, remove, rename, replace

log = logging.getLogger("comfy_assets.library")

T = TypeVar("T")

_ATTEMPTS = 1000  # numbered names; each may be taken by another program just before the move
_BLOCK = 1 << 20
LEFTOVER_AGE_S = 3600.0  # another server may still be writing a younger file
# Scans, lists of users' files and loaders' lists skip hidden names and this suffix.
_TEMP_PREFIX, _TEMP_SUFFIX = ".comfy-assets-", ".part"
_TEMP_PATTERN = f"{_TEMP_PREFIX}*{_TEMP_SUFFIX}"  # for ``Path.glob``

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


# What the disk cannot do now, whatever file is asked for.
_FAULTS_OF_DISK = frozenset(
    getattr(errno, name)
    for name in ("EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EROFS", "ESTALE")
    if hasattr(errno, name)  # Windows does not have all of them
)


class NoFreeNameError(OSError):
    """The folder holds too many files of this name."""


def temp_name(key: str | None = None) -> str:
    """Return the name of a file until it is complete: a unique one, or that of a key."""
    return f"{_TEMP_PREFIX}{uuid.uuid4().hex if key is None else key}{_TEMP_SUFFIX}"


def is_temp_name(name: str) -> bool:
    """Return whether a file of this name is not complete yet."""
    return name.startswith(_TEMP_PREFIX) and name.endswith(_TEMP_SUFFIX)


@contextlib.contextmanager
def temp_file(target: Path, key: str | None = None) -> Iterator[Path]:
    """Give the path of a temporary file beside ``target``; a file that remains there at the end is removed.

    With a ``key`` the path is the same each time, and a leftover of a killed process is removed first.
    """
    path = extended_path(target).with_name(temp_name(key))
    if key is not None:
        remove(path, missing_ok=True)
    try:
        yield path
    finally:
        discard(path)


def discard(path: Path) -> None:
    """Remove a temporary file. One that another program holds is left for ``remove_leftovers``."""
    try:
        remove(path, missing_ok=True)
    except OSError as error:
        log.warning("A temporary file could not be removed yet: %s", error)


def write_new(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create a file and flush it to the disk. Raises FileExistsError, OSError."""
    with extended_path(path).open("xb") as stream:
        write(stream)
        stream.flush()
        fsync(stream.fileno())


def replace_file(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, in the place of the one that may be there. Raises OSError."""
    make_folder(target.parent)
    with temp_file(target) as temporary:
        write_new(temporary, lambda stream: stream.write(content))
        replace(temporary, target)


def replace_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises OSError."""
    temporary = path.with_name(temp_name())
    try:
        # The mode is set when the file is created, so that nobody can open it before. Windows ignores it; there the
        # folder's permissions apply, which are those of the user's own files.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            fsync(stream.fileno())
        replace(temporary, path)
    finally:
        remove(temporary, missing_ok=True)


def make_private(path: Path) -> None:
    """Remove the permissions of others, which a restored copy may have. Raises OSError."""
    if os.name != "nt" and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def move_to_free_name(source: Path, folder: Path, wanted: str, taken: Iterable[str] = ()) -> Path:
    """Move a file into a folder of the same volume, under the name wanted or a numbered one; return its path.

    ``taken`` are names that must not be used although there may be no such files. Raises OSError.
    """
    # Case is ignored everywhere: the library may be moved to a system where such names are the same.
    reserved = set(map(folded, taken))
    present: set[str] | None = None
    number = 0
    for _ in range(_ATTEMPTS):
        name = numbered(wanted, number) if number else wanted
        if folded(name) not in reserved and (present is None or folded(name) not in present):
            try:
                move_no_replace(source, folder / name)
            except FileExistsError:
                pass
            else:
                return folder / name
        if present is None:  # listed only if the first name is taken, which is rare
            present = _names_like(folder, wanted)
        number = _next_number(wanted, number, reserved | present)
    raise NoFreeNameError(errno.EEXIST, "there are too many files of this name", wanted)


def free_name(folder: Path, wanted: str, taken: Iterable[str] = ()) -> str:
    """Return the name wanted, or a numbered one, that no file of a folder has in any case. Raises OSError.

    ``taken`` as in ``move_to_free_name``. Another program may take the name at any time.
    """
    used = {*map(folded, taken), *_names_like(folder, wanted)}
    if folded(wanted) not in used:
        return wanted
    return numbered(wanted, _next_number(wanted, 0, used))


def _names_like(folder: Path, wanted: str) -> set[str]:
    stem = folded(split_suffix(wanted)[0])[:32]  # numbering shortens the stems of long names
    with os.scandir(extended(str(folder))) as entries:
        return {name for entry in entries if (name := folded(entry.name)).startswith(stem)}


def _next_number(wanted: str, number: int, taken: set[str]) -> int:
    number += 1
    while folded(numbered(wanted, number)) in taken:
        number += 1
    return number


def move_no_replace(source: Path, target: Path) -> None:
    """Move a file within a volume, atomically. Raises FileExistsError if there is a target, OSError."""
    if WINDOWS:
        rename(source, target)
        return
    old, new = source, target
    try:
        new.hardlink_to(old)  # a rename would overwrite
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        new.touch(exist_ok=False)  # takes the name, so that the rename overwrites nothing but this empty file
        try:
            old.replace(new)
        except OSError:
            new.unlink()
            raise
    else:
        old.unlink()


def is_fault_of_disk(error: OSError) -> bool:
    """Return whether the disk is full, write-protected or fails, so that the file's name is not to blame."""
    return error.errno in _FAULTS_OF_DISK


def is_same_volume(source: Path, folder: Path) -> bool:
    """Return whether a file can be moved into a folder without being copied. A link is moved itself."""
    if extended_path(source).lstat().st_dev != extended_path(folder).stat().st_dev:
        return False
    return _share_mount(source.parent, folder)


# Two mount points of Linux may show folders of one file system, but no file can be moved between them. So it is in a
# container whose folders for models, inputs, outputs and users come from one disk, each on its own.
_MOUNTS = Path("/proc/self/mountinfo")  # manual page proc(5)
_POINT = 4  # the field with the mount point
_ESCAPE = re.compile(rb"\\([0-7]{3})")  # of spaces, tabs, line feeds and backslashes


def _share_mount(one: Path, other: Path) -> bool:
    """Return whether two paths are below the same mount point, or the system does not list these."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:  # another system
        return True
    points = [_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[_POINT]) for line in lines]
    return _mount_point(one, points) == _mount_point(other, points)


def _mount_point(path: Path, points: Sequence[bytes]) -> bytes | None:
    target = os.fsencode(real_path(path)) + b"/"
    return max((point for point in points if target.startswith(point.rstrip(b"/") + b"/")), key=len, default=None)


def move_across_volumes(source: Path, target: Path) -> None:
    """Move a file to a path on any volume; its folder is made. Raises FileExistsError if there is a target, OSError."""
    make_folder(target.parent)
    if is_same_volume(source, target.parent):
        move_no_replace(source, target)
    else:
        copy_to_volume(source, target)
        remove(source)


def stage(source: Path, folder: Path) -> Path:
    """Return a file that can be moved into a folder: the source, or a temporary copy in the folder.

    It is copied if the volumes differ. The folder is made. Raises OSError.
    """
    make_folder(folder)
    if is_same_volume(source, folder):
        return source
    copy = folder / temp_name()
    copy_to_volume(source, copy)
    return copy


def copy_to_volume(source: Path, target: Path) -> None:
    """Copy a file with its times to another volume and flush it to the disk; a failure leaves no partial copy.

    Raises FileExistsError if there is a target, OSError.
    """
    check_found(str(source))
    source, target = extended_path(source), extended_path(target)
    with open_shared(source) as reading, target.open("xb") as writing:
        try:
            shutil.copyfileobj(reading, writing, _BLOCK)
            writing.flush()
            fsync(writing.fileno())
            shutil.copystat(source, target)
        except BaseException:
            writing.close()  # Windows removes no open file
            discard(target)
            raise


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they are there. Raises OSError."""
    extended_path(folder).mkdir(parents=True, exist_ok=True)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    with contextlib.suppress(OSError):
        extended_path(folder).rmdir()


def remove_leftovers(folders: Iterable[Path], before: float, keep: Container[str] = ()) -> int:
    """Remove temporary files of killed processes last written before this time (s since 1970); return their number.

    Files with a name in ``keep`` stay.
    """
    return remove_old((path for folder in folders for path in folder.glob(_TEMP_PATTERN)), before, keep)


def remove_leftovers_below(folder: Path, before: float) -> int:
    """Remove leftovers from a folder and all below it, except behind links; return their number."""
    return remove_leftovers((Path(each) for each, _, _ in os.walk(unlimited(folder))), before)


def remove_old(paths: Iterable[Path], before: float, keep: Container[str] = ()) -> int:
    """Remove those of these temporary files that ``remove_leftovers`` would; return their number."""
    removed = 0
    for path in paths:
        if path.name in keep:
            continue
        with contextlib.suppress(OSError):  # it vanished, or another server is still writing it
            if extended_path(path).stat().st_mtime < before:
                remove(path)
                removed += 1
    return removed


async def run_blocking(work: Callable[[], T]) -> T:
    """Do file work in a thread. Raises FileInUseError, and StorageError for any other OSError.

    The message has the system's reason but no path.
    """
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        if is_in_use(error):
            log.warning("A file could not be changed: %s", error)
            raise FileInUseError("Another program has the file open. Close it there, or try again later.") from error
        log.warning("A file could not be stored or moved: %s", error)
        raise StorageError(f"The disk says: {error.strerror or type(error).__name__}.") from error


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
