"""JSON read and written by threads in small steps, so that the event loop's thread runs in between.

The decoders and encoders in C hold the interpreter lock from the beginning of a text to its end. Those of the standard
library that are written in Python do not; they are slower, and used for large texts only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from json import scanner
from json.encoder import encode_basestring_ascii
from typing import Any

_DECODED_AT_ONCE = 20_000  # values; decoding them takes a few milliseconds
_TEXT_AT_ONCE = 256 << 10  # characters


def decode(text: bytes, values: int, decoder: json.JSONDecoder) -> Any:
    """Return what a decoder of Python's own makes of a text with this many values. Raise ValueError, RecursionError."""
    return prepared(decoder, values).decode(text.decode(json.detect_encoding(text), "surrogatepass"))


def prepared(decoder: json.JSONDecoder, values: int) -> json.JSONDecoder:
    """Return the decoder, which works in steps from now on if there are many values."""
    if are_many(values):
        vars(decoder)["scan_once"] = vars(scanner)["py_make_scanner"](decoder)
    return decoder


def are_many(values: int) -> bool:
    """Return whether so many values are to be decoded in steps."""
    return values > _DECODED_AT_ONCE


def dumps(value: Mapping[str, Any]) -> str:
    """Return the same as ``json.dumps`` with ``default=str``."""
    return "".join(_steps(value))


def pieces(value: Mapping[str, Any]) -> list[bytes]:
    """Return the same as ``dumps`` does, in pieces of some 100 KB."""
    found, held, size = [], [], 0
    for step in _steps(value):
        held.append(step)
        size += len(step)
        if size >= _TEXT_AT_ONCE:
            found.append("".join(held).encode())
            held, size = [], 0
    return [*found, "".join(held).encode()]


def _steps(value: Mapping[str, Any]) -> Iterator[str]:
    encoder: Any = json.encoder
    steps: Any = encoder._make_iterencode(
        {}, str, _encoded_text, None, _encoded_float, ": ", ", ", False, False, _one_shot=False
    )
    yield from steps(value, 0)


def _encoded_text(text: str) -> str:
    if len(text) <= _TEXT_AT_ONCE:
        return encode_basestring_ascii(text)
    pieces = (text[at : at + _TEXT_AT_ONCE] for at in range(0, len(text), _TEXT_AT_ONCE))
    return f'"{"".join([encode_basestring_ascii(piece)[1:-1] for piece in pieces])}"'


def _encoded_float(number: float) -> str:
    return json.dumps(float(number))
