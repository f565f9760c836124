"""A file being received: written and hashed in one pass under a passing name, then complete or gone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from . import atomic
from .temporary_names import PATTERN, passing_name

_BLOCK = 1 << 20
_FLUSH_EVERY = 32 << 20
LEFTOVER_AGE_S = 3600.0  # another server may still be writing what is younger


class Draft:
    """Blocks: for worker threads. The file is hidden from scans and from loaders' lists.

    Calls wait for each other: a request that is given up may leave a thread writing when the file is discarded.
    """

    def __init__(self, folder: Path) -> None:
        """Begin a file in this folder, which is made if there is none. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / passing_name()
        self.size = 0
        self._hash = blake3()
        self._unflushed = 0
        self._lock = threading.Lock()
        self._stream: BinaryIO = self.path.open("xb", buffering=0)

    def write(self, blocks: Iterable[bytes]) -> None:
        """Append blocks. Raises OSError."""
        with self._lock:
            for block in blocks:
                self._hash.update(block)
                view = memoryview(block)
                while view:  # an unbuffered file may take less than it is given
                    view = view[self._stream.write(view) :]
                self.size += len(block)
                self._unflushed += len(block)
            if self._unflushed >= _FLUSH_EVERY:
                # What is on the disk already does not hold up the end.
                self._unflushed = 0
                os.fsync(self._stream.fileno())

    def finish(self) -> bytes:
        """Make sure that the file is on the disk; answers its blake3 digest. Raises OSError."""
        with self._lock:
            os.fsync(self._stream.fileno())
            self._stream.close()
            return self._hash.digest()

    def move_to_volume(self, folder: Path) -> None:
        """Bring the finished file to the volume of a folder, unless it is there. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if atomic.is_same_volume(self.path, folder):
                return
            target = folder / self.path.name
            atomic.copy_to_volume(self.path, target)
            self.path.unlink()
            self.path = target

    def sha256(self) -> bytes:
        """The file's SHA-256 digest, once it is finished."""
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.digest()

    def discard(self) -> None:
        """Remove the file unless it has been moved to its place."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._stream.close()
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def remove_leftovers(folders: Iterable[Path], before: float) -> int:
    """Remove what uploads that a killed server was receiving have left, last written before this time (s since 1970).

    Answers how many files were removed.
    """
    removed = 0
    for folder in folders:
        for path in folder.glob(PATTERN):
            with contextlib.suppress(OSError):  # it vanished, or another server is still writing it
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
    return removed
