"""Models that torch.save wrote: a zip file with a pickle and the tensors' data, or in older versions pickles in a row.

Nothing is unpickled: the opcodes (PEP 307, PEP 574) become plain values, and nothing runs that a pickle names. Texts,
numbers, lists and mappings become what they are; a tensor becomes its shape and type. Whatever else a pickle would
construct is an empty mapping that takes items, so that the texts in it can be found. The parts of the zip file are
found by the module zipfile.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from math import prod
from sys import getsizeof
from typing import Any, NamedTuple

from . import architectures, model_facts
from .base import ByteSource, Contents, Format
from .text_files import explain_no_model

# torch.save writes a zip file whose first entry is data.pkl; its older format begins with a pickled magic number.
_ZIP = re.compile(rb"PK\x03\x04.{26}[^/\x00-\x1f]{1,128}/data\.pkl", re.DOTALL)
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MAX_DIRECTORY = 1 << 20  # bytes of the list of entries: some thousands
_MAX_PICKLE = 2 << 20  # bytes: that of a checkpoint has some hundred kilobytes
_NESTED = ("state_dict", "model", "params_ema", "params", "module", "weights", "network")
_MAX_DTYPES = 24
_SHOWN_VALUES = 32
_SHOWN_LENGTH = 256
_SHOWN_BYTES = 1024
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, KeyError)

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


class PickleError(ValueError):
    """The pickle cannot be read; the message is a sentence for users."""


class _PickledTensor(NamedTuple):
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


def _matches(head: bytes) -> bool:
    return _ZIP.match(head) is not None or head.startswith(_LEGACY)


def _read(contents: Contents, source: ByteSource) -> None:
    head = source.read(0, 256)
    if not _matches(head):
        contents.facts.clear()
        contents.problems += [explanation] if (explanation := explain_no_model(head)) is not None else []
        return
    try:
        data = _archived(source) if head.startswith(b"PK") else source.read(0, _MAX_PICKLE)
        # In the older format the magic number, the version and the system come before the model.
        found = [*pickles(data, 1 if head.startswith(b"PK") else 4)]
    except PickleError as error:
        contents.problems.append(str(error))
    except _ARCHIVE_ERRORS:
        contents.problems.append("The archive is damaged or cut off.")
    else:
        _add_facts(contents, found[-1])


def _archived(source: ByteSource) -> bytes:
    """Return the pickle of an archive. Raises the errors of zipfile."""
    with zipfile.ZipFile(_ArchiveStream(source)) as archive:
        entry = next((each for each in archive.infolist() if each.filename.endswith("/data.pkl")), None)
        # torch stores its entries as they are; other compressions raise what the module of each raises, even OSError.
        if entry is None or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile
        with archive.open(entry) as stream:
            return stream.read(_MAX_PICKLE)


class _ArchiveStream(io.RawIOBase):
    """A source as the file that zipfile wants, which reads no more than a list of entries may have."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position. Raises ValueError for one before the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises ValueError for more than a list of entries may have."""
        size = max(0, self._source.size - self._at) if size is None or size < 0 else size
        if size > _MAX_DIRECTORY:
            raise ValueError("a part that is too large")
        data = self._source.read(self._at, size)
        self._at += len(data)
        return data


def _add_facts(contents: Contents, value: Any) -> None:
    if not isinstance(value, Mapping):
        return
    tensors = dict(_tensors(value))
    if tensors:
        contents.facts |= {
            "tensor_count": len(tensors),
            "parameter_count": sum(tensor.parameters for tensor in tensors.values()),
            "dtypes": _dtypes(tensors),
        }
    inferred = architectures.infer({name: tensor.shape for name, tensor in tensors.items()})
    header = {key: item for key, item in value.items() if isinstance(key, str) and model_facts.plain_text(item)}
    facts = model_facts.model_facts(_with_base_model(header), inferred)
    contents.facts |= facts
    shown = dict(_shown(header))
    if shown:
        contents.facts["header"] = shown


def _with_base_model(header: dict[str, Any]) -> dict[str, Any]:
    """Return the values of an embedding with the checkpoint that it was trained on among the plain names."""
    trained_on = header.get("sd_checkpoint_name")
    return header if trained_on is None else {"description": f"trained on {trained_on}", **header}


def _tensors(value: Mapping[Any, Any]) -> Iterator[tuple[str, _PickledTensor]]:
    """Return the tensors of a model: those at the top, and those one or two levels below."""
    for key, item in value.items():
        if isinstance(item, _PickledTensor):
            yield str(key), item
        elif isinstance(item, Mapping) and isinstance(key, str) and (key in _NESTED or key == "string_to_param"):
            prefix = "string_to_param." if key == "string_to_param" else ""
            yield from (
                (f"{prefix}{name}", tensor) for name, tensor in item.items() if isinstance(tensor, _PickledTensor)
            )


def _dtypes(tensors: Mapping[str, _PickledTensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        if len(counts) < _MAX_DTYPES or tensor.dtype in counts:
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + 1
    return counts


def _shown(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    room = _SHOWN_BYTES
    for _, (key, value) in zip(range(_SHOWN_VALUES), header.items(), strict=False):
        text = model_facts.plain_text(value) or ""
        room -= len(key.encode("utf-8", "replace")) + 2 * len(text.encode())
        if len(text) <= _SHOWN_LENGTH and room >= 0:
            yield key, text


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
    if name in ("_rebuild_parameter", "_rebuild_from_type_v2") and given and isinstance(given[0], _PickledTensor):
        return given[0]
    return _MadeObject()


def _tensor(arguments: tuple[Any, ...]) -> Any:
    storage, shape = arguments[0], arguments[2]
    sizes = shape if isinstance(shape, tuple) and len(shape) <= _MAX_DIMENSIONS else None
    if sizes is None or not all(isinstance(size, int) and 0 <= size <= _MAX_NUMBER for size in sizes):
        return _MadeObject()
    return _PickledTensor(sizes, storage.dtype if isinstance(storage, _TensorStorage) else "?")


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


FORMATS = (Format("pickle", None, "model", _matches, _read, suffixes=(".ckpt", ".pt", ".pth")),)
