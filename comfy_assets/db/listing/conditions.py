"""Conditions on values of assets that are kept in memory: kinds, ratings, favourites, times, sizes, dimensions.

The search box and the parameters of lists share them: ``rating:`` and ``rating=`` are the same condition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import asset_kinds
from ...models import AssetFilter, KindTerm, Orientation, RatingRange
from .. import fulltext
from ..connection import Database
from .column_sql import STARS
from .tag_filters import FilteredSet, by_demand, meeting

if TYPE_CHECKING:
    from .bitmap import IdSet
    from .columns import Values

_IN_THREAD = 200_000  # values; to compare more takes long enough for a thread

# Assets that a saved workflow, or a job that is recorded, names. The recursive part jumps from one asset to the next in
# the index, as many jobs use the same models.
_USED = """
    WITH RECURSIVE of_jobs (id) AS (
        SELECT min(asset_id) FROM job_inputs
        UNION ALL SELECT (SELECT min(asset_id) FROM job_inputs WHERE asset_id > id) FROM of_jobs WHERE id IS NOT NULL
    )
    SELECT group_concat(id) FROM (
        SELECT asset_id AS id FROM asset_uses WHERE kind IN ('workflow_version', 'share')
        UNION SELECT id FROM of_jobs WHERE id IS NOT NULL
    )
"""


def has_conditions(wanted: AssetFilter) -> bool:
    """Return whether a filter has conditions on values in memory."""
    is_any = wanted.kinds or wanted.ratings or wanted.spans or wanted.orientation
    return bool(is_any) or wanted.is_favourite is not None or wanted.is_used is not None


def _columns(wanted: AssetFilter) -> list[str]:
    """Return the columns that a filter's conditions need."""
    names = ["tag_set", *(span.column for span in wanted.spans)]
    if wanted.kinds:
        names.append("kind")
    if wanted.ratings:
        names.append("rating")
    if wanted.is_favourite is not None:
        names.append("favourite")
    if wanted.orientation is not None:
        names += ["width", "height"]
    return names


async def narrow(db: Database, wanted: AssetFilter, sets: Sequence[FilteredSet], ids: IdSet | None) -> IdSet:
    """Return the assets, of these or of all (None), that meet the conditions and pass by their tags."""
    from . import columns
    from .bitmap import IdSet

    values = await columns.load(db, _columns(wanted))
    groups = by_demand(sets)

    def work() -> list[IdSet]:
        mask = _mask(wanted, values)
        return [
            IdSet(mask & columns.is_among(values["tag_set"], [each.id for each in members]))
            for members in groups.values()
        ]

    parts = await asyncio.to_thread(work) if values["tag_set"].size > _IN_THREAD else work()
    result = IdSet.of(await fulltext.parse_ids(None))
    for demand, part in zip(groups, parts, strict=True):
        found = await meeting(db, part if ids is None else part & ids, demand)
        result = found if len(groups) == 1 else result.plus(found.ids)
    if wanted.is_used is None:
        return result
    used = IdSet.of(await fulltext.fetch_ids(db, _USED))
    return result & used if wanted.is_used else result.minus(used.ids)


def _mask(wanted: AssetFilter, values: Mapping[str, Values]) -> Any:
    """Return, for each row id, whether its values meet all conditions."""
    import numpy as np

    mask: Any = np.ones(values["tag_set"].size, dtype=np.bool_)
    for kinds in wanted.kinds:
        mask &= _of_kinds(values["kind"], kinds)
    for rating in wanted.ratings:
        mask &= _in_range(values["rating"], rating)
    for span in wanted.spans:
        column = values[span.column]
        mask &= (column >= span.least) & (column <= span.most)
    if wanted.is_favourite is not None:
        mask &= values["favourite"] == wanted.is_favourite
    if wanted.orientation is not None:
        mask &= _oriented(values["width"], values["height"], wanted.orientation)
    return mask


def _of_kinds(column: Values, wanted: KindTerm) -> Values:
    import numpy as np

    accepts = np.full(len(asset_kinds.KINDS) + 1, wanted.is_excluded)
    accepts[[asset_kinds.KINDS.index(kind) + 1 for kind in wanted.kinds]] = not wanted.is_excluded
    found: Values = accepts[column]
    return found


def _in_range(column: Values, wanted: RatingRange) -> Values:
    is_in: Values = (column >= wanted.least * STARS) & (column <= wanted.most * STARS)
    return ~is_in if wanted.is_excluded else is_in


def _oriented(width: Values, height: Values, wanted: Orientation) -> Values:
    """Return which pictures are oriented this way; files without dimensions are not oriented at all."""
    found: Values
    if wanted == "square":
        found = (width == height) & (width > 0)
    else:
        found = width > height if wanted == "landscape" else height > width
    return found & (width > 0) & (height > 0)
