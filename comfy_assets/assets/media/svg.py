"""Check of SVG files that are sent to browsers as images. Nothing in them is run or followed here."""

from __future__ import annotations

import re
from typing import IO, Any
from xml.parsers import expat

from ...errors import ImageTooLargeError, ImageUnreadableError

MAX_BYTES = 8 << 20  # browsers need seconds for larger drawings
_HEAD = 4096
_BEFORE_ROOT = ((b"<?", b"?>"), (b"<!--", b"-->"), (b"<!DOCTYPE", b">"))
_ELEMENT = re.compile(rb"<([^\s<>/]+)[\s>/]")
_BLOCK = 64 << 10  # parsing this much blocks other threads for a few milliseconds
_MAX_ENTITY = 256  # characters: drawing programs declare entities for the addresses of name spaces
_MAX_ENTITIES = 100


def is_svg(head: bytes) -> bool:
    """Return whether a file with these first bytes is SVG: XML whose first element is ``svg``, in any encoding."""
    text = head[:_HEAD].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")  # also UTF-16
    while True:
        text = text.lstrip()
        end = next((end for start, end in _BEFORE_ROOT if text.startswith(start)), None)
        if end is None:
            break
        declared, found, text = text.partition(end)
        if end == b">" and b"[" in declared:  # a document type with declarations of its own
            text = (declared + found + text).partition(b"]")[2].partition(b">")[2]
    name = _ELEMENT.match(text)
    return name is not None and name[1].rpartition(b":")[2] == b"svg"


def read_svg(stream: IO[bytes], size: int) -> bytes:
    """Return the whole file. Raises ImageTooLargeError, and ImageUnreadableError if browsers cannot show it."""
    if size > MAX_BYTES:
        raise ImageTooLargeError("The drawing is too large.", details={"size": size})
    stream.seek(0)
    body = stream.read(size)
    try:
        _check(body)
    except expat.ExpatError as error:
        raise ImageUnreadableError("The image cannot be read. Its XML is damaged.") from error
    return body


def _check(body: bytes) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    root = _Root()
    parser.StartElementHandler = root.start
    parser.EntityDeclHandler = root.declare
    # With this handler, entities in texts are not expanded.
    parser.DefaultHandler = _ignore
    for start in range(0, len(body), _BLOCK):
        parser.Parse(body[start : start + _BLOCK], False)
    parser.Parse(b"", True)


def _ignore(_: str) -> None:
    pass


class _Root:
    """Handlers of the parser: the first element must be ``svg``, and entities must be small."""

    def __init__(self) -> None:
        self._is_known = False
        self._entities = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        if not self._is_known and name.rpartition(" ")[2] != "svg":
            raise ImageUnreadableError("The file is not an SVG image.")
        self._is_known = True

    def declare(self, _name: str, _is_parameter: bool, value: str | None, *_: Any) -> None:
        self._entities += 1
        # Entities in entities, or long ones, could grow to any size in attributes.
        is_large = value is not None and (len(value) > _MAX_ENTITY or "&" in value or "%" in value)
        if is_large or self._entities > _MAX_ENTITIES:
            raise ImageUnreadableError("The image cannot be read. It declares large entities.")
