"""Write a bundle: under a temporary name, every file hashed while it is copied, and in its place at the end alone.

Blocks: for threads.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from ...assets.index.content_reader import Count, Pause
from ...fs import atomic
from ...fs.partial_file import LEFTOVER_AGE_S, remove_leftovers
from ...fs.paths import extended
from ...fs.stat import ChangedWhileReading, file_stat
from ...names import split_suffix
from ...store_guard import check
from .format import MANIFEST, WORKFLOW, Manifest, encoded
from .reader import PLAIN_RATIO_BYTES

_BLOCK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)  # equal bundles of equal contents
_REGULAR = 0o100644 << 16
# Worth the time; pictures, videos and weights are not made smaller.
_COMPRESSIBLE = frozenset({".bmp", ".csv", ".gltf", ".json", ".md", ".obj", ".svg", ".tif", ".tiff", ".txt", ".wav"})


@dataclass(frozen=True)
class Source:
    """A file whose bytes go into the bundle: where they go, and what they must be."""

    path: Path
    member: str
    size: int
    digest: bytes


def write(
    out: Path, manifest: Manifest, text: bytes, sources: Sequence[Source], *, force: bool, pause: Pause, count: Count
) -> None:
    """Write the bundle; what is at ``out`` is replaced with ``force`` alone, and at the end.

    Raises FileExistsError, OSError, and ChangedWhileReading for a file that is not what the library knows; then
    nothing is left.
    """
    remove_leftovers([out.parent], time.time() - LEFTOVER_AGE_S)
    with atomic.temp_file(out) as temporary:
        atomic.write_new(temporary, lambda stream: _write_to(stream, manifest, text, sources, pause, count))
        if force:
            temporary.replace(out)
        else:
            atomic.move_no_replace(temporary, out)
    atomic.fsync_folder(out.parent)


def _write_to(
    stream: BinaryIO, manifest: Manifest, text: bytes, sources: Sequence[Source], pause: Pause, count: Count
) -> None:
    with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for name, content in ((MANIFEST, encoded(manifest)), (WORKFLOW, text)):
            archive.writestr(_info(name, len(content), zipfile.ZIP_DEFLATED), content)
        for source in sources:
            _copy(archive, source, pause, count)


def _info(name: str, size: int, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type, info.file_size, info.external_attr, info.create_system = method, size, _REGULAR, 3
    return info


def _copy(archive: zipfile.ZipFile, source: Source, pause: Pause, count: Count) -> None:
    small = source.size <= PLAIN_RATIO_BYTES
    is_compressible = small and split_suffix(source.path.name)[1].lower() in _COMPRESSIBLE
    info = _info(source.member, source.size, zipfile.ZIP_DEFLATED if is_compressible else zipfile.ZIP_STORED)
    digest, total = blake3(max_threads=blake3.AUTO), 0
    check(source.path)
    with Path(extended(str(source.path))).open("rb") as reading:
        before = file_stat(os.fstat(reading.fileno()))
        with archive.open(info, "w") as writing:
            while total <= source.size and (block := reading.read(_BLOCK)):
                pause()
                digest.update(block)
                total += len(block)
                if total <= source.size:
                    writing.write(block)
                count(len(block))
        after = file_stat(os.fstat(reading.fileno()))
    if after != before or total != source.size or digest.digest() != source.digest:
        raise ChangedWhileReading(f"{source.path} is not what it was when the library read it; scan, and export again")
