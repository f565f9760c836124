"""Counts of the assets that pass a filter: by kind, stars and the like, by day, and by folder."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import asset_kinds
from ...models import (
    MODEL_TYPE_PREFIX,
    AssetFilter,
    CategoryCount,
    DayCount,
    DayRequest,
    FacetCounts,
    FolderCount,
    FolderTreeRequest,
    TagCount,
)
from .. import fulltext
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, Row, json_array
from . import columns
from .filters import ids_of, is_by_counts, select
from .folders import nodes_at, position_of
from .pages import stacked
from .tag_filters import filtered_sets

if TYPE_CHECKING:
    from .bitmap import Ids, IdSet
    from .columns import Values

_MOST_STARS = 5
_DAY_MS = 86_400_000

_DEEPEST = (1 << 63) - 1
# Bounds of a folder's own part of the order: its first inner folder, and the first folder behind it.
_INSIDE, _BEHIND = b"\0", b"\1"

# Goes from each folder to the next in order: into it, or behind it where it is deep enough or has nothing. SQLite makes
# a row of a recursive query when it is asked for, so that no more of the tree is read than the page has.
_WALK = """
    WITH RECURSIVE walk (position, path, depth, direct, total) AS (
        SELECT CAST(?1 AS BLOB), '', 0, 0, 1
        UNION ALL
        SELECT n.position, n.path, n.depth, {direct}, {total}
        FROM walk w JOIN folder_nodes n ON n.position = (
            SELECT min(position) FROM folder_nodes WHERE position >= CASE
                WHEN w.depth = 0 THEN w.position
                WHEN w.depth >= ?3 OR w.total = 0 THEN CAST(w.position || char(1) AS BLOB)
                ELSE CAST(w.position || char(0) AS BLOB)
            END AND position < ?2
        )
    )
    SELECT path, direct, total FROM walk WHERE depth > 0 AND depth <= ?3 AND total > 0 LIMIT ?5
"""
_SUM = """
    (
        SELECT coalesce(sum({column}), 0) FROM folder_counts
        WHERE node_id = n.id AND tag_set_id IN (SELECT value FROM json_each(?4))
    )
"""
_WALK = _WALK.format(direct=_SUM.format(column="direct"), total=_SUM.format(column="total"))

# The same of the folders on the disk in the parameter, a JSON array of pairs of an id and a number of assets.
_GATHER = """
    SELECT n.path, sum(e.is_direct * json_extract(j.value, '$[1]')), sum(json_extract(j.value, '$[1]'))
    FROM json_each(?4) j CROSS JOIN folder_ancestors e ON e.folder_id = json_extract(j.value, '$[0]')
    JOIN folder_nodes n ON n.id = e.node_id
    WHERE n.position >= ?1 AND n.position < ?2 AND n.depth <= ?3 GROUP BY n.id ORDER BY n.position LIMIT ?5
"""


async def facets(db: Database, wanted: Mapping[str, AssetFilter]) -> FacetCounts:
    """Count the assets of each facet by its own filter: the filter of the list without the facet's own condition.

    ``with_workflow``, if it is there, is the filter of the facet ``has_workflow`` with that condition met. ``total`` is
    the filter of the list.
    """
    found = await _ids_by_facet(db, wanted)
    values = await columns.load(db, ["kind", "rating", "favourite", "width", "height", "size", "tag_set"])
    base_models = await _base_models(db, found["base_models"])
    sets = await _sets_by_category(db)
    return await asyncio.to_thread(_counted, found, values, base_models, sets)


def _counted(
    found: Mapping[str, IdSet], values: Mapping[str, Values], base_models: list[TagCount], sets: Mapping[str, list[int]]
) -> FacetCounts:
    """Count the values of the assets of each facet. Blocks."""
    kinds = _counts(columns.values_of(values["kind"], found["kinds"].ids), len(asset_kinds.KINDS))
    stars = columns.values_of(values["rating"], found["ratings"].ids)
    rated = _counts((stars // columns.STARS).clip(stars > 0, _MOST_STARS), _MOST_STARS)
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


# Each base model with the assets that have it, as one text.
_BASE_MODEL_PAIRS = """
    WITH found AS (
        SELECT id, json_extract(metadata, '$.base_model') AS name FROM contents
        WHERE json_extract(metadata, '$.base_model') IS NOT NULL
    )
    SELECT name, group_concat(id) FROM (
        SELECT found.name AS name, a.id AS id FROM found CROSS JOIN assets a ON a.content_id = found.id
        UNION SELECT found.name, l.model_id FROM found CROSS JOIN assets b ON b.content_id = found.id
        CROSS JOIN sidecars l ON l.asset_id = b.id
        UNION SELECT e.value, a.id FROM assets a CROSS JOIN json_each(a.user_metadata, '$.base_model') e
        WHERE json_extract(a.user_metadata, '$.base_model') IS NOT NULL
    ) WHERE typeof(name) = 'text' GROUP BY name
"""


async def _base_models(db: Database, ids: IdSet) -> list[TagCount]:
    """Count the assets of each base model, the most frequent first."""
    counts: list[TagCount] = []
    for name, text in await db.fetch_all(_BASE_MODEL_PAIRS):
        count = ids.count(await fulltext.parse_ids(text))
        if count:
            counts.append(TagCount(name, count))
    return sorted(counts, key=lambda each: (-each.count, each.name))


async def days(db: Database, wanted: AssetFilter, request: DayRequest) -> tuple[list[DayCount], int, bool]:
    """Return a page of the days that have passing assets, the number of all such days, and whether a page follows.

    In stacks the assets of a job count as one, on the day of the first.
    """
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


async def folder_tree(
    db: Database, wanted: AssetFilter, request: FolderTreeRequest
) -> tuple[Sequence[FolderCount], bool]:
    """Return a page of the tree, folders without such assets left out, and whether another page follows.

    A folder comes before those in it, and these in the order of their names' characters.
    """
    first, end, deepest = await _bounds(db, request)
    sets = await filtered_sets(db, wanted)
    if is_by_counts(wanted, sets) and not wanted.folder:
        sql, counted = _WALK, json_array(each.id for each in sets if each.passes)
    else:
        sql, counted = _GATHER, json_array(await _by_folder(db, wanted))
    rows = await db.fetch_all(sql, (first, end, deepest, counted, request.limit + 1))
    return [FolderCount(*row) for row in rows[: request.limit]], len(rows) > request.limit


async def _bounds(db: Database, request: FolderTreeRequest) -> tuple[bytes, bytes, int]:
    """Return the first position of the page, the one behind the last, and the depth of the deepest folders."""
    prefix = await _as_stored(db, request.prefix)
    depth = prefix.count("/") + 1 if prefix else 0
    deepest = depth + request.depth if request.depth is not None else _DEEPEST
    first = position_of(prefix)
    end = first + _BEHIND if prefix else b"\xff"
    if request.after is not None:
        is_deepest = request.after.count("/") + 1 >= deepest
        first = max(first, position_of(request.after) + (_BEHIND if is_deepest else _INSIDE))
    return first, end, deepest


async def _as_stored(db: Database, path: str) -> str:
    """Return the path of the folder that is meant as the tree has it."""
    nodes = await nodes_at(db, path) if path else ()
    rows: list[Row] = await db.fetch_all("SELECT path FROM folder_nodes WHERE id = ?", (min(nodes),)) if nodes else []
    return str(rows[0][0]) if rows else path


async def _by_folder(db: Database, wanted: AssetFilter) -> list[tuple[int, int]]:
    """Return the ids of the folders on the disk that have passing assets, each with the number of these."""
    selection = await select(db, wanted)
    ids = await ids_of(db, selection)
    [(assets,)] = await db.fetch_all("SELECT coalesce(sum(asset_count), 0) FROM tag_sets")
    if len(ids) * ROW_COST <= assets:
        rows = await db.fetch_all(
            f"SELECT a.folder_id, count(*) FROM {BY_IDS} WHERE a.folder_id IS NOT NULL GROUP BY 1", (json_array(ids),)
        )
        return [(row[0], row[1]) for row in rows]
    texts: list[Any] = await db.fetch_all(
        "SELECT group_concat(folder_id), group_concat(id) FROM assets INDEXED BY assets_by_folder"
        " WHERE folder_id IS NOT NULL"
    )
    return ids.count_by(await fulltext.parse_ids(texts[0][0]), await fulltext.parse_ids(texts[0][1]))
