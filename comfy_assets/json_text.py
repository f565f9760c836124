"""JSON of values from nodes and clients, which may hold more than JSON knows: NaN, lone surrogates, keys that are no
strings, objects of any class, values that contain themselves. No I/O.

No encoder here raises for a node's value, and no text it writes is nested deeper than ``MAX_DEPTH``, so that SQLite and
every client can read it.

Large texts are read and written in steps. The decoders and encoders in C hold the interpreter lock from the beginning
of a text to its end; those of the standard library in Python let the event loop run in between, but are slower.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from json import scanner
from json.encoder import encode_basestring_ascii
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MAX_DEPTH = 200
_MAX_VALUES = 2_000_000  # in a value that msgspec cannot encode
_MAX_TEXT = 1 << 20  # characters of an object's ``str``, which may print a whole tensor
_MAX_BITS = 1024  # of an integer; Python raises for much longer ones (sys.int_info.str_digits_check_threshold)
_DECODED_AT_ONCE = 20_000  # values; decoding them takes a few milliseconds
_TEXT_AT_ONCE = 256 << 10  # characters
_SMALL_VALUES = 1000  # a value with as many parts is encoded in less than a millisecond
_TOO_DEEP = "[nested too deep]"
_CIRCULAR = "[contains itself]"
_TOO_MANY = "[left out]"
_NOTES = {
    _TOO_DEEP: f"values nested more than {MAX_DEPTH} levels deep were left out",
    _CIRCULAR: "values that contain themselves were left out",
    _TOO_MANY: f"values beyond the first {_MAX_VALUES:,} were left out",
}
_UNREADABLE = "objects that cannot be turned into text were left out"

FOREIGN = (Exception, SystemExit)  # raised by the code of values that are not ours

_encoder = msgspec.json.Encoder(enc_hook=str)
# Noting each container to find cycles takes a fifth of the time. Without it a cycle ends in a RecursionError.
_encode_as_in_images = json.JSONEncoder(default=str, check_circular=False).encode
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_strings = re.compile(_STRING, re.DOTALL)
_tokens = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_BACKSLASH = 0x5C
_LONGEST_ESCAPE = 12  # bytes, of a character outside the basic plane
_SEARCHED = 64  # bytes in which every well-formed string has a place to be divided


class EncodedValue(msgspec.Struct, frozen=True):
    """A value as JSON. ``notes`` name the parts that are left out."""

    text: str
    notes: tuple[str, ...] = ()


def encode(value: object) -> str:
    """Encode a value as strict JSON. Parts that JSON cannot express become null or a string."""
    return encode_value(value).text


def encode_value(value: object) -> EncodedValue:
    """Encode a value as ``encode`` does, and note which parts are left out."""
    try:
        text = _encoder.encode(value)
    except FOREIGN:  # lone surrogates, cycles, exceptions of the object's own code
        return _ValueWriter().write(value)
    return _ValueWriter().write(value) if is_deeper(text, MAX_DEPTH) else EncodedValue(text.decode())


def as_in_images(value: Mapping[str, Any]) -> str:
    """Return the same text that ComfyUI embeds in saved images, with NaN and lone surrogates.

    A value that ComfyUI could not embed is encoded as ``encode`` does. A thread encodes large values in steps.
    """
    try:
        # On the event loop nothing else could run in between; a small value is encoded in microseconds.
        return _encode_as_in_images(value) if _is_on_loop() or _is_small(value) else dumps_in_steps(value)
    except FOREIGN:
        return encode(value)


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_small(value: object) -> bool:
    """Return whether a value has few parts, and texts of a moderate length in all."""
    values, characters = 0, 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        values += 1
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
        if values + len(waiting) > _SMALL_VALUES or characters > _TEXT_AT_ONCE:
            return False
    return True


def clean(text: str) -> str:
    """Replace each lone surrogate by a question mark."""
    return text.encode("utf-8", "replace").decode()


def strict(text: bytes) -> bytes:
    """Return the text if it is strict JSON, else the strict JSON text that comes closest."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except RecursionError:
        return strict(shallow(text))
    except msgspec.MsgspecError:
        try:
            return encode(json.loads(text)).encode()
        except RecursionError:
            return strict(shallow(text))
    return text


def decode(text: bytes) -> Any:
    """Decode a text that Python's ``json`` has written, with NaN and lone surrogates."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)


def read(text: str | bytes, kind: type[T]) -> T:
    """Decode a stored JSON text. Parts that are nested too deeply to be decoded become a short string."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        return msgspec.json.decode(shallow(raw), type=kind)


def shallow(text: bytes) -> bytes:
    """Replace every part of a JSON text that is nested deeper than ``MAX_DEPTH`` by a short string."""
    parts: list[bytes] = []
    depth = copied = 0
    for token in _tokens.finditer(text):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts.append(text[copied : token.start()])
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == MAX_DEPTH:
                parts.append(json.dumps(_TOO_DEEP).encode())
                copied = token.end()
    return b"".join([*parts, text[copied:]])


def is_deeper(text: bytes, levels: int) -> bool:
    """Return whether a JSON text is nested deeper than ``levels``."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    brackets = _strings.sub(b"", text).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def string_end(text: bytes, start: int) -> int:
    """Return the end of a JSON string whose characters begin at ``start``: after its quote, or the end of the text."""
    at = start
    while (at := text.find(b'"', at)) >= 0:
        escapes = at
        while escapes > start and text[escapes - 1] == _BACKSLASH:
            escapes -= 1
        at += 1
        if (at - 1 - escapes) % 2 == 0:
            return at
    return len(text)


def string_division(text: bytes, start: int, end: int) -> int:
    """Return a place at or shortly before ``end`` that is in no character and no escape of a JSON string."""
    for at in range(end, max(start, end - _SEARCHED), -1):
        if text[at] & 0xC0 == 0x80:  # in a character
            continue
        before = text[max(start, at - _LONGEST_ESCAPE) : at]
        if b"\\" not in before:
            return at
        if text[at - 1] == _BACKSLASH:
            run = text[start:at]
            if (len(run) - len(run.rstrip(b"\\"))) % 2 == 0:  # between escaped backslashes
                return at
        elif text[at] == _BACKSLASH and text[at + 1 : at + 4].lower() not in (b"udc", b"udd", b"ude", b"udf"):
            return at  # an escape begins here, and not with the second half of a character
    return end


_SPACE = re.compile(r"[ \t\n\r]*")


def members(text: str, values: int = 0) -> dict[str, str]:
    """Return the members of a JSON object, each as its own text, with escaped lone surrogates as they are.

    ``values`` is the number of values in it: a large text is read in steps. Raises ValueError and RecursionError if the
    text is no JSON object.
    """
    decoder = stepwise(json.JSONDecoder(parse_constant=_refuse), values)
    # After this check the text is known to be well-formed: the loop below needs none of its own.
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
    raise ValueError(f"{constant} is not a JSON number")


@dataclass
class _Container:
    """An object or array that is being written: its remaining members, each with the text before it."""

    members: Iterator[tuple[str, object]]
    end: str
    identity: int = 0


@dataclass
class _ValueWriter:
    """Encode any value as JSON without recursion, so that neither depth nor a cycle can stop it."""

    _out: list[str] = field(default_factory=list)
    _notes: dict[str, None] = field(default_factory=dict)
    _open: list[_Container] = field(default_factory=list)
    _above: set[int] = field(default_factory=set)
    _room: int = _MAX_VALUES

    def write(self, value: object) -> EncodedValue:
        self._open.append(_Container(iter([("", value)]), ""))
        while self._open:
            innermost = self._open[-1]
            for before, item in innermost.members:
                self._out.append(before)
                if self._write_one(item):
                    break
            else:
                self._out.append(innermost.end)
                self._above.discard(innermost.identity)
                self._open.pop()
        return EncodedValue("".join(self._out), tuple(self._notes))

    def _write_one(self, item: object) -> bool:
        """Write a scalar, or open a container; return whether a container was opened."""
        self._room -= 1
        try:
            container = self._opened(item)
        except FOREIGN:
            container = None
        if container is None:
            self._out.append(self._scalar(item))
            return False
        mark = self._mark_in_place_of(item)
        if mark is not None:
            self._notes[_NOTES[mark]] = None
            self._out.append(json.dumps(mark))
            return False
        self._out.append("{" if container.end == "}" else "[")
        self._above.add(container.identity)
        self._open.append(container)
        return True

    def _mark_in_place_of(self, item: object) -> str | None:
        """Return the string that replaces a container, None if it is written."""
        if id(item) in self._above:
            return _CIRCULAR
        if len(self._open) > MAX_DEPTH:
            return _TOO_DEEP
        return _TOO_MANY if self._room < 0 else None

    def _scalar(self, item: object) -> str:
        if item is None or isinstance(item, bool):
            return json.dumps(item)
        if isinstance(item, int) and item.bit_length() <= _MAX_BITS:
            return int.__repr__(item)
        if isinstance(item, float):
            return float.__repr__(item) if math.isfinite(item) else "null"
        return json.dumps(self._text(item))

    def _text(self, item: object) -> str:
        text = text_of(item)
        if text is None:
            self._notes[_UNREADABLE] = None
            text = f"[{type(item).__name__}]"
        return text

    def _opened(self, item: object) -> _Container | None:
        """Return the item as a JSON container, or None if it is a scalar."""
        if isinstance(item, Mapping):
            named = {self._name(key): value for key, value in item.items()}
            marked = [(f"{json.dumps(name)}:", value) for name, value in named.items()]
            return _Container(_separated(marked), "}", id(item))
        if isinstance(item, (list, tuple, set, frozenset)):
            return _Container(_separated([("", value) for value in item]), "]", id(item))
        return None

    def _name(self, key: object) -> str:
        return self._text(None if isinstance(key, float) and not math.isfinite(key) else key)


def text_of(item: object) -> str | None:
    """Return ``str`` of the item as valid Unicode; None if it raises."""
    try:
        return clean(str.__str__(item) if isinstance(item, str) else str(item)[:_MAX_TEXT])
    except FOREIGN:
        return None


def _separated(members: list[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    return ((f",{before}" if index else before, value) for index, (before, value) in enumerate(members))


def decode_in_steps(text: bytes, values: int, decoder: json.JSONDecoder) -> Any:
    """Decode a text with this many values. Raises ValueError and RecursionError."""
    return stepwise(decoder, values).decode(text.decode(json.detect_encoding(text), "surrogatepass"))


def stepwise(decoder: json.JSONDecoder, values: int) -> json.JSONDecoder:
    """Return the decoder, which decodes in steps from now on if ``values`` is large."""
    if are_many(values):
        vars(decoder)["scan_once"] = vars(scanner)["py_make_scanner"](decoder)
    return decoder


def are_many(values: int) -> bool:
    """Return whether this number of values must be decoded in steps."""
    return values > _DECODED_AT_ONCE


def dumps_in_steps(value: Mapping[str, Any]) -> str:
    """Return the text of ``json.dumps(value, default=str)``."""
    return "".join(_steps(value))


def encoded_pieces(value: Mapping[str, Any]) -> list[bytes]:
    """Return the text of ``dumps_in_steps`` in UTF-8, in pieces of some 256 KB."""
    found, held, size = [], [], 0
    for step in _steps(value):
        held.append(step)
        size += len(step)
        if size >= _TEXT_AT_ONCE:
            found.append("".join(held).encode())
            held, size = [], 0
    return [*found, "".join(held).encode()]


def _steps(value: Mapping[str, Any]) -> Iterator[str]:
    # json.dumps always takes the encoder in C. This one has no public name; its arguments have not changed since 2.7.
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
