"""JSON texts of what servers and nodes hand over, which may hold more than JSON knows: NaN, half of a character pair,
keys that are no texts, objects of all kinds, values inside themselves. Pure.

Nothing here raises for a value that a node has made, and what is written is never nested deeper than ``MAX_DEPTH``, so
that SQLite and every client can read it.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from . import json_steps

T = TypeVar("T")

MAX_DEPTH = 200
_MAX_VALUES = 2_000_000  # of a value that msgspec does not take
_MAX_TEXT = 1 << 20  # characters of an object that is no text
_MAX_BITS = 1024  # of an integer; Python refuses to write much longer ones
_TOO_DEEP = "[nested too deep]"
_CIRCULAR = "[contains itself]"
_TOO_MANY = "[left out]"
_NOTES = {
    _TOO_DEEP: f"values nested more than {MAX_DEPTH} levels deep were left out",
    _CIRCULAR: "values that contain themselves were left out",
    _TOO_MANY: f"values beyond the first {_MAX_VALUES:,} were left out",
}
_UNREADABLE = "objects that cannot be turned into text were left out"

FOREIGN = (Exception, SystemExit)  # what the code of a value that is not ours may raise

_encoder = msgspec.json.Encoder(enc_hook=str)
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_strings = re.compile(_STRING, re.DOTALL)
_tokens = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")


@dataclass(frozen=True)
class Recorded:
    """A value as JSON; ``notes`` say what of it is left out."""

    text: str
    notes: tuple[str, ...] = ()


def encode(value: object) -> str:
    """The value as JSON that every reader understands: what has no place in JSON becomes null or a text."""
    return record(value).text


def record(value: object) -> Recorded:
    """The same, and what is left out."""
    try:
        text = _encoder.encode(value)
    except FOREIGN:  # half characters, values in themselves, whatever an object's own code raises
        return _Writer().write(value)
    return _Writer().write(value) if is_deeper(text, MAX_DEPTH) else Recorded(text.decode())


def as_in_pictures(value: Mapping[str, Any]) -> str:
    """Return the value letter by letter as ComfyUI embeds it in the pictures it saves; NaN and half characters stay.

    A value that ComfyUI could not embed is written as ``encode`` does. In a thread it is written in steps, which let
    the event loop run in between.
    """
    try:
        return json.dumps(value, default=str) if _is_on_loop() else json_steps.dumps(value)
    except FOREIGN:
        return encode(value)


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def clean(text: str) -> str:
    """The text with a question mark for each half of a character pair."""
    return text.encode("utf-8", "replace").decode()


def strict(text: bytes) -> bytes:
    """The text if every reader understands it, else what comes closest to it."""
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
    """The value of a text that Python has written, as it was."""
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return json.loads(text)


def read(text: str | bytes, kind: type[T]) -> T:
    """The value of a JSON text that was stored. What is nested too deep to be read gives way to a short text."""
    raw = text.encode() if isinstance(text, str) else text
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        return msgspec.json.decode(shallow(raw), type=kind)


def shallow(text: bytes) -> bytes:
    """The JSON text with a short text in the place of everything that is nested more than ``MAX_DEPTH`` deep."""
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
    """Return whether a JSON text is nested more than so many levels deep."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    brackets = _strings.sub(b"", text).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


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


@dataclass
class _Container:
    """An object or array that is being written: the rest of its members, each with the text before it."""

    members: Iterator[tuple[str, object]]
    end: str
    identity: int = 0


@dataclass
class _Writer:
    """Writes any value as JSON without recursion, so that neither depth nor a cycle can end it."""

    _out: list[str] = field(default_factory=list)
    _notes: dict[str, None] = field(default_factory=dict)
    _open: list[_Container] = field(default_factory=list)
    _above: set[int] = field(default_factory=set)
    _room: int = _MAX_VALUES

    def write(self, value: object) -> Recorded:
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
        return Recorded("".join(self._out), tuple(self._notes))

    def _write_one(self, item: object) -> bool:
        """Write the item, or begin with it; whether it is a container that has been opened."""
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
        """The text that stands for a container that is not written."""
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
        """The item as a container of JSON, or None where it is none."""
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
    """Return ``str`` of the item as valid Unicode; None where it raises."""
    try:
        return clean(str.__str__(item) if isinstance(item, str) else str(item)[:_MAX_TEXT])
    except FOREIGN:
        return None


def _separated(members: list[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    return ((f",{before}" if index else before, value) for index, (before, value) in enumerate(members))
