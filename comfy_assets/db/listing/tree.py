"""Read the tree of folders with the numbers of assets that pass a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...models import AssetFilter, FolderCount, FolderTreeRequest
from .. import fulltext
from ..connection import Database
from ..sql import BY_IDS, ROW_COST, Row, json_array
from .filters import ids_of, is_by_counts, select
from .folders import nodes_at, position_of
from .tag_filters import filtered_sets

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
