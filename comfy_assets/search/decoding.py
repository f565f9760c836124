"""Decode documents of strangers: bounded, without binary data, and never raising. Pure.

Nodes that take a picture as text put megabytes of base64 beside the prompt. It is cut out of the text before anything
is decoded, so that the rest costs no more than any other graph. Of a document that would take much memory when decoded,
only the texts are read (``texts_in``).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from .. import json_limits
from ..json_text import are_many, decode_in_steps, string_division, string_end

MAX_DOCUMENT = 8 << 20  # bytes, as the readers of files have it
_MAX_WEIGHT = 20 << 20  # bytes of memory; workflows of 2 MiB take two thirds of it
_COUNTED = 128 << 10  # bytes; a shorter text takes less whatever is in it
_BY_CONTAINER, _BY_VALUE = 190, 60  # bytes of memory that an object or list, and any other value, takes
_BLOCK = 4096  # bytes; a block of nothing but base64 is cut out
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"
_BINARY = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]{513,}")  # words of people are shorter
_LAYERS = 3  # of a JSON text within a JSON string
_MOST_TEXTS = 50_000  # with the names of members
LONGEST_STRING = 256 << 10  # bytes of a string that are read
_LONGEST_TEXT = 60_000  # bytes
# Members of a saved node that show where and how it is drawn.
_DRAWN = frozenset({"pos", "size", "flags", "order", "color", "bgcolor", "shape", "properties"})


def decode(document: bytes, *, longest: int = LONGEST_STRING) -> Any:
    """Return the value of a JSON document, None if there is none, or if it would take much memory.

    A string that holds JSON is decoded as well. Others keep their first ``longest`` bytes.
    """
    if len(document) > MAX_DOCUMENT:
        return None
    text = without_binary(document.removeprefix(b"\xef\xbb\xbf"))
    value = None
    for _ in range(_LAYERS):
        try:
            value = _decoded(text, longest)
        except json_limits.MALFORMED:
            return value
        if not (isinstance(value, str) and value.lstrip()[:1] in ("{", "[")):
            return value
        text = value.encode("utf-8", "replace")
    return value


def _decoded(text: bytes, longest: int) -> Any:
    """Return the value of a text, with NaN and halves of characters as Python writes them."""
    shape = json_limits.shape_of(text) if len(text) > _COUNTED else None
    if shape is not None and _weight(shape) > _MAX_WEIGHT:
        return None
    text = _clipped(text, longest)
    if shape is not None and are_many(shape.values):
        decoder = json.JSONDecoder(parse_constant=lambda _: None, object_pairs_hook=_without_drawing)
        return decode_in_steps(text, shape.values, decoder)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text, parse_constant=lambda _: None)


def _clipped(text: bytes, longest: int) -> bytes:
    """Cut the end of each very long string off: nobody looks for a word in it, and some are held several times."""
    if len(text) <= longest or text.lstrip()[:1] == b'"':
        return text
    kept, copied, end = io.BytesIO(), 0, 0
    while (start := text.find(b'"', end)) >= 0:
        end = string_end(text, start + 1)
        if end - start > longest and end < len(text):
            kept.write(text[copied : string_division(text, start + 1, start + longest)])
            copied = end - 1
    if not copied:
        return text
    kept.write(text[copied:])
    return kept.getvalue()


def _weight(shape: json_limits.JsonShape) -> int:
    return _BY_CONTAINER * shape.containers + _BY_VALUE * (shape.values - shape.containers)


def _without_drawing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a node that the page has saved without the members that only describe its drawing."""
    found = dict(pairs)
    if "pos" in found and "type" in found:
        for name in _DRAWN & found.keys():
            del found[name]
    return found


def texts_in(document: bytes) -> Iterator[str]:
    """Yield the first texts of a JSON document, without the names of members, and without decoding the whole."""
    text, end = without_binary(document), 0
    for _ in range(_MOST_TEXTS):
        start = text.find(b'"', end)
        if start < 0:
            return
        end = string_end(text, start + 1)
        if text[end : end + 8].lstrip()[:1] != b":":
            yield _text(text[start : min(end, start + _LONGEST_TEXT)])


def _text(quoted: bytes) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except json_limits.MALFORMED:  # half characters, or the beginning of a longer text
        return quoted.decode("utf-8", "replace")


def without_binary(document: bytes) -> bytes:
    """Cut long runs of base64 out of a text. Every cut lies within a JSON string."""
    if len(document) < 2 * _BLOCK:
        return document
    kept = io.BytesIO()
    for start in range(0, len(document), _BLOCK):
        block = document[start : start + _BLOCK]
        # A block with a quote, a comma, a space or an escape is kept, so the text stays what it was but for the run.
        if len(block) < _BLOCK or block.translate(None, _BASE64):
            kept.write(block)
    return kept.getvalue() if kept.tell() < len(document) else document


def prose(text: str) -> str:
    """Return a text without binary data in it."""
    return _BINARY.sub(" ", text) if len(text) > 512 else text
