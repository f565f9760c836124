"""EXIF blocks of every container: texts, and the orientation of the picture (EXIF 3.0, TIFF 6.0)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import texts
from .base import MAX_TEXT, ByteSource, Contents
from .recoding import to_utf8

MAGIC = b"Exif\0\0"

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # the first bytes of a block, and its byte order
_MAX_PREFIX = 64
_STEP = 64 << 10
_MAX_TAGS = 256  # of a directory
_EXIF_POINTER, _ORIENTATION, _USER_COMMENT = 0x8769, 0x0112, 0x9286
_BYTES = frozenset((1, 2, 7, 129))  # value types that hold text: BYTE, ASCII, UNDEFINED, UTF-8
_SHORT = 3
# Tags with names that ``texts`` knows. Of all others only texts that state their key are of interest.
TAGS = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x8298: "Copyright",
    _USER_COMMENT: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9D: "XPAuthor",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
_XP_TAGS = range(0x9C9B, 0x9CA0)  # Windows writes them in UTF-16


def add(contents: Contents, source: ByteSource, parts: list[tuple[int, int]]) -> int:
    """Add the texts of an EXIF block; return its orientation, 1 if it states none.

    ``parts`` are starts and lengths: a block larger than 64 KiB continues over several segments of a JPEG.
    """
    if not parts:
        return 1
    if sum(length for _, length in parts) > MAX_TEXT:
        contents.problems.append("The EXIF block is too large to be read.")
        return 1
    return add_block(contents, b"".join(source.read(start, length) for start, length in parts))


def add_block(contents: Contents, block: bytes | memoryview) -> int:
    """Add the texts of an EXIF block that is in memory, with or without its prefix; return its orientation."""
    view = memoryview(block)  # of megabytes: a slice is no copy
    if bytes(view[: len(MAGIC)]) == MAGIC:
        view = view[len(MAGIC) :]
    order = _ORDERS.get(bytes(view[:4]))
    if order is None:
        return 1
    try:
        return _read(contents, view, order)
    except struct.error:
        contents.problems.append("The EXIF block is damaged.")
        return 1


def add_item(contents: Contents, data: bytes) -> int:
    """Add the texts of an EXIF item of AVIF, HEIC or JPEG XL; return its orientation.

    Four bytes before the block count those between them and its header. Some writers leave them out.
    """
    found = [at for order in _ORDERS if (at := data.find(order, 0, _MAX_PREFIX)) >= 0]
    return add_block(contents, memoryview(data)[min(found) if found else 4 + int.from_bytes(data[:4], "big") :])


def _read(contents: Contents, block: memoryview, order: str) -> int:
    orientation, comment = 1, None
    room = MAX_TEXT  # values may lie over one another: together they could be many times the block
    directories = [struct.unpack_from(order + "I", block, 4)[0]]
    for directory in directories:  # the list grows: the first directory has the pointer to the second
        for tag, kind, start, length in _entries(block, order, directory):
            if tag == _EXIF_POINTER and len(directories) == 1:
                directories.append(struct.unpack_from(order + "I", block, start)[0])
            elif tag == _ORIENTATION and kind == _SHORT:
                orientation = struct.unpack_from(order + "H", block, start)[0]
            elif kind in _BYTES and length <= room:
                room -= length
                value = block[start : start + length]
                if tag == _USER_COMMENT:
                    comment = value
                else:
                    add_tag(contents, tag, value)
    if comment is not None:  # last: Make and Model are what ComfyUI writes
        add_tag(contents, _USER_COMMENT, comment)
    return orientation


def add_tag(contents: Contents, tag: int, value: bytes | memoryview) -> None:
    """Add the text of a tag, in the encoding that the tag has."""
    if tag == _USER_COMMENT:
        text = _comment_text(memoryview(value))
    elif tag in _XP_TAGS:
        text = _utf16(memoryview(value))
    else:
        text = bytes(value)
    texts.add(contents, TAGS.get(tag, ""), text)


def _entries(block: memoryview, order: str, directory: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tag, type, start and length in bytes of each value of a directory. Raises struct.error."""
    count = min(struct.unpack_from(order + "H", block, directory)[0], _MAX_TAGS)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", block, entry)
        is_inline = length <= 4 or kind not in _BYTES  # values of up to 4 bytes replace the pointer
        yield tag, kind, entry + 8 if is_inline else value, length


def _comment_text(comment: memoryview) -> bytes:
    """Return a UserComment as UTF-8, or unchanged if it names no encoding."""
    code, text = bytes(comment[:8]), comment[8:]
    if code == b"UNICODE\0":
        # Some writers state UTF-16 and write plain text.
        return _utf16(text) if b"\0" in bytes(text[:2048]) or not _is_ascii(text) else bytes(text)
    return bytes(text if code in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)) else comment)


def _is_ascii(text: memoryview) -> bool:
    return all(bytes(text[start : start + _STEP]).isascii() for start in range(0, len(text), _STEP))


def _utf16(text: memoryview) -> bytes:
    """Return UTF-16 of unknown byte order as UTF-8. Most writers of comments use big-endian."""
    sample = bytes(text[:2048])  # the position of zero bytes shows the other order
    order = "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        order = "utf-16-le" if sample[:2] == b"\xff\xfe" else "utf-16-be"
    return to_utf8(text[: len(text) & ~1], order)
