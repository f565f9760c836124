"""Metadata of a file: small facts for lists, and the documents embedded in it.

For worker threads. Files may be hostile: no pixel is decoded, nothing is unpickled, memory is bounded, and bad content
gives a short sentence in ``facts["error"]`` instead of an exception. The formats are in ``readers``.

The content decides about the format, whatever the suffix. The suffix is used only for formats that no content shows,
such as a safetensors file that is cut off in its header.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from ...fs.shared_files import open_shared_raw
from ...store_guard import check_found
from .readers import (
    asf,
    bitmaps,
    gguf,
    heif,
    jpeg,
    matroska,
    meshes,
    model_facts,
    mp4,
    mpeg,
    png,
    riff,
    safetensors,
    svg,
    text_files,
    texts,
    tiff,
    torch_pickle,
    xiph,
)
from .readers.base import OWN_PICTURE, TRUNCATED, ByteSource, Contents, Format

# Raised by each change to what a reader gives: contents that an older version read are read again in the background.
READER_VERSION = 2

HEAD = 4096  # bytes that the formats are detected by

FORMATS: tuple[Format, ...] = (
    *png.FORMATS,  # the usual ones first: each file is compared with one after the other
    *safetensors.FORMATS,
    jpeg.JPEG,
    riff.WEBP,
    bitmaps.GIF,
    *heif.FORMATS,
    jpeg.JPEG_XL,
    *tiff.FORMATS,
    bitmaps.OPENEXR,
    jpeg.JPEG_2000,
    *svg.FORMATS,
    *bitmaps.FORMATS,
    *gguf.FORMATS,
    *torch_pickle.FORMATS,
    text_files.GIT_LFS,
    *model_facts.FORMATS,
    *mp4.FORMATS,
    *matroska.FORMATS,
    *riff.FORMATS,
    *xiph.FORMATS,
    *mpeg.SOUNDS,
    *asf.FORMATS,
    *mpeg.STREAMS,
    *meshes.FORMATS,
)
# Files that look like a text can be another format by their suffix, such as a model that is the error of a web site.
TEXTS: tuple[Format, ...] = text_files.FORMATS
_BY_SUFFIX = {suffix: each for each in (*FORMATS, *TEXTS) for suffix in each.suffixes}

_MAX_FACTS = 4096  # bytes of JSON: lists show the facts of hundreds of files
_WINDOW = 4096
WHOLE = 16 << 10  # bytes of a file that the first look at it reads
_ALWAYS = frozenset({"format", "kind", "width", "height", "embedded", "omitted", OWN_PICTURE})


class FileMetadata(NamedTuple):
    """Metadata of one file.

    ``facts`` encodes to at most 4 KiB of JSON. ``documents`` are JSON texts in UTF-8 by key: "prompt", "workflow",
    "generation" and "header" are objects, "parameters" (the text that other user interfaces embed) and "description"
    are strings. Together they have at most 8 MiB; others are only named in ``facts["omitted"]``. ``mime_type`` is None
    if the content does not show it.
    """

    facts: dict[str, Any]
    documents: dict[str, bytes]
    mime_type: str | None


def extract(name: str, data: bytes) -> FileMetadata:
    """Return the metadata of a file with this name and content. Never raises."""

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length] if offset >= 0 and length > 0 else b""

    return extract_source(name, ByteSource(read, len(data), in_memory=True))


def extract_path(name: str, path: Path) -> FileMetadata:
    """Return the metadata of a file on disk, reading no more of it than needed. Raises only OSError."""
    check_found(str(path))
    with open_shared_raw(path) as stream:
        return extract_stream(name, stream, os.fstat(stream.fileno()).st_size)


def extract_stream(name: str, stream: FileIO, size: int) -> FileMetadata:
    """Return the metadata of an open file of ``size`` bytes that is at its beginning. Raises only OSError."""
    window = _FileWindow(stream, size)
    if size <= WHOLE:
        return extract(name, window.read(0, size))
    return extract_source(name, ByteSource(window.read, size, in_memory=False))


def extract_source(name: str, source: ByteSource) -> FileMetadata:
    """Return the metadata of a file that is read through ``source``. Raises OSError as the source does."""
    contents = read_contents(name, source)
    documents = texts.documents(contents)
    facts = contents.facts
    if documents:
        facts["embedded"] = sorted(documents)
    if contents.omitted and (omitted := contents.omitted - documents.keys()):
        facts["omitted"] = sorted(omitted)
    if contents.problems:
        facts["error"] = " ".join(dict.fromkeys(contents.problems))
    return FileMetadata(_bounded(facts), documents, contents.mime_type)


def detect(name: str, head: bytes) -> Format | None:
    """Return the format of a file with this name and these first bytes; None if no reader knows it."""
    for each in FORMATS:
        if each.matches(head):
            return each
    by_suffix = _BY_SUFFIX.get(PurePosixPath(name).suffix.lower())
    return by_suffix or next((each for each in TEXTS if each.matches(head)), None)


def read_contents(name: str, source: ByteSource) -> Contents:
    """Return the facts and texts that the reader of the file's format finds. Raises OSError as the source does."""
    found = detect(name, source.read(0, HEAD))
    if found is None:
        return Contents()
    contents = Contents({"format": found.name, "kind": found.kind}, mime_type=found.mime_type)
    try:
        found.read(contents, source)
    except struct.error:
        contents.problems.append(TRUNCATED)
    return contents


class _FileWindow:
    """Reads an unbuffered file, from its beginning, through a window: readers ask for a few bytes here and there."""

    def __init__(self, stream: FileIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._start = 0
        self._data = b""
        self._position = 0  # of the stream

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes as ``Read`` does."""
        start = offset - self._start
        if start >= 0 and 0 < length <= len(self._data) - start:  # nearly always
            return self._data[start : start + length]
        length = min(length, self._size - offset)  # a stream reserves the memory for what it is asked for
        if offset < 0 or length <= 0:
            return b""
        if start < 0 or start + length > len(self._data):
            if length > _WINDOW:
                return self._read_at(offset, length)
            self._start, start = offset, 0
            # Most texts are near the beginning of their files.
            window = WHOLE if offset == 0 else _WINDOW
            self._data = self._read_at(offset, min(window, self._size - offset))  # beyond the end is another call
        return self._data[start : start + length]

    def _read_at(self, offset: int, length: int) -> bytes:
        if offset != self._position:
            self._stream.seek(offset)
        data = self._stream.read(length)
        while 0 < len(data) < length and (more := self._stream.read(length - len(data))):
            data += more
        self._position = offset + len(data)
        return data


def _bounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts without the largest ones if they are too many bytes together."""
    if len(msgspec.json.encode(facts)) <= _MAX_FACTS:
        return facts
    sizes = {key: len(msgspec.json.encode(value)) + len(key) + 4 for key, value in facts.items()}
    while sum(sizes.values()) > _MAX_FACTS:
        largest = max(sizes.keys() - _ALWAYS, key=lambda key: sizes[key])
        del sizes[largest]
    return {key: facts[key] for key in facts if key in sizes}
