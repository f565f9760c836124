"""Journal: events that are not in the store yet, kept in files so that a killed process loses none of them.

Appending is one small write to the operating system, which survives the death of the process, though not a crash of the
machine. SQLite's own write-ahead log does not serve here, for three reasons. Events are reported by the thread that
executes prompts, which would have to wait for the single writer of the database: a scan may hold it for 100 ms, another
process for longer. A transaction for each event costs many times an append. And events must be kept while there
is no database to write to: before it is open, while its disk is full, and while it is locked or damaged.

Several servers may share a data folder. Each holds a *seat*, a number with a locked file, and writes files of its own.
The system frees the lock of a process that dies, so that the next server finds the events that it left.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from ..fs import shared_files

log = logging.getLogger("comfy_assets.jobs")

_LOG_NAME = re.compile(r"(\d+)-(\d+)\.log")
_RESERVED = 1 << 20  # bytes: some thousand events, for the time in which the disk is full
_LOCK_NAME = re.compile(r"(\d+)\.lock")


class Journal:
    """The files of one server. Not thread-safe: the recorder holds a lock anyway."""

    def __init__(self, folder: Path) -> None:
        """Claim a seat in the folder. Raises OSError if the folder cannot be written to."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._locks: dict[int, FileLock] = {}
        self.seat = next(seat for seat in count(1) if self._claim(seat))
        for seat in self.other_seats:
            self._claim(seat)  # fails for running servers; the seats of ended ones are recovered by this server
        # Files with this number and above are this process's own. Below are those of earlier processes with the seat.
        self._number = self._first = max((number for _, number, _ in self._files()), default=0) + 1
        self._file: FileIO | None = None
        self._is_broken = False
        self._reserve = ReservedSpace(folder / f"{self.seat}.reserve")
        self._reserve.set_aside()

    def _claim(self, seat: int) -> bool:
        # Not bound to a thread: the event loop releases what a worker thread may have acquired.
        lock = FileLock(self._folder / f"{seat}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._locks[seat] = lock
        return True

    @property
    def other_seats(self) -> set[int]:
        """The seats that this server has not claimed: those of other servers that run now."""
        # Windows removes the lock of a server that ended in order, even if it left events behind.
        return (_numbers(self._folder, _LOCK_NAME) | _numbers(self._folder, _LOG_NAME)) - self._locks.keys()

    def take_over(self) -> set[int]:
        """Claim the seats of servers that have ended since this one began; return them."""
        return {seat for seat in self.other_seats if self._claim(seat)}

    def left_behind(self) -> list[bytes]:
        """Return the lines, in order, of events that ended servers have not stored."""
        # Reserved space that was not used up ends in zeros.
        return [line for path in self._left_behind() for line in path.read_bytes().rstrip(b"\0").split(b"\n") if line]

    def drop_left_behind(self) -> None:
        """Remove the files of ended servers, whose events are stored now."""
        _remove(self._left_behind())

    def _left_behind(self) -> list[Path]:
        return [path for seat, number, path in self._files() if seat != self.seat or number < self._first]

    def append(self, event: bytes) -> None:
        """Append an event; on a full disk, use the reserved space.

        An event that cannot be written at all is only in memory. That is logged once.
        """
        line = event + b"\n"
        if self._reserve.is_in_use:
            if self._reserve.write(line, self._path()):
                return
            self.rotate()
        try:
            self._write(line)
        except OSError as error:
            self.rotate()  # the line may be cut short: the next one must not follow it on the same line
            if not self._reserve.write(line, self._path()):
                self._warn(error)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            self._file = FileIO(self._path(), "ab")  # unbuffered: what is written survives the process
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "no space is left")

    def _path(self) -> Path:
        return self._folder / f"{self.seat}-{self._number}.log"

    def _warn(self, error: OSError) -> None:
        if not self._is_broken:
            log.warning("Jobs are not safe from a crash, their journal cannot be written: %s", error)
        self._is_broken = True

    def rotate(self) -> int:
        """Begin a new file; return the number of the last one."""
        is_reserve = self._reserve.close()
        if self._file is not None:
            self._file.close()
            self._file = None
        elif not is_reserve:
            return self._number - 1
        self._number += 1
        return self._number - 1

    def drop(self, upto: int) -> None:
        """Remove this server's files up to this number, whose events are stored now."""
        _remove(path for seat, number, path in self._files() if seat == self.seat and number <= upto)
        self._is_broken = self._is_broken and not self._reserve.set_aside()
        if not self._reserve.is_in_use:
            self._reserve.set_aside()

    def close(self) -> None:
        """Release the seat."""
        self.rotate()
        self._reserve.give_back()
        for lock in self._locks.values():
            lock.release()

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return seat, number and path of all files of claimed seats, in order."""
        found = ((match, path) for path in self._folder.iterdir() if (match := _LOG_NAME.fullmatch(path.name)))
        files = ((int(match[1]), int(match[2]), path) for match, path in found)
        return sorted(entry for entry in files if entry[0] in self._locks)


class ReservedSpace:
    """A file of zeros that reserves disk space, to be overwritten when the disk is full.

    Overwriting takes no new space on most file systems. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._room = 0

    @property
    def is_there(self) -> bool:
        """True if the space is reserved and not in use."""
        return self._room > 0 and self._file is None

    @property
    def is_in_use(self) -> bool:
        """True if events are written into the space."""
        return self._file is not None

    def set_aside(self) -> bool:
        """Reserve the space; return False if the disk has none."""
        if self.is_there:
            return True
        try:
            self._path.write_bytes(bytes(_RESERVED))
        except OSError:
            _remove([self._path])
            return False
        self._room = _RESERVED
        return True

    def write(self, line: bytes, to: Path) -> bool:
        """Write a line into the space, renamed to the path at first; return False if there is no room left."""
        if len(line) > self._room:
            return False
        try:
            if self._file is None:
                self._path.replace(to)
                self._file = FileIO(to, "r+b")  # overwrites the zeros; appending would need new space
            written = self._file.write(line)
        except OSError:
            return False
        self._room -= len(line)
        return written == len(line)

    def close(self) -> bool:
        """Close the file that the space has become; return False if it was not in use."""
        if self._file is None:
            return False
        self._file.close()
        self._file, self._room = None, 0
        return True

    def give_back(self) -> None:
        """Remove the reserved space."""
        self.close()
        _remove([self._path])
        self._room = 0


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # Windows removes no open file; reading its events a second time does no harm
            shared_files.remove(path)


def _numbers(folder: Path, pattern: re.Pattern[str]) -> set[int]:
    return {int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))}
