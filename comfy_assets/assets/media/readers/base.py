"""Types that all readers of file formats use: the source, the contents that they fill, and the format.

A reader never decodes pixels, runs nothing, follows nothing outside the file, and reads at most ``MAX_READ`` bytes. It
holds at most 16 MiB beside the texts that it finds, of which there are at most ``MAX_TEXT`` bytes, and no call in it
holds the interpreter lock for more than 50 ms. Bad content gives a sentence in ``Contents.problems`` instead of an
exception; only a struct.error may leave a reader, and counts as a truncated file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_READ = 16 << 20  # bytes of a file that are read, a window at a time
MAX_TEXT = 8 << 20  # bytes of all texts of a file; as many as a request shows
MAX_PARTS = 10_000  # chunks, boxes or segments that a reader walks through: hostile files have many tiny ones
TRUNCATED = "The file is truncated."
OWN_PICTURE = "has_picture"  # the fact (true) of a file, such as a 3D scene, that contains a picture of itself

Read = Callable[[int, int], bytes]
"""Returns ``length`` bytes from ``offset``; fewer at the end of the file, none for a negative value. Raises OSError."""


class ByteSource(NamedTuple):
    """A file, or the bytes of one: ``size`` in bytes, and ``in_memory`` where reading costs nothing."""

    read: Read
    size: int
    in_memory: bool


@dataclass
class Contents:
    """The result of reading a file.

    ``facts`` are for lists. ``texts`` are raw texts by document key, as ``texts.add`` files them, ``fields`` those that
    become a document only together, by their keyword, and ``omitted`` the keys of those that are too large.
    ``problems`` are sentences for users. ``mime_type`` is None if the content does not show it.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    fields: dict[str, bytes] = field(default_factory=dict)
    omitted: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    mime_type: str | None = None


class Format(NamedTuple):
    """A file format: its name and kind as in ``facts``, and its reader.

    ``matches`` gets the first 4 KiB of a file. ``suffixes`` (lower case, with the dot) choose the format for files that
    no format matches. The reader may replace ``mime_type`` and ``facts["kind"]`` of the contents.
    """

    name: str
    mime_type: str | None
    kind: str
    matches: Callable[[bytes], bool]
    read: Callable[[Contents, ByteSource], None]
    suffixes: tuple[str, ...] = ()


def starts_with(*magics: bytes) -> Callable[[bytes], bool]:
    """Return the check for files that begin with one of these bytes."""
    return lambda head: head.startswith(magics)


def read_nothing(contents: Contents, source: ByteSource) -> None:
    """Leave the contents as they are: the reader of a format that is only recognized."""


def show_size(contents: Contents, width: int, height: int, orientation: int = 1) -> None:
    """Add the width and height as shown: EXIF orientations 5 to 8 turn the picture by a quarter."""
    if not width or not height:
        if not contents.problems:
            contents.problems.append("The image's width or height is 0.")
        return
    if 5 <= orientation <= 8:
        width, height = height, width
    contents.facts |= {"width": width, "height": height}
