"""TIFF (TIFF 6.0): files in it, in BigTIFF and of cameras, and the EXIF blocks in other formats (EXIF 3.0).

Of files, the size as shown, texts, EXIF and XMP are read. The directories may lie anywhere in a file of many gigabytes,
so that they are read one by one, and of their values only texts. Of EXIF blocks, texts and the orientation of the
picture are read, in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from . import texts
from .base import MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size, starts_with
from .recoding import to_utf8

EXIF_MAGIC = b"Exif\0\0"

_MAGICS = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")  # of files
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # the first bytes of a block, and its byte order
_MAX_PREFIX = 64
_STEP = 64 << 10
_MAX_TAGS, _MAX_BLOCK_TAGS = 512, 256  # of a directory, in files and in blocks
_MAX_DIRECTORIES = 16
_SUBFILE, _WIDTH, _HEIGHT, _ORIENTATION, _SUB_DIRECTORIES, _XMP = 254, 256, 257, 274, 330, 700
_EXIF, _USER_COMMENT = 0x8769, 0x9286
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
_SHORT = 3
_TEXT_TYPES = frozenset((1, 2, 7, 129))  # types of values that hold text: BYTE, ASCII, UNDEFINED, UTF-8
# Tags with names that ``texts`` knows. Of all others only texts that state their key are of interest.
EXIF_TAGS = {
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


def add_exif(contents: Contents, source: ByteSource, parts: list[tuple[int, int]]) -> int:
    """Add the texts of an EXIF block; return its orientation, 1 if it states none.

    ``parts`` are starts and lengths: a block larger than 64 KiB continues over several segments of a JPEG.
    """
    if not parts:
        return 1
    if sum(length for _, length in parts) > MAX_TEXT:
        contents.problems.append("The EXIF block is too large to be read.")
        return 1
    return add_exif_block(contents, b"".join(source.read(start, length) for start, length in parts))


def add_exif_block(contents: Contents, block: bytes | memoryview) -> int:
    """Add the texts of an EXIF block that is in memory, with or without its prefix; return its orientation."""
    view = memoryview(block)  # of megabytes: a slice is no copy
    if bytes(view[: len(EXIF_MAGIC)]) == EXIF_MAGIC:
        view = view[len(EXIF_MAGIC) :]
    order = _ORDERS.get(bytes(view[:4]))
    if order is None:
        return 1
    try:
        return _read_block(contents, view, order)
    except struct.error:
        contents.problems.append("The EXIF block is damaged.")
        return 1


def add_exif_item(contents: Contents, data: bytes) -> int:
    """Add the texts of an EXIF item of AVIF, HEIC or JPEG XL; return its orientation.

    Four bytes before the block count those between them and its header. Some writers leave them out.
    """
    found = [at for order in _ORDERS if (at := data.find(order, 0, _MAX_PREFIX)) >= 0]
    return add_exif_block(contents, memoryview(data)[min(found) if found else 4 + int.from_bytes(data[:4], "big") :])


def _read_block(contents: Contents, block: memoryview, order: str) -> int:
    orientation, comment = 1, None
    room = MAX_TEXT  # values may lie over one another: together they could be many times the block
    directories = [struct.unpack_from(order + "I", block, 4)[0]]
    for directory in directories:  # the list grows: the first directory has the pointer to the second
        for tag, kind, start, length in _block_entries(block, order, directory):
            if tag == _EXIF and len(directories) == 1:
                directories.append(struct.unpack_from(order + "I", block, start)[0])
            elif tag == _ORIENTATION and kind == _SHORT:
                orientation = struct.unpack_from(order + "H", block, start)[0]
            elif kind in _TEXT_TYPES and length <= room:
                room -= length
                value = block[start : start + length]
                if tag == _USER_COMMENT:
                    comment = value
                else:
                    add_exif_tag(contents, tag, value)
    if comment is not None:  # last: Make and Model are what ComfyUI writes
        add_exif_tag(contents, _USER_COMMENT, comment)
    return orientation


def add_exif_tag(contents: Contents, tag: int, value: bytes | memoryview) -> None:
    """Add the text of a tag, in the encoding that the tag has."""
    if tag == _USER_COMMENT:
        text = _comment_text(memoryview(value))
    elif tag in _XP_TAGS:
        text = _utf16(memoryview(value))
    else:
        text = bytes(value)
    texts.add(contents, EXIF_TAGS.get(tag, ""), text)


def _block_entries(block: memoryview, order: str, directory: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tag, type, start and length in bytes of each value of a directory. Raises struct.error."""
    count = min(struct.unpack_from(order + "H", block, directory)[0], _MAX_BLOCK_TAGS)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", block, entry)
        is_inline = length <= 4 or kind not in _TEXT_TYPES  # values of up to 4 bytes replace the pointer
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


class _Layout(NamedTuple):
    """The byte order of a file, and the formats and lengths that differ in BigTIFF."""

    order: str
    number: str
    entry: str
    inline: int

    @property
    def length(self) -> int:
        """The length of an entry in bytes."""
        return struct.calcsize(self.order + self.entry)


class _Entry(NamedTuple):
    """A tag, its kind, the number of its values, and where they are in the file."""

    tag: int
    kind: int
    values: int
    start: int


def _read_file(contents: Contents, source: ByteSource) -> None:
    layout, first = _layout(source.read(0, 16))
    found = _Found([first])
    for number, directory in enumerate(found.directories):  # the list grows: the first one has pointers to others
        try:
            _read_directory(contents, source.read, layout, found, directory, is_first=number == 0)
        except struct.error:  # the other directories may still show the size
            contents.problems.append(TRUNCATED)
    # In a camera's file the first picture is a small one, and the type says so.
    _, width, height = min(found.pictures, key=lambda picture: picture[0], default=(0, 0, 0))
    show_size(contents, width, height, found.orientation)


@dataclass
class _Found:
    """Contents of the directories: further directories, and pictures as subfile type, width and height."""

    directories: list[int]
    pictures: list[tuple[int, int, int]] = field(default_factory=list)
    orientation: int = 1
    room: int = MAX_TEXT


def _read_directory(
    contents: Contents, read: Read, layout: _Layout, found: _Found, directory: int, *, is_first: bool
) -> None:
    size = {_SUBFILE: 0, _WIDTH: 0, _HEIGHT: 0}
    for entry in _entries(read, layout, directory):
        if entry.tag in size:
            size[entry.tag] = _number(read, layout, entry)
        elif entry.tag == _ORIENTATION and is_first:
            found.orientation = _number(read, layout, entry)
        elif entry.tag in (_EXIF, _SUB_DIRECTORIES) and is_first:
            found.directories += _offsets(read, layout, entry)[: _MAX_DIRECTORIES - len(found.directories)]
        elif entry.kind in _TEXT_TYPES and (entry.tag == _XMP or entry.tag in EXIF_TAGS) and entry.values <= found.room:
            found.room -= entry.values
            _add_text(contents, entry.tag, read(entry.start, entry.values))
    if size[_WIDTH] and size[_HEIGHT]:
        found.pictures.append((size[_SUBFILE] & 1, size[_WIDTH], size[_HEIGHT]))


def _layout(head: bytes) -> tuple[_Layout, int]:
    """Return the layout and the place of the first directory."""
    order = "<" if head.startswith(b"II") else ">"
    if head[2:4] in (b"*\0", b"\0*"):
        return _Layout(order, "H", "HHI4s", 4), struct.unpack_from(order + "I", head, 4)[0]
    return _Layout(order, "Q", "HHQ8s", 8), struct.unpack_from(order + "Q", head, 8)[0]


def _entries(read: Read, layout: _Layout, directory: int) -> Iterator[_Entry]:
    """Yield the entries of a directory. Raises struct.error if it is cut off."""
    width = struct.calcsize(layout.number)
    count = min(struct.unpack(layout.order + layout.number, read(directory, width))[0], _MAX_TAGS)
    data = read(directory + width, count * layout.length)
    for number in range(count):
        at = number * layout.length
        tag, kind, values, pointer = struct.unpack_from(layout.order + layout.entry, data, at)
        length = values * (struct.calcsize(_NUMBERS[kind]) if kind in _NUMBERS else 1)
        start = directory + width + at + layout.length - layout.inline
        if length > layout.inline:
            start = int.from_bytes(pointer, "little" if layout.order == "<" else "big")
        yield _Entry(tag, kind, values, start)


def _offsets(read: Read, layout: _Layout, entry: _Entry) -> list[int]:
    if entry.kind not in _NUMBERS:
        return []
    number = _NUMBERS[entry.kind]
    count = min(entry.values, _MAX_DIRECTORIES)
    data = read(entry.start, count * struct.calcsize(number))
    return list(struct.unpack(f"{layout.order}{count}{number}", data))


def _number(read: Read, layout: _Layout, entry: _Entry) -> int:
    return next(iter(_offsets(read, layout, entry)), 0)


def _add_text(contents: Contents, tag: int, value: bytes) -> None:
    if tag == _XMP:
        texts.add(contents, texts.XMP, value)
    else:
        add_exif_tag(contents, tag, value)


FORMATS = (Format("tiff", "image/tiff", "image", starts_with(*_MAGICS), _read_file),)
