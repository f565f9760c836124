"""JSON texts of what servers and nodes hand over, which may hold more than JSON knows: NaN, half of a character pair,
keys that are no texts, objects of all kinds. Pure."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from .. import json_steps

_encoder = msgspec.json.Encoder(enc_hook=str)


def encode(value: object) -> str:
    """The value as JSON that every reader understands: what has no place in JSON becomes null or a text."""
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # half characters are a ValueError
        return json.dumps(_plain(value))


def as_in_pictures(value: Mapping[str, Any]) -> str:
    """Return the value letter by letter as ComfyUI embeds it in the pictures it saves; NaN and half characters stay.

    In a thread it is written in steps, which let the event loop run in between.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return json_steps.dumps(value)
    return json.dumps(value, default=str)


def strict(text: bytes) -> bytes:
    """The text if every reader understands it, else what comes closest to it."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.MsgspecError:
        return encode(json.loads(text)).encode()
    return text


def decode(text: bytes) -> Any:
    """The value of a text that Python has written, as it was."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)


_SPACE = re.compile(r"[ \t\n\r]*")


def members(text: str, values: int = 0) -> dict[str, str]:
    """Return the members of a JSON object, each as its own text. Halves of character pairs may be in it, as escapes.

    ``values`` is how many values it has: a text of many is read in steps. Raise ValueError and RecursionError for what
    is no JSON object.
    """
    decoder = json_steps.prepared(json.JSONDecoder(parse_constant=_refuse), values)
    # Beyond this everything is where it belongs.
    if not text.lstrip(" \t\n\r").startswith("{") or not isinstance(decoder.decode(text), dict):
        raise ValueError("it is not an object")
    found: dict[str, str] = {}
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        name, colon = decoder.raw_decode(text, at)
        start = _after_space(text, _after_space(text, colon) + 1)
        _, end = decoder.raw_decode(text, start)
        found[name] = text[start:end]
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _plain(value: object) -> object:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value).encode("utf-8", "replace").decode()
