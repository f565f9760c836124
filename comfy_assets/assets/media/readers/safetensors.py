"""The header of a safetensors file: tensor counts and types, the architecture, and the ``__metadata__`` texts.

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

from . import architectures, model_facts, texts
from .base import ByteSource, Contents, Format, Read
from .mistaken import explain

MAX_HEADER = 32 << 20
MAX_DOCUMENT = 16 << 20

# Decoding blocks every other thread for about 7 ms per MiB and takes up to seven times the header in memory.
_MAX_DECODED_AT_ONCE = 1 << 20
_MAX_ENTRY = 16 << 10  # bytes of a tensor's name, type, shape and offsets
_MAX_NAME = 1024  # characters; longer names are left to the reader of single entries
_MAX_NUMBER = 1 << 53  # the largest integer that every JSON reader represents exactly
_MAX_DTYPES = 24
_MAX_DECODED_VALUE = 1 << 20  # bytes; a longer one is only part of the document
_MAX_DEPTH = 64  # of values in __metadata__
_MAX_FACTS = 3800  # bytes of JSON, with some room for what the registry adds
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
_METADATA = re.compile(_WS + rb'"__metadata__"' + _WS + rb":" + _WS)
_SCALAR = re.compile(rb"(?:null|true|false|-?[0-9][0-9.eE+-]{0,40})")
_NESTING = re.compile(rb'[^"\[\]{}]*(["\[\]{}])')
_EMPTY = re.compile(rb"\{" + _WS + rb"\}")
_QUOTE = re.compile(_WS + rb'(?=")')
_COLON = re.compile(_WS + rb":" + _WS)
_SEPARATOR = re.compile(_WS + rb"([,}])")
_STRING_PART = re.compile(_STRING, re.DOTALL)

_DTYPE = re.compile(r"[A-Z][A-Z0-9_]{0,15}")

_OPENING = re.compile(rb'\{[ \t\r\n]*["}]')

_GRAPHS = frozenset({"prompt", "workflow"})
_MAX_GRAPH = 4 << 20
_LATENT = "latent_tensor"  # what SaveLatent of ComfyUI writes is no model

_BAD_JSON = "The header is not the JSON that the format requires."
_BAD_TENSOR = "The header describes a tensor wrongly."
_NOT_TEXT = "The header's __metadata__ holds something that is not text."
_NOT_OBJECT = "The header's __metadata__ is not an object of texts."


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
_decode_any = msgspec.json.Decoder().decode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass
class _HeaderSummary:
    tensors: int = 0
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    data_end: int = 0
    shapes: dict[str, list[int]] = field(default_factory=dict)  # of the first tensors
    has_metadata: bool = False
    pairs: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)  # spans of keys and values
    problem: str | None = None
    # What ``_add_texts`` makes of the metadata.
    header: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    graphs: dict[str, bytes] = field(default_factory=dict)
    document: bytes | None = None
    is_omitted: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def read_safetensors(contents: Contents, source: ByteSource) -> None:
    """Add the facts of a safetensors file, and its ``__metadata__`` as a document unless lists show all of it.

    Raises _MalformedHeaderError.
    """
    header = _read_header(source.read, source.size)
    summary = _summarise_at_once(header) or _summarise(header)
    _add_texts(summary, header)
    contents.facts |= summary.facts
    for keyword, graph in summary.graphs.items():
        texts.add(contents, keyword, graph)
    if _LATENT in summary.shapes:
        contents.facts["kind"] = "other"
    if summary.document is not None:
        contents.texts["header"] = summary.document
    if summary.is_omitted:
        contents.omitted.add("header")
    if summary.problem is not None:
        contents.problems.append(summary.problem)
    declared = 8 + len(header) + summary.data_end
    if declared > source.size:
        contents.problems.append(f"The file is truncated: {source.size:,} of {declared:,} bytes are there.")


def _facts(summary: _HeaderSummary) -> dict[str, Any]:
    inferred = architectures.infer(summary.shapes)
    facts: dict[str, Any] = {
        "tensor_count": summary.tensors,
        "parameter_count": summary.parameters,
        "dtypes": summary.dtypes,
        **model_facts.model_facts(summary.header, inferred),
    }
    if summary.shown:
        facts["header"] = summary.shown
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
        for name, tensor in tensors.items():
            _add_tensor(summary, name, tensor)
    except (ValueError, msgspec.DecodeError, RecursionError):  # only newer versions raise ValueErrors
        return None
    return summary


def _summarise(header: bytes) -> _HeaderSummary:
    """Summarise a header entry by entry. Raises _MalformedHeaderError."""
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
    _add_tensor(summary, name.decode(), tensor)


def _add_tensor(summary: _HeaderSummary, name: str, tensor: _Tensor) -> None:
    count, (begin, end) = prod(tensor.shape), tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if begin > end or (bits is not None and count * bits != 8 * (end - begin)):
        raise _MalformedHeaderError("The header's shapes and sizes contradict each other.")
    if summary.tensors < architectures.MAX_TENSORS:
        summary.shapes[name] = tensor.shape
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
    """Find the pairs of the ``__metadata__`` entry at ``start``; return its end. Raises _MalformedHeaderError.

    The format allows texts only. Other values are kept and reported: some trainers write them.
    """
    opening = _METADATA.match(text, start, start + _PART)
    if opening is None or summary.has_metadata:
        raise _MalformedHeaderError(_BAD_JSON)
    summary.has_metadata = True
    start = opening.end()
    if text[start : start + 1] != b"{":
        summary.problem = _NOT_OBJECT
        return _value_end(text, start)
    empty = _EMPTY.match(text, start, start + _PART)
    end, separator = (empty.end(), b"}") if empty else (start + 1, b",")
    while separator == b",":
        key_start = _skip(_QUOTE, text, end)
        key_end = _string_end(text, key_start)
        value_start = _skip(_COLON, text, key_end)
        if text[value_start : value_start + 1] != b'"':
            summary.problem = _NOT_TEXT
        end = _value_end(text, value_start)
        summary.pairs.append(((key_start, key_end), (value_start, end)))
        end, separator = _separator(text, end)
    return end


def _value_end(text: bytes, start: int) -> int:
    """Return the end of the JSON value at ``start``."""
    first = text[start : start + 1]
    if first == b'"':
        return _string_end(text, start)
    if first not in (b"{", b"["):
        scalar = _SCALAR.match(text, start, start + _PART)
        if scalar is None:
            raise _MalformedHeaderError(_BAD_JSON)
        return scalar.end()
    depth, end = 0, start
    while True:
        found = _NESTING.match(text, end, end + _PART)
        if found is None:
            raise _MalformedHeaderError(_BAD_JSON)
        end = found.end()
        if found[1] == b'"':
            end = _string_end(text, end - 1)
        else:
            depth += 1 if found[1] in b"{[" else -1
        if depth == 0:
            return end
        if depth > _MAX_DEPTH:
            raise _MalformedHeaderError(_BAD_JSON)


def _add_texts(summary: _HeaderSummary, header: bytes) -> None:
    """Decode the pairs of the metadata: those that lists show, and the document, which has no pictures and no graphs.

    Pictures in headers are megabytes of base64, which nobody reads or searches for. The graphs that ComfyUI's nodes
    write to the models and latents that they save are documents of their own.
    """
    room = _SHOWN_BYTES
    elsewhere = 0
    kept: list[bytes] = []
    for key_span, value_span in summary.pairs:
        key = _decoded(header[slice(*key_span)])
        length = value_span[1] - key_span[0]
        if key in model_facts.PICTURES and length > _SHOWN_LENGTH:
            summary.header[key] = True
            elsewhere += 1
            continue
        if key in _GRAPHS and (graph := _graph(header[slice(*value_span)])) is not None:
            summary.graphs[key] = graph
            elsewhere += 1
            continue
        kept.append(header[key_span[0] : value_span[1]])
        if length > _MAX_DECODED_VALUE:
            continue
        value = _decoded(header[slice(*value_span)])
        summary.header[key] = value
        is_short = isinstance(value, str) and len(value) <= _SHOWN_LENGTH
        if is_short and length <= room and len(summary.shown) < _SHOWN_VALUES:
            summary.shown[key] = value
            room -= length
    summary.facts = _facts(summary)
    is_whole = len(summary.shown) + elsewhere == len(summary.pairs) and not _is_too_long(summary)
    if not is_whole:
        _add_document(summary, b"{" + b",".join(kept) + b"}")


def _graph(value: bytes) -> bytes | None:
    """Return the JSON object in a text of the metadata; None for other texts and very large ones."""
    text = _decoded(value) if len(value) <= _MAX_GRAPH else None
    return text.encode("utf-8", "replace") if isinstance(text, str) and text.lstrip().startswith("{") else None


def _is_too_long(summary: _HeaderSummary) -> bool:
    """Return whether the facts are so many that lists may leave the header out."""
    return len(msgspec.json.encode(summary.facts)) > _MAX_FACTS


def _add_document(summary: _HeaderSummary, text: bytes) -> None:
    if len(text) > MAX_DOCUMENT:
        summary.is_omitted = True
        return
    try:
        _check_json(text)
        text.decode()
    except (ValueError, msgspec.DecodeError):
        raise _MalformedHeaderError(_BAD_JSON) from None
    summary.document = text


def _decoded(text: bytes) -> Any:
    try:
        return _decode_any(text)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _MalformedHeaderError(_BAD_JSON) from None


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
    try:
        read_safetensors(contents, source)
    except _MalformedHeaderError as error:
        contents.problems.append(explain(source.read(0, 4096)) or str(error))
        contents.mime_type = None


FORMATS = (
    Format("safetensors", "application/safetensors", "model", _matches, _read, suffixes=(".safetensors", ".sft")),
)
