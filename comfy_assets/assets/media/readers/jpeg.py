"""JPEG, JPEG 2000 and JPEG XL: the size as shown, EXIF, XMP and comments.

JPEG is read up to its pixels (ITU T.81, EXIF 3.0). A file of the others is a bare codestream, or boxes around one
(ISO/IEC 15444-1, 18181-1 and 18181-2). Boxes of the kind ``brob`` in JPEG XL are compressed with Brotli; they are read
where the package ``brotli`` 1.2 or newer is installed, because older ones cannot bound their output.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Iterator
from typing import Any

from . import texts, tiff
from .base import MAX_PARTS, MAX_READ, MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, show_size, starts_with
from .isobmff import Box, boxes, find

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_APP1, _COMMENT, _SCAN = 0xE1, 0xFE, 0xDA
_END = b"\xff\xd9"
_STEP = 1 << 20
_MAX_COMMENTS = 64  # each has at most 64 KiB
_XMP_MAGIC = b"http://ns.adobe.com/xap/1.0/\0"
_J2K_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2_CONTAINER = b"\0\0\0\x0cjP  \r\n\x87\n"
_EXIF_UUID = b"JpgTiffExif->JP2"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_JXL_CODESTREAM = b"\xff\x0a"
_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER = 64  # bytes; the fields that are read here need 40 at most
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)
_BROTLI_STEP = 256 << 10  # bytes of output in one call, which holds the interpreter lock
_NAMES = {b"Exif": "exif", b"xml ": "xmp"}


def _read_jpeg(contents: Contents, source: ByteSource) -> None:
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
            if magic.startswith(tiff.EXIF_MAGIC):
                exif_parts.append((start + 6, max(0, length - 6)))
            elif magic == _XMP_MAGIC:
                texts.add(contents, texts.XMP, source.read(start + len(magic), max(0, length - len(magic))))
        elif marker == _SCAN and not _has_end(source, start):
            contents.problems.append(TRUNCATED)
    orientation = tiff.add_exif(contents, source, exif_parts)
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


JPEG = Format("jpeg", "image/jpeg", "image", starts_with(b"\xff\xd8\xff"), _read_jpeg)


def _read_jpeg2000(contents: Contents, source: ByteSource) -> None:
    if source.read(0, 4) == _J2K_CODESTREAM:
        contents.mime_type = "image/j2c"
        right, bottom, left, top = struct.unpack(">4I", source.read(8, 16))
        show_size(contents, max(0, right - left), max(0, bottom - top))
        return
    orientation, size, found = 1, (0, 0), set()
    for box in boxes(contents, source.read, 0, source.size):
        if box.kind == b"jp2h" and (header := find(contents, source.read, box.start, box.end, b"ihdr")):
            height, width = struct.unpack(">II", source.read(header.start, 8))
            size = width, height
        elif box.kind == b"uuid" and (uuid := source.read(box.start, 16)) not in found:
            orientation = _read_uuid(contents, source, box, uuid) or orientation
            found.add(uuid)
        elif box.kind == b"jp2c":  # the pixels
            break
    show_size(contents, *size, orientation)


def _read_uuid(contents: Contents, source: ByteSource, box: Box, uuid: bytes) -> int | None:
    """Read EXIF or XMP; return the orientation if the box has one."""
    start, length = box.start + 16, box.length - 16
    if uuid == _EXIF_UUID and length > 0:
        return tiff.add_exif(contents, source, [(start, length)])
    if uuid == _XMP_UUID and 0 < length <= MAX_TEXT:
        texts.add(contents, texts.XMP, source.read(start, length))
    return None


JPEG_2000 = Format("jp2", "image/jp2", "image", starts_with(_JP2_CONTAINER, _J2K_CODESTREAM), _read_jpeg2000)


def _read_jpegxl(contents: Contents, source: ByteSource) -> None:
    if source.read(0, 2) == _JXL_CODESTREAM:
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
        tiff.add_exif_item(contents, data)  # its orientation does not count: the codestream has one of its own


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
    if not header.startswith(_JXL_CODESTREAM):
        contents.problems.append("The JPEG XL file has no header.")
        return
    bits = _Bits(header[len(_JXL_CODESTREAM) :])
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


JPEG_XL = Format("jxl", "image/jxl", "image", starts_with(_JXL_CODESTREAM, _JXL_CONTAINER), _read_jpegxl)
