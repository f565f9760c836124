"""Put files where they belong without ever overwriting one. Blocks: for worker threads."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from ..assets.index.walker import extended
from ..names import numbered, split_suffix
from ..store_guard import check_found
from .temporary_names import passing_name

_ATTEMPTS = 1000
_WINDOWS_RETRIES = 10
_WINDOWS_PAUSE_S = 0.05


class NoFreeNameError(OSError):
    """There are too many files of this name."""


def place(source: Path, folder: Path, wanted: str, taken: Iterable[str] = ()) -> Path:
    """Move a file into a folder of the same volume under the name wanted, or a numbered one; answers where it is.

    ``taken`` are names that must not be used although there may be no such files. Raises OSError.
    """
    reserved = {name.casefold() for name in taken}
    present: set[str] | None = None
    number = 0
    for _ in range(_ATTEMPTS):
        name = numbered(wanted, number) if number else wanted
        if name.casefold() not in reserved and (present is None or name.casefold() not in present):
            try:
                move_to_free(source, folder / name)
            except FileExistsError:
                pass
            else:
                return folder / name
        if present is None:
            present = _names_like(folder, wanted)
        number = _next_number(wanted, number, reserved | present)
    raise NoFreeNameError(errno.EEXIST, "there are too many files of this name", wanted)


def _names_like(folder: Path, wanted: str) -> set[str]:
    stem = split_suffix(wanted)[0][:32].casefold()
    with os.scandir(extended(str(folder))) as entries:
        return {name for entry in entries if (name := entry.name.casefold()).startswith(stem)}


def _next_number(wanted: str, number: int, taken: set[str]) -> int:
    number += 1
    while numbered(wanted, number).casefold() in taken:
        number += 1
    return number


def move_to_free(source: Path, target: Path) -> None:
    """Move within a volume. Raises FileExistsError rather than overwrite, at once and for all to see."""
    old, new = Path(extended(str(source))), Path(extended(str(target)))
    if os.name == "nt":
        _rename_on_windows(old, new)
        return
    try:
        new.hardlink_to(old)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        new.touch(exist_ok=False)
        try:
            old.replace(new)
        except OSError:
            new.unlink()
            raise
    else:
        old.unlink()


def _rename_on_windows(old: Path, new: Path) -> None:
    """Rename, which never overwrites there; a virus scanner may hold a new file for a moment."""
    for attempt in range(_WINDOWS_RETRIES):
        try:
            old.rename(new)
        except FileExistsError:
            raise
        except PermissionError:
            if attempt == _WINDOWS_RETRIES - 1:
                raise
            time.sleep(_WINDOWS_PAUSE_S)
        else:
            return


def is_same_volume(source: Path, folder: Path) -> bool:
    """Whether a file can be moved into a folder without being copied."""
    return source.stat().st_dev == folder.stat().st_dev


def move_anywhere(source: Path, target: Path) -> None:
    """Move to a place where there is no file yet, on whichever volume. Raises FileExistsError, OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_same_volume(source, target.parent):
        move_to_free(source, target)
    else:
        copy_to_volume(source, target)
        source.unlink()


def bring(source: Path, folder: Path) -> Path:
    """A file as ``place`` wants it: itself, or a copy in the folder under a passing name where volumes differ.

    The folder is made if there is none. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_same_volume(source, folder):
        return source
    passing = folder / passing_name()
    copy_to_volume(source, passing)
    return passing


def copy_to_volume(source: Path, target: Path) -> None:
    """Copy a file with its times to another volume, complete on the disk before this returns; no half copy stays."""
    try:
        check_found(str(source))
        with source.open("rb") as reading, target.open("xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
            writing.flush()
            os.fsync(writing.fileno())
        shutil.copystat(source, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def remove_if_empty(folder: Path) -> None:
    """Remove a folder in which nothing is left."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def settle_folder(folder: Path) -> None:
    """Make sure that a folder's entries are on the disk, where the system has a way to ask for that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise  # other than a file system that cannot
    finally:
        os.close(handle)
