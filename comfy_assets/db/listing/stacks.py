"""Stacks: the assets of one job as one entry of a list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ..connection import Database
from .filters import IdSelection, Selection, ids_of

if TYPE_CHECKING:
    from .bitmap import Ids, IdSet


class Stacks(NamedTuple):
    """The first assets of jobs, by ascending id, and the numbers of assets that each stands for."""

    firsts: Ids
    counts: Ids

    def count_of(self, row_id: int) -> int:
        """Return how many assets an asset stands for."""
        at = int(self.firsts.searchsorted(row_id))
        is_first = at < self.firsts.size and int(self.firsts[at]) == row_id
        return int(self.counts[at]) if is_first else 1


async def stacked(db: Database, selection: Selection) -> tuple[IdSelection, Stacks]:
    """Return the first of the selected assets of each job, with all that were made by none.

    The first asset of a job stays the same while others are added, so that pages by cursor show each job once.
    """
    from . import columns

    ids = (await ids_of(db, selection)).ids
    jobs = (await columns.load(db, ["job"]))["job"]
    found, stacks = await asyncio.to_thread(_first_of_jobs, ids, columns.values_of(jobs, ids))
    spans = selection.spans if isinstance(selection, IdSelection) else ()
    return IdSelection(found, len(found), selection.sets, jobs.size, spans), stacks


def _first_of_jobs(ids: Ids, jobs: Ids) -> tuple[IdSet, Stacks]:
    import numpy as np

    from .bitmap import IdSet

    made = ids[jobs != 0]
    _, at, counts = np.unique(jobs[jobs != 0], return_index=True, return_counts=True)
    firsts = made[at]  # ids are in ascending order, so the first of each job has the lowest
    order = firsts.argsort()
    return IdSet.of(np.concatenate([ids[jobs == 0], firsts])), Stacks(firsts[order], counts[order])
