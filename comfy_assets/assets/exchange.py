"""Files that have moved to where other known files were: names exchanged, folders renamed one after the other.

What lies at a known place and looks as another file was known to look is not that place's file, changed: it is the
other. Its asset follows it. The asset whose place it was goes where its own file is now; if that is nowhere it is
missing, and has no place any more.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from ..clock import now_ms
from ..db import files, moves, places
from ..db.connection import Transaction
from ..db.moves import Candidate
from ..models import FileStat
from .matching import only_pairs
from .reconcile import Changes
from .registration import folder_row
from .relocate import Marks, Pair, carry_out, dress
from .roots import Roots
from .settling import glance

# Where those are remembered whose places others have taken: below their folder, where no walk goes.
_NOWHERE = ".replaced"

_Fate = Literal["moved", "changed", "unsettled"]


class Taken(NamedTuple):
    """A known file's place in which something lies that another file may be. ``was`` is what the file looked like."""

    id: int
    was: FileStat
    now: FileStat


@dataclass
class Exchange:
    """What has come of such places, and of the files that had been there.

    The files of the assets ``arrived`` lie there now; so many places hold the file that they did, ``changed``. Of those
    whose place it was so many were ``found`` among new files, and so many are ``missing``. Of ``unsettled`` paths
    nothing can be said before they have been looked at together.
    """

    arrived: list[int] = field(default_factory=list)
    changed: int = 0
    found: int = 0
    missing: int = 0
    unsettled: list[str] = field(default_factory=list)


async def take_out(tx: Transaction, changes: Sequence[Changes]) -> list[list[Taken]]:
    """Take those of the changed files out that may be others which have moved; answers them, for each of the changes.

    What the store says of their places stays as it is until ``settle``.
    """
    stats = [stat for change in changes for _, stat in change.changed]
    if not stats:
        return [[] for _ in changes]
    known = {file.stat for file in await moves.alike(tx, stats)}
    return [_take_out(change, known) for change in changes]


def _take_out(change: Changes, known: set[FileStat]) -> list[Taken]:
    taken = [Taken(row.id, row.stat, stat) for row, stat in change.changed if stat in known and _tells(stat)]
    ids = {place.id for place in taken}
    change.changed = [(row, stat) for row, stat in change.changed if row.id not in ids]
    return taken


def _tells(stat: FileStat) -> bool:
    """Whether no other file looks like this: by its inode, or where there are none, by a time told finely."""
    return stat[2] != 0 or stat[1] % 1_000_000_000 != 0


async def settle(tx: Transaction, taken: Sequence[Taken], after_id: int, roots: Roots) -> Exchange:
    """Let assets follow their files to these places, and from them, as far as they moved there.

    The store says by now which files are gone. Files added after ``after_id`` may be those whose places these were.
    """
    at = {file.id: file for file in await moves.by_id(tx, [place.id for place in taken])}
    # One may have been written to by a job or an upload meanwhile.
    taken = [place for place in taken if place.id in at and at[place.id].stat == place.was]
    if not taken:
        return Exchange()
    alike = await moves.alike(tx, [stat for place in taken for stat in (place.was, place.now)])
    marks = Marks(roots)
    plan = await asyncio.to_thread(lambda: _Plan(taken, at, alike, after_id, marks))
    await _apply(tx, plan, marks)
    missing = await _leave(tx, [at[i] for i in plan.lost], roots)
    return Exchange(list(plan.origins.values()), len(plan.changed), len(plan.found), missing, plan.unsettled)


class _Plan:
    """Which file has gone where. ``origins`` are, by the place (the id of the asset that had it), the files there now.

    ``found`` are the assets whose place another file has taken, with the new files that they are; those that are
    ``lost`` are nowhere. At the places that are ``changed`` is the file that was there. Blocks.
    """

    def __init__(
        self,
        taken: Sequence[Taken],
        at: dict[int, Candidate],
        alike: Sequence[Candidate],
        after_id: int,
        marks: Marks,
    ) -> None:
        self._marks = marks
        self._at = {**{file.id: file for file in alike}, **at}
        self._taken = {place.id: place for place in taken}
        pairs = only_pairs(alike, taken, lambda file: file.stat, lambda place: place.now)
        self._origins = {place.id: file.id for file, place in pairs}
        fates = self._fates()
        self.unsettled = [path for i, fate in fates.items() if fate == "unsettled" for path in self._paths(i)]
        self.origins = {i: self._origins[i] for i, fate in fates.items() if fate == "moved"}
        new = [file for file in alike if file.id > after_id and not file.is_missing and marks.is_untouched(file)]
        self.found = self._find(new)
        self.lost = self._lose()
        self.changed = [place for i, place in self._taken.items() if i not in self.origins and fates[i] != "unsettled"]

    def _fates(self) -> dict[int, _Fate]:
        """What has become of each place: a file can only have moved there that is not where it was."""
        fates: dict[int, _Fate] = {}
        for start in self._taken:
            chain: dict[int, None] = {}
            place, fate = start, None
            while fate is None:
                if place in fates:
                    fate = fates[place]
                elif place in chain:
                    fate = "moved"  # in a circle
                elif place not in self._origins:
                    fate = "changed" if place in self._taken else self._fate_of(self._at[place])
                else:
                    chain[place] = None
                    place = self._origins[place]
            fates.update(dict.fromkeys(chain, fate))
            fates.setdefault(start, fate)
        return fates

    @staticmethod
    def _fate_of(origin: Candidate) -> _Fate:
        """What has become of a place where a file lies that looks like this one, which is not known to have moved."""
        if origin.is_missing:
            return "moved"
        looks = glance(os.path.join(origin.folder, origin.name))  # noqa: PTH118
        return "changed" if looks == origin.stat else "unsettled"

    def _paths(self, place: int) -> list[str]:
        files = (self._at[i] for i in (place, self._origins[place]))
        return [os.path.join(file.folder, file.name) for file in files]  # noqa: PTH118

    def _find(self, new: list[Candidate]) -> list[Pair]:
        """The files whose place another has taken, and which were found as new ones elsewhere."""
        elsewhere = set(self.origins.values())
        without = [self._at[i] for i in self.origins if i not in elsewhere]
        pairs = only_pairs(without, new, lambda file: file.stat, lambda file: file.stat)
        return [(old, file) for old, file in pairs if file.may_be(old)]

    def stat_at(self, place: int) -> FileStat:
        """What lies at a place now looks like."""
        return self._taken[place].now

    def pairs(self) -> list[Pair]:
        """The files that have moved to such places, each with the one whose place it was."""
        return [(self._at[origin], self._at[place]) for place, origin in self.origins.items()]

    def _lose(self) -> list[int]:
        """Those that are nowhere, after they have been let have their places back that nobody else claims for a reason.

        A file that is written over another takes its asset, if nothing was ever given to its own.
        """
        placed = set(self.origins.values()) | {old.id for old, _ in self.found}
        lost: list[int] = []
        for end in [i for i in self.origins if i not in placed]:
            place: int | None = end
            while place is not None:
                origin = self.origins[place]
                if self._marks.is_plain(self._at[place]) or not self._marks.is_plain(self._at[origin]):
                    lost.append(place)
                    break
                del self.origins[place]
                place = origin if origin in self.origins else None
        return lost


async def _apply(tx: Transaction, plan: _Plan, marks: Marks) -> None:
    at = await places.vacate(tx, list(plan.origins))
    await carry_out(tx, partial(marks.plan, plan.found))
    await places.take(tx, {origin: (at[place], plan.stat_at(place)) for place, origin in plan.origins.items()})
    await dress(tx, await asyncio.to_thread(marks.plan, plan.pairs()))
    await moves.read_again(tx, [origin for place, origin in plan.origins.items() if not plan.stat_at(place)[2]])
    if plan.changed:
        await files.mark_changed(tx, [(place.id, *place.now) for place in plan.changed], now_ms())
        await files.mark_present(tx, [place.id for place in plan.changed])


async def _leave(tx: Transaction, lost: Sequence[Candidate], roots: Roots) -> int:
    by_folder: dict[str, dict[int, str]] = defaultdict(dict)
    for file in lost:
        by_folder[file.folder][file.id] = file.name
    missing = 0
    for path, names in by_folder.items():
        folder = Path(path) / _NOWHERE
        place = roots.place(folder)
        if place is None:
            raise LookupError("a folder that was listed is not part of the library")
        missing += await places.leave(tx, folder_row(folder, place), names)
    return missing
