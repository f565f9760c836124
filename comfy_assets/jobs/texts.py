"""Values that servers and clients bring along, as JSON that every reader understands. Pure.

Python's own notion of JSON is wider than the standard's: NaN, integers of any size, halves of characters. Nodes may
also show what is no JSON at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import msgspec

_UINT64 = 1 << 64
_encoder = msgspec.json.Encoder(enc_hook=str)


def to_json(value: object) -> str:
    """The value as JSON; what JSON does not know is written as its text, NaN as null."""
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, OverflowError):
        return _encoder.encode(_plain(value)).decode()


def as_in_pictures(value: Mapping[str, object]) -> str:
    """The value letter by letter as ComfyUI embeds it in the pictures it saves, as far as that is JSON."""
    try:
        text = json.dumps(value, allow_nan=False)
        msgspec.json.decode(text)
    except (TypeError, ValueError, msgspec.DecodeError):  # only newer msgspec's are ValueErrors
        return to_json(value)
    return text


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {_plain_text(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, int) and not -_UINT64 // 2 <= value < _UINT64:
        return float(value) if abs(value) < 1 << 1000 else math.inf
    return value


def _plain_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
