"""The plain values in a pickle, made without running anything that it names (PEP 307, PEP 574).

Texts, numbers, lists and mappings become what they are; a tensor of torch becomes its shape and type. Whatever else a
pickle would construct is an empty mapping that takes items, so that the texts in it can be found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import prod
from sys import getsizeof
from typing import Any, NamedTuple

_MAX_STEPS = 1_000_000  # opcodes
_MAX_HELD = 12 << 20  # bytes of all values, with those of the memo: the largest checkpoints take some megabytes
# Lists, mappings and tuples; a tensor has four or five. Many more would start a collection of Python's garbage
# collector, which walks all objects of the server while no other thread runs.
_MAX_CONTAINERS = 60_000
_HELD_BY_ITEM = 8  # bytes of a list or of the stack
_HELD_BY_MEMBER = 100  # bytes of a mapping or of the memo
_MAX_LINE = 4096
_MAX_NUMBER = 1 << 53
_MAX_TEXT = 64 << 10  # bytes of a text that is kept
_MAX_DIMENSIONS = 16


class PickleError(ValueError):
    """The pickle cannot be read; the message is a sentence for users."""


class Tensor(NamedTuple):
    """The shape and type of a tensor."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return min(prod(self.shape), _MAX_NUMBER)


class _NamedGlobal(NamedTuple):
    """A function or class that the pickle names, which nothing calls."""

    name: str


class _MadeObject(dict[Any, Any]):
    """A stand-in for the result of calling a named function."""

    __slots__ = ()


class _TensorStorage(NamedTuple):
    """A reference to the data of a tensor."""

    dtype: str


_DTYPES = {
    "Half": "F16",
    "BFloat16": "BF16",
    "Float": "F32",
    "Double": "F64",
    "Long": "I64",
    "Int": "I32",
    "Short": "I16",
    "Char": "I8",
    "Byte": "U8",
    "Bool": "BOOL",
}
_MARK = object()
_CUT = "The pickle is damaged or cut off."
_TOO_MANY = "The pickle has more parts than any model has."


def pickles(data: bytes, count: int) -> Iterator[Any]:
    """Return the values of pickles that follow one another. Raises PickleError."""
    at = 0
    for _ in range(count):
        machine = _PickleMachine(data, at)
        try:
            yield machine.run()
        except PickleError:
            raise
        except (IndexError, struct.error, TypeError, KeyError, OverflowError, ValueError):
            raise PickleError(_CUT) from None
        at = machine.at


class _PickleMachine:
    """The stack, the memo and the position of one pickle."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._held = 0
        self._containers = 0

    def run(self) -> Any:
        """Return the value of the pickle. Raises PickleError, and other errors for malformed pickles."""
        data = self._data
        for _ in range(_MAX_STEPS):
            code = data[self.at]
            self.at += 1
            if code == 0x2E:  # "."
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise PickleError(_CUT)
            step(self)
        raise PickleError(_TOO_MANY)

    # Arguments in the data.

    def _take(self, length: int) -> bytes:
        end = self.at + length
        if length < 0 or end > len(self._data):
            raise PickleError(_CUT)
        part = self._data[self.at : end]
        self.at = end
        return part

    def _number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self.at, self.at + _MAX_LINE)
        if end < 0:
            raise PickleError(_CUT)
        line = self._data[self.at : end]
        self.at = end + 1
        return line.decode("utf-8", "replace")

    # The stack.

    def _push(self, value: Any) -> None:
        self._hold(_HELD_BY_ITEM + getsizeof(value))
        if isinstance(value, list | dict | tuple):
            self._containers += 1
            if self._containers > _MAX_CONTAINERS:
                raise PickleError(_TOO_MANY)
        self._stack.append(value)

    def _push_again(self, value: Any) -> None:
        """Push a value that is held already."""
        self._hold(_HELD_BY_ITEM)
        self._stack.append(value)

    def _hold(self, size: int) -> None:
        # Nothing is ever given back: what leaves the stack is mostly part of another value, or in the memo.
        self._held += size
        if self._held > _MAX_HELD:
            raise PickleError(_TOO_MANY)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError(_CUT)
        return value

    def _pop_to_mark(self) -> list[Any]:
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        raise PickleError(_CUT)

    def _push_text(self, code: str) -> None:
        self._push(self._text(self._number(code)))

    def _text(self, length: int) -> str:
        text = self._take(length)
        return text[:_MAX_TEXT].decode("utf-8", "replace")

    def _push_long(self, code: str) -> None:
        digits = self._take(self._number(code))
        self._push(int.from_bytes(digits, "little", signed=True) if len(digits) <= 16 else None)

    def _push_decimal(self) -> None:
        text = self._line().rstrip("L")
        if text in ("00", "01"):
            self._push(text == "01")
        else:
            self._push(int(text) if len(text) < 20 and text.lstrip("-").isdigit() else None)

    def _push_float(self) -> None:
        text = self._line()
        try:
            self._push(float(text))
        except ValueError:
            raise PickleError(_CUT) from None

    def _quoted(self) -> None:
        self._push(self._line().strip("'\""))

    def _tuple(self, length: int) -> None:
        if length > len(self._stack):
            raise PickleError(_CUT)
        items = tuple(self._stack[len(self._stack) - length :])
        del self._stack[len(self._stack) - length :]
        self._push(items)

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            self._hold(_HELD_BY_ITEM * len(items))
            target += items

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            self._hold(_HELD_BY_MEMBER * len(items) // 2)
            for key, value in zip(items[::2], items[1::2], strict=False):
                if isinstance(key, str | int):
                    target[key] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _put(self, at: int) -> None:
        self._hold(_HELD_BY_MEMBER)
        self._memo[at] = self._stack[-1]

    def _global(self, module: Any, name: Any) -> None:
        full_name = f"{module}.{name}"
        self._hold(getsizeof(full_name))
        self._push(_NamedGlobal(full_name))

    def _global_of_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._push(_made(function, arguments))

    def _call_with_names(self) -> None:
        self._pop()
        self._call()

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1]
        if isinstance(target, _MadeObject) and isinstance(state, dict) and state is not target:
            self._hold(_HELD_BY_MEMBER * len(state))
            target.update((key, value) for key, value in state.items() if isinstance(key, str | int))

    def _persistent(self, reference: Any) -> None:
        kind = reference[1] if isinstance(reference, tuple) and len(reference) > 1 else None
        name = kind.name.rpartition(".")[2].removesuffix("Storage") if isinstance(kind, _NamedGlobal) else ""
        self._push(_TensorStorage(_DTYPES.get(name, name[:16] or "?")))

    def _skip(self, length: int) -> None:
        self._take(length)


def _made(function: Any, arguments: Any) -> Any:
    """Return the result of a call of a named function: a tensor, or an empty mapping."""
    name = function.name.rpartition(".")[2] if isinstance(function, _NamedGlobal) else ""
    given = arguments if isinstance(arguments, tuple) else ()
    if name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3") and len(given) > 2:
        return _tensor(given)
    if name in ("_rebuild_parameter", "_rebuild_from_type_v2") and given and isinstance(given[0], Tensor):
        return given[0]
    return _MadeObject()


def _tensor(arguments: tuple[Any, ...]) -> Any:
    storage, shape = arguments[0], arguments[2]
    sizes = shape if isinstance(shape, tuple) and len(shape) <= _MAX_DIMENSIONS else None
    if sizes is None or not all(isinstance(size, int) and 0 <= size <= _MAX_NUMBER for size in sizes):
        return _MadeObject()
    return Tensor(sizes, storage.dtype if isinstance(storage, _TensorStorage) else "?")


def _pushing(make: Callable[[_PickleMachine], Any]) -> Callable[[_PickleMachine], None]:
    return lambda machine: machine._push(make(machine))


def _pushing_again(make: Callable[[_PickleMachine], Any]) -> Callable[[_PickleMachine], None]:
    return lambda machine: machine._push_again(make(machine))


_Step = Callable[[_PickleMachine], Any]

_STEPS: dict[int, _Step] = {
    ord("("): _pushing_again(lambda m: _MARK),
    ord("0"): lambda m: m._stack.pop(),
    ord("1"): lambda m: m._pop_to_mark(),
    ord("2"): _pushing_again(lambda m: m._stack[-1]),
    ord("N"): _pushing_again(lambda m: None),
    0x88: _pushing_again(lambda m: True),
    0x89: _pushing_again(lambda m: False),
    ord("I"): lambda m: m._push_decimal(),
    ord("L"): lambda m: m._push_decimal(),
    ord("J"): _pushing(lambda m: m._number("<i")),
    ord("K"): _pushing(lambda m: m._number("<B")),
    ord("M"): _pushing(lambda m: m._number("<H")),
    0x8A: lambda m: m._push_long("<B"),
    0x8B: lambda m: m._push_long("<i"),
    ord("F"): lambda m: m._push_float(),
    ord("G"): _pushing(lambda m: m._number(">d")),
    ord("S"): lambda m: m._quoted(),
    ord("V"): _pushing(lambda m: m._line()),
    ord("T"): lambda m: m._push_text("<i"),
    ord("U"): lambda m: m._push_text("<B"),
    ord("X"): lambda m: m._push_text("<I"),
    0x8C: lambda m: m._push_text("<B"),
    0x8D: lambda m: m._push_text("<Q"),
    ord("B"): _pushing(lambda m: m._skip(m._number("<I"))),
    ord("C"): _pushing(lambda m: m._skip(m._number("<B"))),
    0x8E: _pushing(lambda m: m._skip(m._number("<Q"))),
    0x96: _pushing(lambda m: m._skip(m._number("<Q"))),
    ord("]"): _pushing(lambda m: []),
    ord("}"): _pushing(lambda m: {}),
    ord(")"): _pushing(lambda m: ()),
    0x8F: _pushing(lambda m: []),
    ord("l"): _pushing(lambda m: m._pop_to_mark()),
    ord("t"): _pushing(lambda m: tuple(m._pop_to_mark())),
    0x85: lambda m: m._tuple(1),
    0x86: lambda m: m._tuple(2),
    0x87: lambda m: m._tuple(3),
    0x91: _pushing(lambda m: m._pop_to_mark()),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_to_mark()),
    0x90: lambda m: m._append(m._pop_to_mark()),
    ord("s"): lambda m: m._set_item(),
    ord("u"): lambda m: m._set(m._pop_to_mark()),
    ord("p"): lambda m: m._put(int(m._line()[:12])),
    ord("q"): lambda m: m._put(m._number("<B")),
    ord("r"): lambda m: m._put(m._number("<I")),
    0x94: lambda m: m._put(len(m._memo)),
    ord("g"): _pushing_again(lambda m: m._memo[int(m._line()[:12])]),
    ord("h"): _pushing_again(lambda m: m._memo[m._number("<B")]),
    ord("j"): _pushing_again(lambda m: m._memo[m._number("<I")]),
    ord("c"): lambda m: m._global(m._line(), m._line()),
    0x93: lambda m: m._global_of_stack(),
    ord("R"): lambda m: m._call(),
    0x81: lambda m: m._call(),
    0x92: lambda m: m._call_with_names(),
    ord("b"): lambda m: m._build(),
    ord("P"): lambda m: m._persistent(m._line()),
    ord("Q"): lambda m: m._persistent(m._pop()),
    0x80: lambda m: m._skip(1),
    0x95: lambda m: m._skip(8),
    0x97: _pushing_again(lambda m: None),
    0x98: lambda m: None,
}


def _dictionary(machine: _PickleMachine) -> None:
    items = machine._pop_to_mark()
    machine._push({})
    machine._set(items)


def _instance(machine: _PickleMachine) -> None:
    machine._line()
    machine._line()
    machine._pop_to_mark()
    machine._push(_MadeObject())


def _object(machine: _PickleMachine) -> None:
    machine._pop_to_mark()
    machine._push(_MadeObject())


_STEPS |= {ord("d"): _dictionary, ord("i"): _instance, ord("o"): _object}
