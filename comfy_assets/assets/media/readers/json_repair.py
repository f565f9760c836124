"""Repair of JSON texts that tools and nodes write although they are not JSON, and that browsers or Python accept.

NaN and infinities become null, half characters the replacement character. A byte order mark and a second encoding (a
JSON string of JSON) are removed. Texts that are nested deeper than a decoder goes are checked here.
"""

from __future__ import annotations

import codecs
import io
import re

import msgspec

_MAX_REPAIRED = 4 << 20  # bytes; each NaN or escape costs about a microsecond
_MAX_ENCODINGS = 3
_STEP = 1 << 20
_MIN_REMEMBERED, _MAX_REMEMBERED = 1 << 10, 64 << 10  # bytes: shorter texts are checked faster than they are looked up
_MAX_DEPTH = 10_000
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"

_NAN = re.compile(rb"-?Infinity|NaN")  # Python's json module writes them, but they are not JSON
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_LENGTH_OF_HALF = 6  # a whole pair is longer, and every other escape is matched by two bytes

_STRING = rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(rb"[ \t\r\n]*(?:([{}\[\],:])|(" + _STRING + rb")|(?:true|false|null|" + _NUMBER + rb"))", re.DOTALL)

_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_check_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_string = msgspec.json.Decoder(str).decode
_MALFORMED = (ValueError, msgspec.DecodeError)  # DecodeError is a ValueError only in newer versions


def utf8_text(text: bytes) -> bytes:
    """Return a text as UTF-8 without a byte order mark.

    By the standard, plain texts in a PNG are Latin-1, but many writers use UTF-8.
    """
    if text.isascii():
        return text
    try:
        _check_utf8(text)
    except UnicodeDecodeError:
        try:
            # Half characters: pairs become whole again, the others the replacement character.
            text = text.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
            text = text.decode("utf-16", "replace").encode()
        except UnicodeDecodeError:
            text = _from_latin1(text)
    return text.removeprefix(_BOM)


def _from_latin1(text: bytes) -> bytes:
    result = io.BytesIO()
    for start in range(0, len(text), _STEP):
        result.write(text[start : start + _STEP].decode("latin-1").encode())
    return result.getvalue()


def _check_utf8(text: bytes) -> None:
    """Raise UnicodeDecodeError unless a text is UTF-8. In steps: as a str, it takes up to four times its size."""
    decoder = _utf8_decoder()
    view = memoryview(text)
    for start in range(0, len(text), _STEP):
        decoder.decode(view[start : start + _STEP])
    decoder.decode(b"", final=True)


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
            text = _decode_string(_without_halves(text)).encode().strip(_SPACE).removeprefix(_BOM)
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
        end = token.end()
        sign, is_string = token[1], token[2] is not None
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


def _without_halves(text: bytes) -> bytes:
    """Replace escaped halves of characters, as a node leaves that cuts a text in the middle of an emoji."""
    if not _HALF.search(text):
        return text
    return _ESCAPE.sub(lambda found: rb"\ufffd" if len(found[0]) == _LENGTH_OF_HALF else found[0], text)


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
