"""Reader for PNG and APNG: the size, and the texts of ComfyUI and other tools (PNG specification, third edition).

Pillow is not used for this. It finds text after the pixels only by decoding them, and discards everything after a
damaged chunk. This reader walks the chunks and reads only the texts with a known keyword, each once.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from . import texts, tiff
from .base import MAX_PARTS, MAX_TEXT, TRUNCATED, ByteSource, Contents, Format, show_size, starts_with

_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"comf"))  # comf: ComfyUI's animated PNGs
_READ_CHUNKS = _TEXT_CHUNKS | {b"eXIf", b"acTL", b"fcTL"}
_MAX_KEYWORD = 79
_READ = 64 << 10  # bytes of a compressed text that are read at a time
_STEP = 1 << 20  # bytes that are inflated at a time
_SLACK = 4096  # bytes around a text in its chunk: keyword, language, translated keyword

_OTHERS = frozenset({"description", "generation"})  # read after ComfyUI's, as they may be many

_Chunk = tuple[bytes, int, int]  # kind, start and length of the data


class _TextTooLargeError(Exception):
    """A text, or all texts together, are larger than ``MAX_TEXT``."""


def _read(contents: Contents, source: ByteSource) -> None:
    length, kind, width, height = struct.unpack(">I4sII", source.read(8, 16))
    if kind != b"IHDR" or length != 13:
        contents.problems.append("The PNG file has no header.")
        return
    found: dict[str, _Chunk] = {}
    seconds = 0.0
    exif_parts: list[tuple[int, int]] = []
    for chunk, head in _chunks(contents, source):
        kind, start, length = chunk
        if kind == b"eXIf":
            exif_parts = [(start, length)]
        elif kind == b"acTL":
            frames = int.from_bytes(head[8:12], "big")
            if 1 < frames < 1 << 31:
                contents.facts["frame_count"] = frames
        elif kind == b"fcTL":
            seconds += _delay(head[28:32])
        else:
            keyword = head[8:].partition(b"\0")[0].decode("latin-1")
            if len(keyword) < length and texts.is_known(keyword):
                found[keyword] = chunk  # pages show the last one of several
    if seconds and "frame_count" in contents.facts:
        contents.facts["duration"] = round(seconds, 3)
    room = MAX_TEXT
    for keyword in sorted(found, key=_is_read_last):
        room -= _add_text(contents, source, keyword, found[keyword], room)
    show_size(contents, width, height, tiff.add_exif(contents, source, exif_parts))


def _is_read_last(keyword: str) -> bool:
    return texts.key_of(keyword) in _OTHERS


def _delay(numbers: bytes) -> float:
    """Return the seconds for which a frame of an animation is shown."""
    shown, parts = struct.unpack(">HH", numbers)
    return float(shown) / (parts or 100)


def _chunks(contents: Contents, source: ByteSource) -> Iterator[tuple[_Chunk, bytes]]:
    """Yield the chunks that are read, each with its first bytes. Those behind the pixels are walked to as well."""
    start = 33
    for _ in range(MAX_PARTS):
        head = source.read(start, 8 + _MAX_KEYWORD + 1)
        if len(head) < 8:
            break
        length, kind = struct.unpack_from(">I4s", head)
        if kind == b"IEND":
            return
        is_read = kind in _READ_CHUNKS
        if not is_read and not kind.isalpha():
            contents.problems.append("The PNG file is damaged.")
            return
        if start + 12 + length > source.size:
            break
        if is_read:
            yield (kind, start + 8, length), head
        start += 12 + length
    else:
        return
    contents.problems.append(TRUNCATED)


def _add_text(contents: Contents, source: ByteSource, keyword: str, chunk: _Chunk, room: int) -> int:
    """Add a text of at most ``room`` bytes; return the number of bytes that it took."""
    kind, start, length = chunk
    try:
        if length > room + _SLACK:
            raise _TextTooLargeError
        text = _text(kind, source, start + len(keyword) + 1, start + length, room)
        texts.add(contents, keyword, text)
    except _TextTooLargeError:
        texts.omit(contents, keyword)
    except zlib.error:
        contents.problems.append(f"The embedded {texts.key_of(keyword)} is damaged.")
    else:
        return min(room, max(length, len(text)))
    return 0


def _text(kind: bytes, source: ByteSource, start: int, end: int, room: int) -> bytes:
    """Return the text of a chunk between its keyword and its end. Raises _TextTooLargeError, zlib.error."""
    if kind == b"zTXt":
        return _inflate(source, start + 1, end, room)
    if kind != b"iTXt":
        return source.read(start, end - start)
    head = source.read(start, min(end - start, _SLACK))
    language = head.find(b"\0", 2)
    translated = head.find(b"\0", language + 1) if language >= 0 else -1
    if translated < 0:
        return b""
    start += translated + 1
    return _inflate(source, start, end, room) if head[:1] == b"\1" else source.read(start, end - start)


def _inflate(source: ByteSource, start: int, end: int, room: int) -> bytes:
    stream = zlib.decompressobj()
    text = io.BytesIO()  # grows in place: joined parts would take twice the memory
    data = b""
    while not stream.eof:
        if not data and start < end:
            data = source.read(start, min(end - start, _READ))
            start = start + len(data) if data else end
        part = stream.decompress(data, _STEP)
        text.write(part)
        if text.tell() > room:
            raise _TextTooLargeError
        data = stream.unconsumed_tail
        if not part and not data and start >= end:  # zlib may still hold output when it has taken all input
            raise zlib.error("incomplete")
    return text.getvalue()


FORMATS = (Format("png", "image/png", "image", starts_with(_MAGIC), _read),)
