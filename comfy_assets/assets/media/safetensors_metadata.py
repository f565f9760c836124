"""The header of a safetensors file, read without the tensors.

A reader of our own, because the library's takes paths only, refuses a file that is cut short without telling
what its header says, and decodes the header in one go while every other thread waits. This one walks it entry
by entry: memory stays within a few times the header's size, and other threads run in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import msgspec

MAX_HEADER = 32 << 20
MAX_DOCUMENT = 16 << 20

_MAX_ENTRY = 16 << 10  # a tensor's name, type, shape and offsets
_MAX_NUMBER = 1 << 53  # what JSON readers agree on
_MAX_DTYPES = 24
_SHOWN_VALUES = 32
_SHOWN_LENGTH = 256  # characters
_SHOWN_BYTES = 2048  # of all shown keys and values
_PART = 16 << 10  # what one match may run over: bounds its time and its stack

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

_WS = rb"[ \t\r\n]*"
_STRING = rb'[^"\\]*(?:\\.[^"\\]*)*'
_TENSOR = re.compile(
    _WS + rb'"(' + _STRING + rb')"' + _WS + rb":" + _WS + rb"(\{[^{}]*\})" + _WS + rb"([,}])", re.DOTALL
)
_METADATA = re.compile(_WS + rb'"__metadata__"' + _WS + rb":" + _WS + rb"(?=\{)")
_EMPTY = re.compile(rb"\{" + _WS + rb"\}")
_QUOTE = re.compile(_WS + rb'(?=")')
_COLON = re.compile(_WS + rb":" + _WS)
_SEPARATOR = re.compile(_WS + rb"([,}])")
_STRING_PART = re.compile(_STRING, re.DOTALL)

_DTYPE = re.compile(r"[A-Z][A-Z0-9_]{0,15}")

_BAD_JSON = "The header is not the JSON that the format asks for."

Read = Callable[[int, int], bytes]


class _Malformed(ValueError):
    """The header is not what the format says; the message is a sentence for people."""


_Size = Annotated[int, msgspec.Meta(ge=0, le=_MAX_NUMBER)]


class _Tensor(msgspec.Struct, gc=False):
    dtype: str
    shape: Annotated[list[_Size], msgspec.Meta(max_length=64)]
    data_offsets: tuple[_Size, _Size]


_decode_tensor = msgspec.json.Decoder(_Tensor).decode
_decode_string = msgspec.json.Decoder(str).decode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass
class _Summary:
    names: set[bytes] = field(default_factory=set)
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    data_end: int = 0
    shown: dict[str, str] = field(default_factory=dict)
    metadata: tuple[int, int] | None = None  # where in the header the strings about the model are
    shown_bytes: int = 0
    all_shown: bool = True


def read_safetensors(read: Read, size: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The facts and documents of a safetensors file of this size; ``read`` takes an offset and a length."""
    try:
        header = _read_header(read, size)
        summary = _summarise(header)
        documents = {} if summary.all_shown else _documents(summary, header)
    except _Malformed as error:
        return {"format": "safetensors", "error": str(error)}, {}
    return _facts(summary, 8 + len(header) + summary.data_end, size, documents), documents


def _facts(summary: _Summary, declared: int, size: int, documents: dict[str, bytes]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "format": "safetensors",
        "tensor_count": len(summary.names),
        "parameter_count": summary.parameters,
        "dtypes": summary.dtypes,
    }
    if summary.shown:
        facts["header"] = summary.shown
    if not summary.all_shown and not documents:
        facts["omitted"] = ["header"]
    if declared > size:
        facts["error"] = f"The file is truncated: {size:,} of {declared:,} bytes are there."
    return facts


def _read_header(read: Read, size: int) -> bytes:
    if size < 8:
        raise _Malformed("The file is empty." if size == 0 else "The file is truncated: it has no header.")
    length = int.from_bytes(read(0, 8), "little")
    if length > MAX_HEADER:
        raise _Malformed("This is no safetensors file, or its header is larger than 32 MiB.")
    header = read(8, length) if length <= size - 8 else b""
    if len(header) < length:
        raise _Malformed(f"The file is truncated: {size:,} bytes do not hold its header of {length:,} bytes.")
    if not header.startswith(b"{"):
        raise _Malformed(_BAD_JSON)
    return header


def _summarise(header: bytes) -> _Summary:
    """Walk the header's entries; raises _Malformed."""
    summary = _Summary()
    empty = _EMPTY.match(header, 0, _PART)
    end, separator = (empty.end(), b"}") if empty else (1, b",")
    while separator == b",":
        entry = _TENSOR.match(header, end, end + _MAX_ENTRY)
        if entry is None or entry[1] == b"__metadata__":
            end = _add_metadata(summary, header, end)
            end, separator = _separator(header, end)
        else:
            _add_tensor(summary, entry[1], entry[2])
            end, separator = entry.end(), entry[3]
    padding = header[end:]
    if padding and not padding.isspace():
        raise _Malformed(_BAD_JSON)
    return summary


def _add_tensor(summary: _Summary, name: bytes, entry: bytes) -> None:
    try:
        tensor, name = _decode_tensor(entry), _plain(name)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _Malformed("The header describes a tensor wrongly.") from None
    if name in summary.names:
        raise _Malformed("The header names a tensor twice.")
    count, (begin, end) = prod(tensor.shape), tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if begin > end or (bits is not None and count * bits != 8 * (end - begin)):
        raise _Malformed("The header's shapes and sizes contradict each other.")
    summary.names.add(name)
    summary.parameters += count
    summary.data_end = max(summary.data_end, end)
    summary.dtypes[tensor.dtype] = of_dtype = summary.dtypes.get(tensor.dtype, 0) + 1
    if of_dtype == 1 and not _DTYPE.fullmatch(tensor.dtype):
        raise _Malformed("The header describes a tensor wrongly.")
    if summary.parameters > _MAX_NUMBER or len(summary.dtypes) > _MAX_DTYPES:
        raise _Malformed("The header describes more than any model has.")


def _plain(name: bytes) -> bytes:
    """A tensor's name without escapes; raises ValueError if it is no text."""
    if b"\\" in name or not name.isascii():
        return _decode_string(b'"' + name + b'"').encode()
    return name


def _add_metadata(summary: _Summary, text: bytes, start: int) -> int:
    """Take in the ``__metadata__`` entry that starts here; answers where it ends."""
    opening = _METADATA.match(text, start, start + _PART)
    if opening is None or summary.metadata is not None:
        raise _Malformed(_BAD_JSON)
    start = opening.end()
    empty = _EMPTY.match(text, start, start + _PART)
    end, separator = (empty.end(), b"}") if empty else (start + 1, b",")
    while separator == b",":
        key_start = _skip(_QUOTE, text, end)
        key_end = _string_end(text, key_start)
        value_start = _skip(_COLON, text, key_end)
        if text[value_start : value_start + 1] != b'"':
            raise _Malformed("The header's __metadata__ holds something that is not text.")
        end = _string_end(text, value_start)
        if not _show(summary, text, (key_start, key_end), (value_start, end)):
            summary.all_shown = False
        end, separator = _separator(text, end)
    summary.metadata = (start, end)
    return end


def _show(summary: _Summary, text: bytes, key: tuple[int, int], value: tuple[int, int]) -> bool:
    """Put a pair among those shown in lists if it is short and there is room."""
    length = value[1] - key[0]
    if summary.shown_bytes + length > _SHOWN_BYTES or len(summary.shown) >= _SHOWN_VALUES:
        return False
    try:
        name, content = _decode_string(text[slice(*key)]), _decode_string(text[slice(*value)])
    except ValueError:
        raise _Malformed(_BAD_JSON) from None
    if len(content) > _SHOWN_LENGTH:
        return False
    summary.shown[name] = content
    summary.shown_bytes += length
    return True


def _documents(summary: _Summary, header: bytes) -> dict[str, bytes]:
    """The whole of ``__metadata__``; nothing if it is too large."""
    assert summary.metadata is not None
    text = header[slice(*summary.metadata)]
    if len(text) > MAX_DOCUMENT:
        return {}
    try:
        _check_json(text)
        text.decode()
    except (ValueError, msgspec.DecodeError):
        raise _Malformed(_BAD_JSON) from None
    return {"header": text}


def _string_end(text: bytes, start: int) -> int:
    """Where the string that starts here ends, behind its closing quote."""
    end = start + 1
    while True:
        part = _STRING_PART.match(text, end, end + _PART)
        if part is None or (part.end() == end and text[end : end + 1] != b'"'):
            raise _Malformed(_BAD_JSON)
        end = part.end()
        if text[end : end + 1] == b'"':
            return end + 1


def _separator(text: bytes, start: int) -> tuple[int, bytes]:
    found = _SEPARATOR.match(text, start, start + _PART)
    if found is None:
        raise _Malformed(_BAD_JSON)
    return found.end(), found[1]


def _skip(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    found = pattern.match(text, start, start + _PART)
    if found is None:
        raise _Malformed(_BAD_JSON)
    return found.end()
