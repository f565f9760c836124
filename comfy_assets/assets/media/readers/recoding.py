"""Texts in UTF-16, in Latin-1 and in JSON strings as UTF-8, in steps.

As a str, a text takes up to four times the memory of its bytes, and decoding megabytes at once holds the interpreter
lock.
"""

from __future__ import annotations

import codecs
import io

import msgspec

from ....json_text import string_division
from .base import MAX_TEXT

_STEP = 256 << 10
_decode_string = msgspec.json.Decoder(str).decode


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
