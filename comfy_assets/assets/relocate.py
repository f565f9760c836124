"""Give missing assets the files they moved to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..db import files
from ..db.connection import Transaction
from ..db.files import Move, Position
from .roots import Roots


async def relocate(tx: Transaction, moves: Sequence[Move], roots: Roots) -> int:
    """Carry out those moves whose new asset nobody has touched yet; answers how many.

    The old asset keeps its id, tags, and metadata. Its place's tags follow the file, and so does its name
    unless a user had given it another.
    """
    if not moves:
        return 0
    places = await files.places_of(tx, [i for move in moves for i in (move.old, move.new)])
    wanted = [m for m in moves if m.old in places and _is_untouched(places[m.new], roots)]
    if not wanted:
        return 0
    await files.adopt_files(tx, wanted)
    # A renamed folder moves thousands of files: everything here is done once for all that have it in common.
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for move in wanted:
        alike[places[move.old].categories, _derived(places[move.new], roots)].append(move.old)
    for (former, derived), ids in alike.items():
        await files.replace_place_tags(tx, ids, msgspec.json.decode(former, type=list[str]), derived)
    await files.rename_assets(tx, [(m.old, places[m.new].file_name) for m in wanted if _is_renamed(m, places)])
    return len(wanted)


def _derived(position: Position, roots: Roots) -> tuple[str, ...]:
    place = roots.place(Path(position.folder))
    return place.tags_of(position.file_name) if place else ()


def _is_renamed(move: Move, places: dict[int, Position]) -> bool:
    """Whether the file has another name now and the asset's name was the file's."""
    old, new = places[move.old], places[move.new]
    return old.asset_name == old.file_name != new.file_name


def _is_untouched(position: Position, roots: Roots) -> bool:
    """Whether the asset is as the scanner made it."""
    tags = msgspec.json.decode(position.tags, type=list[str])
    named_by_file = position.asset_name == position.file_name
    return position.user_metadata is None and named_by_file and set(tags) == set(_derived(position, roots))
