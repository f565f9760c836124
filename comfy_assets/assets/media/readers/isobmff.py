"""Boxes of ISO base media files: the container of AVIF, HEIC, JPEG XL, JPEG 2000, MP4, MOV and M4A (ISO/IEC 14496-12).

A box is a length, a kind of four bytes, and its content, which may be boxes again. This module knows no kinds; the
readers of the formats do. Nothing here holds more than one header of a box in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .base import MAX_PARTS, TRUNCATED, ByteSource, Contents, Read

_HEADER, _LONG_HEADER = 8, 16
_DAMAGED = "The boxes of the file are damaged."


class Box(NamedTuple):
    """A box: its kind, such as ``b"moov"``, and where its content starts and ends in the file."""

    kind: bytes
    start: int
    end: int

    @property
    def length(self) -> int:
        """The number of bytes of the content."""
        return self.end - self.start


def boxes(contents: Contents, read: Read, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, at most ``MAX_PARTS``.

    A box that reaches beyond the range is yielded up to its end, and is the last one; ``contents.problems`` then says
    that the file is truncated. An impossible length ends the iteration and is reported as damage. A few bytes at the
    end that are too short for a box are ignored: QuickTime ends some lists with four zeros.
    """
    for _ in range(MAX_PARTS):
        if start + _HEADER > end:
            return
        length, kind = struct.unpack(">I4s", read(start, _HEADER))
        header = _HEADER
        if length == 1:  # a length of 64 bits follows the kind
            length, header = struct.unpack(">Q", read(start + _HEADER, 8))[0], _LONG_HEADER
        elif length == 0:  # the box fills the rest of the file
            length = end - start
        if length < header:
            contents.problems.append(_DAMAGED)
            return
        if start + length > end:
            contents.problems.append(TRUNCATED)
            if start + header <= end:
                yield Box(kind, start + header, end)
            return
        yield Box(kind, start + header, start + length)
        start += length


def find(contents: Contents, read: Read, start: int, end: int, *kinds: bytes) -> Box | None:
    """Return the first box at the end of a path of kinds, such as ``b"moov", b"mvhd"``; None if there is none."""
    found = None
    for kind in kinds:
        found = next((box for box in boxes(contents, read, start, end) if box.kind == kind), None)
        if found is None:
            return None
        start, end = found.start, found.end
    return found


def in_memory(data: bytes) -> ByteSource:
    """Return a part of a file that is in memory as a source of its own, with offsets from its beginning."""
    return ByteSource(lambda offset, length: data[offset : offset + length], len(data), in_memory=True)
