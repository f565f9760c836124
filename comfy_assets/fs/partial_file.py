"""A file that is being received: written and hashed in one pass under a temporary name, then complete or removed."""

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

_BLOCK = 1 << 20
_FLUSH_EVERY = 32 << 20
LEFTOVER_AGE_S = 3600.0  # another server may still be writing a younger file


class PartialFile:
    """A temporary file, hidden from scans and from loaders' lists. Blocks: for worker threads.

    The methods lock: a cancelled request may leave a thread that still writes when the file is discarded.
    """

    def __init__(self, folder: Path) -> None:
        """Create the file, and the folder if needed. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / atomic.temp_name()
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
                while view:  # one call may write a part only, as the file is not buffered
                    view = view[self._stream.write(view) :]
                self.size += len(block)
                self._unflushed += len(block)
            if self._unflushed >= _FLUSH_EVERY:
                # Flushing now and then keeps the flush at the end short, for which the client waits.
                self._unflushed = 0
                os.fsync(self._stream.fileno())

    def finish(self) -> bytes:
        """Flush the file to the disk and return its blake3 digest. Raises OSError."""
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
        """Return the SHA-256 digest of the finished file."""
        digest = hashlib.sha256()
        with self.path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.digest()

    def discard(self) -> None:
        """Remove the file unless it has been moved to its final path."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._stream.close()
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()


def remove_leftovers(folders: Iterable[Path], before: float) -> int:
    """Remove temporary files of killed processes last written before this time (s since 1970); return their number."""
    removed = 0
    for folder in folders:
        for path in folder.glob(atomic.TEMP_PATTERN):
            with contextlib.suppress(OSError):  # it vanished, or another server is still writing it
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
    return removed
