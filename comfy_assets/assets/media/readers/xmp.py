"""XMP packets: descriptions and comments of Draw Things, Adobe's programs and photo libraries (ISO 16684-1).

A packet is XML from a stranger: entities are never expanded and nothing outside the packet is read, because a document
type declaration ends the parsing.
"""

from __future__ import annotations

import io
from xml.parsers import expat

MAX_PACKET = 4 << 20
_WINDOW = 64 << 10  # one call of the parser holds the interpreter lock
_MAX_DEPTH = 64
_MAX_ELEMENTS = 20_000  # retouching programs list thousands of points behind the descriptions
# Properties with texts of people and tools, by their names without prefixes, which each writer may choose.
_PROPERTIES = frozenset(
    ("description", "title", "subject", "UserComment", "ImageDescription", "parameters", "prompt", "workflow")
)


class DamagedPacketError(ValueError):
    """The packet is no XML, declares a document type, or is nested too deep."""


class _EnoughError(Exception):
    """The packet has more elements than are read."""


def properties(packet: bytes, found: dict[str, bytes]) -> None:
    """Add the texts of a packet of at most ``MAX_PACKET`` bytes to ``found``, in UTF-8, by the name of their property.

    Texts in several languages are joined by line ends, keywords by commas. Raises DamagedPacketError; ``found`` then
    has what precedes the damage.
    """
    parts: dict[str, list[bytes]] = {}
    try:
        _parse(packet.strip(b"\0 \t\r\n"), _Reader(parts))
    except _EnoughError:
        pass
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: an unknown encoding
        raise DamagedPacketError from error
    finally:
        for name, values in parts.items():
            found[name] = (b", " if name == "subject" else b"\n").join(dict.fromkeys(values))


def _parse(packet: bytes, reader: _Reader) -> None:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    for at in range(0, len(packet), _WINDOW):
        parser.Parse(packet[at : at + _WINDOW], False)
    parser.Parse(b"", True)


class _Reader:
    """Collects the properties of a packet from the events of the parser."""

    def __init__(self, found: dict[str, list[bytes]]) -> None:
        self._found = found
        self._depth = self._elements = 0
        self._property = ""
        self._depth_of_property = 0
        self._text = io.BytesIO()  # as UTF-8, which takes a quarter of the memory of one emoji in a long text

    def refuse(self, *_declaration: object) -> None:
        raise DamagedPacketError

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise _EnoughError
        if self._depth > _MAX_DEPTH:
            raise DamagedPacketError
        local = name.rpartition(":")[2]
        if local == "Description":  # the short form has properties as attributes
            for key, value in attributes.items():
                self._add(key.rpartition(":")[2], value.encode("utf-8", "replace"))
        elif local in _PROPERTIES and not self._property:
            self._property, self._depth_of_property = local, self._depth
        self._text = io.BytesIO()

    def end(self, _name: str) -> None:
        if self._property:
            self._add(self._property, self._text.getvalue())
        self._text = io.BytesIO()
        if self._depth == self._depth_of_property:
            self._property, self._depth_of_property = "", 0
        self._depth -= 1

    def text(self, text: str) -> None:
        if self._property:
            self._text.write(text.encode("utf-8", "replace"))

    def _add(self, name: str, value: bytes) -> None:
        value = value.strip()
        if name in _PROPERTIES and value:
            self._found.setdefault(name, []).append(value)
