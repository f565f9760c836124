"""OpenEXR: the size, and the texts of the header, where ComfyUI's SaveImageAdvanced keeps prompt and workflow.

The header is a list of attributes: a name, a type and a value, each with its length (openexr.com, "OpenEXR File
Layout"). Files of several parts have several lists; the first one describes the picture that programs show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import texts
from .base import MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size, starts_with

_MAGIC = b"v/1\x01"
_MAX_ATTRIBUTES = 1000
_MAX_NAME = 256  # with the zero at its end


class _Attribute(NamedTuple):
    name: str
    kind: bytes
    start: int
    length: int


def _read(contents: Contents, source: ByteSource) -> None:
    window: tuple[int, ...] | None = None
    room = MAX_TEXT
    try:
        for attribute in _attributes(contents, source.read):
            if attribute.kind == b"string" and texts.is_known(attribute.name):
                _add_text(contents, source.read, attribute, room)
                room = max(0, room - attribute.length)
            elif attribute.kind == b"box2i" and (attribute.name == "displayWindow" or window is None):
                # The display window is what programs show; ComfyUI and others write it equal to the data window.
                window = struct.unpack("<4i", source.read(attribute.start, 16))
    except struct.error:  # the size is near the beginning, and known by now
        contents.problems.append(TRUNCATED)
    if window is not None:
        left, top, right, bottom = window
        show_size(contents, max(0, right - left + 1), max(0, bottom - top + 1))
    elif not contents.problems:
        contents.problems.append("The EXR file does not state its size.")


def _attributes(contents: Contents, read: Read) -> Iterator[_Attribute]:
    start = 8
    for _ in range(_MAX_ATTRIBUTES):
        head = read(start, 2 * _MAX_NAME + 4)
        name, zero, rest = head.partition(b"\0")
        if not name and zero:  # an empty name ends the list
            return
        kind, second_zero, rest = rest.partition(b"\0")
        if not zero or not second_zero or len(rest) < 4:
            raise struct.error("truncated")
        (length,) = struct.unpack_from("<i", rest)
        if length < 0:
            contents.problems.append("The header of the EXR file is damaged.")
            return
        start += len(name) + len(kind) + 6
        yield _Attribute(name.decode("utf-8", "replace"), kind, start, length)
        start += length


def _add_text(contents: Contents, read: Read, attribute: _Attribute, room: int) -> None:
    if attribute.length > room:
        texts.omit(contents, attribute.name)
        return
    text = read(attribute.start, attribute.length)
    if len(text) < attribute.length:
        raise struct.error("truncated")
    texts.add(contents, attribute.name, text)


FORMATS = (Format("exr", "image/x-exr", "image", starts_with(_MAGIC), _read),)
