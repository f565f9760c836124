"""Reader for the header of a safetensors file: tensor counts, types and the ``__metadata__`` texts.

The package ``safetensors`` is not used. It opens paths only and maps them into memory, rejects truncated files and
tensor types newer than itself without reporting anything, ignores repeated names, and is no faster: it needs two calls
for each tensor. Usual headers are decoded at once by msgspec. Large and unusual ones are read entry by entry, which
bounds the memory to a few times the header and lets other threads run in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import msgspec

from .base import ByteSource, Contents, Format, Read

MAX_HEADER = 32 << 20
MAX_DOCUMENT = 16 << 20

# Decoding blocks every other thread for about 7 ms per MiB and takes up to seven times the header in memory.
_MAX_DECODED_AT_ONCE = 1 << 20
_MAX_ENTRY = 16 << 10  # bytes of a tensor's name, type, shape and offsets
_MAX_NAME = 1024  # characters; longer names are left to the reader of single entries
_MAX_NUMBER = 1 << 53  # the largest integer that every JSON reader represents exactly
_MAX_DTYPES = 24
# Limits for the texts of __metadata__ that lists show; longer ones are only part of the document.
_SHOWN_VALUES = 32
_SHOWN_LENGTH = 256  # characters
_SHOWN_BYTES = 2048  # all keys and values together
_PART = 16 << 10  # bytes that one regular expression may match: bounds its time and its stack

# Bits per value. Types that are missing here are accepted, but their sizes are not checked.
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

_OPENING = re.compile(rb'\{[ \t\r\n]*["}]')

_BAD_JSON = "The header is not the JSON that the format requires."
_BAD_TENSOR = "The header describes a tensor wrongly."


class _MalformedHeaderError(ValueError):
    """The header violates the format; the message is a sentence for users."""


_Size = Annotated[int, msgspec.Meta(ge=0, le=_MAX_NUMBER)]


class _Tensor(msgspec.Struct, gc=False):
    dtype: str
    shape: Annotated[list[_Size], msgspec.Meta(max_length=64)]
    data_offsets: tuple[_Size, _Size]


_decode_tensor = msgspec.json.Decoder(_Tensor).decode
_decode_tensors = msgspec.json.Decoder(dict[Annotated[str, msgspec.Meta(max_length=_MAX_NAME)], _Tensor]).decode
_decode_string = msgspec.json.Decoder(str).decode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass
class _HeaderSummary:
    tensors: int = 0
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    data_end: int = 0
    shown: dict[str, str] = field(default_factory=dict)
    metadata: tuple[int, int] | None = None  # start and end of the __metadata__ object in the header
    shown_bytes: int = 0
    all_shown: bool = True


def read_safetensors(read: Read, size: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the facts and documents of a safetensors file of ``size`` bytes; ``read`` takes an offset and a length.

    A malformed header gives ``facts["error"]`` instead of an exception.
    """
    try:
        header = _read_header(read, size)
        summary = _summarise_at_once(header) or _summarise(header)
        documents = {} if summary.all_shown else _documents(summary, header)
    except _MalformedHeaderError as error:
        return {"format": "safetensors", "error": str(error)}, {}
    return _facts(summary, 8 + len(header) + summary.data_end, size, documents), documents


def _facts(summary: _HeaderSummary, declared: int, size: int, documents: dict[str, bytes]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "format": "safetensors",
        "tensor_count": summary.tensors,
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
        raise _MalformedHeaderError("The file is empty." if size == 0 else "The file is truncated: it has no header.")
    length = int.from_bytes(read(0, 8), "little")
    if length > MAX_HEADER:
        raise _MalformedHeaderError("This is not a safetensors file, or its header is larger than 32 MiB.")
    header = read(8, length) if length <= size - 8 else b""
    if len(header) < length:
        raise _MalformedHeaderError(
            f"The file is truncated: {size:,} bytes do not hold its header of {length:,} bytes."
        )
    if not header.startswith(b"{"):
        raise _MalformedHeaderError(_BAD_JSON)
    return header


def _summarise_at_once(header: bytes) -> _HeaderSummary | None:
    """Summarise a header in its usual form: small, ``__metadata__`` first, nothing wrong.

    Returns None for any other header, so that all errors come from ``_summarise``.
    """
    if len(header) > _MAX_DECODED_AT_ONCE:
        return None
    summary = _HeaderSummary()
    try:
        end = _add_metadata(summary, header, 1) if _METADATA.match(header, 1, _PART) else 0
        # What follows the metadata, or the whole header, is an object of tensors.
        text = b"{" + header[end + 1 :] if end and header[end : end + 1] == b"," else header
        tensors = _decode_tensors(text)
        # The dictionary hides repeated names, and msgspec skips unknown members; the text still contains both.
        if not len(tensors) == text.count(b'"data_offsets"') == text.count(b"{") - 1:
            return None
        for tensor in tensors.values():
            _add_tensor(summary, tensor)
    except (ValueError, msgspec.DecodeError, RecursionError):  # only newer versions raise ValueErrors
        return None
    return summary


def _summarise(header: bytes) -> _HeaderSummary:
    """Summarise a header entry by entry. Raises _MalformedHeader."""
    summary = _HeaderSummary()
    names: set[bytes] = set()
    empty = _EMPTY.match(header, 0, _PART)
    end, separator = (empty.end(), b"}") if empty else (1, b",")
    while separator == b",":
        entry = _TENSOR.match(header, end, end + _MAX_ENTRY)
        if entry is None or entry[1] == b"__metadata__":
            end = _add_metadata(summary, header, end)
            end, separator = _separator(header, end)
        else:
            _add_entry(summary, names, entry[1], entry[2])
            end, separator = entry.end(), entry[3]
    padding = header[end:]  # writers align the tensors with spaces
    if padding and not padding.isspace():
        raise _MalformedHeaderError(_BAD_JSON)
    return summary


def _add_entry(summary: _HeaderSummary, names: set[bytes], name: bytes, entry: bytes) -> None:
    try:
        tensor, name = _decode_tensor(entry), _plain(name)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _MalformedHeaderError(_BAD_TENSOR) from None
    if name in names:
        raise _MalformedHeaderError("The header names a tensor twice.")
    names.add(name)
    _add_tensor(summary, tensor)


def _add_tensor(summary: _HeaderSummary, tensor: _Tensor) -> None:
    count, (begin, end) = prod(tensor.shape), tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if begin > end or (bits is not None and count * bits != 8 * (end - begin)):
        raise _MalformedHeaderError("The header's shapes and sizes contradict each other.")
    summary.tensors += 1
    summary.parameters += count
    summary.data_end = max(summary.data_end, end)
    summary.dtypes[tensor.dtype] = of_dtype = summary.dtypes.get(tensor.dtype, 0) + 1
    if of_dtype == 1 and not _DTYPE.fullmatch(tensor.dtype):
        raise _MalformedHeaderError(_BAD_TENSOR)
    if summary.parameters > _MAX_NUMBER or len(summary.dtypes) > _MAX_DTYPES:
        raise _MalformedHeaderError("The header describes more than any model has.")


def _plain(name: bytes) -> bytes:
    """Return a tensor's name without escapes. Raises ValueError if it is not valid text."""
    if b"\\" in name or not name.isascii():
        return _decode_string(b'"' + name + b'"').encode()
    return name


def _add_metadata(summary: _HeaderSummary, text: bytes, start: int) -> int:
    """Read the ``__metadata__`` entry at ``start``; return its end. Raises _MalformedHeader."""
    opening = _METADATA.match(text, start, start + _PART)
    if opening is None or summary.metadata is not None:
        raise _MalformedHeaderError(_BAD_JSON)
    start = opening.end()
    empty = _EMPTY.match(text, start, start + _PART)
    end, separator = (empty.end(), b"}") if empty else (start + 1, b",")
    while separator == b",":
        key_start = _skip(_QUOTE, text, end)
        key_end = _string_end(text, key_start)
        value_start = _skip(_COLON, text, key_end)
        if text[value_start : value_start + 1] != b'"':
            raise _MalformedHeaderError("The header's __metadata__ holds something that is not text.")
        end = _string_end(text, value_start)
        if not _show(summary, text, (key_start, key_end), (value_start, end)):
            summary.all_shown = False
        end, separator = _separator(text, end)
    summary.metadata = (start, end)
    return end


def _show(summary: _HeaderSummary, text: bytes, key: tuple[int, int], value: tuple[int, int]) -> bool:
    """Show a pair in lists if it is short and the limits allow it; return whether it is shown."""
    length = value[1] - key[0]
    if summary.shown_bytes + length > _SHOWN_BYTES or len(summary.shown) >= _SHOWN_VALUES:
        return False
    try:
        name, content = _decode_string(text[slice(*key)]), _decode_string(text[slice(*value)])
    except ValueError:
        raise _MalformedHeaderError(_BAD_JSON) from None
    if len(content) > _SHOWN_LENGTH:
        return False
    summary.shown[name] = content
    summary.shown_bytes += length
    return True


def _documents(summary: _HeaderSummary, header: bytes) -> dict[str, bytes]:
    """Return the whole ``__metadata__`` object as a document, or nothing if it is too large."""
    assert summary.metadata is not None
    text = header[slice(*summary.metadata)]
    if len(text) > MAX_DOCUMENT:
        return {}
    try:
        _check_json(text)
        text.decode()
    except (ValueError, msgspec.DecodeError):
        raise _MalformedHeaderError(_BAD_JSON) from None
    return {"header": text}


def _string_end(text: bytes, start: int) -> int:
    """Return the end of the string at ``start``, after its closing quote."""
    end = start + 1
    while True:
        part = _STRING_PART.match(text, end, end + _PART)
        if part is None or (part.end() == end and text[end : end + 1] != b'"'):
            raise _MalformedHeaderError(_BAD_JSON)
        end = part.end()
        if text[end : end + 1] == b'"':
            return end + 1


def _separator(text: bytes, start: int) -> tuple[int, bytes]:
    found = _SEPARATOR.match(text, start, start + _PART)
    if found is None:
        raise _MalformedHeaderError(_BAD_JSON)
    return found.end(), found[1]


def _skip(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    found = pattern.match(text, start, start + _PART)
    if found is None:
        raise _MalformedHeaderError(_BAD_JSON)
    return found.end()


def _matches(head: bytes) -> bool:
    """Return whether a file begins with the length of a header, and a JSON object."""
    return 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER and _OPENING.match(head, 8) is not None


def _read(contents: Contents, source: ByteSource) -> None:
    facts, contents.texts = read_safetensors(source.read, source.size)
    if "error" in facts:
        contents.problems.append(facts.pop("error"))
    contents.omitted.update(facts.pop("omitted", ()))
    contents.facts |= facts
    if "tensor_count" not in facts:
        contents.mime_type = None


FORMATS = (
    Format("safetensors", "application/safetensors", "model", _matches, _read, suffixes=(".safetensors", ".sft")),
)
