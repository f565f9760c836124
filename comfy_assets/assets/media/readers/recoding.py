"""Texts in files as UTF-8, and as JSON that decoders accept although tools and nodes wrote something else.

Texts in UTF-16, in Latin-1 and in JSON strings are recoded in steps: as a str, a text takes up to four times the memory
of its bytes, and decoding megabytes at once holds the interpreter lock.

JSON that only browsers or Python accept is repaired: NaN and infinities become null, half characters the replacement
character. A byte order mark and a second encoding (a JSON string of JSON) are removed. Texts that are nested deeper
than a decoder goes are checked here.

The texts have megabytes and come from strangers: no step holds a list of their parts, or a second copy of them beside
the result, and no regular expression repeats a group over a whole text, because each repetition takes memory.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator

import msgspec

from ....json_text import string_division, string_end
from .base import MAX_TEXT

_STEP = 256 << 10  # of a text that is decoded
_MAX_REPAIRED = 4 << 20  # bytes; each NaN or escape costs about a microsecond
_MAX_ENCODINGS = 3
_CHECK_STEP = 1 << 20  # of a text that is checked, or in Latin-1
_SEARCHED, _LONGEST = 64 << 10, 16  # bytes
_MIN_REMEMBERED, _MAX_REMEMBERED = 1 << 10, 64 << 10  # bytes: shorter texts are checked faster than they are looked up
_MAX_DEPTH = 10_000
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"

_MARK = re.compile(rb'\\.|"|-?Infinity|NaN', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_LENGTH_OF_HALF = 6  # a whole pair is longer, and every other escape is matched by two bytes
_HALVES = re.compile(rb"(?:\xed[\xa0-\xbf][\x80-\xbf]){1,512}")  # written as UTF-8 one by one

_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(rb'[ \t\r\n]*(?:([{}\[\],:])|(")|(?:true|false|null|' + _NUMBER + rb"))")

_decode_string = msgspec.json.Decoder(str).decode
_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_check_json = msgspec.json.Decoder(msgspec.Raw).decode
_MALFORMED = (ValueError, msgspec.DecodeError)  # DecodeError is a ValueError only in newer versions


def to_utf8(text: bytes | memoryview, encoding: str) -> bytes:
    """Return a text in UTF-8, with the replacement character for invalid bytes, without a byte order mark.

    A text that becomes longer than ``MAX_TEXT`` ends behind it, so that it counts as too large.
    """
    view, decoder, result = memoryview(text), codecs.getincrementaldecoder(encoding)("replace"), io.BytesIO()
    for start in range(0, len(view), _STEP):
        part = decoder.decode(view[start : start + _STEP], final=start + _STEP >= len(view))
        if start == 0:
            part = part.removeprefix("\ufeff")
        result.write(part.encode("utf-8", "replace"))
        if result.tell() > MAX_TEXT:
            break
    return result.getvalue()


def unquoted(text: bytes | memoryview) -> bytes:
    """Return the content of a JSON string in UTF-8. Raises ValueError or msgspec.DecodeError for another text."""
    text = bytes(text) if isinstance(text, memoryview) else text
    if len(text) < _STEP:
        return _decode_string(text).encode()
    result, start, last = io.BytesIO(), 1, len(text) - 1
    if text[:1] != b'"' or text[last:] != b'"':
        raise ValueError("not a string")
    while start < last:
        end = string_division(text, start, start + _STEP) if start + _STEP < last else last
        result.write(_decode_string(b'"%b"' % text[start:end]).encode())
        start = end
    return result.getvalue()


def utf8_text(text: bytes) -> bytes:
    """Return a text as UTF-8 without a byte order mark.

    By the standard, plain texts in a PNG are Latin-1, but many writers use UTF-8.
    """
    if text.isascii():
        return text
    if not is_utf8(text):
        whole = _with_whole_characters(text)
        text = whole if is_utf8(whole) else _from_latin1(text)
    return text.removeprefix(_BOM)


def _with_whole_characters(text: bytes) -> bytes:
    """Join half characters: pairs become whole again, the others the replacement character."""
    result, end, at = io.BytesIO(), 0, -1
    while (at := text.find(b"\xed", max(at + 1, end))) >= 0:
        halves = _HALVES.match(text, at)
        if halves is None:
            continue
        result.write(text[end : halves.start()])
        utf16 = halves[0].decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
        result.write(utf16.decode("utf-16", "replace").encode())
        end = halves.end()
    if not end:
        return text
    result.write(memoryview(text)[end:])
    return result.getvalue()


def _from_latin1(text: bytes) -> bytes:
    """Return Latin-1 as UTF-8; of a text that becomes longer than any that is kept, its beginning."""
    result = io.BytesIO()
    for start in range(0, len(text), _CHECK_STEP):
        result.write(text[start : start + _CHECK_STEP].decode("latin-1").encode())
        if result.tell() > MAX_TEXT:
            break
    return result.getvalue()


def is_utf8(text: bytes) -> bool:
    """Return whether a text is UTF-8. It is read in steps: as a str, it takes up to four times its size."""
    decoder = _utf8_decoder()
    view = memoryview(text)
    try:
        for start in range(0, len(text), _CHECK_STEP):
            decoder.decode(view[start : start + _CHECK_STEP])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def is_object(text: bytes) -> bool:
    """Return whether a JSON value is an object, or a string that holds one. Its end is not read."""
    return text.startswith(b"{") or re.match(rb'"(?:\\[nrt]|\s)*\{', text) is not None


def object_text(text: bytes) -> bytes | None:
    """Return a text in UTF-8 as a strict JSON object, repaired if needed; None if it is no object."""
    if not _MIN_REMEMBERED <= len(text) <= _MAX_REMEMBERED:
        return _object(text)
    # Many files in a row have the same workflow. It is compared with the latest of its length, as looking it up by its
    # hash would take as long as all else that is done with it.
    known = _latest.get(len(text))
    if known is None or known[0] != text:
        known = text, _object(text)
        if len(_latest) >= _MOST_REMEMBERED:
            _latest.clear()
        _latest[len(text)] = known
    return known[1]


_MOST_REMEMBERED = 16
_latest: dict[int, tuple[bytes, bytes | None]] = {}


def _object(text: bytes) -> bytes | None:
    text = text.strip(_SPACE)
    for _ in range(_MAX_ENCODINGS):
        if not text.startswith(b'"'):
            break
        try:
            text = unquoted(_without_halves(text)).strip(_SPACE).removeprefix(_BOM)
        except _MALFORMED:
            return None
    if not text.startswith(b"{"):
        return None
    if _is_json(text):
        return text
    if len(text) > _MAX_REPAIRED:
        return None
    text = _without_halves(_without_nan(text))
    return text if _is_json(text) else None


def _is_json(text: bytes) -> bool:
    try:
        _check_json(text)
    except _MALFORMED:
        return False
    except RecursionError:
        return len(text) <= _MAX_REPAIRED and _is_nested_json(text)
    return True


def _is_nested_json(text: bytes) -> bool:
    """Return whether a text is JSON, without recursion."""
    closers: list[bytes] = []
    expected = b"v"  # v a value, k a name, e a name or the end of an object, i a value or the end of a list,
    end = 0  #          : a colon, c a comma or the end
    while closers or expected == b"v":
        token = _TOKEN.match(text, end)
        if token is None or len(closers) > _MAX_DEPTH:
            return False
        end, sign, is_string = token.end(), token[1], token[2] is not None
        if is_string:
            start, end = end - 1, string_end(text, end)
            if not _is_string(text[start:end]):
                return False
        if expected in b"ke" and is_string:
            expected = b":"
        elif expected == b":" and sign == b":":
            expected = b"v"
        elif expected in b"vi" and sign in (b"{", b"["):
            closers.append(b"}" if sign == b"{" else b"]")
            expected = b"e" if sign == b"{" else b"i"
        elif expected in b"vi" and sign is None:
            expected = b"c"
        elif expected == b"c" and sign == b",":
            expected = b"k" if closers[-1] == b"}" else b"v"
        elif expected in b"cei" and closers and sign == closers[-1]:
            closers.pop()
            expected = b"c"
        else:
            return False
    return not text[end:].strip(_SPACE)


def _is_string(text: bytes) -> bool:
    try:
        _check_json(text)
    except _MALFORMED:
        return False
    return True


def _found(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the matches of a pattern of at most 16 bytes. One long search would hold the interpreter lock."""
    at = 0
    while at < len(text):
        match = pattern.search(text, at, at + _SEARCHED + _LONGEST)
        if match is None or match.start() >= at + _SEARCHED:  # one behind may be cut by the end of the search
            at += _SEARCHED
        else:
            at = match.end()
            yield match


def _without_halves(text: bytes) -> bytes:
    """Replace escaped halves of characters, as a node leaves that cuts a text in the middle of an emoji."""
    if not _HALF.search(text):
        return text
    result, end = io.BytesIO(), 0
    for escape in _found(_ESCAPE, text):
        if escape.end() - escape.start() == _LENGTH_OF_HALF:
            result.write(text[end : escape.start()])
            result.write(rb"\ufffd")
            end = escape.end()
    result.write(memoryview(text)[end:])
    return result.getvalue()


def _without_nan(text: bytes) -> bytes:
    """Replace each NaN and infinity outside strings by null: Python's json module writes them, but they are no JSON."""
    result, end, in_string = io.BytesIO(), 0, False
    for mark in _found(_MARK, text):
        if mark[0] == b'"':
            in_string = not in_string
        elif not in_string and mark[0][:1] != b"\\":
            result.write(text[end : mark.start()])
            result.write(b"null")
            end = mark.end()
    if not end:
        return text
    result.write(memoryview(text)[end:])
    return result.getvalue()
