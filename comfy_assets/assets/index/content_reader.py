"""Read files: their blake3 hashes and their metadata, in one pass where they are small, by one thread or by several.

All but ``ReadingPace`` blocks: for worker threads. A file that changes while it is read gives no result.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from blake3 import blake3

from ...db.compression import compress
from ...db.contents import Document, Facts, Hashed, Unreadable
from ...db.outdated import OutdatedContent
from ...fs.paths import ChangedWhileReading, extended, fresh_for_ns, matches_record
from ...fs.shared_files import is_in_use, open_shared_raw, read_at_once
from ...models import Pending
from ...names import WINDOWS
from ...store_guard import check, check_found, stat_found
from ..media.metadata import READER_VERSION, WHOLE, FileMetadata, extract, extract_path, extract_stream

log = logging.getLogger("comfy_assets.library")

# Threads that read small files; most disks serve only a few at a time. blake3 itself uses all cores for a large file.
WORKERS = min(4, os.cpu_count() or 1)
SMALL_FILE = 4 << 20  # read at once, which is faster than to map it; larger files are hashed with all cores
_SLICE = 64 << 20
_CHUNK = 4 << 20
_REMEMBERED_TEXT = 64 << 10
# If another program truncates a mapped file, reading it is a bus error: files that may still be written are not mapped.
_MAP_AFTER_NS = 30_000_000_000

Pause = Callable[[], None]
Count = Callable[[int], None]
F = TypeVar("F")
R = TypeVar("R")

# Shares of the time in which a thread keeps a processor busy: of one that reads alone, and of several, which wait for
# each other as well.
_LEAST_SHARE, _LEAST_SHARE_BESIDE = 0.35, 0.2


class HashProgress:
    """Progress of reading files, for users. Thread-safe."""

    def __init__(self, total: int, bytes_total: int) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.hashed = 0
        self.total = total
        self.bytes_hashed = 0
        self.bytes_total = bytes_total
        self.unreadable = 0
        self.locked = 0  # unreadable files that other programs have open
        self.moved = 0

    def add_bytes(self, count: int) -> None:
        """Count bytes read."""
        with self._lock:
            self.bytes_hashed += count

    def as_dict(self) -> dict[str, Any]:
        """Return JSON members; ``bytes_per_second`` is the mean so far."""
        elapsed = time.monotonic() - self._started
        return {
            "hashed": self.hashed,
            "total": self.total,
            "bytes_hashed": self.bytes_hashed,
            "bytes_total": self.bytes_total,
            "bytes_per_second": round(self.bytes_hashed / elapsed) if elapsed else 0,
            "unreadable": self.unreadable,
            "moved": self.moved,
        }


class LargeDigests:
    """Digests of large files, so that one with several names is hashed once. Thread-safe.

    Hard links are such names, and the paths of a file in a folder that is linked into several categories.
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int, int, int], bytes] = {}

    def get(self, info: os.stat_result) -> bytes | None:
        """Return the digest of a file that is unchanged since it was put, or None."""
        return self._digests.get((info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns))

    def put(self, info: os.stat_result, digest: bytes) -> None:
        """Keep the digest of a file; does nothing without inodes, as on some network drives."""
        if info.st_ino:
            self._digests[info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns] = digest


class _OpenFile:
    """A file that is being read. On Windows, where nobody can replace an open file, it is closed during pauses."""

    def __init__(self, path: str, pause: Pause, is_paused: Callable[[], bool]) -> None:
        self._path = path
        self._pause = pause
        self._is_paused = is_paused
        self.stream = open_shared_raw(path)

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def wait(self) -> None:
        """Wait while reading is paused. Raises ChangedWhileReading, OSError, and what the pause raises."""
        if not (WINDOWS and self._is_paused()):
            self._pause()
            return
        stamp, position = self._stamp(), self.stream.tell()
        self.stream.close()
        self._pause()
        self.stream = open_shared_raw(self._path)
        if self._stamp() != stamp:
            raise ChangedWhileReading
        self.stream.seek(position)

    def _stamp(self) -> tuple[int, int, int]:
        info = os.fstat(self.stream.fileno())
        return info.st_ino, info.st_size, info.st_mtime_ns


def read_file(
    file: Pending,
    pause: Pause,
    count: Count,
    digests: LargeDigests | None = None,
    is_paused: Callable[[], bool] = lambda: False,
    *,
    at_once: bool = False,
) -> Hashed | Unreadable | None:
    """Hash a file and extract its metadata; return None if it does not match its row or changes meanwhile.

    ``pause`` is called before each chunk: it may block, which ``is_paused`` tells, and may raise to abandon the file.
    ``count`` gets the number of bytes of each chunk. A large file whose digest is in ``digests`` is not hashed; others
    are put there. With ``at_once`` a small file is read before its time stamp is reliable: see ``is_rewritten``.
    """
    path = extended(os.path.join(file.path, file.name))  # noqa: PTH118 - called for every file
    try:
        if file.size > SMALL_FILE or not at_once:
            _wait_until_reliable(file.mtime_ns, pause)
        if file.size <= SMALL_FILE:
            found = _read_small(path, file, pause, count)
        else:
            found = _read_large(path, file, pause, count, digests or LargeDigests(), is_paused)
    except (FileNotFoundError, ChangedWhileReading):
        return None
    except OSError as error:
        return Unreadable(file.id, error.strerror or type(error).__name__, is_in_use(error))
    if found is None:
        return None
    digest, extracted = found
    return Hashed(
        file.id,
        file.size,
        file.mtime_ns,
        digest,
        _metadata_text(extracted),
        extracted.mime_type,
        _documents(extracted),
        READER_VERSION,
    )


def is_early(file: Pending) -> bool:
    """Return whether ``read_file`` would read this file ``at_once`` before its time stamp is reliable."""
    return file.size <= SMALL_FILE and fresh_for_ns(file.mtime_ns) > 0


def is_rewritten(file: Pending, digest: bytes) -> bool:
    """Return whether a small file still matches its row, but has another content than when it was read.

    A further change can leave the time stamp as it is for some milliseconds: this is asked once they have passed.
    """
    path = extended(os.path.join(file.path, file.name))  # noqa: PTH118
    try:
        data = _read_whole(path, file.size, file.mtime_ns)
    except OSError:
        return False
    return data is not None and blake3(data).digest() != digest


def read_facts(name: str, path: Path, digest: bytes, size: int) -> Facts:
    """Return the facts of a file that is hashed already.

    ``name`` is the file's future name, and ``path`` where it is now. Raises OSError.
    """
    return _facts(digest, size, _extracted(name, lambda: extract_path(name, path)))


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """The result of reading a content of which the stored facts and documents are right: two of these."""

    metadata: str
    mime_type: str | None


def read_facts_again(content: OutdatedContent) -> Facts | Unchanged | None:
    """Return the facts of a content, from one of its files; None if the file does not match its record any more."""
    path = extended(os.path.join(content.folder, content.name))  # noqa: PTH118 - called for every content
    try:
        extracted = _read_again(path, content)
    except OSError:
        return None
    if extracted is None:
        return None
    metadata = _metadata_text(extracted)
    if metadata == content.metadata and extracted.mime_type == content.mime_type:
        # Most documents are stored already: that tells their digests, without compressing them again.
        documents = sorted(extracted.documents.items())
        if "".join([f"{key}{_digest_of(text)}\n" for key, text in documents]) == (content.documents or ""):
            return Unchanged(metadata, extracted.mime_type)
    return _facts(content.hash, content.size, extracted)


def _read_again(path: str, content: OutdatedContent) -> FileMetadata | None:
    """Return the metadata of a file, without reading more of it than needed; None if it does not match its row."""
    if content.size <= WHOLE:
        found = _read_whole(path, content.size, content.mtime_ns)
        return None if found is None else _extracted(content.name, lambda: extract(content.name, found))
    check_found(path)
    with open_shared_raw(path) as stream:
        if not matches_record(os.fstat(stream.fileno()), content.size, content.mtime_ns):
            return None
        extracted = _extracted(content.name, lambda: extract_stream(content.name, stream, content.size))
        return extracted if matches_record(os.fstat(stream.fileno()), content.size, content.mtime_ns) else None


def _digest_of(text: bytes) -> str:
    """Return the blake3 digest of a document in capital hexadecimal digits, as SQLite writes them."""
    return _digest_once(text) if len(text) <= _REMEMBERED_TEXT else blake3(text).hexdigest().upper()


@lru_cache(maxsize=64)
def _digest_once(text: bytes) -> str:
    return blake3(text).hexdigest().upper()


def _extracted(name: str, extraction: Callable[[], FileMetadata]) -> FileMetadata:
    """Return the metadata of a file. A mistake in a reader is logged, and keeps no file from being hashed."""
    try:
        return extraction()
    except OSError:
        raise
    except Exception:
        log.exception("The metadata of %s could not be read", name)
        return FileMetadata({"error": "The metadata could not be read; the server's log says why."}, {}, None)


def _facts(digest: bytes, size: int, extracted: FileMetadata) -> Facts:
    return Facts(digest, size, _metadata_text(extracted), _documents(extracted), extracted.mime_type, READER_VERSION)


def _metadata_text(extracted: FileMetadata) -> str:
    return msgspec.json.encode(extracted.facts).decode()


def _documents(extracted: FileMetadata) -> tuple[Document, ...]:
    return tuple([document(key, text) for key, text in extracted.documents.items()])


def digest_of(path: Path, size: int, pause: Pause, count: Count) -> bytes:
    """Return the blake3 digest of a file. Raises OSError, ChangedWhileReading if its size differs."""
    check(path)
    with _OpenFile(str(path), pause, lambda: False) as opened:
        return _digest_chunks(opened, size, count)


def _read_small(path: str, file: Pending, pause: Pause, count: Count) -> tuple[bytes, FileMetadata] | None:
    """Return the digest and the metadata of a file that is read at once; None if it does not match its row."""
    pause()
    data = _read_whole(path, file.size, file.mtime_ns)
    if data is None:
        return None
    count(file.size)
    return blake3(data).digest(), _extracted(file.name, lambda: extract(file.name, data))


def _read_whole(path: str, size: int, mtime_ns: int) -> bytes | None:
    """Return the content of a small file; None if it does not match its row before and after reading."""
    if not matches_record(stat_found(path), size, mtime_ns):
        return None
    data, info = read_at_once(path, size)
    return data if len(data) == size and matches_record(info, size, mtime_ns) else None


def _read_large(
    path: str, file: Pending, pause: Pause, count: Count, digests: LargeDigests, is_paused: Callable[[], bool]
) -> tuple[bytes, FileMetadata] | None:
    """Return the digest and the metadata of a file that is read in parts; None if it does not match its row."""
    if not matches_record(stat_found(path), file.size, file.mtime_ns):
        return None
    with _OpenFile(path, pause, is_paused) as opened:
        opened.wait()
        stream = opened.stream
        extracted = _extracted(file.name, lambda: extract_stream(file.name, stream, file.size))
        info = os.fstat(stream.fileno())
        digest = digests.get(info)
        if digest is None:
            stream.seek(0)
            digest = _digest_large(opened, file, count)
            digests.put(info, digest)
        else:
            count(file.size)
        if not matches_record(os.fstat(opened.stream.fileno()), file.size, file.mtime_ns):
            return None
    return digest, extracted


def _digest_large(opened: _OpenFile, file: Pending, count: Count) -> bytes:
    """Return the digest, computed by all threads; the file is mapped if that is possible and safe."""
    # Windows lets nobody replace or remove a mapped file.
    if not WINDOWS and time.time_ns() - file.mtime_ns >= _MAP_AFTER_NS:
        try:
            mapping = mmap.mmap(opened.stream.fileno(), file.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            pass  # some network drives cannot be mapped
        else:
            with mapping:
                return _digest_mapping(mapping, opened, file, count)
    return _digest_chunks(opened, file.size, count)


def _digest_mapping(mapping: mmap.mmap, opened: _OpenFile, file: Pending, count: Count) -> bytes:
    if hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_SEQUENTIAL)
    hasher = blake3(max_threads=blake3.AUTO)
    with memoryview(mapping) as view:
        for start in range(0, file.size, _SLICE):
            opened.wait()
            if os.fstat(opened.stream.fileno()).st_size != file.size:
                raise ChangedWhileReading
            with view[start : start + _SLICE] as part:
                hasher.update(part)
                count(len(part))
    return hasher.digest()


def _digest_chunks(opened: _OpenFile, size: int, count: Count) -> bytes:
    hasher = blake3(max_threads=blake3.AUTO)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    total = 0
    while True:
        opened.wait()
        length = opened.stream.readinto(buffer)
        if not length:
            break
        hasher.update(view[:length])
        count(length)
        total += length
    if total != size:
        raise ChangedWhileReading
    return hasher.digest()


def _wait_until_reliable(mtime_ns: int, pause: Pause) -> None:
    """Wait until a further change to the file could not leave its time stamp as it is."""
    while wait_ns := fresh_for_ns(mtime_ns):
        pause()
        time.sleep(min(wait_ns / 1e9, 0.1))


def document(key: str, text: bytes) -> Document:
    """Return a document found in a file, compressed for the store."""
    return _document(key, text) if len(text) > _REMEMBERED_TEXT else _document_once(key, text)


def _document(key: str, text: bytes) -> Document:
    return Document(key, blake3(text).digest(), compress(text))


_document_once = lru_cache(maxsize=64)(_document)  # once for many files in a row with the same workflow


class _Seconds(NamedTuple):
    """The time that a worker has read, and the processor time that it has used meanwhile."""

    passed: float
    worked: float


class ReadingPace:
    """Reads batches of files by one thread, or by several where threads wait for a disk.

    Files that the system has in memory are read by one thread: several would hand the interpreter lock to each other
    with every call of the system, which takes longer than the calls.
    """

    def __init__(self) -> None:
        self._is_single = True

    async def run(
        self, pool: Executor, read: Callable[[Sequence[F]], list[R]], batch: Sequence[F], slice_size: int
    ) -> list[R]:
        """Return the results of a batch; ``read`` is called in threads, with parts of ``slice_size`` files if several.

        The pace of the next batch follows from this one.
        """
        loop = asyncio.get_running_loop()
        size = len(batch) if self._is_single else slice_size
        parts = [batch[start : start + size] for start in range(0, len(batch), size or 1)]
        done = await asyncio.gather(*(loop.run_in_executor(pool, _timed, read, part) for part in parts))
        self._note([seconds for _, seconds in done])
        return [result for results, _ in done for result in results]

    def _note(self, parts: Sequence[_Seconds]) -> None:
        passed = sum(part.passed for part in parts)
        share = sum(part.worked for part in parts) / passed if passed else 1.0
        self._is_single = share > (_LEAST_SHARE if self._is_single else _LEAST_SHARE_BESIDE)


def _timed(read: Callable[[Sequence[F]], list[R]], part: Sequence[F]) -> tuple[list[R], _Seconds]:
    began, worked = time.perf_counter(), time.thread_time()
    results = read(part)
    return results, _Seconds(time.perf_counter() - began, time.thread_time() - worked)
