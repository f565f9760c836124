"""JPEG XL: the size as shown, and EXIF and XMP of its container (ISO/IEC 18181-1 and 18181-2).

A file is a bare codestream, or a container of boxes around one. Boxes of the kind ``brob`` are compressed with Brotli;
they are read where the package ``brotli`` 1.2 or newer is installed, because older ones cannot bound their output.
"""

from __future__ import annotations

import importlib
import io
import struct
from typing import Any

from . import exif, texts
from .base import MAX_TEXT, ByteSource, Contents, Format, show_size, starts_with
from .isobmff import Box, boxes

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER = 64  # bytes; the fields that are read here need 40 at most
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)
_BROTLI_STEP = 256 << 10  # bytes of output in one call, which holds the interpreter lock
_NAMES = {b"Exif": "exif", b"xml ": "xmp"}


def _read(contents: Contents, source: ByteSource) -> None:
    if source.read(0, 2) == _CODESTREAM:
        _add_size(contents, source.read(0, _HEADER))
        return
    found: set[bytes] = set()  # the first of each kind counts, so that many of them cost nothing
    for box in boxes(contents, source.read, 0, source.size):
        kind, is_packed = (source.read(box.start, 4), True) if box.kind == b"brob" else (box.kind, False)
        if kind in _NAMES and kind not in found:
            name = _NAMES[kind]
            data = _content(contents, source, Box(kind, box.start + (4 if is_packed else 0), box.end), name)
            _add_text(contents, kind, _unpacked(contents, data, name) if is_packed else data)
            found.add(kind)
        elif kind in (b"jxlc", b"jxlp") and b"size" not in found:
            # jxlp is one part of several and begins with its number.
            _add_size(contents, source.read(box.start + (4 if kind == b"jxlp" else 0), _HEADER))
            found.add(b"size")


def _content(contents: Contents, source: ByteSource, box: Box, name: str) -> bytes:
    if box.length > MAX_TEXT:
        contents.omitted.add(name)
        return b""
    return source.read(box.start, max(0, box.length))


def _add_text(contents: Contents, kind: bytes, data: bytes) -> None:
    if kind == b"xml " and data:
        texts.add(contents, texts.XMP, data)
    elif kind == b"Exif":
        exif.add_item(contents, data)  # its orientation does not count: the codestream has one of its own


def _unpacked(contents: Contents, packed: bytes, name: str) -> bytes:
    """Return the content of a ``brob`` box; empty, and noted, if it cannot be read or is too large."""
    brotli = _brotli()
    if brotli is None:
        contents.omitted.add(name)
        return b""
    unpacker = brotli.Decompressor()
    text = io.BytesIO()
    try:
        part = unpacker.process(packed, output_buffer_limit=_BROTLI_STEP)
        while part or not unpacker.can_accept_more_data():
            text.write(part)
            if text.tell() > MAX_TEXT:
                contents.omitted.add(name)
                return b""
            part = unpacker.process(b"", output_buffer_limit=_BROTLI_STEP)
    except brotli.error:
        contents.problems.append(f"The embedded {name} is damaged.")
    return text.getvalue()


def _brotli() -> Any:
    """Import ``brotli``; return None if it is missing or too old."""
    try:
        module = importlib.import_module("brotli")
    except ImportError:
        return None
    return module if hasattr(getattr(module, "Decompressor", None), "can_accept_more_data") else None


class _Bits:
    """Reads the fields of a codestream header, the lowest bit of each byte first. Raises struct.error at its end."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = len(data) * 8

    def number(self, width: int) -> int:
        self._left -= width
        if self._left < 0:
            raise struct.error("truncated")
        value = self._bits & ((1 << width) - 1)
        self._bits >>= width
        return value

    def choice(self, widths: tuple[int, ...]) -> int:
        """Read a number whose width is the one that two bits select."""
        return self.number(widths[self.number(2)])


def _add_size(contents: Contents, header: bytes) -> None:
    if not header.startswith(_CODESTREAM):
        contents.problems.append("The JPEG XL file has no header.")
        return
    bits = _Bits(header[len(_CODESTREAM) :])
    width, height = _read_size(bits)
    has_more = not bits.number(1) and bits.number(1)  # not all fields are the default, nor the additional ones
    show_size(contents, width, height, bits.number(3) + 1 if has_more else 1)


def _read_size(bits: _Bits) -> tuple[int, int]:
    """Return width and height of a SizeHeader. Small pictures are counted in blocks of 8 pixels."""
    is_small = bits.number(1)
    height = 8 * (bits.number(5) + 1) if is_small else bits.choice(_SIZE_BITS) + 1
    numerator, denominator = _RATIOS[bits.number(3)]
    if numerator:
        return height * numerator // denominator, height
    return 8 * (bits.number(5) + 1) if is_small else bits.choice(_SIZE_BITS) + 1, height


FORMATS = (Format("jxl", "image/jxl", "image", starts_with(_CODESTREAM, _CONTAINER), _read),)
