"""TIFF and BigTIFF, and the camera files built on them: the size as shown, texts, EXIF and XMP (TIFF 6.0).

The directories may lie anywhere in a file of many gigabytes, so that they are read one by one, and of their values only
texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from . import exif, texts
from .base import MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size, starts_with

_MAGICS = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
_MAX_TAGS = 512  # of a directory
_MAX_DIRECTORIES = 16
_SUBFILE, _WIDTH, _HEIGHT, _ORIENTATION, _SUB_DIRECTORIES, _XMP, _EXIF = 254, 256, 257, 274, 330, 700, 0x8769
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
_TEXT_KINDS = frozenset((1, 2, 7, 129))  # BYTE, ASCII, UNDEFINED, UTF-8


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


def _read(contents: Contents, source: ByteSource) -> None:
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
        elif entry.kind in _TEXT_KINDS and (entry.tag == _XMP or entry.tag in exif.TAGS) and entry.values <= found.room:
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
        exif.add_tag(contents, tag, value)


FORMATS = (Format("tiff", "image/tiff", "image", starts_with(*_MAGICS), _read),)
