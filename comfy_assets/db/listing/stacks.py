"""Stacks: the assets of one job as one entry of a list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ..caches import NumberedColumn
from ..connection import Database
from .filters import IdSelection, Selection, ids_of

if TYPE_CHECKING:
    from .bitmap import Ids
    from .columns import Values


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
    from .bitmap import IdSet

    ids = (await ids_of(db, selection)).ids
    jobs = await _numbered_jobs(db)
    shown, stacks = await asyncio.to_thread(_first_of_jobs, ids, jobs)
    spans = selection.spans if isinstance(selection, IdSelection) else ()
    return IdSelection(IdSet.of(shown), shown.size, selection.sets, jobs.size, spans), stacks


async def _numbered_jobs(db: Database) -> Values:
    """Return the number of the job that made each asset, by row id, 0 if none did.

    The jobs are numbered from 1 without gaps, once for each state of the column: that takes longer than all else here.
    """
    from . import columns

    await columns.load(db, ["job"])
    loaded = db.columns.loaded["job"]
    if db.columns.jobs is None or db.columns.jobs.source is not loaded:
        db.columns.jobs = await asyncio.to_thread(lambda: NumberedColumn(loaded, _numbers(loaded.values)))
    numbers: Values = db.columns.jobs.numbers
    return numbers


def _numbers(values: Values) -> Values:
    import numpy as np

    _, numbers = np.unique(values, return_inverse=True)
    found: Values = numbers + 1
    found[values == 0] = 0
    return found


def _first_of_jobs(ids: Ids, jobs: Values) -> tuple[Ids, Stacks]:
    """Return those of the assets, by ascending id, that are shown, and the stacks that some of them stand for."""
    import numpy as np

    from .columns import values_of

    numbers = values_of(jobs, ids)
    counts = np.bincount(numbers, minlength=1)
    first = np.zeros(counts.size, dtype=np.int64)
    first[numbers[::-1]] = ids[::-1]  # the last of several values stays: that of the lowest id
    is_made = numbers != 0
    is_first = is_made & (first[numbers] == ids)
    return ids[is_first | ~is_made], Stacks(ids[is_first], counts[numbers[is_first]])
