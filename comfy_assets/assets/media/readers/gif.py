"""Reader for GIF: the size, comments, XMP, and the number of frames (GIF89a specification)."""

from __future__ import annotations

import io
import struct

from . import texts
from .base import TRUNCATED, ByteSource, Contents, Format, show_size, starts_with

_MAX_READ = 4 << 20  # comments and frames behind it are not found
_IMAGE, _EXTENSION = 0x2C, 0x21
_COMMENT, _APPLICATION, _CONTROL = 0xFE, 0xFF, 0xF9
_XMP = b"XMP DataXMP"
_XMP_TRAILER = 258  # bytes that let a decoder which reads XMP as sub-blocks find the end


class _Blocks:
    """A position in the blocks of a GIF. IndexError where the file ends or is damaged."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 13 + _table_length(data[10])
        self.frames = 0
        self.hundredths = 0

    def read(self, contents: Contents) -> bool:
        """Read the next block; return False at the end of the file."""
        kind = self._data[self._at]
        if kind == _IMAGE:
            self.frames += 1
            self._at += 10 + _table_length(self._data[self._at + 9]) + 1  # and the size of the codes
            self._skip()
        elif kind == _EXTENSION:
            label = self._data[self._at + 1]
            self._at += 2
            self._read_extension(contents, label)
        else:
            return False
        return True

    def _read_extension(self, contents: Contents, label: int) -> None:
        if label == _COMMENT:
            texts.add(contents, "comment", self._joined())
        elif label == _APPLICATION and self._data[self._at + 1 : self._at + 12] == _XMP:
            start = self._at + 12
            self._skip()
            texts.add(contents, texts.XMP, self._data[start : max(start, self._at - _XMP_TRAILER)])
        else:
            if label == _CONTROL:
                self.hundredths += int.from_bytes(self._data[self._at + 2 : self._at + 4], "little")
            self._skip()

    def _skip(self) -> None:
        """Go behind the sub-blocks that start here."""
        data, at = self._data, self._at
        while length := data[at]:
            at += length + 1
        self._at = at + 1

    def _joined(self) -> bytes:
        start = self._at
        self._skip()
        text, at = io.BytesIO(), start  # a list of its parts, of a byte each, would take forty times as much
        while length := self._data[at]:
            text.write(self._data[at + 1 : at + 1 + length])
            at += length + 1
        return text.getvalue()


def _table_length(flags: int) -> int:
    """Return the length in bytes of the color table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _read(contents: Contents, source: ByteSource) -> None:
    data = source.read(0, min(source.size, _MAX_READ))
    width, height = struct.unpack_from("<HH", data, 6)
    try:
        blocks = _Blocks(data)
        while blocks.read(contents):
            pass
        if blocks.frames > 1:
            contents.facts |= {"frame_count": blocks.frames, "duration": blocks.hundredths / 100}
    except IndexError:
        if source.size <= _MAX_READ:
            contents.problems.append(TRUNCATED)
    show_size(contents, width, height)


FORMATS = (Format("gif", "image/gif", "image", starts_with(b"GIF87a", b"GIF89a"), _read),)
