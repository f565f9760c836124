"""Known places in which something else lies than before: is it the place's file, changed, or has that gone elsewhere?

It has where another known file has come to its place, as when names are exchanged or folders renamed one after the
other, and where it is found under a new name itself, as when its own is used anew. Assets then follow their files, and
what is new in the place of one is an asset of its own. One whose file is nowhere is missing, and has no place any more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from ...db import files, moves
from ...db.connection import Transaction
from ...db.moves import Candidate
from ...ids import now_ms
from ...models import FileStat
from ..index.debounce import glance
from ..index.insert import NewFile, add_new, folder_row
from ..roots import Place, Roots
from .matching import only_pairs
from .relocate import Marks, Pair, carry_out, dress

# Where those are remembered whose places others have: below their folder, where no walk goes.
_NOWHERE = ".replaced"

_Fate = Literal["moved", "changed", "unsettled"]


class Altered(NamedTuple):
    """A known place, by the id of its asset, where something lies that has another size or time than its file had."""

    id: int
    was: FileStat
    now: FileStat


@dataclass
class Outcome:
    """What has come of such places, and of the assets whose places they were.

    The files of the assets ``arrived`` have come to other assets' places. So many places hold their own file,
    ``changed``, and so many one that is new, ``created``. So many assets were ``found`` among the files that are new
    elsewhere, and so many are ``missing``. Of ``unsettled`` paths nothing can be said before they have been looked at
    together.
    """

    arrived: list[int] = field(default_factory=list)
    changed: int = 0
    created: int = 0
    found: int = 0
    missing: int = 0
    unsettled: list[str] = field(default_factory=list)


async def settle(tx: Transaction, altered: Sequence[Altered], after_id: int, roots: Roots) -> Outcome:
    """Say what is in these places, by the size, time and inode of files, and let assets follow theirs.

    The store says by now which files are gone. Files added after ``after_id`` may be those whose places these were.
    """
    if not altered:
        return Outcome()
    known = await moves.by_id(tx, [place.id for place in altered])
    alike = await moves.alike(tx, (stat for place in altered for stat in (place.was, place.now)))
    marks = Marks(roots)
    plan = await asyncio.to_thread(lambda: _Plan(altered, known, alike, after_id, marks))
    missing = await _apply(tx, plan, marks, roots)
    arrived = list(plan.arrivals.values())
    return Outcome(arrived, len(plan.changed), len(plan.new), len(plan.found), missing, plan.unsettled)


async def leave(tx: Transaction, lost: Iterable[Candidate], roots: Roots) -> int:
    """Let assets be missing whose places are other files' now; answers how many were not yet."""
    missing = 0
    by_folder: dict[Path, dict[int, str]] = {}
    for file in lost:
        by_folder.setdefault(Path(file.folder) / _NOWHERE, {})[file.id] = file.name
    for folder, names in by_folder.items():
        missing += await files.park(tx, folder_row(folder, _place(folder, roots)), names)
    return missing


def _place(folder: Path | str, roots: Roots) -> Place:
    place = roots.place(Path(folder))
    if place is None:
        raise LookupError("a folder that was listed is no part of the library")
    return place


async def _apply(tx: Transaction, plan: _Plan, marks: Marks, roots: Roots) -> int:
    """Carry the plan out; answers how many assets are missing that were not."""
    stats = plan.stats
    free = await files.vacate(tx, [*plan.arrivals, *plan.new])
    await carry_out(tx, partial(marks.plan, plan.found))
    await files.occupy(tx, {file: (free[place], stats[place]) for place, file in plan.arrivals.items()})
    await dress(tx, await asyncio.to_thread(marks.plan, plan.arrived_pairs()))
    await moves.read_again(tx, [file for place, file in plan.arrivals.items() if not stats[place][2]])
    await add_new(tx, [NewFile(*free[i], _place(plan.known[i].folder, roots), stats[i]) for i in plan.new])
    if plan.changed:
        await files.mark_changed(tx, [(i, *stats[i]) for i in plan.changed], now_ms())
        await files.mark_present(tx, plan.changed)
    return await leave(tx, [plan.known[i] for i in plan.lost], roots)


class _Plan:
    """Which file is where. Places are told by the ids of the assets that had them. Blocks.

    ``arrivals`` are the files of other assets that have come to places. The files of those ``found`` have gone from
    theirs and are new elsewhere; those of the ``lost`` are nowhere. Where the file has gone from a place and none has
    arrived there is a ``new`` one, and else the one that was there, ``changed``. ``unsettled`` are paths.
    """

    def __init__(
        self,
        altered: Sequence[Altered],
        known: Sequence[Candidate],
        alike: Sequence[Candidate],
        after_id: int,
        marks: Marks,
    ) -> None:
        self.known = {file.id: file for file in (*alike, *known)}
        # To one a job or an upload may have written meanwhile.
        altered = [place for place in altered if place.id in self.known and self.known[place.id].stat == place.was]
        self.stats = {place.id: place.now for place in altered}
        self._marks = marks
        self._origins = {
            place.id: file.id
            for file, place in only_pairs(alike, altered, _look, lambda place: _tells(place.now))
            if file.id not in self.stats or not _is_backup(self.known[place.id], file)
        }
        fates = self._fates()
        undecided = [i for i, fate in fates.items() if fate == "unsettled"]
        self.unsettled = [self._path(i) for place in undecided for i in (place, self._origins[place])]
        self.arrivals = {i: self._origins[i] for i, fate in fates.items() if fate == "moved"}
        new = [file for file in alike if file.id > after_id and file.id not in self.stats]
        self.found = self._find(new, set(undecided))
        self.lost = self._lose()
        gone = {*self.arrivals.values(), *(old.id for old, _ in self.found)}
        rest = [i for i in self.stats if i not in self.arrivals and fates.get(i) != "unsettled"]
        # A job's output that is gone, and nowhere, is not what another job makes under its name.
        self.lost += [i for i in rest if i not in gone and self.known[i].is_missing and self.known[i].is_made]
        gone.update(self.lost)
        self.new = [i for i in rest if i in gone]
        self.changed = [i for i in rest if i not in gone]

    def arrived_pairs(self) -> list[Pair]:
        """The files that have come to others' places, each with the place, whatever that held before."""
        return [
            (self.known[file], self.known[place]._replace(content_id=None)) for place, file in self.arrivals.items()
        ]

    def _fates(self) -> dict[int, _Fate]:
        """What has become of each place at which another file may be: it is not while that is where it was."""
        fates: dict[int, _Fate] = {}
        for start in self._origins:
            chain: dict[int, None] = {}
            place, fate = start, None
            while fate is None:
                if place in fates:
                    fate = fates[place]
                elif place in chain:
                    fate = "moved"  # round a circle
                elif place in self._origins:
                    chain[place] = None
                    place = self._origins[place]
                else:
                    fate = "moved" if place in self.stats else self._fate_at(self.known[place])
            fates.update(dict.fromkeys(chain, fate))
        return fates

    @staticmethod
    def _fate_at(origin: Candidate) -> _Fate:
        """What has become of a place where this file may be, whose own place nothing is known to have happened to."""
        if origin.is_missing:
            return "moved"
        looks = glance(os.path.join(origin.folder, origin.name))  # noqa: PTH118
        return "changed" if looks == origin.stat else "unsettled"

    def _path(self, place: int) -> str:
        file = self.known[place]
        return os.path.join(file.folder, file.name)  # noqa: PTH118

    def _find(self, new: list[Candidate], undecided: set[int]) -> list[Pair]:
        """The files that have gone from these places and were found as new ones elsewhere."""
        arrived = {*self.arrivals.values()}
        olds = [self.known[i] for i in self.stats if i not in arrived and i not in undecided]
        news = [file for file in new if not file.is_missing and self._marks.is_untouched(file)]
        return [
            (old, file)
            for old, file in only_pairs(olds, news, _look, _look)
            if file.may_be(old) and (old.id in self.arrivals or not _is_backup(file, old))
        ]

    def _lose(self) -> list[int]:
        """The assets that are nowhere.

        A file that is written over another is rather taken for that one, changed, if nobody has given its own asset
        anything, but the other: that arrival is taken back.
        """
        placed = {*self.arrivals.values(), *(old.id for old, _ in self.found)}
        lost: list[int] = []
        for end in [place for place in self.arrivals if place not in placed]:
            place = end
            while place in self.arrivals:
                file = self.arrivals[place]
                if self._marks.is_plain(self.known[place]) or not self._marks.is_plain(self.known[file]):
                    lost.append(place)
                    break
                del self.arrivals[place]
                place = file
        return lost


def _look(file: Candidate) -> FileStat | None:
    return _tells(file.stat)


def _tells(stat: FileStat) -> FileStat | None:
    """The stat if no other file has it: by the inode, or where there are none, by a time that is told finely."""
    return stat if stat[2] or stat[1] % 1_000_000_000 else None


def _is_backup(copy: Candidate, file: Candidate) -> bool:
    """Whether a file is named as programs name what they keep when they write a file anew: ``a.png~``, ``a.bak``."""
    if copy.folder != file.folder:
        return False
    return copy.name.startswith(file.name) or PurePath(copy.name).stem == PurePath(file.name).stem
