"""Write bundles. Each file is hashed while it is copied, and the bundle gets its name only when it is complete.

Everything here blocks, so run it in threads.
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
from ...fs.atomic import LEFTOVER_AGE_S, remove_leftovers
from ...fs.paths import ChangedWhileReading, extended, file_stat
from ...names import split_suffix
from ...store_guard import check
from .archive import PLAIN_RATIO_BYTES
from .format import MANIFEST, WORKFLOW, Manifest, encode_manifest

_BLOCK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)  # for all members, so that equal contents make equal bundles
_REGULAR = 0o100644 << 16  # mode of a Unix file, in the upper half of the external attributes
# Compressing other formats (images, videos, weights) takes time and hardly makes them smaller.
_COMPRESSIBLE = frozenset({".bmp", ".csv", ".gltf", ".json", ".md", ".obj", ".svg", ".tif", ".tiff", ".txt", ".wav"})


@dataclass(frozen=True)
class SourceFile:
    """A file to include: its path, the name of its member, and the size and blake3 digest that it must have."""

    path: Path
    member: str
    size: int
    digest: bytes


def write_bundle(
    out: Path,
    manifest: Manifest,
    text: bytes,
    sources: Sequence[SourceFile],
    *,
    force: bool,
    pause: Pause,
    count: Count,
) -> None:
    """Write a bundle. An existing file is replaced only with ``force``, once the bundle is complete.

    Leaves nothing behind if it raises FileExistsError, OSError, or ChangedWhileReading for a file that differs from
    what the library recorded.
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
    stream: BinaryIO, manifest: Manifest, text: bytes, sources: Sequence[SourceFile], pause: Pause, count: Count
) -> None:
    with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for name, content in ((MANIFEST, encode_manifest(manifest)), (WORKFLOW, text)):
            archive.writestr(_info(name, len(content), zipfile.ZIP_DEFLATED), content)
        for source in sources:
            _copy(archive, source, pause, count)


def _info(name: str, size: int, method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type, info.file_size, info.external_attr = method, size, _REGULAR
    info.create_system = 3  # Unix, also on Windows, so that the bundle is the same
    return info


def _copy(archive: zipfile.ZipFile, source: SourceFile, pause: Pause, count: Count) -> None:
    # A larger file might compress so well that readers take it for a zip bomb.
    is_small = source.size <= PLAIN_RATIO_BYTES
    is_compressible = is_small and split_suffix(source.path.name)[1].lower() in _COMPRESSIBLE
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
        raise ChangedWhileReading(f"{source.path} is not what it was when the library read it; scan and export again")
