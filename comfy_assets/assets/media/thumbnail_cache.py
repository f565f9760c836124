"""Cache of thumbnails on disk, limited in size; the least recently used ones are removed first."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from ...fs import shared_files
from ...fs.atomic import is_temp_name, make_folder, temp_file
from ...fs.paths import extended, extended_path

log = logging.getLogger("comfy_assets.library")

_SUFFIX, _FORMER_TEMP_SUFFIX = ".jpg", ".tmp"
_CHECKSUM_BYTES = 16
_NOTE_USE_S = 3600.0  # a use is written to the modification time of its file at most this often
_ABANDONED_S = 3600.0  # another server may still be writing a younger file


@dataclass
class _CacheEntry:
    """A cached file; ``noted`` is the last use recorded in its modification time (s since 1970)."""

    size: int
    noted: float


class ThumbnailCache:
    """Maps keys to JPEG bodies, in files below ``folder`` of at most ``limit`` bytes in total; 0 disables the cache.

    Thread-safe; blocks. Never raises OSError: an unreadable file is a miss, and a failed write is only logged.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _CacheEntry] | None = None  # least recently used first
        self._total = 0
        self._has_failed = False

    def get(self, key: str) -> bytes | None:
        """Return the body for the key, or None if there is none or its file is damaged."""
        if not self._limit:
            return None
        with self._lock:
            entries = self._known()
            entry = entries.get(key)
            if entry is None:
                return None
            entries.move_to_end(key)
            is_note_due = time.time() - entry.noted >= _NOTE_USE_S
        body = _read(self._path(key))
        if body is None:
            self._forget(key)
        elif is_note_due:
            entry.noted = time.time()
            with suppress(OSError):
                os.utime(self._path(key))
        return body

    def put(self, key: str, body: bytes) -> None:
        """Store the body, and remove others to stay within the limit."""
        data = body + _checksum(body)
        if len(data) > self._limit:
            return
        try:
            self._write(self._path(key), data)
        except OSError as error:
            self._tell(error)
            return
        with self._lock:
            entries = self._known()
            former = entries.pop(key, None)
            entries[key] = _CacheEntry(len(data), time.time())
            self._total += len(data) - (former.size if former else 0)
            self._make_room(entries)

    def _path(self, key: str) -> Path:
        return extended_path(self._folder / key[:2], key + _SUFFIX)

    def _write(self, path: Path, data: bytes) -> None:
        make_folder(path.parent)
        with temp_file(path) as temporary:
            temporary.write_bytes(data)  # not flushed: a damaged thumbnail fails its checksum and is made again
            try:
                shared_files.replace(temporary, path)
            except PermissionError:
                # On Windows a file that is being read cannot be replaced. It has the same content.
                if not path.exists():
                    raise

    def _tell(self, error: OSError) -> None:
        """Log the first failure only: a full disk would fill the log with thousands of equal lines."""
        if not self._has_failed:
            self._has_failed = True
            log.warning("Thumbnails cannot be cached and are made for each request: %s", error)

    def _forget(self, key: str) -> None:
        with self._lock:
            entry = self._known().pop(key, None)
            if entry is not None:
                self._total -= entry.size
        _remove(self._path(key))

    def _known(self) -> OrderedDict[str, _CacheEntry]:
        """Return the entries, which are read from the disk on first use."""
        if self._entries is None:
            found = sorted(_entries_on_disk(self._folder), key=lambda item: item[1].noted)
            self._entries = OrderedDict(found)
            self._total = sum(entry.size for _, entry in found)
            self._make_room(self._entries)
        return self._entries

    def _make_room(self, entries: OrderedDict[str, _CacheEntry]) -> None:
        for _ in range(len(entries)):
            if self._total <= self._limit:
                return
            key, entry = entries.popitem(last=False)
            if _remove(self._path(key)):
                self._total -= entry.size
            else:
                entries[key] = entry  # Windows cannot remove a file that is being read; try again later


def _read(path: Path) -> bytes | None:
    """Return the body in a file, or None if the file is incomplete."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body, seal = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    return body if body and seal == _checksum(body) else None


def _checksum(body: bytes) -> bytes:
    """Return the checksum at the end of a file, which shows that it was written completely."""
    return blake3(body).digest(_CHECKSUM_BYTES)


def _entries_on_disk(folder: Path) -> Iterator[tuple[str, _CacheEntry]]:
    """Yield the entries on disk. Remove unfinished files of an earlier, killed server."""
    for shelf in _list_directory(folder):
        for file in _list_directory(shelf.path):
            try:
                info = file.stat(follow_symlinks=False)
            except OSError:
                continue
            if file.name.endswith(_SUFFIX) and file.name.startswith(shelf.name):
                yield file.name.removesuffix(_SUFFIX), _CacheEntry(info.st_size, info.st_mtime)
            elif _is_temporary(file.name) and time.time() - info.st_mtime > _ABANDONED_S:
                _remove(Path(file.path))


def _is_temporary(name: str) -> bool:
    return is_temp_name(name) or name.endswith(_FORMER_TEMP_SUFFIX)


def _list_directory(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(extended(str(folder))) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: Path) -> bool:
    """Remove a file; return whether it is gone."""
    try:
        shared_files.remove(path, missing_ok=True)
    except OSError:
        return False
    return True
