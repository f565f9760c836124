"""Archives: zip files whose members are stored as they are, and the names of these, chosen by a strategy.

Images, videos and weights hardly become smaller, and an archive that is stored is written as fast as the disk. Members
and archives of more than 4 GiB have ZIP64 records. Writing blocks: for worker threads.

Nobody knows where an archive is extracted, so no name leads elsewhere, has characters that some system cannot store, or
differs from another only in case.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO, Literal

from ... import store_guard
from ...fs.atomic import fsync
from ...fs.paths import file_stat
from ...fs.shared_files import open_shared_raw
from ...names import UnsafeName, numbered, safe_file_name, split_suffix

NamingStrategy = Literal["group_by_job_id", "group_by_job_time", "preserve", "asset_id"]

PREVIEWS = "previews"
_WITHOUT_JOB = "unknown"
_FALLBACK = "file"
_TIME = "%Y-%m-%dT%H-%M-%S"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_MS = 253_402_300_799_000  # the end of the year 9999, the last that datetime knows
_BLOCK = 1 << 20
_REGULAR = 0o100644 << 16  # mode of a Unix file, in the upper half of the external attributes
_FIRST_YEAR, _LAST_YEAR = 1980, 2107  # of the times that a zip file can hold

Count = Callable[[int], None]


@dataclass(frozen=True)
class ExportedFile:
    """A file to export. ``folder`` is its path below the input, output or model folder, "" at its top.

    ``name`` is the asset's name, ``created_at`` its time (ms). A temporary preview has no asset, but its job.
    """

    path: Path
    folder: str
    name: str
    created_at: int
    asset_id: str | None = None
    job_id: str | None = None

    @property
    def is_preview(self) -> bool:
        """True for a temporary file that a job showed."""
        return self.asset_id is None


def member_names(found: Sequence[ExportedFile], strategy: NamingStrategy, job_times: Mapping[str, int]) -> list[str]:
    """Return the name of each file in the archive. ``job_times`` are times of creation (ms) of the known jobs."""
    folders = _job_folders(found, job_times) if strategy == "group_by_job_time" else {}
    used: dict[str, int] = {}
    return [_unique(_name(file, strategy, folders), used) for file in found]


def _name(file: ExportedFile, strategy: NamingStrategy, job_folders: Mapping[str, str]) -> str:
    inside = "/".join([*_safe_parts(file.folder), _safe(_with_suffix(file))])
    if strategy == "preserve":
        return inside
    if strategy == "asset_id":
        name = f"{file.asset_id}{split_suffix(file.path.name)[1]}" if file.asset_id is not None else inside
        return f"{PREVIEWS}/{name}" if file.is_preview else name
    if strategy == "group_by_job_id":
        top = _safe(file.job_id) if file.job_id is not None else _WITHOUT_JOB
    else:
        top = job_folders[file.job_id] if file.job_id is not None else _moment(file.created_at).strftime(_TIME)
    return f"{top}/{PREVIEWS}/{inside}" if file.is_preview else f"{top}/{inside}"


def _with_suffix(file: ExportedFile) -> str:
    """Return the asset's name; one without a suffix gets that of the file, by which systems know its type."""
    return file.name if split_suffix(file.name)[1] else file.name + split_suffix(file.path.name)[1]


def _job_folders(found: Iterable[ExportedFile], job_times: Mapping[str, int]) -> dict[str, str]:
    """Return a folder for each job: the second of its creation, or the next free one, in UTC.

    A job that is not known any more is named by the earliest of its files.
    """
    earliest: dict[str, int] = {}
    for file in found:
        if file.job_id is not None:
            earliest[file.job_id] = min(earliest.get(file.job_id, file.created_at), file.created_at)
    times = {job_id: job_times.get(job_id, at) for job_id, at in earliest.items()}
    folders: dict[str, str] = {}
    used: set[datetime] = set()
    for job_id, at in sorted(times.items(), key=lambda entry: (entry[1], entry[0])):
        moment = _moment(at)
        while moment in used:
            moment += timedelta(seconds=1)
        used.add(moment)
        folders[job_id] = moment.strftime(_TIME)
    return folders


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=max(0, min(milliseconds, _LAST_MS)) // 1000)


def _safe_parts(folder: str) -> list[str]:
    return [_safe(part) for part in re.split(r"[/\\]", folder) if part.strip(" ") not in ("", ".", "..")]


def _safe(name: str) -> str:
    """Return the name as every system can store it."""
    plain = re.sub(r"[/\\]", "_", name.replace("\0", "_"))
    try:
        return safe_file_name(plain, fallback=_FALLBACK)
    except UnsafeName:  # a drive letter, ".." or a lone surrogate
        return safe_file_name("_" + plain.encode(errors="replace").decode().replace(":", "_"), fallback=_FALLBACK)


def _unique(name: str, used: dict[str, int]) -> str:
    """Return the name, numbered if it was used before. ``used`` has the next number of each name, case-folded."""
    key = name.casefold()
    if key not in used:
        used[key] = 1
        return name
    folder, slash, last = name.rpartition("/")
    while True:
        candidate = f"{folder}{slash}{numbered(last, used[key])}"
        used[key] += 1
        if candidate.casefold() not in used:
            used[candidate.casefold()] = 1
            return candidate


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
