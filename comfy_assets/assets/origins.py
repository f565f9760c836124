"""Where new files come from that have just been moved, found before anybody has missed them at their old place."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..db import arrivals, files
from ..db.arrivals import Position
from ..db.connection import Row, Transaction
from ..db.files import Move
from ..models import FileStat
from .absence import files_there
from .relocate import relocate
from .roots import Roots


class Origin(NamedTuple):
    """The asset whose file has moved to a place; ``is_sure`` where it is the very same file."""

    id: int
    is_sure: bool


async def find_origins(tx: Transaction, new: dict[Position, FileStat], roots: Roots) -> dict[Position, Origin]:
    """Of those new files that have been moved, the assets they belong to."""
    if not new:
        return {}
    looks = await asyncio.to_thread(_sizes_and_times, new.values())
    return await asyncio.to_thread(_matches, new, await files.like(tx, *looks), roots)


async def take_along(tx: Transaction, origins: dict[Position, Origin], roots: Roots) -> int:
    """Give the assets the places of the new files, which have rows by now; answers how many."""
    if not origins:
        return 0
    rows = await arrivals.known(tx, list(origins))
    moves = [Move(origins[position].id, row.id) for position, row in rows.items()]
    moved = await relocate(tx, moves, roots)
    await files.read_again(tx, [origin.id for origin in origins.values() if not origin.is_sure])
    return moved


def _sizes_and_times(stats: Iterable[FileStat]) -> tuple[set[int], set[int]]:
    sizes, mtimes_ns, _ = zip(*stats, strict=True)
    return set(sizes), set(mtimes_ns)


def _matches(new: dict[Position, FileStat], like: list[Row], roots: Roots) -> dict[Position, Origin]:
    """The new files for which there is one file alone that it can have been, and that one is surely gone.

    It has the same size, time (to the nanosecond) and inode; on another drive the same name instead of the inode. Where
    there are no inodes size and time have to do.
    """
    by_look: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in like:
        by_look[row[2], row[3]].append(row)
    walk_roots = roots.walk_roots()
    there = lru_cache(maxsize=None)(lambda folder: files_there(folder, roots, walk_roots))

    def is_gone(folder: str, name: str) -> bool:
        names = there(folder)
        return names is not None and name not in names

    pairs = [
        (position, row[5], row[4] == inode != 0)
        for position, (size, mtime_ns, inode) in new.items()
        for row in by_look.get((size, mtime_ns), ())
        if (row[4] == inode or row[1] == position[1]) and is_gone(row[0], row[1])
    ]
    olds, news = Counter(old for _, old, _ in pairs), Counter(position for position, _, _ in pairs)
    return {position: Origin(old, is_sure) for position, old, is_sure in pairs if olds[old] == news[position] == 1}
