"""Counts of the assets that pass a filter: by kind, stars and the like, and by day."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ... import asset_kinds
from ...models import MODEL_TYPE_PREFIX, AssetFilter, CategoryCount, DayCount, DayRequest, FacetCounts, TagCount
from .. import fulltext
from ..connection import Database
from .column_sql import STARS
from .filters import ids_of, select
from .metadata import BASE_MODEL_PAIRS
from .pages import stacked

if TYPE_CHECKING:
    from .bitmap import Ids, IdSet
    from .columns import Values

_MOST_STARS = 5
_DAY_MS = 86_400_000


async def facets(db: Database, wanted: Mapping[str, AssetFilter]) -> FacetCounts:
    """Count the assets of each facet by its own filter: the filter of the list without the facet's own condition.

    ``with_workflow``, if it is there, is the filter of the facet ``has_workflow`` with that condition met. ``total`` is
    the filter of the list.
    """
    from . import columns

    found = await _ids_by_facet(db, wanted)
    values = await columns.load(db, ["kind", "rating", "favourite", "width", "height", "size", "tag_set"])
    base_models = await _base_models(db, found["base_models"])
    sets = await _sets_by_category(db)
    return await asyncio.to_thread(_counted, found, values, base_models, sets)


def _counted(
    found: Mapping[str, IdSet], values: Mapping[str, Values], base_models: list[TagCount], sets: Mapping[str, list[int]]
) -> FacetCounts:
    """Count the values of the assets of each facet. Blocks."""
    from . import columns

    kinds = _counts(columns.values_of(values["kind"], found["kinds"].ids), len(asset_kinds.KINDS))
    stars = columns.values_of(values["rating"], found["ratings"].ids)
    rated = _counts((stars // STARS).clip(stars > 0, _MOST_STARS), _MOST_STARS)
    favourites = int(columns.values_of(values["favourite"], found["favorites"].ids).sum())
    widths, heights = (columns.values_of(values[name], found["orientations"].ids) for name in ("width", "height"))
    has_size = (widths > 0) & (heights > 0)
    with_workflow = len(found["with_workflow"]) if "with_workflow" in found else None
    return FacetCounts(
        total=len(found["total"]),
        kinds={kind: kinds[at] for at, kind in enumerate(asset_kinds.KINDS, 1) if kinds[at]},
        ratings=tuple(rated),
        favorites=favourites,
        others=len(found["favorites"]) - favourites,
        base_models=base_models,
        orientations={
            "landscape": int((has_size & (widths > heights)).sum()),
            "portrait": int((has_size & (widths < heights)).sum()),
            "square": int((has_size & (widths == heights)).sum()),
        },
        with_workflow=with_workflow,
        without_workflow=None if with_workflow is None else len(found["has_workflow"]) - with_workflow,
        total_size=int(columns.values_of(values["size"], found["total"].ids).sum()),
        categories=_categories(found["total"], values, sets),
    )


async def _sets_by_category(db: Database) -> dict[str, list[int]]:
    """Return the tag sets of the models of each category."""
    rows = await db.fetch_all(
        "SELECT t.name, l.tag_set_id FROM tags t JOIN tag_set_tags l ON l.tag_id = t.id"
        " WHERE t.name >= ?1 AND t.name < ?1 || char(1114111)",
        (MODEL_TYPE_PREFIX,),
    )
    found: dict[str, list[int]] = {}
    for name, set_id in rows:
        found.setdefault(name.removeprefix(MODEL_TYPE_PREFIX), []).append(set_id)
    return found


def _categories(found: IdSet, values: Mapping[str, Values], sets: Mapping[str, list[int]]) -> list[CategoryCount]:
    """Count the models of each category with their sizes; a model in several categories counts in each. Blocks."""
    import numpy as np

    from . import columns

    tag_sets = columns.values_of(values["tag_set"], found.ids)
    length = max((set_id for ids in sets.values() for set_id in ids), default=0) + 1
    counts = np.bincount(tag_sets, minlength=length)
    sizes = np.bincount(tag_sets, columns.values_of(values["size"], found.ids), length)  # exact below 2**53 bytes
    found_of = [CategoryCount(name, int(counts[ids].sum()), int(sizes[ids].sum())) for name, ids in sets.items()]
    return sorted((each for each in found_of if each.count), key=lambda each: (-each.size, each.name))


async def _ids_by_facet(db: Database, wanted: Mapping[str, AssetFilter]) -> dict[str, IdSet]:
    """Return the assets of each facet; most have the same filter, which is resolved once."""
    resolved: list[tuple[AssetFilter, IdSet]] = []
    found: dict[str, IdSet] = {}
    for name, each in wanted.items():
        ids = next((ids for known, ids in resolved if known == each), None)
        if ids is None:
            ids = await ids_of(db, await select(db, each))
            resolved.append((each, ids))
        found[name] = ids
    return found


def _counts(values: Values, most: int) -> list[int]:
    """Count each of the values from 0 to ``most``."""
    import numpy as np

    counts: list[int] = np.bincount(values, minlength=most + 1)[: most + 1].tolist()
    return counts


async def _base_models(db: Database, ids: IdSet) -> list[TagCount]:
    """Count the assets of each base model, the most frequent first."""
    counts: list[TagCount] = []
    for name, text in await db.fetch_all(BASE_MODEL_PAIRS):
        count = ids.count(await fulltext.parse_ids(text))
        if count:
            counts.append(TagCount(name, count))
    return sorted(counts, key=lambda each: (-each.count, each.name))


async def days(db: Database, wanted: AssetFilter, request: DayRequest) -> tuple[list[DayCount], int, bool]:
    """Return a page of the days that have passing assets, the number of all such days, and whether a page follows.

    In stacks the assets of a job count as one, on the day of the first.
    """
    from . import columns

    selection = await select(db, wanted)
    if wanted.is_stacked:
        selection, _ = await stacked(db, selection)
    ids = (await ids_of(db, selection)).ids
    times = (await columns.load(db, [request.column]))[request.column]
    return await asyncio.to_thread(_page_of_days, columns.values_of(times, ids), request)


def _page_of_days(times: Ids, request: DayRequest) -> tuple[list[DayCount], int, bool]:
    import numpy as np

    numbers, counts = np.unique((times + request.offset_ms) // _DAY_MS, return_counts=True)
    total = int(numbers.size)
    if request.order == "desc":
        numbers, counts = numbers[::-1], counts[::-1]
    if request.after is not None:
        is_behind = numbers < request.after if request.order == "desc" else numbers > request.after
        numbers, counts = numbers[is_behind], counts[is_behind]
    page = zip(numbers[: request.limit].tolist(), counts[: request.limit].tolist(), strict=True)
    return [DayCount(number, count) for number, count in page], total, int(numbers.size) > request.limit
