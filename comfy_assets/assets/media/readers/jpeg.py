"""Reader for JPEG: the size, EXIF, XMP and comments before the pixels (ITU T.81, EXIF 3.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import exif, texts
from .base import MAX_PARTS, MAX_READ, TRUNCATED, ByteSource, Contents, Format, show_size, starts_with

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_APP1, _COMMENT, _SCAN = 0xE1, 0xFE, 0xDA
_END = b"\xff\xd9"
_STEP = 1 << 20
_MAX_COMMENTS = 64  # each has at most 64 KiB
_XMP_MAGIC = b"http://ns.adobe.com/xap/1.0/\0"


def _read(contents: Contents, source: ByteSource) -> None:
    width = height = 0
    exif_parts: list[tuple[int, int]] = []
    comments: list[tuple[int, int]] = []
    for marker, start, length in _segments(contents, source):
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", source.read(start + 1, 4))
        elif marker == _COMMENT:
            comments.append((start, length))
        elif marker == _APP1:
            magic = source.read(start, len(_XMP_MAGIC))
            if magic.startswith(exif.MAGIC):
                exif_parts.append((start + 6, max(0, length - 6)))
            elif magic == _XMP_MAGIC:
                texts.add(contents, texts.XMP, source.read(start + len(magic), max(0, length - len(magic))))
        elif marker == _SCAN and not _has_end(source, start):
            contents.problems.append(TRUNCATED)
    orientation = exif.add(contents, source, exif_parts)
    for start, length in comments[:_MAX_COMMENTS]:
        texts.add(contents, "comment", source.read(start, length))
    show_size(contents, width, height, orientation)


def _segments(contents: Contents, source: ByteSource) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and length of each segment up to the one that the pixels follow."""
    start = 2
    for _ in range(MAX_PARTS):
        head = source.read(start, 4)
        if len(head) < 4 or head[0] != 0xFF:
            contents.problems.append(TRUNCATED if len(head) < 4 else "The JPEG file is damaged.")
            return
        _, marker, length = struct.unpack(">BBH", head)
        if marker == 0xD9:  # the end
            return
        if marker == 0xFF or marker in _BARE:
            start += 1 if marker == 0xFF else 2
            continue
        if length < 2:  # it counts itself
            contents.problems.append("The JPEG file is damaged.")
            return
        yield marker, start + 4, length - 2
        if marker == _SCAN:  # the pixels follow
            return
        start += 2 + length


def _has_end(source: ByteSource, start: int) -> bool:
    """Return whether the end of the pixels is in the file. Phones add videos behind it, which are not searched."""
    if source.read(source.size - len(_END), len(_END)) == _END:
        return True
    limit = start + MAX_READ
    for at in range(start, min(source.size, limit), _STEP):
        if _END in source.read(at, _STEP + 1):  # the pixels have no such bytes
            return True
    return source.size > limit


FORMATS = (Format("jpeg", "image/jpeg", "image", starts_with(b"\xff\xd8\xff"), _read),)
