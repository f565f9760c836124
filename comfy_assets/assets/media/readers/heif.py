"""AVIF and HEIC: the size as shown, EXIF and XMP items, animations (ISO/IEC 23008-12, AV1 Image File Format).

The box ``meta`` is a table of contents: items (pictures, EXIF, XMP), where their bytes lie, and properties such as the
size and the turn of a picture. Only this table and the texts are read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from . import texts, tiff
from .base import MAX_PARTS, MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size
from .isobmff import Box, boxes, find, in_memory

_MAX_META = 4 << 20  # a photo of a phone has 100 tiles and needs 4 KiB
_MAX_PROPERTIES = 1000
_AVIF = frozenset((b"avif", b"avis"))
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_GENERAL = frozenset((b"mif1", b"mif2", b"msf1", b"miaf"))


def _brands(head: bytes) -> list[bytes]:
    """Return the brands of a file in their order, the major one first; an empty list if it has none."""
    if head[4:8] != b"ftyp":
        return []
    (length,) = struct.unpack_from(">I", head)
    brands = head[8 : min(length, len(head))]
    return [brand for at in range(0, len(brands) - 3, 4) if at != 4 and (brand := brands[at : at + 4])]


def _is_coded_as(head: bytes, brands: frozenset[bytes]) -> bool:
    """Return whether the major brand is one of these, or a general one beside one of these."""
    found = _brands(head)
    return bool(found) and (found[0] in brands or (found[0] in _GENERAL and not brands.isdisjoint(found)))


def _is_avif(head: bytes) -> bool:
    return _is_coded_as(head, _AVIF)


def _is_heic(head: bytes) -> bool:
    return _is_coded_as(head, _HEIC) and not _is_avif(head)


def _is_heif(head: bytes) -> bool:
    return _brands(head)[:1] != [] and _brands(head)[0] in _GENERAL and not _is_avif(head) and not _is_heic(head)


class _Extent(NamedTuple):
    """A part of an item. ``in_idat`` counts from the beginning of the box ``idat`` instead of the file."""

    start: int
    length: int
    in_idat: bool


@dataclass
class _Meta:
    """The table of contents of a file. Properties are numbered from one."""

    primary: int = 0
    exif: list[int] = field(default_factory=list)
    xmp: list[int] = field(default_factory=list)
    extents: dict[int, list[_Extent]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    associations: dict[int, list[int]] = field(default_factory=dict)
    idat: bytes = b""


def _read(contents: Contents, source: ByteSource) -> None:
    top: dict[bytes, Box] = {}
    for box in boxes(contents, source.read, 0, source.size):
        top.setdefault(box.kind, box)
    meta_box, movie = top.get(b"meta"), top.get(b"moov")
    if meta_box is not None and meta_box.length <= _MAX_META:
        meta = _read_meta(contents, source.read(meta_box.start, meta_box.length))
        _add_size(contents, meta)
        _add_texts(contents, meta, source)
    elif meta_box is not None:
        contents.problems.append("The table of contents of the file is too large to be read.")
    if movie is not None:
        _add_animation(contents, source.read, movie)
    elif meta_box is None:
        contents.problems.append("The file has no table of contents.")


def _read_meta(contents: Contents, data: bytes) -> _Meta:
    meta = _Meta()
    for box in boxes(contents, in_memory(data).read, 4, len(data)):
        try:
            _read_part(contents, meta, box.kind, data[box.start : box.end])
        except struct.error:  # the other parts may still show the size, or the texts
            contents.problems.append(TRUNCATED)
    return meta


def _read_part(contents: Contents, meta: _Meta, kind: bytes, data: bytes) -> None:
    if kind == b"pitm":
        meta.primary = struct.unpack_from(">I" if data[:1] != b"\0" else ">H", data, 4)[0]
    elif kind == b"iinf":
        _read_items(contents, meta, data)
    elif kind == b"iloc":
        _read_locations(meta, data)
    elif kind == b"idat":
        meta.idat = data
    elif kind == b"iprp":
        _read_properties(contents, meta, data)


def _read_items(contents: Contents, meta: _Meta, data: bytes) -> None:
    start = 6 if data[:1] == b"\0" else 8
    for box in boxes(contents, in_memory(data).read, start, len(data)):
        version = data[box.start] if box.length else 0
        if box.kind != b"infe" or version < 2:
            continue
        number = ">H" if version == 2 else ">I"
        item = struct.unpack_from(number, data, box.start + 4)[0]
        kind_at = box.start + 6 + struct.calcsize(number)
        kind = data[kind_at : kind_at + 4]
        if kind == b"Exif":
            meta.exif.append(item)
        elif kind == b"mime" and b"rdf+xml" in data[kind_at + 4 : min(box.end, kind_at + 512)]:
            meta.xmp.append(item)


def _read_locations(meta: _Meta, data: bytes) -> None:
    version, sizes, more = struct.unpack_from(">B3xBB", data)
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version in (1, 2) else 0
    id_size = 4 if version == 2 else 2
    cursor = _Cursor(data, 6)
    extents = 0
    for _ in range(min(cursor.number(id_size), MAX_PARTS)):
        item = cursor.number(id_size)
        method = cursor.number(2) & 15 if version in (1, 2) else 0
        cursor.number(2)  # a file that holds the data: always this one
        base = cursor.number(base_size)
        count = cursor.number(2)
        extents += count
        if extents > MAX_PARTS:
            return
        for _ in range(count):
            cursor.number(index_size)
            start, length = base + cursor.number(offset_size), cursor.number(length_size)
            if method in (0, 1):  # 2 is a part of another item, which no writer uses for texts
                meta.extents.setdefault(item, []).append(_Extent(start, length, method == 1))


class _Cursor:
    """Reads unsigned numbers of any width one after another. Raises struct.error behind the end."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start

    def number(self, size: int) -> int:
        end = self._at + size
        if end > len(self._data):
            raise struct.error("truncated")
        value = int.from_bytes(self._data[self._at : end], "big")
        self._at = end
        return value


def _read_properties(contents: Contents, meta: _Meta, data: bytes) -> None:
    read = in_memory(data).read
    for box in boxes(contents, read, 0, len(data)):
        if box.kind == b"ipco":
            for inner in boxes(contents, read, box.start, box.end):
                if len(meta.properties) < _MAX_PROPERTIES:
                    meta.properties.append((inner.kind, data[inner.start : min(inner.end, inner.start + 64)]))
        elif box.kind == b"ipma":
            _read_associations(meta, data[box.start : box.end])


def _read_associations(meta: _Meta, data: bytes) -> None:
    version, flags = struct.unpack_from(">BxxB", data)
    is_wide, id_size = flags & 1, 4 if version else 2
    cursor = _Cursor(data, 4)
    for _ in range(min(cursor.number(4), MAX_PARTS)):
        item = cursor.number(id_size)
        # The highest bit means that a reader must know the property.
        numbers = [cursor.number(2) & 0x7FFF if is_wide else cursor.number(1) & 0x7F for _ in range(cursor.number(1))]
        meta.associations.setdefault(item, numbers)


def _add_size(contents: Contents, meta: _Meta) -> None:
    """Add the size of the primary picture after its crop and turn, which are applied in the order of the list."""
    width = height = 0
    for number in meta.associations.get(meta.primary, ()):
        kind, value = meta.properties[number - 1] if 0 < number <= len(meta.properties) else (b"", b"")
        if kind == b"ispe":
            width, height = struct.unpack_from(">II", value, 4)
        elif kind == b"clap":
            width, height = _cropped(value, width, height)
        elif kind == b"irot" and value[:1] and value[0] & 1:  # quarter turns; a mirror (imir) keeps the size
            width, height = height, width
    show_size(contents, width, height)


def _cropped(value: bytes, width: int, height: int) -> tuple[int, int]:
    across, across_parts, down, down_parts = struct.unpack_from(">4I", value)
    if not across_parts or not down_parts:
        return width, height
    return min(width, across // across_parts) or width, min(height, down // down_parts) or height


def _add_texts(contents: Contents, meta: _Meta, source: ByteSource) -> None:
    for item in meta.exif[:1]:
        # Its orientation does not count here: the property irot replaces it.
        tiff.add_exif_item(contents, _item(contents, meta, source, item, "exif"))
    for item in meta.xmp[:1]:
        texts.add(contents, texts.XMP, _item(contents, meta, source, item, "xmp"))


def _item(contents: Contents, meta: _Meta, source: ByteSource, item: int, name: str) -> bytes:
    """Return the bytes of an item; empty if they are too many or outside the file."""
    extents = meta.extents.get(item, [])
    # A length of zero means everything that follows, which no writer uses beside other items.
    if sum(extent.length for extent in extents) > MAX_TEXT:
        contents.omitted.add(name)
        return b""
    parts = [
        meta.idat[part.start : part.start + part.length] if part.in_idat else source.read(part.start, part.length)
        for part in extents
        if part.in_idat or part.start <= source.size
    ]
    if any(len(part) < extent.length for part, extent in zip(parts, extents, strict=False)):
        contents.problems.append(TRUNCATED)
    return b"".join(parts)


def _add_animation(contents: Contents, read: Read, movie: Box) -> None:
    """Add the frames and the duration of the first track. A file without ``meta`` has its size here."""
    track = find(contents, read, movie.start, movie.end, b"trak")
    if track is None:
        return
    media = find(contents, read, track.start, track.end, b"mdia", b"mdhd")
    samples = find(contents, read, track.start, track.end, b"mdia", b"minf", b"stbl", b"stsz")
    header = find(contents, read, track.start, track.end, b"tkhd")
    if samples is not None:
        frames = struct.unpack(">I", read(samples.start + 8, 4))[0]
        if frames > 1:
            contents.facts["frame_count"] = frames
    if media is not None and contents.facts.get("frame_count"):
        _add_duration(contents, read(media.start, 32))
    if header is not None and not contents.facts.get("width"):
        # The last two fields, in 1/65536 of a pixel.
        width, height = struct.unpack(">II", read(header.end - 8, 8))
        show_size(contents, width >> 16, height >> 16)


def _add_duration(contents: Contents, header: bytes) -> None:
    is_long = header[:1] == b"\1"
    scale, length = struct.unpack_from(">IQ" if is_long else ">II", header, 20 if is_long else 12)
    if scale and 0 < length < 1 << 53:
        contents.facts["duration"] = round(length / scale, 3)


FORMATS = (
    Format("avif", "image/avif", "image", _is_avif, _read),
    Format("heic", "image/heic", "image", _is_heic, _read),
    Format("heif", "image/heif", "image", _is_heif, _read),
)
