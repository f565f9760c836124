"""A PNG file as its pixels need it: without texts, animation and damaged additions. Pillow refuses a file for those."""

from __future__ import annotations

import io
import zlib
from typing import IO, NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
# The ancillary chunks that change how pixels look (PNG 3rd edition, 11.3), and eXIf for the orientation.
_KEPT = frozenset((b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"eXIf"))
_MAX_KEPT = 1 << 20  # bytes of such a chunk; a larger one is left out
_MAX_CHUNKS = 1 << 18  # hostile files have many tiny ones


class _Part(NamedTuple):
    """Bytes of the file from ``start`` on, shown at ``offset``."""

    offset: int
    start: int
    length: int


class PngPixels(io.BufferedIOBase):
    """The PNG file in a stream, up to the last chunk of pixels. Reading it reads the stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._parts: list[_Part] = []
        self._length = 0
        self._end = b""
        self._position = 0
        stream.seek(0)
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            raise ValueError("not a PNG file")
        self._add(0, len(_SIGNATURE))
        self._add_chunks()

    def _add_chunks(self) -> None:
        place, has_pixels = len(_SIGNATURE), False
        for _ in range(_MAX_CHUNKS):
            self._stream.seek(place)
            head = self._stream.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if len(head) < 8 or (kind == b"IDAT") < has_pixels:
                # What follows the pixels is left out, so it cannot be damaged.
                self._end = _END if len(head) == 8 else b""
                return
            has_pixels = kind == b"IDAT"
            is_critical = not kind[0] & 0x20
            if is_critical or (kind in _KEPT and self._is_whole(kind, length)):
                self._add(place, 12 + length)
            place += 12 + length
        raise ValueError("too many chunks")

    def _is_whole(self, kind: bytes, length: int) -> bool:
        """Return whether the body that follows in the stream is small and as its checksum says."""
        if length > _MAX_KEPT:
            return False
        body, checksum = self._stream.read(length), self._stream.read(4)
        return zlib.crc32(kind + body).to_bytes(4, "big") == checksum

    def _add(self, start: int, length: int) -> None:
        last = self._parts[-1] if self._parts else None
        if last is not None and last.start + last.length == start:
            self._parts[-1] = last._replace(length=last.length + length)
        else:
            self._parts.append(_Part(self._length, start, length))
        self._length += length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, self._length + len(self._end))
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._length + len(self._end) - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        blocks = []
        while wanted > 0:
            block = self._block(wanted)
            if not block:
                break
            blocks.append(block)
            self._position += len(block)
            wanted -= len(block)
        return b"".join(blocks)

    def _block(self, wanted: int) -> bytes:
        """Return the bytes at the position, at most to the end of the part that holds it."""
        for part in self._parts:
            inside = self._position - part.offset
            if inside < part.length:
                self._stream.seek(part.start + inside)
                return self._stream.read(min(wanted, part.length - inside))
        inside = self._position - self._length
        return self._end[inside : inside + wanted]
