"""Pictures with plain headers: GIF, BMP, ICO, TGA, PPM, PSD, XCF, DDS, HDR, OpenEXR and QOI.

Most headers state a size and little else. GIF has comments, XMP and a number of frames (GIF89a specification). OpenEXR
has texts, where ComfyUI's SaveImageAdvanced keeps prompt and workflow. Its header is a list of attributes: a name, a
type and a value, each with its length (openexr.com, "OpenEXR File Layout"). Files of several parts have several lists;
the first one describes the picture that programs show.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from . import texts
from .base import MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, Read, show_size, starts_with

_MAX_BLOCKS = 4 << 20  # comments and frames behind it are not found
_IMAGE, _EXTENSION = 0x2C, 0x21
_COMMENT, _APPLICATION, _CONTROL = 0xFE, 0xFF, 0xF9
_XMP = b"XMP DataXMP"
_XMP_TRAILER = 258  # bytes that let a decoder which reads XMP as sub-blocks find the end
_EXR_MAGIC = b"v/1\x01"
_MAX_ATTRIBUTES = 1000
_MAX_NAME = 256  # with the zero at its end
_MAX_HEADER = 64 << 10  # of formats with a header of text
_OS2, _WINDOWS = 12, 40  # lengths of the oldest headers, and all lengths
_BMP_HEADERS = frozenset((_OS2, 16, _WINDOWS, 52, 56, 64, 108, 124))
_PLAIN = (0, 3)  # pixels that are not compressed
_MAX_ICONS = 256
# Width, height and the highest value are separated by white space and comments; PBM has no highest value.
_PPM_MAGIC = re.compile(rb"P[1-7Ff][ \t\r\n]")
_PPM_NUMBER = re.compile(rb"(?:[ \t\r\n]|#[^\n]{0,1000}\n)+([0-9]{1,9})(?=[ \t\r\n#])")
_PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT)[ \t]+([0-9]{1,9})\s*$", re.MULTILINE)
_HDR_SIZE = re.compile(rb"\n\n(?:[+-]Y ([0-9]{1,9}) [+-]X ([0-9]{1,9})|[+-]X ([0-9]{1,9}) [+-]Y ([0-9]{1,9}))\r?\n")
_TGA_KINDS = frozenset((1, 2, 3, 9, 10, 11))
_TGA_DEPTHS = frozenset((8, 15, 16, 24, 32))


class _GifBlocks:
    """A position in the blocks of a GIF. IndexError where the file ends or is damaged."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 13 + _table_length(data[10])
        self.frames = 0
        self.hundredths = 0

    def read(self, contents: Contents) -> bool:
        """Read the next block; return False at the end of the file."""
        kind = self._data[self._at]
        if kind == _IMAGE:
            self.frames += 1
            self._at += 10 + _table_length(self._data[self._at + 9]) + 1  # and the size of the codes
            self._skip()
        elif kind == _EXTENSION:
            label = self._data[self._at + 1]
            self._at += 2
            self._read_extension(contents, label)
        else:
            return False
        return True

    def _read_extension(self, contents: Contents, label: int) -> None:
        if label == _COMMENT:
            texts.add(contents, "comment", self._joined())
        elif label == _APPLICATION and self._data[self._at + 1 : self._at + 12] == _XMP:
            start = self._at + 12
            self._skip()
            texts.add(contents, texts.XMP, self._data[start : max(start, self._at - _XMP_TRAILER)])
        else:
            if label == _CONTROL:
                self.hundredths += int.from_bytes(self._data[self._at + 2 : self._at + 4], "little")
            self._skip()

    def _skip(self) -> None:
        """Go behind the sub-blocks that start here."""
        data, at = self._data, self._at
        while length := data[at]:
            at += length + 1
        self._at = at + 1

    def _joined(self) -> bytes:
        start = self._at
        self._skip()
        text, at = io.BytesIO(), start  # a list of its parts, of a byte each, would take forty times as much
        while length := self._data[at]:
            text.write(self._data[at + 1 : at + 1 + length])
            at += length + 1
        return text.getvalue()


def _table_length(flags: int) -> int:
    """Return the length in bytes of the color table that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _read_gif(contents: Contents, source: ByteSource) -> None:
    data = source.read(0, min(source.size, _MAX_BLOCKS))
    width, height = struct.unpack_from("<HH", data, 6)
    try:
        blocks = _GifBlocks(data)
        while blocks.read(contents):
            pass
        if blocks.frames > 1:
            contents.facts |= {"frame_count": blocks.frames, "duration": blocks.hundredths / 100}
    except IndexError:
        if source.size <= _MAX_BLOCKS:
            contents.problems.append(TRUNCATED)
    show_size(contents, width, height)


GIF = Format("gif", "image/gif", "image", starts_with(b"GIF87a", b"GIF89a"), _read_gif)


class _ExrAttribute(NamedTuple):
    name: str
    kind: bytes
    start: int
    length: int


def _read_openexr(contents: Contents, source: ByteSource) -> None:
    window: tuple[int, ...] | None = None
    room = MAX_TEXT
    try:
        for attribute in _exr_attributes(contents, source.read):
            if attribute.kind == b"string" and texts.is_known(attribute.name):
                _add_exr_text(contents, source.read, attribute, room)
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


def _exr_attributes(contents: Contents, read: Read) -> Iterator[_ExrAttribute]:
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
        yield _ExrAttribute(name.decode("utf-8", "replace"), kind, start, length)
        start += length


def _add_exr_text(contents: Contents, read: Read, attribute: _ExrAttribute, room: int) -> None:
    if attribute.length > room:
        texts.omit(contents, attribute.name)
        return
    text = read(attribute.start, attribute.length)
    if len(text) < attribute.length:
        raise struct.error("truncated")
    texts.add(contents, attribute.name, text)


OPENEXR = Format("exr", "image/x-exr", "image", starts_with(_EXR_MAGIC), _read_openexr)


def _read_bmp(contents: Contents, source: ByteSource) -> None:
    head = source.read(0, 54)
    header = head[14:] if head.startswith(b"BM") else head  # a DIB has no header of a file
    (length,) = struct.unpack_from("<I", header)
    if length not in _BMP_HEADERS:
        contents.problems.append("This is not a BMP file.")
        return
    contents.mime_type = "image/bmp"
    width, height = struct.unpack_from("<HH" if length == _OS2 else "<ii", header, 4)
    width, height = abs(width), abs(height)  # a negative height means that the first row is the top one
    if length >= _WINDOWS and len(head) > len(header):
        start, depth, compression = struct.unpack_from("<I14xHI", head, 10)
        if compression in _PLAIN and start + (width * depth + 31) // 32 * 4 * height > source.size:
            contents.problems.append(TRUNCATED)
    show_size(contents, width, height)


def _read_ico(contents: Contents, source: ByteSource) -> None:
    """Show the size of the largest picture, which is the one that programs show. Zero means 256 or more."""
    count = min(struct.unpack("<H", source.read(4, 2))[0], _MAX_ICONS)
    entries = list(struct.iter_unpack("<BBBBHHII", source.read(6, 16 * count)))
    if not entries:
        raise struct.error("truncated")
    width, height, *_, start = max(entries, key=lambda entry: (entry[0] or 256) * (entry[1] or 256))
    head = source.read(start, 24)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):  # a picture of 256 and more pixels is a PNG with its own size
        width, height = struct.unpack_from(">II", head, 16)
    show_size(contents, width or 256, height or 256)


def _is_ico(head: bytes) -> bool:
    """Return whether the directory is plausible: four bytes with few values are no safe magic number."""
    if not head.startswith((b"\0\0\1\0", b"\0\0\2\0")) or len(head) < 22:
        return False
    count, reserved, start = struct.unpack_from("<H", head, 4)[0], head[9], struct.unpack_from("<I", head, 18)[0]
    return 0 < count <= _MAX_ICONS and reserved in (0, 255) and start >= 6 + 16 * count


def _read_tga(contents: Contents, source: ByteSource) -> None:
    """Read a TGA file, which is chosen by its suffix because its first bytes are no magic number."""
    header = source.read(0, 18)
    kind, depth = header[2:3], header[16:17]
    if len(header) < 18:
        raise struct.error("truncated")
    if kind[0] not in _TGA_KINDS or depth[0] not in _TGA_DEPTHS or header[1] > 1:
        contents.problems.append("This is not a TGA file.")
        return
    contents.mime_type = "image/x-tga"
    show_size(contents, *struct.unpack_from("<HH", header, 12))


def _read_ppm(contents: Contents, source: ByteSource) -> None:
    header = source.read(0, _MAX_HEADER)
    if header.startswith(b"P7"):
        fields = dict(_PAM_FIELD.findall(header.partition(b"ENDHDR")[0]))
        sizes = [fields.get(b"WIDTH"), fields.get(b"HEIGHT")]
    else:
        width = _PPM_NUMBER.match(header, 2)
        height = _PPM_NUMBER.match(header, width.end()) if width else None
        sizes = [width[1] if width else None, height[1] if height else None]
    if sizes[0] is None or sizes[1] is None:
        contents.problems.append("The picture does not state its size.")
    else:
        show_size(contents, int(sizes[0]), int(sizes[1]))


def _read_psd(contents: Contents, source: ByteSource) -> None:
    height, width = struct.unpack(">II", source.read(14, 8))
    show_size(contents, width, height)


def _read_xcf(contents: Contents, source: ByteSource) -> None:
    show_size(contents, *struct.unpack(">II", source.read(14, 8)))


def _read_dds(contents: Contents, source: ByteSource) -> None:
    height, width = struct.unpack("<II", source.read(12, 8))
    show_size(contents, width, height)


def _read_qoi(contents: Contents, source: ByteSource) -> None:
    show_size(contents, *struct.unpack(">II", source.read(4, 8)))


def _read_hdr(contents: Contents, source: ByteSource) -> None:
    """Read the line after the first empty one: rows and columns, or columns and rows of a turned picture."""
    found = _HDR_SIZE.search(source.read(0, _MAX_HEADER).replace(b"\r\n", b"\n"))
    if found is None:
        contents.problems.append("The picture does not state its size.")
        return
    rows, columns, turned_columns, turned_rows = found.groups()
    show_size(contents, int(columns or turned_columns), int(rows or turned_rows))


def _is_bmp(head: bytes) -> bool:
    """Return whether a header of a known length follows the two letters."""
    return head.startswith(b"BM") and struct.unpack_from("<I", head.ljust(18, b"\0"), 14)[0] in _BMP_HEADERS


FORMATS = (
    Format("bmp", None, "image", _is_bmp, _read_bmp, (".bmp", ".dib")),
    Format("ico", "image/x-icon", "image", _is_ico, _read_ico),
    Format("tga", None, "image", lambda head: False, _read_tga, (".tga",)),
    Format("ppm", "image/x-portable-anymap", "image", lambda head: _PPM_MAGIC.match(head) is not None, _read_ppm),
    Format("psd", "image/vnd.adobe.photoshop", "image", starts_with(b"8BPS\0\1", b"8BPS\0\2"), _read_psd),
    Format("xcf", "image/x-xcf", "image", starts_with(b"gimp xcf "), _read_xcf),
    Format("dds", "image/vnd.ms-dds", "image", starts_with(b"DDS \x7c\0\0\0"), _read_dds),
    Format("hdr", "image/vnd.radiance", "image", starts_with(b"#?RADIANCE", b"#?RGBE"), _read_hdr),
    Format("qoi", "image/qoi", "image", starts_with(b"qoif"), _read_qoi),
)
