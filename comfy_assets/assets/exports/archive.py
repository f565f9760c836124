"""Write archives: zip files whose members are stored as they are. Blocks: for worker threads.

Images, videos and weights hardly become smaller, and an archive that is stored is written as fast as the disk. Members
and archives of more than 4 GiB have ZIP64 records.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ... import store_guard
from ...fs.atomic import fsync
from ...fs.paths import file_stat
from ...fs.shared_files import open_shared_raw

_BLOCK = 1 << 20
_REGULAR = 0o100644 << 16  # mode of a Unix file, in the upper half of the external attributes
_FIRST_YEAR, _LAST_YEAR = 1980, 2107  # of the times that a zip file can hold

Count = Callable[[int], None]


class UnreadableMember(Exception):  # an outcome rather than an error
    """A file cannot be read whole, for the reason in the message, and is not in the archive."""


class ArchiveWriter:
    """An archive that is being written to a stream, which must be empty and seekable."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, path: Path, name: str, check: Callable[[], None], count: Count) -> None:
        """Add a file as a member. ``check`` is called before each block, ``count`` with the number of its bytes.

        Raises UnreadableMember for a file that cannot be read or is written to meanwhile; the archive is then as
        before. Any OSError is one of the archive's own file. What ``check`` raises passes through.
        """
        with contextlib.ExitStack() as stack:
            with _reading():
                store_guard.check(path)
                source = stack.enter_context(open_shared_raw(path))
                info = os.fstat(source.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise UnreadableMember("it is no regular file")
            start, members = self._archive.start_dir, len(self._archive.filelist)
            try:
                self._copy(source, _member(name, info), check, count)
                with _reading():
                    is_unchanged = file_stat(os.fstat(source.fileno())) == file_stat(info)
                if not is_unchanged:
                    raise UnreadableMember("it was written to while it was read")
            except BaseException:
                self._take_back(start, members)
                raise

    def _copy(self, source: BinaryIO, member: zipfile.ZipInfo, check: Callable[[], None], count: Count) -> None:
        left = member.file_size
        with self._archive.open(member, "w") as target:
            while left:
                check()
                with _reading():
                    block = source.read(min(_BLOCK, left))
                if not block:
                    raise UnreadableMember("it became shorter while it was read")
                target.write(block)
                left -= len(block)
                count(len(block))

    def _take_back(self, start: int, members: int) -> None:
        """Remove an incomplete member. Closing it has added it to the list in any case."""
        for member in self._archive.filelist[members:]:
            self._archive.NameToInfo.pop(member.filename, None)
        del self._archive.filelist[members:]
        self._archive.start_dir = start
        self._stream.seek(start)
        self._stream.truncate()

    def finish(self) -> None:
        """Write the list of members, and everything to the disk. Raises OSError."""
        self._archive.close()
        self._stream.flush()
        fsync(self._stream.fileno())

    def abandon(self) -> None:
        """Give up. The archive would write its list of members when it is collected."""
        self._archive.fp = None


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn the errors of the block into UnreadableMember."""
    try:
        yield
    except (OSError, ValueError) as error:  # the latter for a path with a null character
        raise UnreadableMember((error.strerror if isinstance(error, OSError) else None) or str(error)) from error


def _member(name: str, info: os.stat_result) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _date(info.st_mtime))
    member.compress_type, member.file_size, member.external_attr = zipfile.ZIP_STORED, info.st_size, _REGULAR
    member.create_system = 3  # Unix, also on Windows: the attributes are those of Unix
    return member


def _date(mtime: float) -> tuple[int, int, int, int, int, int]:
    """Return the local time of a file, or the earliest that a zip file can hold."""
    try:
        at = time.localtime(mtime)
    except (OverflowError, OSError, ValueError):
        return (_FIRST_YEAR, 1, 1, 0, 0, 0)
    if not _FIRST_YEAR <= at.tm_year <= _LAST_YEAR:
        return (_FIRST_YEAR, 1, 1, 0, 0, 0)
    return at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, min(at.tm_sec, 59)
