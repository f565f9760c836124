"""Decode documents of strangers: bounded, without binary data, and never raising. Pure.

Nodes that take a picture as text put megabytes of base64 beside the prompt. It is cut out of the text before anything
is decoded, so that the rest costs no more than any other graph.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from .. import json_limits

MAX_DOCUMENT = 16 << 20  # bytes, as the readers of files have it
_AT_ONCE = 1 << 20  # bytes that are decoded without letting other threads run, in some milliseconds
_BLOCK = 4096  # bytes; a block of nothing but base64 is cut out
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"
_BINARY = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]{513,}")  # words of people are shorter
_MALFORMED = (ValueError, msgspec.DecodeError, RecursionError)  # in old releases, DecodeError is no ValueError
_LAYERS = 3  # of a JSON text within a JSON string


def decode(document: bytes) -> Any:
    """Return the value of a JSON document, None if there is none. A string that holds JSON is decoded as well."""
    if len(document) > MAX_DOCUMENT:
        return None
    text = without_binary(document.removeprefix(b"\xef\xbb\xbf"))
    value = None
    for _ in range(_LAYERS):
        try:
            value = _decoded(text)
        except _MALFORMED:
            return value
        if not (isinstance(value, str) and value.lstrip()[:1] in ("{", "[")):
            return value
        text = value.encode("utf-8", "replace")
    return value


def _decoded(text: bytes) -> Any:
    """Return the value of a text, with NaN and halves of characters as Python writes them."""
    if len(text) > _AT_ONCE:
        return json_limits.decode(text)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text, parse_constant=lambda _: None)


def without_binary(document: bytes) -> bytes:
    """Cut long runs of base64 out of a text. Every cut lies within a JSON string."""
    if len(document) < 2 * _BLOCK:
        return document
    blocks = (document[start : start + _BLOCK] for start in range(0, len(document), _BLOCK))
    # A block with a quote, a comma, a space or an escape is kept, so the text stays what it was but for the run.
    return b"".join(block for block in blocks if len(block) < _BLOCK or block.translate(None, _BASE64))


def prose(text: str) -> str:
    """Return a text without binary data in it."""
    return _BINARY.sub(" ", text) if len(text) > 512 else text
