"""Columns of all assets in memory, as arrays by row id: for filters and counts that no index serves.

A column is read when it is first needed, and kept up to date by way of ``asset_changes``, which triggers write: before
each use one short query tells what has changed since. A comparison of a million values takes about a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import fulltext
from ..caches import LoadedColumn
from ..connection import Database
from ..sql import json_array
from .column_sql import COLUMNS

Values = NDArray[Any]

# A column of which more has changed than one value in so many is read anew.
_MANY_SHARE = 4
_ROWS_AT_ONCE = 50_000  # assets that are read with one statement


async def load(db: Database, names: Iterable[str]) -> dict[str, Values]:
    """Return columns in their current state, all of the same length. Row ids are the indexes."""
    cache = db.columns
    wanted = list(dict.fromkeys(names))
    async with cache.lock:
        rows = await db.fetch_all(
            "SELECT coalesce((SELECT min(seq) FROM asset_changes), 0),"
            " coalesce((SELECT max(seq) FROM asset_changes), 0), coalesce((SELECT max(id) FROM assets), 0)"
        )
        first, last, upto = rows[0]
        for name in wanted:
            kept = cache.loaded.get(name)
            if kept is None or kept.change > last or kept.change < first - 1:
                cache.loaded[name] = await _read_all(db, name, last, upto)
            elif kept.change != last or kept.upto != upto:
                cache.loaded[name] = await _read_changes(db, name, kept, last, upto)
        found = {name: cache.loaded[name].values for name in wanted}
    size = max(values.size for values in found.values())
    return {name: _resized(values, size) for name, values in found.items()}


async def _read_all(db: Database, name: str, change: int, upto: int) -> LoadedColumn:
    definition = COLUMNS[name]
    column = np.zeros(upto + 1, dtype=definition.type)
    # Assets that an index tells are few. All others are read in parts, which bounds the texts that SQLite makes.
    step = max(upto, 1) if definition.index else _ROWS_AT_ONCE
    for start in range(0, upto, step):
        source = f"assets a{definition.index} WHERE {definition.where} AND a.id > ? AND a.id <= ?"
        ids, values = await _fetch(db, name, source, (start, min(start + step, upto)))
        column[ids] = values
    return LoadedColumn(column, change, upto)


async def _read_changes(db: Database, name: str, kept: LoadedColumn, change: int, upto: int) -> LoadedColumn:
    """Return a column with the rows that have changed, or that are new, since it was read."""
    changed = await fulltext.fetch_ids(
        db, "SELECT group_concat(DISTINCT asset_id) FROM asset_changes WHERE seq > ?", (kept.change,)
    )
    if (changed.size + max(0, upto - kept.upto)) * _MANY_SHARE > kept.values.size:
        return await _read_all(db, name, change, upto)
    where = COLUMNS[name].where
    chosen = await asyncio.to_thread(lambda: json_array(changed.tolist()))
    ids, values = await _fetch(
        db,
        name,
        "(SELECT id AS chosen FROM assets WHERE id > ? AND id <= ?"
        " UNION SELECT value FROM json_each(?) WHERE value <= ?)"
        f" CROSS JOIN assets a ON a.id = chosen WHERE {where}",
        (kept.upto, upto, chosen, upto),
    )
    column = _resized(kept.values, upto + 1).copy()
    column[changed[changed <= upto]] = 0
    column[ids] = values
    return LoadedColumn(column, change, upto)


async def _fetch(db: Database, name: str, source: str, parameters: Sequence[Any]) -> tuple[Values, Values]:
    """Return the row ids of the assets of a source, and their values."""
    definition = COLUMNS[name]
    if name == "job":
        rows = await db.fetch_all(
            f"SELECT group_concat(a.id), json_group_array({definition.sql}) FROM {source}", parameters
        )
        return await fulltext.parse_ids(rows[0][0]), await asyncio.to_thread(_hashes, rows[0][1])
    rows = await db.fetch_all(f"SELECT group_concat(a.id), group_concat({definition.sql}) FROM {source}", parameters)
    return await fulltext.parse_ids(rows[0][0]), await fulltext.parse_ids(rows[0][1])


def _hashes(texts: str) -> Values:
    """Return a number for each text of a JSON array: equal ones for equal texts, never 0."""
    found = msgspec.json.decode(texts, type=list[str])
    return np.fromiter((hash(text) or 1 for text in found), dtype=np.int64, count=len(found))


def values_of(column: Values, ids: Values) -> Values:
    """Return the values of assets by id, 0 for those that the column does not have yet."""
    found: Values
    if ids.max(initial=-1) < column.size:  # nearly always
        found = column[ids].astype(np.int64)
        return found
    found = np.zeros(ids.size, dtype=np.int64)
    is_known = ids < column.size
    found[is_known] = column[ids[is_known]]
    return found


def is_among(column: Values, values: Sequence[int]) -> Values:
    """Return, for each row id, whether its value, 0 or more, is one of these."""
    is_wanted = np.zeros(max(int(column.max(initial=0)), *values, 0) + 1, dtype=np.bool_)
    is_wanted[list(values)] = True
    found: Values = is_wanted[column]
    return found


def _resized(values: Values, size: int) -> Values:
    """Return a column of this length; ids beyond its end have 0."""
    if values.size >= size:
        return values[:size]
    longer = np.zeros(size, dtype=values.dtype)
    longer[: values.size] = values
    return longer
