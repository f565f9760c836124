"""Open, replace, rename and remove files that other programs may have open. Blocks: for worker threads.

Windows refuses to replace, rename or remove a file while a program has it open, unless that program allows it. Virus
scanners, indexers and backups open new files for some tens of milliseconds, so every change is repeated for a moment.
The project's own readers allow the changes of others.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TypeVar

from ..names import WINDOWS
from .paths import extended, extended_path, plain

T = TypeVar("T")

PATIENCE_S = 2.0
_PAUSE_S = 0.01  # the first one; each is twice as long as the one before
_LONGEST_PAUSE_S = 0.2
_ACCESS_DENIED = 5  # among others for replacing a file that is open
_SHARING_VIOLATIONS = frozenset({32, 33})  # the latter for a locked range
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
_MAPPED = 1224  # a program has mapped the file into its memory
# Windows does not replace an open file even if its readers allow that. Those of this process need not be waited for.
_one_at_a_time = threading.Lock()

if sys.platform == "win32":
    import _winapi
    import ctypes
    import msvcrt

    _KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
    _READ_ATTRIBUTES = 0x80
    _FOLDERS_AND_LINKS = 0x02000000 | 0x00200000  # FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT
    _SHARE_ALL = 1 | 2 | 4  # FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_SHARE_DELETE

    def _create_file(path: str, access: int, flags: int) -> int:
        """Return a handle of an existing file. Raises OSError with the path, as ``open`` does."""
        try:
            return _winapi.CreateFile(path, access, _SHARE_ALL, 0, _winapi.OPEN_EXISTING, flags, 0)
        except OSError as error:
            error.filename = plain(path)
            raise

    def _open_for_sharing(path: str, flags: int) -> int:
        """Open a file for reading so that other programs can rename and remove it meanwhile. Raises OSError."""
        handle = _create_file(path, _winapi.GENERIC_READ, 0)
        try:
            return msvcrt.open_osfhandle(handle, flags | os.O_RDONLY)
        except BaseException:
            _winapi.CloseHandle(handle)
            raise

    _OPENER: Callable[[str, int], int] | None = _open_for_sharing

    class _BasicInfo(ctypes.Structure):
        """FILE_BASIC_INFO; times in units of 100 ns."""

        _fields_ = [
            *((f"{name}_time", ctypes.c_longlong) for name in ("creation", "access", "write", "change")),
            ("attributes", ctypes.c_ulong),
        ]

    def _change_time(path: str) -> int:
        handle = _create_file(path, _READ_ATTRIBUTES, _FOLDERS_AND_LINKS)
        try:
            info = _BasicInfo()
            if not _KERNEL.GetFileInformationByHandleEx(
                ctypes.c_void_p(handle), 0, ctypes.byref(info), ctypes.sizeof(info)
            ):
                raise ctypes.WinError(ctypes.get_last_error())
            return int(info.change_time)
        finally:
            _winapi.CloseHandle(handle)

else:
    _OPENER = None

    def _change_time(path: str) -> int:
        return os.lstat(path).st_ctime_ns


class FileHeldError(PermissionError):
    """Another program has the file open and does not allow the change."""


def open_shared(path: Path | str) -> BufferedReader:
    """Open a file for reading; others can rename, replace and remove it meanwhile. Raises OSError."""
    return BufferedReader(open_shared_raw(path))


def open_shared_raw(path: Path | str) -> FileIO:
    """Open a file as ``open_shared`` does, without a buffer. Raises OSError."""
    return FileIO(extended(os.fspath(path)), opener=_OPENER)


def read_at_once(path: str, size: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a file that should have ``size`` bytes, and its stat after that. Raises OSError.

    Of a larger file, one byte more is read. For thousands of small files, as a file object for each costs time.
    """
    path = extended(path)
    descriptor = os.open(path, _READ_FLAGS) if _OPENER is None else _OPENER(path, _READ_FLAGS)
    try:
        data = os.read(descriptor, size + 1)
        while 0 < len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
            data += more
        return data, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def open_patiently(path: Path | str) -> BufferedReader:
    """Open a file as ``open_shared`` does, once no other program locks it. Raises FileHeldError, OSError."""
    return _patiently(lambda: open_shared(path), Path(path))


def read_shared(path: Path | str, most: int = -1, *, patience_s: float | None = None) -> bytes:
    """Return the content of a file, or its first bytes. Raises FileHeldError if another program locks it, OSError.

    ``patience_s`` is the time to wait for that program, in place of PATIENCE_S.
    """

    def read() -> bytes:
        with open_shared(path) as stream:
            return stream.read(most)

    return _patiently(read, Path(path), patience_s=patience_s)


def read_with_stat(path: Path | str) -> tuple[bytes, os.stat_result]:
    """Return the content of a file and its stat, of one moment. Raises FileHeldError, OSError."""

    def read() -> tuple[bytes, os.stat_result]:
        with open_shared(path) as stream:
            return stream.read(), os.fstat(stream.fileno())

    return _patiently(read, Path(path))


def replace(source: Path, target: Path) -> None:
    """Move a file within a volume, over the target if there is one. Raises FileHeldError, OSError."""
    old, new = extended_path(source), extended_path(target)
    _patiently(lambda: old.replace(new), old, new)


def rename(source: Path, target: Path) -> None:
    """Move a file within a volume. What is at the target is replaced on POSIX alone.

    Raises FileExistsError on Windows if there is a target, FileHeldError, OSError.
    """
    old, new = extended_path(source), extended_path(target)
    _patiently(lambda: old.rename(new), old, new)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file, also a read-only one. Raises FileNotFoundError, FileHeldError, OSError."""
    extended_one = extended_path(path)

    def unlink() -> None:
        try:
            extended_one.unlink(missing_ok=missing_ok)
        except PermissionError:
            if not (WINDOWS and _is_read_only(extended_one)):
                raise
            extended_one.chmod(stat.S_IWRITE)  # Windows removes no read-only file
            extended_one.unlink(missing_ok=missing_ok)

    _patiently(unlink, extended_one)


def change_time(path: Path) -> int:
    """Return the time at which a file or link was last changed in any way, which programs cannot set back.

    It is only good for comparisons: its unit depends on the system. Some file systems of Windows have none: then it is
    0. Raises OSError.
    """
    return _change_time(extended(str(path)))


def is_in_use(error: OSError) -> bool:
    """Return whether an operation failed because another program has the file open."""
    return isinstance(error, FileHeldError) or getattr(error, "winerror", None) in (*_SHARING_VIOLATIONS, _MAPPED)


def _patiently(work: Callable[[], T], *paths: Path, patience_s: float | None = None) -> T:
    """Repeat work on files while others have one of them open. Raises FileHeldError, OSError."""
    if not WINDOWS:
        return work()
    until, pause = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s), _PAUSE_S
    while True:
        try:
            with _one_at_a_time:
                return work()
        except FileExistsError:
            raise
        except OSError as error:
            if not _may_be_in_use(error, paths):
                raise
            if time.monotonic() + pause > until:
                raise FileHeldError(error.errno, "Another program has the file open", error.filename) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _may_be_in_use(error: OSError, paths: tuple[Path, ...]) -> bool:
    """Return whether the failure may pass. A folder or a read-only file at one of the paths is refused for good."""
    if is_in_use(error):
        return True
    if getattr(error, "winerror", None) != _ACCESS_DENIED:
        return False
    return not any(path.is_dir() or _is_read_only(path) for path in paths)


def _is_read_only(path: Path) -> bool:
    try:
        return not path.stat().st_mode & stat.S_IWRITE
    except OSError:
        return False
