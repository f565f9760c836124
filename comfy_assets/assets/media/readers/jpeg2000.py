"""JPEG 2000: the size, EXIF and XMP (ISO/IEC 15444-1). A file is a codestream, or boxes around one."""

from __future__ import annotations

import struct

from . import exif, texts
from .base import MAX_TEXT, ByteSource, Contents, Format, show_size, starts_with
from .isobmff import Box, boxes, find

_CODESTREAM = b"\xff\x4f\xff\x51"
_CONTAINER = b"\0\0\0\x0cjP  \r\n\x87\n"
_EXIF_UUID = b"JpgTiffExif->JP2"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def _read(contents: Contents, source: ByteSource) -> None:
    if source.read(0, 4) == _CODESTREAM:
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
        return exif.add(contents, source, [(start, length)])
    if uuid == _XMP_UUID and 0 < length <= MAX_TEXT:
        texts.add(contents, texts.XMP, source.read(start, length))
    return None


FORMATS = (Format("jp2", "image/jp2", "image", starts_with(_CONTAINER, _CODESTREAM), _read),)
