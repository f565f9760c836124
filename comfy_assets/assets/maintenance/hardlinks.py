"""Hard links instead of copies, with an undo log. A crash at any moment loses no data.

Blocks: for worker threads. A killed process leaves hidden temporary files beside the copy, which the next run removes.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import msgspec
from blake3 import blake3

from ...fs import shared_files
from ...fs.atomic import fsync, fsync_folder, fsync_if_possible, temp_file, temp_name
from ...fs.paths import extended, file_stat, matches_record, real_path
from ...models import FileStat
from ...store_guard import is_protected


class LinkedCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entry of the undo log: a copy that was, or was about to be, replaced by a link to ``linked_to``.

    ``hash`` (blake3, hexadecimal), ``mtime_ns`` and ``mode`` (permission bits) describe the copy, ``linked_mtime_ns``
    and ``linked_inode`` the link.
    """

    path: str
    size: int
    hash: str
    mtime_ns: int
    mode: int
    linked_to: str
    linked_mtime_ns: int
    linked_inode: int


CheckPause = Callable[[], None]
CountBytes = Callable[[int], None]
WriteLogEntry = Callable[[LinkedCopy], None]

_BLOCK = 4 << 20
# A file that was written a moment ago may still be in use by its writer.
REST_NS = 30_000_000_000
_WINDOWS_TOO_MANY_LINKS = 1142


class _Look(NamedTuple):
    """The stat of a path, and the time of its last change from before."""

    info: os.stat_result
    changed: int

    @property
    def state(self) -> tuple[int, int, int, int]:
        """Values that change when a file is written, replaced, or has its modification time reset."""
        return self.info.st_ino, self.info.st_size, self.info.st_mtime_ns, self.changed


class LinkRefusedError(Exception):
    """The file was not changed; the message states the reason."""


class TooManyLinksError(Exception):
    """The file to keep has as many hard links as the file system allows."""


class KeptFile:
    """The file that copies are linked to, and its recorded state."""

    def __init__(self, path: Path, size: int, mtime_ns: int, digest: bytes) -> None:
        self.path = Path(extended(str(path)))
        self.size = size
        self.mtime_ns = mtime_ns
        self.digest = digest
        self._is_flushed = False

    def check(self) -> _Look:
        """Look at the file, which must be unchanged. The first call flushes it. Raises LinkRefusedError, OSError."""
        if self.path.is_symlink():
            self.path = real_path(self.path)  # a hard link to a symbolic link would not share the content
        look = _checked_look(self.path, self.size, self.mtime_ns, "the file to keep")
        if not self._is_flushed:
            _fsync(self.path)
            self._is_flushed = True
        return look


def replace_by_link(
    path: Path, mtime_ns: int, original: KeptFile, note: WriteLogEntry, pause: CheckPause, count: CountBytes
) -> FileStat:
    """Replace ``path`` by a hard link to the original after comparing their bytes; return the stat of the link.

    ``mtime_ns`` is the recorded time of the copy. ``note`` writes the entry of the undo log. ``pause`` is called before
    each block and may raise to cancel; ``count`` gets the number of bytes compared. Raises LinkRefusedError,
    TooManyLinksError, OSError, and the exceptions of ``note``; the copy is unchanged then.
    """
    copy = Path(extended(str(path)))
    kept = original.check()
    if _same_bytes(copy.stat(), kept.info):
        return file_stat(kept.info)  # linked already, for example by another program
    before = _checked_look(copy, original.size, mtime_ns, "the file")
    _check_pair(before.info, kept.info)
    if _compare(copy, before, original.path, kept, pause, count) != original.digest:
        raise LinkRefusedError("its content is not the recorded one; see comfy-assets verify")
    if _look(copy).state != before.state:
        raise LinkRefusedError("it changed while it was compared")
    note(
        LinkedCopy(
            str(path), original.size, original.digest.hex(), before.info.st_mtime_ns,
            stat.S_IMODE(before.info.st_mode),
            str(original.path), *file_stat(kept.info)[1:],
        )
    )  # fmt: skip
    _swap_in_link(original.path, kept, copy, before)
    return file_stat(kept.info)


def separate(entry: LinkedCopy, pause: CheckPause, count: CountBytes) -> FileStat | None:
    """Undo an entry: replace the link by a copy with its former time and mode; return the stat of the copy.

    Returns None if the path is a separate file already. Raises LinkRefusedError, OSError; the path is unchanged then.
    """
    path = Path(extended(entry.path))
    if is_protected(path):
        raise LinkRefusedError("it belongs to the library's store")
    shared_files.remove(path.with_name(temp_name(_key(path, "link"))), missing_ok=True)  # of a killed process
    before = _look(path)
    if file_stat(before.info) != (entry.size, entry.linked_mtime_ns, entry.linked_inode):
        if file_stat(before.info)[:2] == (entry.size, entry.mtime_ns):
            return None
        raise LinkRefusedError("it changed after it was linked")
    with temp_file(path, _key(path, "copy")) as temporary:
        _copy(path, temporary, entry, pause, count)
        _restore_attributes(temporary, before.info, entry)
        after = file_stat(temporary.lstat())
        if _look(path).state != before.state:
            raise LinkRefusedError("it changed while it was copied")
        shared_files.replace(temporary, path)
    return after


def _look(path: Path) -> _Look:
    changed = shared_files.change_time(path)
    return _Look(path.lstat(), changed)


def _checked_look(path: Path, size: int, mtime_ns: int, what: str) -> _Look:
    """Look at a regular file that must match its record. Raises LinkRefusedError, OSError."""
    look = _look(path)
    info = look.info
    if stat.S_ISLNK(info.st_mode):
        raise LinkRefusedError(f"{what} is a symbolic link")
    if is_protected(path):
        raise LinkRefusedError(f"{what} belongs to the library's store")
    if not matches_record(info, size, mtime_ns):
        raise LinkRefusedError(f"{what} changed since it was read")
    if 0 <= time.time_ns() - info.st_mtime_ns < REST_NS:
        raise LinkRefusedError(f"{what} was written a moment ago")
    return look


def _check_pair(copy: os.stat_result, kept: os.stat_result) -> None:
    if not kept.st_ino or not copy.st_ino:
        raise LinkRefusedError("the file system does not tell files apart")
    if copy.st_dev != kept.st_dev:
        raise LinkRefusedError("the files are on different volumes")
    # A link shares owner, group and permissions with the kept file.
    if (copy.st_uid, copy.st_gid) != (kept.st_uid, kept.st_gid):
        raise LinkRefusedError("the files belong to different users or groups")


def _same_bytes(one: os.stat_result, other: os.stat_result) -> bool:
    return bool(one.st_ino) and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _compare(copy: Path, before: _Look, original: Path, kept: _Look, pause: CheckPause, count: CountBytes) -> bytes:
    """Return the digest of the content that both files have. Raises LinkRefusedError if they differ or change."""
    with shared_files.open_shared(copy) as one, shared_files.open_shared(original) as other:
        for stream, look in ((one, before), (other, kept)):
            if file_stat(os.fstat(stream.fileno())) != file_stat(look.info):
                raise LinkRefusedError("it changed while it was compared")
        digest = _common_digest(one, other, pause, count)
    if _look(original).state != kept.state:
        raise LinkRefusedError("the file to keep changed while it was compared")
    return digest


def _common_digest(one: BinaryIO, other: BinaryIO, pause: CheckPause, count: CountBytes) -> bytes:
    digest = blake3(max_threads=blake3.AUTO)
    while True:
        pause()
        block = one.read(_BLOCK)
        if block != other.read(_BLOCK):
            raise LinkRefusedError("its content differs although it was recorded as equal; see comfy-assets verify")
        if not block:
            return digest.digest()
        digest.update(block)
        count(len(block))


def _swap_in_link(original: Path, kept: _Look, copy: Path, before: _Look) -> None:
    if _look(original).state != kept.state:  # asked here, as a new name changes the state too
        raise LinkRefusedError("the file to keep changed while it was being linked to")
    with temp_file(copy, _key(copy, "link")) as temporary:
        try:
            temporary.hardlink_to(original)
        except OSError as error:
            if error.errno == errno.EMLINK or getattr(error, "winerror", None) == _WINDOWS_TOO_MANY_LINKS:
                raise TooManyLinksError from error
            raise
        # The names may have been given to other bytes since.
        if file_stat(temporary.lstat()) != file_stat(kept.info) or _look(copy).state != before.state:
            raise LinkRefusedError("it changed while it was being replaced")
        shared_files.replace(temporary, copy)


def _copy(source: Path, target: Path, entry: LinkedCopy, pause: CheckPause, count: CountBytes) -> None:
    """Copy to a new file and flush it to the disk. Raises LinkRefusedError if the content is not the entry's."""
    digest = blake3(max_threads=blake3.AUTO)
    target.touch(mode=0o600, exist_ok=False)
    with shared_files.open_shared(source) as reading, target.open("r+b") as writing:
        while True:
            pause()
            block = reading.read(_BLOCK)
            if not block:
                break
            digest.update(block)
            writing.write(block)
            count(len(block))
        writing.flush()
        fsync(writing.fileno())
    if digest.hexdigest() != entry.hash:
        raise LinkRefusedError("its content is not the one that was linked")


def _restore_attributes(path: Path, link: os.stat_result, entry: LinkedCopy) -> None:
    """Restore owner, time and mode of the copy. Only files of equal owner and group are ever linked."""
    made = path.lstat()
    if hasattr(os, "chown") and (made.st_uid, made.st_gid) != (link.st_uid, link.st_gid):
        os.chown(path, link.st_uid, link.st_gid)
    os.utime(path, ns=(link.st_atime_ns, entry.mtime_ns))
    path.chmod(entry.mode)


def _key(path: Path, use: str) -> str:
    """Return the key of a file's temporary name for one use: the same each time, so that a leftover is found again."""
    return f"{use}-{blake3(path.name.encode()).hexdigest(16)}"


def _fsync(path: Path) -> None:
    """Have the bytes on the disk that others will depend on, where the system does so for one who only reads."""
    with path.open("rb") as stream:
        fsync_if_possible(stream.fileno())


class LinkLogError(Exception):
    """The undo log could not be written, so no further file may be replaced."""


class LinkLog:
    """Writes the undo log: a JSON line for each copy, flushed to the disk before the copy is replaced.

    The file is created with the first entry. Blocks: for worker threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: BinaryIO | None = None
        self.path: Path | None = None

    def __enter__(self) -> LinkLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def note(self, entry: LinkedCopy) -> None:
        """Append an entry and flush it to the disk. Raises LinkLogError."""
        try:
            stream = self._stream or self._create()
            line = msgspec.json.encode(entry) + b"\n"
            if stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(stream.fileno())
        except OSError as error:
            raise LinkLogError(f"The undo log cannot be written: {error}") from error

    def _create(self) -> BinaryIO:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        number = 1
        while self._stream is None:
            path = self._folder / f"duplicates-{stamp}{f'-{number}' if number > 1 else ''}.jsonl"
            try:
                self._stream = path.open("xb", buffering=0)
            except FileExistsError:
                number += 1
            else:
                self.path = path
        fsync_folder(self._folder)
        return self._stream


def read_log(path: Path) -> list[LinkedCopy]:
    """Return the entries of an undo log. Raises OSError, and ValueError for another file.

    An incomplete last line is ignored: its copy was not replaced.
    """
    entries: list[LinkedCopy] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            entries.append(msgspec.json.decode(line, type=LinkedCopy))
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number} of {path} is not an entry of an undo log: {error}") from error
    return entries
