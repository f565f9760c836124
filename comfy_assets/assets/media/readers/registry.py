"""All formats that are read, and the detection of a file's format.

The content decides, whatever the suffix. The suffix is used only for formats that no content shows, such as a
safetensors file that is cut off in its header.
"""

from __future__ import annotations

import struct
from pathlib import PurePosixPath

from . import (
    asf,
    bitmaps,
    gguf,
    heif,
    jpeg,
    matroska,
    meshes,
    mistaken,
    model_info,
    mp4,
    mpeg,
    png,
    riff,
    safetensors,
    svg,
    text_files,
    tiff,
    torch_pickle,
    xiph,
)
from .base import TRUNCATED, ByteSource, Contents, Format

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
    *mistaken.FORMATS,
    *model_info.FORMATS,
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


def detect(name: str, head: bytes) -> Format | None:
    """Return the format of a file with this name and these first bytes; None if no reader knows it."""
    for each in FORMATS:
        if each.matches(head):
            return each
    by_suffix = _BY_SUFFIX.get(PurePosixPath(name).suffix.lower())
    return by_suffix or next((each for each in TEXTS if each.matches(head)), None)


def read(name: str, source: ByteSource) -> Contents:
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
