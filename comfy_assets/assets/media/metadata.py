"""Metadata of a file: small facts for lists, and the documents embedded in it.

For worker threads. Files may be hostile: no pixel is decoded, nothing is unpickled, memory is bounded, and bad content
gives a short sentence in ``facts["error"]`` instead of an exception. A reader for another format is a function from
``(read, size)`` to facts and documents, called in ``_extract``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...store_guard import check_found
from .readers.images import read_image, sniff_image
from .readers.safetensors import read_safetensors

_SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
_HEAD = 256
# torch.save writes a zip file whose first entry is data.pkl; its older format begins with a pickled magic number.
_TORCH_ZIP = re.compile(rb"PK\x03\x04.{26}[^/\x00-\x1f]{1,128}/data\.pkl", re.DOTALL)
_TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class FileMetadata:
    """Metadata of one file.

    ``facts`` encodes to at most 4 KiB of JSON. ``documents`` are JSON texts in UTF-8 by key: "prompt", "workflow" and
    "header" are objects, "parameters" (the text that other user interfaces embed) is a string. Each has at most
    16 MiB; larger ones are only named in ``facts["omitted"]``. ``mime_type`` is None if the content does not show it.
    """

    facts: dict[str, Any]
    documents: dict[str, bytes]
    mime_type: str | None


def extract(name: str, data: bytes) -> FileMetadata:
    """Return the metadata of a file with this name and content. Never raises."""

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return _extract(name, _ByteSource(read, len(data), in_memory=True))


def extract_path(name: str, path: Path) -> FileMetadata:
    """Return the metadata of a file on disk, reading no more of it than needed. Raises only OSError."""
    check_found(str(path))
    with path.open("rb") as stream:

        def read(offset: int, length: int) -> bytes:
            stream.seek(offset)
            return stream.read(length)

        return _extract(name, _ByteSource(read, stream.seek(0, 2), in_memory=False))


class _ByteSource(NamedTuple):
    read: Callable[[int, int], bytes]
    size: int
    in_memory: bool


def _extract(name: str, source: _ByteSource) -> FileMetadata:
    if name.lower().endswith(_SAFETENSORS_SUFFIXES):
        facts, documents = read_safetensors(source.read, source.size)
        return FileMetadata(facts, documents, "application/safetensors" if "tensor_count" in facts else None)
    head = source.read(0, _HEAD)
    image = sniff_image(head)
    if image is not None:
        facts, documents = read_image(image, source.read, source.size, whole=source.in_memory)
        return FileMetadata(facts, documents, f"image/{image}")
    if head.startswith(b"GGUF"):
        return FileMetadata({"format": "gguf"}, {}, "application/gguf")
    if _TORCH_ZIP.match(head) or head.startswith(_TORCH_LEGACY):
        return FileMetadata({"format": "pickle"}, {}, None)
    return FileMetadata({}, {}, None)
