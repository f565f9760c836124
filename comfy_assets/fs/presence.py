"""Whether files are still as the store says: what happens on the disk is seen a moment later, or with the next scan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ..assets.index.walker import extended, file_stat
from ..db import files, references
from ..db.connection import Transaction
from ..models import Asset, FileStat, Location


def is_present(asset: Asset) -> bool:
    """Whether the asset's content is in a file that was there when last looked at."""
    return asset.location is not None and not asset.location.missing


async def holds_now(tx: Transaction, asset: Asset) -> bool:
    """Whether the asset's content is in a file that is there at this moment, as it was when it was read.

    One that is gone gets its mark.
    """
    if asset.location is None or asset.location.missing:
        return False
    place = asset.location
    known = await files.stat_at(tx, place.folder, place.name)
    seen, is_gone = await asyncio.to_thread(_look, place)
    if known is not None and is_gone:
        await _mark(tx, [known.file_id])
    return known is not None and seen is not None and seen[:2] == (known.size, known.mtime_ns)


def _look(place: Location) -> tuple[FileStat | None, bool]:
    """The file's stat; and if there is none, whether it is gone rather than out of reach."""
    path = Path(extended(place.folder)) / place.name
    try:
        return file_stat(path.stat()), False
    except (FileNotFoundError, NotADirectoryError):
        return None, path.parent.is_dir() and not path.is_symlink()
    except OSError:
        return None, False


async def _mark(tx: Transaction, ids: Sequence[int]) -> None:
    touched = await references.contents_of(tx, ids)
    await files.mark_missing(tx, ids)
    await references.settle(tx, touched)
