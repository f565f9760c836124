"""Columns of all assets in memory, as arrays by row id: for filters and counts that no index serves.

A column is read when it is first needed, and kept up to date by way of ``asset_changes``, which triggers write: before
each use one short query tells what has changed since. A comparison of a million values takes about a millisecond.

The conditions on kinds, ratings, favourites, times, sizes and dimensions are the same for the search box and the
parameters of lists. NumPy is imported within functions, as it would slow the server's start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ... import asset_kinds
from ...models import AssetFilter, KindTerm, Orientation, RatingRange
from .. import fulltext
from ..caches import LoadedColumn
from ..connection import Database
from ..sql import json_array
from .bitmap import IdSet
from .tag_filters import FilteredSet, by_demand, meeting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[Any]

# A column of which more has changed than one value in so many is read anew.
_MANY_SHARE = 4
_ROWS_AT_ONCE = 50_000  # assets that are read with one statement
_IN_THREAD = 200_000  # values; to compare more takes long enough for a thread


class ColumnSql(msgspec.Struct, frozen=True):
    """The SQL of a column for an asset ``a``, which is never null, and the type of its values.

    Assets that ``where`` leaves out, and ids without an asset, have 0. ``index`` is the one that has the others.
    """

    sql: str
    type: str = "int64"
    where: str = "1"
    index: str = ""


def _kind_sql() -> str:
    """Return the SQL for the number of an asset's kind, counted from 1, as ``asset_kinds.kind_of`` returns it."""
    number = {kind: at for at, kind in enumerate(asset_kinds.KINDS, 1)}
    is_model = [f"a.name_key LIKE '%.{suffix}'" for suffix in asset_kinds.MODEL_SUFFIXES]
    is_model.append(f"a.mime_type IN ({', '.join(repr(each) for each in asset_kinds.MODEL_TYPES)})")
    cases = [f"WHEN {' OR '.join(is_model)} THEN {number['model']}"]
    for main, kind in asset_kinds.MAIN_TYPES.items():
        cases.append(f"WHEN a.mime_type = '{main}' OR a.mime_type LIKE '{main}/%' THEN {number[kind]}")
    cases.append(f"WHEN a.mime_type LIKE '%/{asset_kinds.TEXT_SUBTYPE}' THEN {number['text']}")
    return f"CASE {' '.join(cases)} ELSE {number['other']} END"


STARS = 1000  # units of a rating
_RATED = "json_type(a.user_metadata, '$.rating') IN ('integer', 'real')"
_FACT = "coalesce((SELECT CAST(json_extract(metadata, '$.{0}') AS INTEGER) FROM contents WHERE id = a.content_id), 0)"
_OF_USERS = ("a.user_metadata IS NOT NULL", " INDEXED BY assets_by_rating")

# Ratings are in thousandths of a star, so that they are whole numbers. A job is a hash of its id.
COLUMNS = {
    "tag_set": ColumnSql("a.tag_set_id", "int32"),
    "folder": ColumnSql("a.folder_id", "int32", "a.folder_id IS NOT NULL"),
    "kind": ColumnSql(_kind_sql(), "uint8"),
    "size": ColumnSql("a.size"),
    "created_at": ColumnSql("a.created_at"),
    "updated_at": ColumnSql("a.updated_at"),
    "rating": ColumnSql(
        f"CASE WHEN {_RATED} THEN CAST(round(max(min(json_extract(a.user_metadata, '$.rating'), 1000), 0) * {STARS})"
        " AS INTEGER) ELSE 0 END",
        "int32",
        *_OF_USERS,
    ),
    "favourite": ColumnSql("coalesce(json_type(a.user_metadata, '$.favorite') = 'true', 0)", "uint8", *_OF_USERS),
    "width": ColumnSql(_FACT.format("width"), where="a.content_id IS NOT NULL"),
    "height": ColumnSql(_FACT.format("height"), where="a.content_id IS NOT NULL"),
    "job": ColumnSql("a.job_id", where="a.job_id IS NOT NULL"),
}


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
    import numpy as np

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
    import numpy as np

    found = msgspec.json.decode(texts, type=list[str])
    return np.fromiter((hash(text) or 1 for text in found), dtype=np.int64, count=len(found))


def values_of(column: Values, ids: Values) -> Values:
    """Return the values of assets by id, 0 for those that the column does not have yet."""
    import numpy as np

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
    import numpy as np

    is_wanted = np.zeros(max(int(column.max(initial=0)), *values, 0) + 1, dtype=np.bool_)
    is_wanted[list(values)] = True
    found: Values = is_wanted[column]
    return found


def _resized(values: Values, size: int) -> Values:
    """Return a column of this length; ids beyond its end have 0."""
    import numpy as np

    if values.size >= size:
        return values[:size]
    longer = np.zeros(size, dtype=values.dtype)
    longer[: values.size] = values
    return longer


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


def _needed(wanted: AssetFilter) -> list[str]:
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
    values = await load(db, _needed(wanted))
    groups = by_demand(sets)

    def work() -> list[IdSet]:
        mask = _mask(wanted, values)
        return [IdSet(mask & is_among(values["tag_set"], [each.id for each in members])) for members in groups.values()]

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
