"""Limits of JSON texts from outside: values and depth are counted before anything is decoded.

Each step handles a window of the text, so that no call holds the interpreter lock for more than a few milliseconds.
The functions block as long as the text needs: call them in a thread for large texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import Any, TypeVar

import msgspec

from .errors import BodyTooLargeError, InvalidBodyError
from .json_text import are_many, decode_in_steps

_WINDOW = 64 << 10
_STRUCTURE = b'"[]{},'
_REST = bytes(set(range(256)) - set(_STRUCTURE))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_UNCOUNTED = bytes(set(range(256)) - set(b"[{,"))
_MAX_PASSES = 100  # a window of opening brackets would take thousands
_STEPS = tuple({ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}.get(byte, 0) for byte in range(256))

MALFORMED = (ValueError, msgspec.DecodeError, RecursionError)  # in old releases, DecodeError is no ValueError
ABSENT = msgspec.Raw(b"null")
_Value = TypeVar("_Value")


class JsonLimits(msgspec.Struct, frozen=True):
    """The largest numbers of values, of lists and objects, of nesting levels, and of escapes in a text.

    Escapes are counted because decoders are slow with them.
    """

    values: int = 50_000
    containers: int = 50_000
    depth: int = 100
    escapes: int = 1_000_000


class JsonShape(msgspec.Struct, frozen=True):
    """The numbers of values, nesting levels, and lists and objects in a text."""

    values: int
    depth: int
    containers: int = 0

    @property
    def is_large(self) -> bool:
        """Return whether the values must be processed in steps."""
        return are_many(self.values)


class DecodedText(msgspec.Struct, frozen=True):
    """A JSON text with its value. ``is_finite`` is False if the text has NaN or a number that is no finite float."""

    text: bytes
    value: Any
    is_finite: bool


DEFAULT_LIMITS = JsonLimits()
LARGE = JsonLimits(values=300_000, containers=80_000)  # of prompts and workflows


def shape_of(text: bytes, limits: JsonLimits | None = None) -> JsonShape:
    """Return the shape of a JSON text. Raises as ``check`` does as soon as a limit is exceeded.

    A malformed text has some shape as well; the decoder rejects it later.
    """
    values, containers, depth, deepest = 1, 0, 0, 0
    for window in _outside_strings(_as_utf8(text), limits):
        opened = window.count(b"[") + window.count(b"{")
        containers += opened
        values += window.count(b",") + opened
        height = _balanced_height(window)
        if height is None:
            deepest = max(deepest, max(accumulate(map(_STEPS.__getitem__, window), initial=depth)))
            depth += sum(map(_STEPS.__getitem__, window))
        else:
            deepest = max(deepest, depth + height)
        if limits is not None:
            _check(JsonShape(values, deepest, containers), limits)
    return JsonShape(values, deepest, containers)


def _balanced_height(structure: bytes) -> int | None:
    """Return the number of nesting levels, or None if brackets are unpaired or nested too deep for this way.

    Each pass removes the innermost pairs at the speed of ``bytes.replace``. A whole prompt fits in one window, and is
    measured eight times faster than bracket by bracket. Pairs of different kinds count as pairs: the decoder rejects
    them.
    """
    brackets = structure.translate(_SQUARE, b",")
    for height in range(_MAX_PASSES):
        if not brackets:
            return height
        outer = brackets.replace(b"[]", b"")
        if len(outer) == len(brackets):
            return None
        brackets = outer
    return None


def _as_utf8(text: bytes) -> bytes:
    """Return the text in UTF-8. Hosts decode with Python's ``json``, which accepts UTF-16 and UTF-32 as well."""
    encoding = json.detect_encoding(text)
    if encoding.startswith("utf-8"):
        return text
    return text.decode(encoding, "replace").encode("utf-8", "replace")


def check(text: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> JsonShape:
    """Return the shape. Raises BodyTooLargeError for too many values, InvalidBodyError for too many levels."""
    return shape_of(text, limits)


def _check(shape: JsonShape, limits: JsonLimits) -> None:
    if shape.depth > limits.depth:
        message = f"The body must not be nested more than {limits.depth} levels deep."
        raise InvalidBodyError(message, details={"max_depth": limits.depth})
    if shape.values > limits.values:
        raise _too_many("values", limits.values)
    if shape.containers > limits.containers:
        raise _too_many("lists and objects", limits.containers)


def _too_many(things: str, limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The body has more than {limit} {things}.", details={"max_values": limit})


def _outside_strings(text: bytes, limits: JsonLimits | None) -> Iterator[bytes]:
    """Yield the brackets and commas outside the strings of a text, window by window.

    With limits, raises BodyTooLargeError for too many escapes, and InvalidBodyError for a number or white space that is
    longer than a window.
    """
    is_inside, is_escaped, escapes = False, False, 0
    for start in range(0, len(text), _WINDOW):
        window = text[start : start + _WINDOW]
        if is_escaped:
            window = window[1:]  # its first character is escaped by the last one of the window before
        escapes += window.count(b"\\")
        if limits is not None and escapes > limits.escapes:
            raise _too_many("escapes", limits.escapes)
        bare = window.rstrip(b"\\")
        is_escaped = (len(window) - len(bare)) % 2 == 1
        if b"\\" in bare:
            bare = bare.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = bare.translate(None, _REST).split(b'"')
        if limits is not None and parts == [b""] and not is_inside and len(bare) >= _WINDOW - 1:
            raise InvalidBodyError("The body has a number that is too long, or too much white space.")
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0


def decode(text: bytes, shape: JsonShape | None = None) -> Any:
    """Decode a JSON text as Python's ``json`` does, with lone surrogates; NaN and infinities become None.

    Raises ValueError, msgspec.DecodeError or RecursionError for a malformed text.
    """
    return decode_text(text, shape).value


def decode_text(text: bytes, shape: JsonShape | None = None) -> DecodedText:
    """Decode a JSON text as ``decode`` does, and keep the text with its value."""
    # A short text has few values: there is no need to count them.
    is_short = shape is None and not are_many(len(text))
    values = len(text) if is_short else (shape or shape_of(text)).values
    if not are_many(values):
        try:
            return DecodedText(text, msgspec.json.decode(text), is_finite=True)
        except msgspec.DecodeError:  # raised for NaN and numbers that are too large, too
            pass
    non_finite: list[str] = []

    def read_float(digits: str) -> float:
        number = float(digits)
        if not math.isfinite(number):
            non_finite.append(digits)
        return number

    # ``append`` returns None, the value of a constant.
    value = decode_in_steps(text, values, json.JSONDecoder(parse_constant=non_finite.append, parse_float=read_float))
    return DecodedText(text, value, is_finite=not non_finite)


def decode_raw(text: msgspec.Raw, kind: type[_Value], values: int = 50_000) -> _Value | None:
    """Return the value of a part of a document; None if it is malformed, not of this type, or has more values.

    Documents of files are read as structures of ``msgspec.Raw``, which refer to their text. A decoded value takes up to
    a hundred bytes, even where its text has two. Commas and brackets in texts count as values, too.
    """
    view = memoryview(text)
    counted = (bytes(view[at : at + _WINDOW]).translate(None, _UNCOUNTED) for at in range(0, len(view), _WINDOW))
    if len(view) > values and sum(map(len, counted)) > values:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except MALFORMED:
        return None


# A context variable, because the decoder of a body and its next reader are separated by the server's own code.
_shared: ContextVar[Sequence[DecodedText]] = ContextVar("comfy_assets_decoded_text", default=())


@contextmanager
def sharing(decoded: DecodedText) -> Iterator[None]:
    """Let ``decoded_before`` return this text in the block, so that a large body is decoded once."""
    shared = [decoded]
    token = _shared.set(shared)
    try:
        yield
    finally:
        _shared.reset(token)
        shared.clear()  # tasks that were started in the block keep its context, and would keep a large value alive


def decoded_before(text: bytes) -> DecodedText | None:
    """Return the decoded form of a text if its decoder shares it; None for every other text."""
    # By identity: comparing large texts takes time, and a body that was changed meanwhile is another object.
    return next((decoded for decoded in _shared.get() if decoded.text is text), None)
