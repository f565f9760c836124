"""ID3 tags, versions 1 and 2.2 to 2.4 (id3.org), as MP3 files begin with and as WAV, AIFF and AAC files hold them."""

from __future__ import annotations

import re
import struct
import zlib

from .base import Contents, Read
from .media_facts import MAX_TAGS, add_tag, is_tag_known
from .recoding import to_utf8
from .texts import omit

HEADER = 10
_MAX_FRAME = 4 << 20  # held several times while its text is decoded
_V1_LENGTH = 128
_FRAME_ID = re.compile(rb"[A-Z0-9]{3,4}")
# Frames of text, with the tag that other containers spell out. The older version has names of three characters.
_TEXTS = {b"TIT2": "title", b"TT2": "title", b"TPE1": "artist", b"TP1": "artist", b"TIT3": "subtitle"}
_PAIRS = frozenset((b"TXXX", b"TXX"))  # a keyword and a text
# A language, a keyword and a text.
_COMMENTS = {b"COMM": "comment", b"COM": "comment", b"USLT": "lyrics", b"ULT": "lyrics"}
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
# Frame flags of versions 2.3 and 2.4.
_COMPRESSED = {3: 0x0080, 4: 0x0008}
_ENCRYPTED = {3: 0x0040, 4: 0x0004}
_GROUPED = {3: 0x0020, 4: 0x0040}
_UNSYNCHRONISED, _WITH_LENGTH = 0x0002, 0x0001


def length_of(head: bytes) -> int:
    """Return the length of the tag that begins here, with its header and footer; 0 if there is none."""
    if len(head) < HEADER or head[:3] != b"ID3" or head[3] not in (2, 3, 4) or max(head[6:10]) > 0x7F:
        return 0
    return HEADER + _syncsafe(head[6:10]) + (HEADER if head[5] & 0x10 else 0)


def _syncsafe(body: bytes) -> int:
    """Return a number with seven bits a byte."""
    number = 0
    for byte in body:
        number = number << 7 | byte & 0x7F
    return number


def read_tag_block(contents: Contents, read: Read, start: int, end: int) -> None:
    """Read the frames of the tag at ``start``, which reaches at most to ``end``."""
    head = read(start, HEADER)
    length = length_of(head)
    if not length:
        return
    version, flags = head[3], head[5]
    end = min(end, start + length)
    start += HEADER
    if version > 2 and flags & 0x40:  # an extended header
        size = read(start, 4)
        start += _syncsafe(size) if version == 4 else 4 + int.from_bytes(size, "big")
    if version < 4 and flags & 0x80:  # unsynchronised as a whole
        body = _synchronised(read(start, min(end - start, _MAX_FRAME)))
        _read_frames(contents, lambda offset, count: body[offset : offset + count], version, 0, len(body))
    else:
        _read_frames(contents, read, version, start, end)


def _synchronised(body: bytes) -> bytes:
    """Undo the zero bytes that keep players from taking a tag for sound."""
    return body.replace(b"\xff\0", b"\xff")


def _read_frames(contents: Contents, read: Read, version: int, start: int, end: int) -> None:
    header = 6 if version == 2 else 10
    for _ in range(MAX_TAGS):
        head = read(start, header) if start + header <= end else b""
        if len(head) < header or not _FRAME_ID.fullmatch(head[: 3 if version == 2 else 4]):
            return
        kind, length, flags = _frame(read, version, head, start, end)
        start += header
        if length > end - start:
            return
        if kind in _TEXTS or kind in _PAIRS or kind in _COMMENTS:
            _read_frame(contents, read, version, kind, flags, start, length)
        start += length


def _frame(read: Read, version: int, head: bytes, start: int, end: int) -> tuple[bytes, int, int]:
    """Return kind, length and flags of a frame from its header."""
    if version == 2:
        return head[:3], int.from_bytes(head[3:6], "big"), 0
    kind, length, flags = struct.unpack(">4sIH", head)
    if version == 4 and not length & 0x80808080:
        safe = _syncsafe(head[4:8])
        # Some programs write plain lengths in this version, too: the one after which a frame follows is right.
        body = start + 10
        if safe == length or _ends_frame(read, body + safe, end) or not _ends_frame(read, body + length, end):
            return kind, safe, flags
    return kind, length, flags


def _ends_frame(read: Read, offset: int, end: int) -> bool:
    """Return whether a frame can end here: before another one, padding, or the end of the tag."""
    following = read(offset, 4) if offset < end else b""
    return offset == end or following == bytes(4) or _FRAME_ID.fullmatch(following) is not None


def _read_frame(contents: Contents, read: Read, version: int, kind: bytes, flags: int, start: int, length: int) -> None:
    if flags & _ENCRYPTED.get(version, 0):
        return
    if length > _MAX_FRAME:
        _omit_frame(contents, kind, read(start, 64))
        return
    body = _frame_body(read(start, length), version, flags)
    encoding = _ENCODINGS.get(body[0]) if body else None
    if encoding is None:
        return
    if kind in _TEXTS:
        add_tag(contents, _TEXTS[kind], _decoded(body[1:], encoding))
    elif kind in _PAIRS:
        keyword, text = _pair(body[1:], encoding)
        add_tag(contents, _name(keyword, encoding), _decoded(text, encoding))
    else:
        keyword, text = _pair(body[4:], encoding)
        name = _name(keyword, encoding)
        add_tag(contents, name if is_tag_known(name) else _COMMENTS[kind], _decoded(text, encoding))


def _frame_body(body: bytes, version: int, flags: int) -> bytes:
    """Return the content of a frame without what its flags announce, and inflated; nothing if that is impossible."""
    if flags & _GROUPED.get(version, 0):
        body = body[1:]
    if flags & (_WITH_LENGTH if version == 4 else _COMPRESSED.get(version, 0)):
        body = body[4:]
    if version == 4 and flags & _UNSYNCHRONISED:
        body = _synchronised(body)
    if flags & _COMPRESSED.get(version, 0):
        try:
            body = zlib.decompressobj().decompress(body, _MAX_FRAME)
        except zlib.error:
            return b""
    return body


def _pair(body: bytes, encoding: str) -> tuple[bytes, bytes]:
    """Divide a body at the zero that ends its first text: two bytes at an even offset in UTF-16."""
    if not encoding.startswith("utf-16"):
        first, _, second = body.partition(b"\0")
        return first, second
    end = body.find(b"\0\0")
    while end % 2 and end > 0:
        end = body.find(b"\0\0", end + 1)
    return (body[:end], body[end + 2 :]) if end >= 0 else (b"", body)


def _decoded(text: bytes, encoding: str) -> bytes:
    """Return a text in UTF-8, without the zeros at its end."""
    if encoding == "utf-8":
        return text.rstrip(b"\0")
    if encoding == "utf-16" and not text.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16-le"
    return to_utf8(text, encoding).rstrip(b"\0")


def _name(keyword: bytes, encoding: str) -> str:
    return _decoded(keyword, encoding).decode("utf-8", "replace")


def _omit_frame(contents: Contents, kind: bytes, head: bytes) -> None:
    encoding = _ENCODINGS.get(head[0], "latin-1") if head else "latin-1"
    keyword = _TEXTS.get(kind) or _COMMENTS.get(kind) or _name(_pair(head[1:], encoding)[0], encoding)
    if is_tag_known(keyword):
        omit(contents, keyword)


def read_version_1(contents: Contents, read: Read, size: int) -> int:
    """Read the tag of version 1 at the end of a file, of 128 bytes; return its length, 0 if there is none."""
    tag = read(size - _V1_LENGTH, _V1_LENGTH) if size >= _V1_LENGTH else b""
    if not tag.startswith(b"TAG"):
        return 0
    for keyword, start, length in (("title", 3, 30), ("artist", 33, 30), ("comment", 97, 30)):
        text = tag[start : start + length].partition(b"\0")[0].strip()
        if keyword not in contents.facts:
            add_tag(contents, keyword, text.decode("latin-1").encode())
    return _V1_LENGTH
