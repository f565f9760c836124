"""Reader for WebP, still and animated: the size, EXIF and XMP (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import exif, texts
from .base import MAX_PARTS, MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, show_size


def _read(contents: Contents, source: ByteSource) -> None:
    declared = 8 + int(struct.unpack("<I", source.read(4, 4))[0])
    kind, head = source.read(12, 4), source.read(20, 10)
    width, height = _size(contents, kind, head)
    orientation = 1
    # Only the extended format has further chunks. Bits of its header announce them, but not all writers set these.
    if kind == b"VP8X":
        orientation = _read_chunks(contents, source, min(source.size, declared))
    if declared > source.size:
        contents.problems.append(TRUNCATED)
    show_size(contents, width, height, orientation)


def _size(contents: Contents, kind: bytes, head: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        _, width, _, height, _ = struct.unpack("<IHBHB", head)
        return 1 + (width | head[6] << 16), 1 + (height | head[9] << 16)
    if kind == b"VP8L" and head[:1] == b"\x2f":
        bits = int(struct.unpack_from("<I", head, 1)[0])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    contents.problems.append("The WebP file does not state its size.")
    return 0, 0


def _read_chunks(contents: Contents, source: ByteSource, end: int) -> int:
    """Read EXIF and XMP and count the frames; return the orientation."""
    orientation, frames, milliseconds, found = 1, 0, 0, set()
    for kind, start, length in _chunks(source, end):
        if kind == b"ANMF":
            frames += 1
            milliseconds += int.from_bytes(source.read(start + 12, 3), "little")
        elif kind == b"EXIF" and kind not in found:
            orientation = exif.add(contents, source, [(start, length)])
        elif kind == b"XMP " and kind not in found and length <= MAX_TEXT:
            texts.add(contents, texts.XMP, source.read(start, length))
        found.add(kind)
    if frames > 1:
        contents.facts["frame_count"] = frames
        contents.facts["duration"] = milliseconds / 1000
    return orientation


def _chunks(source: ByteSource, end: int) -> Iterator[tuple[bytes, int, int]]:
    start = 30
    for _ in range(MAX_PARTS):
        if start + 8 > end:
            return
        kind, length = struct.unpack("<4sI", source.read(start, 8))
        yield kind, start + 8, length
        start += 8 + length + (length & 1)


def _matches(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


FORMATS = (Format("webp", "image/webp", "image", _matches, _read),)
