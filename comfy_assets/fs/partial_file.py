"""Files that are being received: written and hashed in one pass, complete or not seen. Blocks: for worker threads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from blake3 import blake3

from .atomic import copy_to_volume, discard, fsync, is_same_volume, make_folder, temp_name
from .paths import extended_path

_BLOCK = 1 << 20
_FLUSH_EVERY = 32 << 20  # bytes
_MAX_GATHERED = 512  # blocks of one call; Linux and macOS allow 1024


class PartialFile:
    """A file that is being received: written and hashed in one pass under a temporary name.

    The methods lock: a cancelled request may leave a thread that still writes when the file is discarded.
    """

    def __init__(self, folder: Path) -> None:
        """Create the file, and the folder if needed. Raises OSError."""
        self._open(folder, temp_name(), "xb")

    def _open(self, folder: Path, name: str, mode: Literal["xb", "ab"]) -> None:
        make_folder(folder)
        self.path = extended_path(folder, name)
        self.size = 0
        self.flushed = 0  # bytes that a power failure cannot take
        self._hash = blake3()
        self._lock = threading.Lock()
        self._stream: BinaryIO = self.path.open(mode, buffering=0)

    def write(self, blocks: Iterable[bytes]) -> None:
        """Append blocks. Raises OSError; then none of them counts."""
        with self._lock:
            appended = list(blocks)
            self._append(appended)
            for block in appended:
                self._update(block)
                self.size += len(block)
            if self.size - self.flushed >= _FLUSH_EVERY:
                # Flushing now and then keeps the flush at the end short, for which the client waits.
                self._flush()

    def _append(self, blocks: Iterable[bytes]) -> None:
        waiting = deque(memoryview(block) for block in blocks if block)
        while waiting:
            written = self._write_some(waiting)
            while waiting and written >= len(waiting[0]):
                written -= len(waiting.popleft())
            if written:  # one call may write a part only, as the file is not buffered
                waiting[0] = waiting[0][written:]

    def _write_some(self, blocks: Iterable[memoryview]) -> int:
        """Write the first blocks, in one call where the system can; return the number of bytes.

        After each call the thread waits for the interpreter lock, which the event loop may hold.
        """
        if sys.platform == "win32":
            return self._stream.write(next(iter(blocks)))
        return os.writev(self._stream.fileno(), list(islice(blocks, _MAX_GATHERED)))

    def _update(self, block: bytes) -> None:
        self._hash.update(block)

    def _flush(self) -> None:
        fsync(self._stream.fileno())
        self.flushed = self.size

    def finish(self) -> bytes:
        """Flush the file to the disk and return its blake3 digest. Raises OSError."""
        with self._lock:
            self._flush()
            self._stream.close()
            return self._hash.digest()

    def move_to_volume(self, folder: Path) -> None:
        """Bring the finished file to the volume of a folder, unless it is there. Raises OSError."""
        make_folder(folder)
        with self._lock:
            if is_same_volume(self.path, folder):
                return
            target = extended_path(folder, self.path.name)
            copy_to_volume(self.path, target)
            discard(self.path)
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
            discard(self.path)


class ResumableFile(PartialFile):
    """A partial file that can be continued, also by another process: its key gives it a fixed name.

    Its SHA-256 is computed in the same pass. Only one process may have it open.
    """

    def __init__(self, folder: Path, key: str) -> None:
        """Open the file, and create it and the folder if needed. ``resume`` or ``restart`` follows. Raises OSError."""
        self._sha256 = hashlib.sha256()
        self._open(folder, temp_name(key), "ab")

    def write(self, blocks: Iterable[bytes]) -> None:
        """Append blocks, all of them or none. Raises OSError."""
        try:
            super().write(blocks)
        except OSError:
            with self._lock, contextlib.suppress(OSError):
                self._stream.truncate(self.size)
            raise

    def resume(self, limit: int | None, check: Callable[[], None]) -> int:
        """Hash the present content, up to ``limit`` bytes, and cut the rest off; return the size.

        ``check`` is called between blocks and may raise. Raises OSError.
        """
        with self._lock, self.path.open("rb") as stream:
            self._forget()
            while block := stream.read(_BLOCK if limit is None else min(_BLOCK, limit - self.size)):
                check()
                self._update(block)
                self.size += len(block)
            self._stream.truncate(self.size)
            self._flush()
            return self.size

    def restart(self) -> None:
        """Remove the content. Raises OSError."""
        with self._lock:
            self._stream.truncate(0)
            self._forget()

    def flush(self) -> None:
        """Make the content safe from a power failure. Raises OSError."""
        with self._lock:
            self._flush()

    def sha256(self) -> bytes:
        """Return the SHA-256 digest of the written bytes."""
        return self._sha256.digest()

    def digest(self) -> bytes:
        """Return the blake3 digest of the written bytes."""
        return self._hash.digest()

    def close(self) -> None:
        """Make the content safe from a power failure, and leave it for a later continuation. Raises OSError."""
        with self._lock:
            if not self._stream.closed:
                try:
                    self._flush()
                finally:
                    self._stream.close()

    def _forget(self) -> None:
        self.size = self.flushed = 0
        self._hash, self._sha256 = blake3(), hashlib.sha256()

    def _update(self, block: bytes) -> None:
        super()._update(block)
        self._sha256.update(block)
