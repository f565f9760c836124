"""GGUF models: the facts of the header, after the GGUF specification of ggml (versions 1 to 3, both byte orders)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from . import architectures, model_facts
from .base import MAX_READ, TRUNCATED, ByteSource, Contents, Format, starts_with
from .text_files import explain_no_model

_MAGIC = b"GGUF"
_WINDOW = 1 << 20  # bytes read at a time
_MAX_KEYS = 2_000
_MAX_TENSORS = 100_000
_MAX_STRING = 64 << 10  # bytes of a value that is kept; longer ones are chat templates
_MAX_NAME = 1024  # bytes of the name of a value or a tensor
_KEPT_NAME = 200  # characters of a tensor's name; more tell nothing about the architecture
_MAX_TYPES = 64
_MAX_KEPT = 256 << 10  # bytes of all values that are kept
_MAX_ITEMS = 2_000_000  # elements of all arrays: vocabularies have some hundred thousand
_MAX_DIMENSIONS = 8
_MAX_DTYPES = 24
_SHOWN_LENGTH = 256  # characters of a value that lists show
_SHOWN_BYTES = 1024
_MAX_PARAMETERS = 1 << 53

_STRING, _ARRAY = 8, 9
# struct codes of the scalar types; 7 is a boolean of one byte.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

_TYPE_NAMES = """
    F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL
    IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 TQ2_0 IQ4_NL_4_4 IQ4_NL_4_8
    IQ4_NL_8_8 MXFP4 NVFP4
"""
_TENSOR_TYPES = tuple(_TYPE_NAMES.split())
# general.file_type: the mixture of types in a file, by its number.
_FILE_TYPE_NAMES = """
    F32 F16 Q4_0 Q4_1 Q4_1_F16 Q4_2 Q4_3 Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K
    IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16 Q4_0_4_4 Q4_0_4_8
    Q4_0_8_8 TQ1_0 TQ2_0 MXFP4_MOE
"""
_FILE_TYPES = dict(enumerate(_FILE_TYPE_NAMES.split()))
_WHOLE_NUMBERS = frozenset({"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"})


class _MalformedGgufError(ValueError):
    """The header violates the format; the message is a sentence for users."""


class _GgufHeader(NamedTuple):
    """The values of a header that are kept, and its tensors: the dimensions and the type of each."""

    values: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    types: dict[int, list[int]]  # the numbers of tensors and of their parameters, by type


class _GgufCursor:
    """Reads a file from its beginning, a window at a time. Raises struct.error at its end."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._window = b""
        self._start = self._at = 0
        self._read = 0
        self.order = "<"

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        if self._at + length > len(self._window):
            self._fill(length)
        data = self._window[self._at : self._at + length]
        if len(data) < length:
            raise struct.error
        self._at += length
        return data

    def skip(self, length: int) -> None:
        """Skip bytes without reading those behind the window."""
        if self._start + self._at + length > self._source.size:
            raise struct.error
        if self._at + length <= len(self._window):
            self._at += length
        else:
            self._start += self._at + length
            self._window, self._at = b"", 0

    def number(self, code: str) -> Any:
        """Return the next number."""
        return struct.unpack(self.order + code, self.take(struct.calcsize(code)))[0]

    def _fill(self, length: int) -> None:
        self._start += self._at
        wanted = max(length, _WINDOW)
        self._read += wanted
        if self._read > MAX_READ:
            raise _MalformedGgufError("The header is larger than 16 MiB.")
        self._window, self._at = self._source.read(self._start, wanted), 0


def _read(contents: Contents, source: ByteSource) -> None:
    """Add the facts of a model. Whatever was read before a fault is kept."""
    head = source.read(0, 4096)
    if not head.startswith(_MAGIC):
        contents.problems.append(explain_no_model(head) or "This is not a GGUF file.")
        contents.mime_type = None
        return
    header = _GgufHeader({}, {}, {})
    try:
        _read_header(_GgufCursor(source), header)
    except struct.error:
        contents.problems.append(TRUNCATED)
    except _MalformedGgufError as error:
        contents.problems.append(str(error))
    _add_facts(contents, header)


def _read_header(cursor: _GgufCursor, header: _GgufHeader) -> None:
    cursor.skip(4)
    version = cursor.number("I")
    if version & 0xFFFF == 0:  # written on a big-endian machine
        cursor.order = ">"
        version >>= 24
    if not 1 <= version <= 3:
        raise _MalformedGgufError(f"GGUF version {version} is not known.")
    length = "I" if version == 1 else "Q"
    tensors, keys = cursor.number(length), cursor.number(length)
    if tensors > _MAX_TENSORS or keys > _MAX_KEYS:
        raise _MalformedGgufError("The header describes more than any model has.")
    reader = _GgufValues(cursor, length)
    for _ in range(keys):
        key = reader.text()
        value = reader.value(cursor.number("I"))
        if value is not None:
            header.values[key] = value
    for _ in range(tensors):
        _read_tensor(cursor, reader, header)


def _read_tensor(cursor: _GgufCursor, reader: _GgufValues, header: _GgufHeader) -> None:
    name = reader.text()
    dimensions = cursor.number("I")
    if dimensions > _MAX_DIMENSIONS:
        raise _MalformedGgufError("The header describes a tensor wrongly.")
    code = cursor.order + reader.length * dimensions
    sizes = struct.unpack(code, cursor.take(struct.calcsize(code)))
    kind, _ = cursor.number("I"), cursor.number("Q")
    count = 1
    for size in sizes:
        count *= size
    if count > _MAX_PARAMETERS:
        raise _MalformedGgufError("The header describes more than any model has.")
    if len(header.types) > _MAX_TYPES:
        raise _MalformedGgufError("The header describes more than any model has.")
    of_type = header.types.setdefault(kind, [0, 0])
    of_type[0] += 1
    of_type[1] += count
    if len(header.shapes) < architectures.MAX_TENSORS:
        header.shapes[name[:_KEPT_NAME]] = sizes[::-1]  # the fastest dimension comes first, other than in safetensors


class _GgufValues:
    """Reads keys and values. Long values and arrays are skipped, and None."""

    def __init__(self, cursor: _GgufCursor, length: str) -> None:
        self._cursor = cursor
        self._kept = 0
        self._items = 0
        self.length = length

    def text(self) -> str:
        """Return the next key or name."""
        size = self._cursor.number(self.length)
        if size > _MAX_NAME:
            raise _MalformedGgufError("The header has a name that is too long.")
        return self._cursor.take(size).decode(errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        """Return the next value: a number, a short text, or a list of short texts."""
        if kind in _SCALARS:
            return self._cursor.number(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY or depth > 2:
            raise _MalformedGgufError("The header has a value of an unknown type.")
        return self._array(depth)

    def _string(self) -> str | None:
        size = self._cursor.number(self.length)
        self._kept += min(size, _MAX_STRING)
        if size > _MAX_STRING or self._kept > _MAX_KEPT:
            self._cursor.skip(size)
            return None
        return self._cursor.take(size).decode(errors="replace")

    def _array(self, depth: int) -> list[Any] | None:
        kind, count = self._cursor.number("I"), self._cursor.number(self.length)
        self._items += count
        if self._items > _MAX_ITEMS:
            raise _MalformedGgufError("The header has more values than any model has.")
        if kind in _SCALARS:
            self._cursor.skip(count * struct.calcsize(_SCALARS[kind]))
            return None
        if kind == _ARRAY and count > _MAX_KEYS:
            raise _MalformedGgufError("The header has more values than any model has.")
        if kind == _STRING and count > 64:  # a vocabulary
            for _ in range(count):
                self._cursor.skip(self._cursor.number(self.length))
            return None
        if kind == _ARRAY:  # which no fact is read from
            for _ in range(count):
                self.value(kind, depth + 1)
            return None
        return [self.value(kind, depth + 1) for _ in range(count)]


def _add_facts(contents: Contents, header: _GgufHeader) -> None:
    values = header.values
    types = _types(header.types)
    facts = contents.facts
    if types:
        facts |= {
            "tensor_count": sum(tensors for tensors, _ in header.types.values()),
            "parameter_count": min(sum(count for _, count in header.types.values()), _MAX_PARAMETERS),
            "dtypes": dict(list(types.items())[:_MAX_DTYPES]),
        }
    inferred = architectures.infer(header.shapes)
    facts |= model_facts.model_facts(values, inferred)
    model_facts.put_text(facts, "quantization", _quantization(values.get("general.file_type"), header.types))
    kept = {key: value for key, value in values.items() if not key.startswith("tokenizer.")}
    shown = dict(_shown(kept))
    if shown:
        facts["header"] = shown
    if len(shown) < len(kept):
        contents.texts["header"] = msgspec.json.encode(kept)


def _types(types: dict[int, list[int]]) -> dict[str, int]:
    """Return how many tensors have each type, the most frequent first."""
    counts = {_type_name(kind): tensors for kind, (tensors, _) in types.items()}
    return dict(sorted(counts.items(), key=lambda each: -each[1]))


def _type_name(kind: int) -> str:
    return _TENSOR_TYPES[kind] if kind < len(_TENSOR_TYPES) else f"type {kind}"


def _quantization(file_type: Any, types: dict[int, list[int]]) -> str:
    """Return the quantization: as the header states it, or else the type that most parameters have.

    Converters for image models leave the header at F16, whatever they quantize to.
    """
    sizes = {_type_name(kind): count for kind, (_, count) in types.items()}
    commonest = max(sizes, key=lambda name: sizes[name], default="")
    stated = _FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
    return commonest if not stated or (stated in _WHOLE_NUMBERS and commonest) else stated


def _shown(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    room = _SHOWN_BYTES
    for key, value in values.items():
        text = model_facts.plain_text(value)
        if text is None or len(text) > _SHOWN_LENGTH:
            continue
        room -= len(msgspec.json.encode({key: text}))
        if room < 0:
            return
        yield key, text


FORMATS = (Format("gguf", "application/gguf", "model", starts_with(_MAGIC), _read, suffixes=(".gguf",)),)
