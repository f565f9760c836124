"""Where new files come from that have just been moved, found before anybody has missed them at their old place."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import NamedTuple

from ...db import files, moves
from ...db.connection import Transaction
from ...db.files import Position
from ...db.moves import Candidate, Move
from ...models import FileStat
from ..roots import Roots, present_names
from .matching import only_pairs
from .relocate import relocate


class Origin(NamedTuple):
    """The asset whose file has moved to a place; ``is_sure`` where it is the very same file."""

    id: int
    is_sure: bool


async def find_origins(tx: Transaction, new: dict[Position, FileStat], roots: Roots) -> dict[Position, Origin]:
    """Of those new files that have been moved, the assets they belong to."""
    if not new:
        return {}
    return await asyncio.to_thread(_matches, new, await moves.alike(tx, new.values()), roots)


async def take_along(tx: Transaction, origins: dict[Position, Origin], roots: Roots) -> int:
    """Give the assets the places of the new files, which have rows by now; answers how many."""
    if not origins:
        return 0
    rows = await files.by_position(tx, list(origins))
    moved = await relocate(tx, [Move(origins[position].id, row.id) for position, row in rows.items()], roots)
    await moves.read_again(tx, [origin.id for origin in origins.values() if not origin.is_sure])
    return moved


def _matches(new: dict[Position, FileStat], alike: list[Candidate], roots: Roots) -> dict[Position, Origin]:
    """The new files for which there is one file alone that it can have been, and that one is surely gone.

    It has the same size, time (to the nanosecond) and inode; on another drive the same name instead of the inode. Where
    there are no inodes size and time have to do.
    """
    walk_roots = roots.walk_roots()
    there = lru_cache(maxsize=None)(lambda folder: present_names(folder, roots, walk_roots))

    def is_gone(file: Candidate) -> bool:
        names = there(file.folder)
        return names is not None and file.name not in names

    left = {file.id: file for file in alike if not file.is_missing and is_gone(file)}
    news = [_Seen(position, *stat) for position, stat in new.items()]
    found: dict[Position, Origin] = {}
    for key in (_same_file, _same_look, _same_name):
        for file, seen in only_pairs(left.values(), [seen for seen in news if seen.position not in found], key, key):
            found[seen.position] = Origin(file.id, key is _same_file)
        for origin in found.values():
            left.pop(origin.id, None)
    return found


class _Seen(NamedTuple):
    """A new file."""

    position: Position
    size: int
    mtime_ns: int
    inode: int

    @property
    def name(self) -> str:
        return self.position[1]


def _same_file(file: Candidate | _Seen) -> object:
    return (file.size, file.mtime_ns, file.inode) if file.inode else None


def _same_look(file: Candidate | _Seen) -> object:
    return None if file.inode else (file.size, file.mtime_ns)


def _same_name(file: Candidate | _Seen) -> object:
    return file.size, file.mtime_ns, file.name
