"""A partial file that is continued after an interruption, also by another process. Blocks: for worker threads."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from blake3 import blake3

from .atomic import PartialFile, temp_name

_BLOCK = 1 << 20


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
