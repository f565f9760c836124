"""Give missing assets the files they moved to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import msgspec

from ..db import files
from ..db.connection import Transaction
from ..db.files import Move, Position
from .roots import Roots

TagsAt = Callable[[Position], tuple[str, ...]]


@dataclass
class _Plan:
    """What to do: which moves, the assets to tag anew by former categories (JSON) and new tags, and new names."""

    moves: list[Move] = field(default_factory=list)
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = field(default_factory=lambda: defaultdict(list))
    names: list[tuple[int, str]] = field(default_factory=list)


async def relocate(tx: Transaction, moves: Sequence[Move], roots: Roots) -> int:
    """Carry out those moves whose new asset nobody has touched yet; answers how many.

    The old asset keeps its id, tags, and metadata. Its place's tags follow the file, and so does its name
    unless a user had given it another.
    """
    if not moves:
        return 0
    positions = await files.places_of(tx, [i for move in moves for i in (move.old, move.new)])
    # A renamed folder moves thousands of files: too much to think through on the event loop, or to write one by one.
    plan = await asyncio.to_thread(_plan, moves, positions, roots)
    if plan.moves:
        await files.adopt_files(tx, plan.moves)
        for (former, derived), ids in plan.alike.items():
            await files.replace_place_tags(tx, ids, msgspec.json.decode(former, type=list[str]), derived)
        await files.rename_assets(tx, plan.names)
    return len(plan.moves)


def _plan(moves: Sequence[Move], positions: dict[int, Position], roots: Roots) -> _Plan:
    place_of = lru_cache(maxsize=None)(lambda folder: roots.place(Path(folder)))

    def tags_at(position: Position) -> tuple[str, ...]:
        place = place_of(position.folder)
        return place.tags_of(position.file_name) if place else ()

    plan = _Plan()
    for move in moves:
        old, new = positions[move.old], positions[move.new]
        if _is_untouched(new, tags_at):
            plan.moves.append(move)
            plan.alike[old.categories, tags_at(new)].append(move.old)
            if old.asset_name == old.file_name != new.file_name:
                plan.names.append((move.old, new.file_name))
    return plan


def _is_untouched(position: Position, tags_at: TagsAt) -> bool:
    """Whether the asset is as the scanner made it."""
    tags = msgspec.json.decode(position.tags, type=list[str])
    named_by_file = position.asset_name == position.file_name
    return position.user_metadata is None and named_by_file and set(tags) == set(tags_at(position))
