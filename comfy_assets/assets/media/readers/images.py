"""Readers for PNG, JPEG, WebP and GIF files: the image size and the embedded workflow, without decoding a pixel.

Pillow is not used for this. It rejects large WebP images, reads WebP files completely, finds text after the pixels of
a PNG only by decoding them, and discards everything after a damaged chunk. For EXIF it prints warnings about damaged
blocks instead of reporting them. These readers walk the chunks and read only the texts of ComfyUI and of other user
interfaces, each once and at most 16 MiB of it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

MAX_DOCUMENT = 16 << 20

Read = Callable[[int, int], bytes]

# Limits for hostile files of many tiny parts.
_MAX_CHUNKS = 10_000
_MAX_TAGS = 256
_SLACK = 4096  # bytes around a text in its chunk: keyword, language, prefix
_TRUNCATED = "The file is truncated."
_KEYS = {b"prompt": "prompt", b"workflow": "workflow", b"parameters": "parameters"}

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT = frozenset((b"tEXt", b"zTXt", b"iTXt", b"comf"))  # comf: ComfyUI's animated PNGs

_EXIF_MAGIC = b"Exif\0\0"
_EXIF_POINTER, _USER_COMMENT = 0x8769, 0x9286
_EXIF_BYTES = frozenset((1, 2, 7, 129))  # value types that hold text: BYTE, ASCII, UNDEFINED, UTF-8
_CLAIM = re.compile(rb"(prompt|workflow) ?:", re.IGNORECASE)

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the others are tables
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length

_NAN = re.compile(rb"-?Infinity|NaN")  # Python's json module writes them, but they are not JSON
_MAX_PARAMETERS = 2 << 20  # usually a few kilobytes; escaped as JSON, a byte may take six
_MAX_REPAIRED = 4 << 20  # each NaN in a text costs about a microsecond

_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class _TextTooLargeError(Exception):
    """A text is larger than 16 MiB."""


@dataclass
class _ImageContents:
    """Results of a reader. The texts are still as they are in the file."""

    width: int = 0
    height: int = 0
    texts: dict[str, bytes] = field(default_factory=dict)
    omitted: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def sniff_image(head: bytes) -> str | None:
    """Return png, jpeg, webp or gif if the first bytes of a file identify it."""
    if head.startswith(_PNG_MAGIC):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if head.startswith(b"RIFF") and head[8:12] == b"WEBP" else None


def read_image(image: str, read: Read, size: int, *, whole: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the facts and documents of an image.

    With ``whole`` the complete file is in memory, so that texts after the pixels are read, too.
    """
    found = _ImageContents()
    try:
        _READERS[image](found, read, size, whole)
    except struct.error:
        found.problems.append(_TRUNCATED)
    documents = _documents(found)
    facts: dict[str, Any] = {"format": image}
    if found.width and found.height:
        facts |= {"width": found.width, "height": found.height}
    elif not found.problems:
        found.problems.append("The image's width or height is 0.")
    if documents:
        facts["embedded"] = sorted(documents)
    if found.omitted:
        facts["omitted"] = sorted(found.omitted)
    if found.problems:
        facts["error"] = " ".join(dict.fromkeys(found.problems))
    return facts, documents


def _read_png(found: _ImageContents, read: Read, size: int, whole: bool) -> None:
    length, kind, width, height = struct.unpack(">I4sII", read(8, 16))
    if kind != b"IHDR" or length != 13:
        found.problems.append("The PNG file has no header.")
        return
    found.width, found.height = width, height
    texts: dict[bytes, tuple[bytes, int, int]] = {}
    exif = None
    for kind, start, length, keyword in _png_chunks(read, found, size, whole):
        if kind == b"eXIf":
            exif = start, length
        elif keyword in _KEYS and len(keyword) < length:
            texts[keyword] = kind, start, length
    for keyword, (kind, start, length) in texts.items():
        _add_png_text(found, _KEYS[keyword], kind, read, start + len(keyword) + 1, length - len(keyword) - 1)
    if exif is not None:
        _add_exif(found, read, [exif])


def _png_chunks(read: Read, found: _ImageContents, size: int, whole: bool) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Yield kind, start, length and keyword of text and EXIF chunks; those after the pixels only if ``whole``."""
    start = 33
    for _ in range(_MAX_CHUNKS):
        head = read(start, 19)  # length, kind, and the longest keyword with its zero byte
        if len(head) < 8:
            break
        length, kind = struct.unpack_from(">I4s", head)
        if kind == b"IEND" or (kind == b"IDAT" and not whole):
            return
        if start + 12 + length > size:
            break
        if kind in _PNG_TEXT:
            yield kind, start + 8, length, head[8:].partition(b"\0")[0]
        elif kind == b"eXIf":
            yield kind, start + 8, length, b""
        start += 12 + length
    else:
        return
    found.problems.append(_TRUNCATED)


def _add_png_text(found: _ImageContents, key: str, kind: bytes, read: Read, start: int, length: int) -> None:
    """Add the text of a chunk; ``start`` and ``length`` exclude the keyword."""
    try:
        if length > MAX_DOCUMENT + _SLACK:
            raise _TextTooLargeError
        found.texts[key] = _png_text(kind, read(start, length))
    except _TextTooLargeError:
        found.omitted.add(key)
    except zlib.error:
        found.problems.append(f"The embedded {key} is damaged.")


def _png_text(kind: bytes, body: bytes) -> bytes:
    """Return the text of a chunk without its keyword. Raises _TextTooLargeError, zlib.error."""
    if kind == b"zTXt":
        return _inflate(body[1:])
    if kind == b"iTXt":
        _language, _, rest = body[2:].partition(b"\0")
        _translated, _, text = rest.partition(b"\0")
        return _inflate(text) if body[:1] == b"\1" else text
    return body


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    text = stream.decompress(data, MAX_DOCUMENT + 1)
    if len(text) > MAX_DOCUMENT:
        raise _TextTooLargeError
    if not stream.eof:
        raise zlib.error("incomplete")
    return text


def _read_jpeg(found: _ImageContents, read: Read, size: int, whole: bool) -> None:
    exif: list[tuple[int, int]] = []
    for marker, start, length in _jpeg_segments(read, found):
        if marker in _JPEG_FRAMES:
            found.height, found.width = struct.unpack(">HH", read(start + 1, 4))
        elif marker == 0xE1 and read(start, 6) == _EXIF_MAGIC:
            exif.append((start + 6, max(0, length - 6)))
    _add_exif(found, read, exif)


def _jpeg_segments(read: Read, found: _ImageContents) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and length of each segment before the pixels."""
    start = 2
    for _ in range(_MAX_CHUNKS):
        head = read(start, 4)
        if len(head) < 4 or head[0] != 0xFF:
            found.problems.append(_TRUNCATED if len(head) < 4 else "The JPEG file is damaged.")
            return
        _, marker, length = struct.unpack(">BBH", head)
        if marker in (0xD9, 0xDA):  # the end, or the pixels
            return
        if marker == 0xFF or marker in _JPEG_BARE:
            start += 1 if marker == 0xFF else 2
            continue
        yield marker, start + 4, length - 2
        start += 2 + length


def _read_webp(found: _ImageContents, read: Read, size: int, whole: bool) -> None:
    declared = 8 + int(struct.unpack("<I", read(4, 4))[0])
    kind, head = read(12, 4), read(20, 10)
    _set_webp_size(found, kind, head)
    # Only the extended format has an EXIF chunk; a bit of its header announces it.
    if kind == b"VP8X" and (whole or head[0] & 0x08):
        _add_webp_exif(found, read, min(size, declared))
    if declared > size:
        found.problems.append(_TRUNCATED)


def _set_webp_size(found: _ImageContents, kind: bytes, head: bytes) -> None:
    if kind == b"VP8X":
        _, width, _, height, _ = struct.unpack("<IHBHB", head)
        found.width, found.height = 1 + (width | head[6] << 16), 1 + (height | head[9] << 16)
    elif kind == b"VP8L" and head[:1] == b"\x2f":
        bits = int(struct.unpack_from("<I", head, 1)[0])
        found.width, found.height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        found.width, found.height = width & 0x3FFF, height & 0x3FFF
    else:
        found.problems.append("The WebP file does not state its size.")


def _add_webp_exif(found: _ImageContents, read: Read, end: int) -> None:
    start = 30
    for _ in range(_MAX_CHUNKS):
        if start + 8 > end:
            break
        kind, length = struct.unpack("<4sI", read(start, 8))
        if kind == b"EXIF":
            _add_exif(found, read, [(start + 8, length)])
            break
        start += 8 + length + (length & 1)


def _read_gif(found: _ImageContents, read: Read, size: int, whole: bool) -> None:
    found.width, found.height = struct.unpack("<HH", read(6, 4))


_READERS: dict[str, Callable[[_ImageContents, Read, int, bool], None]] = {
    "png": _read_png,
    "jpeg": _read_jpeg,
    "webp": _read_webp,
    "gif": _read_gif,
}


def _add_exif(found: _ImageContents, read: Read, parts: list[tuple[int, int]]) -> None:
    """Add the texts of an EXIF block. ``parts`` are starts and lengths; a large JPEG has several."""
    if sum(length for _, length in parts) > MAX_DOCUMENT + _SLACK:
        found.problems.append("The EXIF block is too large to be read.")
        return
    block = b"".join(read(start, length) for start, length in parts).removeprefix(_EXIF_MAGIC)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    try:
        if order is not None:
            _add_exif_texts(found, block, order)
    except struct.error:
        found.problems.append("The EXIF block is damaged.")


def _add_exif_texts(found: _ImageContents, block: bytes, order: str) -> None:
    """Add "prompt:{…}" and "workflow:{…}", which ComfyUI and its packs write to Make, Model and other text tags."""
    comment = None
    directories = [struct.unpack_from(order + "I", block, 4)[0]]
    for directory in directories:  # the list grows: the first directory has the pointer to the second
        for tag, kind, start, length in _exif_entries(block, order, directory):
            if tag == _EXIF_POINTER and len(directories) == 1:
                directories.append(struct.unpack_from(order + "I", block, start)[0])
            elif tag == _USER_COMMENT:
                comment = start, start + length
            elif kind in _EXIF_BYTES:
                _add_claim(found, block, start, start + length)
    if comment is not None:
        _add_user_comment(found, block[slice(*comment)])


def _add_claim(found: _ImageContents, text: bytes, start: int, end: int) -> bool:
    """Add a text of the form "prompt:{…}", unless its key is known; return whether it has this form."""
    claim = _CLAIM.match(text, start, end)
    if claim is None:
        return False
    key = claim[1].lower().decode()
    if key not in found.texts:
        found.texts[key] = text[claim.end() : end]
    return True


def _exif_entries(block: bytes, order: str, directory: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tag, type, start and length in bytes of each value of a directory. Raises struct.error."""
    count = min(struct.unpack_from(order + "H", block, directory)[0], _MAX_TAGS)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, length, value = struct.unpack_from(order + "HHII", block, entry)
        is_inline = length <= 4 or kind not in _EXIF_BYTES  # values of up to 4 bytes replace the pointer
        yield tag, kind, entry + 8 if is_inline else value, length


def _add_user_comment(found: _ImageContents, comment: bytes) -> None:
    try:
        text = _comment_text(comment)
    except UnicodeDecodeError:
        found.problems.append("The EXIF block is damaged.")
        return
    if _add_claim(found, text, 0, len(text)):
        return
    # Cameras and phones write other texts to this field.
    if text.startswith(b"{") or b"Steps: " in text:
        found.texts.setdefault("parameters", text)


def _comment_text(comment: bytes) -> bytes:
    """Return a UserComment as UTF-8, or unchanged if it names no encoding. Raises UnicodeDecodeError."""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # UTF-16 of unknown byte order. Most writers use big-endian; the position of zero bytes shows the other order.
        sample = text[:2048]
        order = "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
        return text[: len(text) & ~1].decode(order).removeprefix("\ufeff").encode()
    return text if code in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)) else comment


def _documents(found: _ImageContents) -> dict[str, bytes]:
    """Return the texts as JSON. Texts that are too large or invalid are noted instead."""
    documents = {}
    for key, text in found.texts.items():
        text = _utf8(text.strip(b"\0 \t\r\n"))
        if len(text) > (_MAX_PARAMETERS if key == "parameters" else MAX_DOCUMENT):
            found.omitted.add(key)
        elif key == "parameters":
            documents[key] = msgspec.json.encode(text.decode())
        elif (document := _json_object(text)) is not None:
            documents[key] = document
        else:
            found.problems.append(f"The embedded {key} is not valid JSON.")
    return documents


def _json_object(text: bytes) -> bytes | None:
    """Return the text if it is a JSON object, with null for NaN and infinities; None otherwise."""
    if not text.startswith(b"{"):
        return None
    if _is_json(text):
        return text
    if len(text) > _MAX_REPAIRED or not _NAN.search(text):
        return None
    text = _without_nan(text)
    return text if _is_json(text) else None


def _utf8(text: bytes) -> bytes:
    """Return a text as UTF-8. By the standard, plain texts in a PNG are Latin-1, but many writers use UTF-8."""
    try:
        if not text.isascii():
            text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _is_json(text: bytes) -> bool:
    try:
        _check_json(text)
    except (ValueError, msgspec.DecodeError, RecursionError):  # DecodeError is a ValueError only in newer versions
        return False
    return True


def _without_nan(text: bytes) -> bytes:
    """Replace each NaN and infinity outside strings by null."""
    parts: list[bytes] = []
    end, in_string = 0, False
    for match in _NAN.finditer(text):
        between = text[end : match.start()]
        # An odd number of unescaped quotes since the last match means that a string begins or ends in between.
        quotes = between.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')
        in_string ^= quotes % 2 == 1
        parts += between, match[0] if in_string else b"null"
        end = match.end()
    return b"".join([*parts, text[end:]])
