"""The header of a safetensors file: tensor counts and types, the architecture, and the ``__metadata__`` texts.

The package ``safetensors`` is not used. It opens paths only and maps them into memory, rejects truncated files and
tensor types newer than itself without reporting anything, ignores repeated names, and is no faster: it needs two calls
for each tensor. Usual headers are decoded at once by msgspec. Large and unusual ones are read entry by entry through a
window, which bounds the memory and lets other threads run in between.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from math import prod
from typing import Annotated, Any

import msgspec

from . import architectures, model_facts, texts
from .base import MAX_TEXT, ByteSource, Contents, Format
from .recoding import is_utf8, unquoted
from .text_files import explain_no_model

MAX_HEADER = 32 << 20

# Decoding blocks every other thread for about 7 ms per MiB and takes up to seven times the header in memory.
_MAX_DECODED_AT_ONCE = 1 << 20
_MAX_ENTRY = 16 << 10  # bytes of a tensor's name, type, shape and offsets
_MAX_NAME = 1024  # characters; longer names are left to the reader of single entries
_MAX_NUMBER = 1 << 53  # the largest integer that every JSON reader represents exactly
_MAX_DTYPES = 24
_MAX_DECODED_VALUE = 64 << 10  # bytes; a longer one is only part of the document
_MAX_TENSORS = 100_000
_MAX_PAIRS = 10_000  # of __metadata__
_KEPT_NAME = 200  # characters of a tensor's name, and
_KEPT_SIZES = 8  # sizes of its shape: more tell nothing about the architecture
_WINDOW = 256 << 10
_MAX_DEPTH = 64  # of values in __metadata__
_MAX_FACTS = 3800  # bytes of JSON, with some room for what ``metadata`` adds
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
_GRAPH = re.compile(rb'"(?:\\[nrt]|[ ])*\{')

_DTYPE = re.compile(r"[A-Z][A-Z0-9_]{0,15}")

_OPENING = re.compile(rb'\{[ \t\r\n]*["}]')

_GRAPHS = frozenset({"prompt", "workflow"})
_MAX_GRAPH = 4 << 20
_MAX_SHOWN = 6 * _SHOWN_LENGTH + 64  # bytes of a pair that lists may show: a character takes up to six
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


class _HeaderText:
    """The text of a header, of which a window is held. Places are counted from its beginning."""

    def __init__(self, source: ByteSource, length: int) -> None:
        self._read, self._window, self._start = source.read, b"", 0
        self.length = length

    def match(self, pattern: re.Pattern[bytes], at: int, most: int = _PART) -> re.Match[bytes] | None:
        """Match a pattern with at most ``most`` bytes at a place. ``end_of`` the match is a place again."""
        if not self._start <= at <= min(at + most, self.length) <= self._start + len(self._window):
            self._window = self._read(8 + at, min(max(most, _WINDOW), self.length - at))
            self._start = at
        return pattern.match(self._window, at - self._start, at - self._start + most)

    def end_of(self, found: re.Match[bytes]) -> int:
        """Return the place where the latest match ends."""
        return self._start + found.end()

    def part(self, start: int, end: int) -> bytes:
        """Return the bytes between two places; none behind the header, where the tensors begin."""
        end = min(end, self.length)
        if start >= end:
            return b""
        if self._start <= start and end <= self._start + len(self._window):
            return self._window[start - self._start : end - self._start]
        return self._read(8 + start, end - start)

    def whole(self) -> bytes:
        """Return the whole text, which is the window from now on."""
        self._window, self._start = self._read(8, self.length), 0
        return self._window


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
    graphs: dict[str, tuple[int, int]] = field(default_factory=dict)  # places of values
    document: bytes | None = None
    is_omitted: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def read_safetensors(contents: Contents, source: ByteSource) -> None:
    """Add the facts of a safetensors file, and its ``__metadata__`` as a document unless lists show all of it.

    Raises _MalformedHeaderError.
    """
    header = _read_header(source)
    summary = _summarise_at_once(header) or _summarise(header)
    _add_texts(summary, header)
    graphs = {keyword: _graph(header, span) for keyword, span in summary.graphs.items()}
    if _LATENT in summary.shapes:
        contents.facts["kind"] = "other"
    contents.facts |= summary.facts
    if summary.document is not None:
        contents.texts["header"] = summary.document
    for keyword, graph in graphs.items():
        texts.add(contents, keyword, graph)
    if summary.is_omitted:
        contents.omitted.add("header")
    if summary.problem is not None:
        contents.problems.append(summary.problem)
    declared = 8 + header.length + summary.data_end
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


def _read_header(source: ByteSource) -> _HeaderText:
    size = source.size
    if size < 8:
        raise _MalformedHeaderError("The file is empty." if size == 0 else "The file is truncated: it has no header.")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > MAX_HEADER:
        raise _MalformedHeaderError("This is not a safetensors file, or its header is larger than 32 MiB.")
    if length > size - 8:
        raise _MalformedHeaderError(
            f"The file is truncated: {size:,} bytes do not hold its header of {length:,} bytes."
        )
    if source.read(8, min(length, 1)) != b"{":
        raise _MalformedHeaderError(_BAD_JSON)
    return _HeaderText(source, length)


def _summarise_at_once(header: _HeaderText) -> _HeaderSummary | None:
    """Summarise a header in its usual form: small, ``__metadata__`` first, nothing wrong.

    Returns None for any other header, so that all errors come from ``_summarise``.
    """
    if header.length > _MAX_DECODED_AT_ONCE:
        return None
    summary = _HeaderSummary()
    text = header.whole()
    try:
        end = _add_metadata(summary, header, 1) if header.match(_METADATA, 1) else 0
        # What follows the metadata, or the whole header, is an object of tensors.
        text = b"{" + text[end + 1 :] if end and text[end : end + 1] == b"," else text
        tensors = _decode_tensors(text)
        # The dictionary hides repeated names, and msgspec skips unknown members; the text still contains both.
        if not len(tensors) == text.count(b'"data_offsets"') == text.count(b"{") - 1:
            return None
        for name, tensor in tensors.items():
            _add_tensor(summary, name, tensor)
    except (ValueError, msgspec.DecodeError, RecursionError):  # only newer versions raise ValueErrors
        return None
    return summary


def _summarise(header: _HeaderText) -> _HeaderSummary:
    """Summarise a header entry by entry. Raises _MalformedHeaderError."""
    summary = _HeaderSummary()
    names: set[int] = set()  # hashes: the names of a hundred thousand tensors would take tens of megabytes
    empty = header.match(_EMPTY, 0)
    end, separator = (header.end_of(empty), b"}") if empty else (1, b",")
    while separator == b",":
        entry = header.match(_TENSOR, end, _MAX_ENTRY)
        if entry is None or entry[1] == b"__metadata__":
            end = _add_metadata(summary, header, end)
            end, separator = _separator(header, end)
        else:
            end = header.end_of(entry)
            _add_entry(summary, names, entry[1], entry[2])
            separator = entry[3]
    for start in range(end, header.length, _WINDOW):  # writers align the tensors with spaces
        if not header.part(start, min(start + _WINDOW, header.length)).isspace():
            raise _MalformedHeaderError(_BAD_JSON)
    return summary


def _add_entry(summary: _HeaderSummary, names: set[int], name: bytes, entry: bytes) -> None:
    try:
        tensor, name = _decode_tensor(entry), _plain(name)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _MalformedHeaderError(_BAD_TENSOR) from None
    if hash(name) in names:
        raise _MalformedHeaderError("The header names a tensor twice.")
    names.add(hash(name))
    _add_tensor(summary, name.decode(), tensor)


def _add_tensor(summary: _HeaderSummary, name: str, tensor: _Tensor) -> None:
    count, (begin, end) = prod(tensor.shape), tensor.data_offsets
    bits = _BITS.get(tensor.dtype)
    if begin > end or (bits is not None and count * bits != 8 * (end - begin)):
        raise _MalformedHeaderError("The header's shapes and sizes contradict each other.")
    if summary.tensors < architectures.MAX_TENSORS:
        summary.shapes[name[:_KEPT_NAME]] = tensor.shape[:_KEPT_SIZES]
    summary.tensors += 1
    summary.parameters += count
    summary.data_end = max(summary.data_end, end)
    summary.dtypes[tensor.dtype] = of_dtype = summary.dtypes.get(tensor.dtype, 0) + 1
    if of_dtype == 1 and not _DTYPE.fullmatch(tensor.dtype):
        raise _MalformedHeaderError(_BAD_TENSOR)
    if summary.parameters > _MAX_NUMBER or len(summary.dtypes) > _MAX_DTYPES or summary.tensors > _MAX_TENSORS:
        raise _MalformedHeaderError("The header describes more than any model has.")


def _plain(name: bytes) -> bytes:
    """Return a tensor's name without escapes. Raises ValueError if it is not valid text."""
    if b"\\" in name or not name.isascii():
        return _decode_string(b'"' + name + b'"').encode()
    return name


def _add_metadata(summary: _HeaderSummary, text: _HeaderText, start: int) -> int:
    """Find the pairs of the ``__metadata__`` entry at ``start``; return its end. Raises _MalformedHeaderError.

    The format allows texts only. Other values are kept and reported: some trainers write them.
    """
    opening = text.match(_METADATA, start)
    if opening is None or summary.has_metadata:
        raise _MalformedHeaderError(_BAD_JSON)
    summary.has_metadata = True
    start = text.end_of(opening)
    if text.part(start, start + 1) != b"{":
        summary.problem = _NOT_OBJECT
        return _value_end(text, start)
    empty = text.match(_EMPTY, start)
    end, separator = (text.end_of(empty), b"}") if empty else (start + 1, b",")
    while separator == b",":
        key_start = _skip(_QUOTE, text, end)
        key_end = _string_end(text, key_start)
        value_start = _skip(_COLON, text, key_end)
        if text.part(value_start, value_start + 1) != b'"':
            summary.problem = _NOT_TEXT
        end = _value_end(text, value_start)
        summary.pairs.append(((key_start, key_end), (value_start, end)))
        if len(summary.pairs) > _MAX_PAIRS:
            raise _MalformedHeaderError("The header's __metadata__ has more texts than any model has.")
        end, separator = _separator(text, end)
    return end


def _value_end(text: _HeaderText, start: int) -> int:
    """Return the end of the JSON value at ``start``."""
    first = text.part(start, start + 1)
    if first == b'"':
        return _string_end(text, start)
    if first not in (b"{", b"["):
        return _skip(_SCALAR, text, start)
    depth, end = 0, start
    while True:
        found = text.match(_NESTING, end)
        if found is None:
            raise _MalformedHeaderError(_BAD_JSON)
        end = text.end_of(found)
        if found[1] == b'"':
            end = _string_end(text, end - 1)
        else:
            depth += 1 if found[1] in b"{[" else -1
        if depth == 0:
            return end
        if depth > _MAX_DEPTH:
            raise _MalformedHeaderError(_BAD_JSON)


def _add_texts(summary: _HeaderSummary, header: _HeaderText) -> None:
    """Decode the pairs of the metadata: those that lists show, and the document, which has no pictures and no graphs.

    Pictures in headers are megabytes of base64, which nobody reads or searches for. The graphs that ComfyUI's nodes
    write to the models and latents that they save are documents of their own.
    """
    room = _SHOWN_BYTES
    elsewhere = 0
    kept: list[tuple[int, int]] = []
    for key_span, value_span in summary.pairs:
        key = _decoded(header.part(*key_span)) if key_span[1] - key_span[0] <= _MAX_NAME else ""
        length = value_span[1] - key_span[0]
        if key in model_facts.PICTURES and length > _SHOWN_LENGTH:
            summary.header[key] = True
            elsewhere += 1
            continue
        if key in _GRAPHS and _is_graph(header, value_span):
            summary.graphs[key] = value_span
            elsewhere += 1
            continue
        kept.append((key_span[0], value_span[1]))
        is_fact = key in model_facts.FIELDS and length <= _MAX_DECODED_VALUE
        if not is_fact and length > _MAX_SHOWN:
            continue
        value = _decoded(header.part(*value_span))
        if is_fact:
            summary.header[key] = value
        is_short = isinstance(value, str) and len(value) <= _SHOWN_LENGTH
        if is_short and length <= room and len(summary.shown) < _SHOWN_VALUES:
            summary.shown[key] = value
            room -= length
    summary.facts = _facts(summary)
    is_whole = len(summary.shown) + elsewhere == len(summary.pairs) and not _is_too_long(summary)
    if not is_whole:
        _add_document(summary, header, kept)


def _is_graph(header: _HeaderText, span: tuple[int, int]) -> bool:
    """Return whether a value is the JSON object in a text, and not very large."""
    return span[1] - span[0] <= _MAX_GRAPH and header.match(_GRAPH, span[0]) is not None


def _graph(header: _HeaderText, span: tuple[int, int]) -> bytes:
    try:
        return unquoted(header.part(*span))
    except (ValueError, msgspec.DecodeError):
        raise _MalformedHeaderError(_BAD_JSON) from None


def _is_too_long(summary: _HeaderSummary) -> bool:
    """Return whether the facts are so many that lists may leave the header out."""
    return len(msgspec.json.encode(summary.facts)) > _MAX_FACTS


def _add_document(summary: _HeaderSummary, header: _HeaderText, kept: list[tuple[int, int]]) -> None:
    """Join the pairs between these places to a document. Raises _MalformedHeaderError."""
    if sum(end - start + 1 for start, end in kept) >= MAX_TEXT:
        summary.is_omitted = True
        return
    joined = io.BytesIO()
    for start, end in kept:
        joined.write(b"," if joined.tell() else b"{")
        for at in range(start, end, _WINDOW):
            joined.write(header.part(at, min(at + _WINDOW, end)))
    joined.write(b"}" if kept else b"{}")
    text = joined.getvalue()
    try:
        _check_json(text)
    except (ValueError, msgspec.DecodeError):
        raise _MalformedHeaderError(_BAD_JSON) from None
    if not is_utf8(text):
        raise _MalformedHeaderError(_BAD_JSON)
    summary.document = text


def _decoded(text: bytes) -> Any:
    try:
        return _decode_any(text)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _MalformedHeaderError(_BAD_JSON) from None


def _string_end(text: _HeaderText, start: int) -> int:
    """Return the end of the string at ``start``, after its closing quote."""
    end = start + 1
    while True:
        part = text.match(_STRING_PART, end)
        if part is None:
            raise _MalformedHeaderError(_BAD_JSON)
        next_end = text.end_of(part)
        quote = text.part(next_end, next_end + 1)
        if quote == b'"':
            return next_end + 1
        if next_end == end or not quote:
            raise _MalformedHeaderError(_BAD_JSON)
        end = next_end


def _separator(text: _HeaderText, start: int) -> tuple[int, bytes]:
    found = text.match(_SEPARATOR, start)
    if found is None:
        raise _MalformedHeaderError(_BAD_JSON)
    return text.end_of(found), found[1]


def _skip(pattern: re.Pattern[bytes], text: _HeaderText, start: int) -> int:
    found = text.match(pattern, start)
    if found is None:
        raise _MalformedHeaderError(_BAD_JSON)
    return text.end_of(found)


def _matches(head: bytes) -> bool:
    """Return whether a file begins with the length of a header, and a JSON object."""
    return 2 <= int.from_bytes(head[:8], "little") <= MAX_HEADER and _OPENING.match(head, 8) is not None


def _read(contents: Contents, source: ByteSource) -> None:
    try:
        read_safetensors(contents, source)
    except _MalformedHeaderError as error:
        contents.problems.append(explain_no_model(source.read(0, 4096)) or str(error))
        contents.mime_type = None


FORMATS = (
    Format("safetensors", "application/safetensors", "model", _matches, _read, suffixes=(".safetensors", ".sft")),
)
