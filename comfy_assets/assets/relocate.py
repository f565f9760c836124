"""Give missing assets the files they moved to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..db import files
from ..db.connection import Transaction
from ..db.files import Move
from ..models import MISSING_TAG
from .roots import Roots


async def relocate(tx: Transaction, moves: Sequence[Move], roots: Roots) -> int:
    """Carry out those moves whose new asset nobody has touched yet; answers how many.

    The old asset keeps its id, tags, and metadata. Its place's tags follow the file, and so does its name unless
    a user had given it another.
    """
    if not moves:
        return 0
    places = await files.places_of(tx, [i for move in moves for i in (move.old, move.new)])
    wanted = [m for m in moves if m.old in places and _is_untouched(places[m.new], roots)]
    if not wanted:
        return 0
    await files.adopt_files(tx, wanted)
    for move in wanted:
        old, new = places[move.old], places[move.new]
        place = roots.place(Path(new.folder))
        former = roots.place(Path(old.folder))
        derived = place.tags_of(new.file_name) if place else ()
        was = former.tags_of(old.file_name) if former else ()
        await files.change_tags(tx, move.old, add=derived, remove={*was, MISSING_TAG})
        if old.asset_name == old.file_name != new.file_name:
            await files.rename_asset(tx, move.old, new.file_name)
    return len(wanted)


def _is_untouched(position: files.Position, roots: Roots) -> bool:
    """Whether the asset is as the scanner made it."""
    place = roots.place(Path(position.folder))
    derived = set(place.tags_of(position.file_name)) if place else set()
    tags = set(msgspec.json.decode(position.tags, type=list[str]))
    return position.user_metadata is None and position.asset_name == position.file_name and tags == derived
