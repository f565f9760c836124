"""Read one page of the assets that pass a filter, in a sort order: each asset, or each stack of a job's assets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from ...ids import canonical_id
from ...models import CursorKey, PageRequest
from ..caches import NumberedColumn
from ..connection import Database
from ..fulltext import ASSETS, parse_ids
from ..sql import BY_IDS, after_key, json_array, order_by
from . import columns
from .bitmap import IdSet, order_of
from .filters import BY_ASSET, GATHER_LIMIT, FolderSelection, IdSelection, RowSelection, Selection, ids_of, positions_of

if TYPE_CHECKING:
    from .bitmap import Ids
    from .columns import Values

# The expression of each sort order. All but the last three have an index.
SORT_KEYS = {
    "created_at": "a.created_at",
    "updated_at": "a.updated_at",
    "name": "a.name_key",
    "size": "a.size",
    "last_access_time": "coalesce(a.last_access_at, 0)",
    "rating": columns.COLUMNS["rating"].sql,
    "kind": columns.COLUMNS["kind"].sql,
}
_BY_COLUMN = ("rating", "kind", "collection")  # sorted by values in memory
_LEAST_LOOK, _MOST_LOOK = 256, 16_384  # assets read at once
_PATIENCE = 20_000  # assets read before another way is tried
_LAST = (1 << 63) - 1  # of SQLite's integers
_LEAST_WALK = 1000  # fewer found assets are always gathered
# Of folders that have one asset in so many, a page is looked for among this many assets first.
_LARGE_SHARE, _FIRST_LOOK = 4, 2000
_MOST_MERGED = 4000  # assets to be merged from folders in order; for more, sets of ids are made


def sort_key(page: PageRequest) -> str:
    """Return the SQL of the values by which a page is sorted."""
    if page.sort == "collection":
        row = f"(SELECT id FROM collections WHERE uuid = '{canonical_id(page.collection or '')}')"
        return f"coalesce((SELECT position FROM collection_members WHERE collection_id = {row} AND asset_id = a.id), 0)"
    return SORT_KEYS[page.sort]


def ordering(page: PageRequest) -> str:
    """Return the clause that sorts a page's rows."""
    return order_by(sort_key(page), "a.id", page.order)


async def in_order(db: Database, rows: Sequence[int], page: PageRequest) -> list[int]:
    """Return rows of assets in the order of a page's list. Rows that are gone meanwhile are left out."""
    source = "json_each(?) j CROSS JOIN assets a ON a.id = j.value"
    found = await db.fetch_all(f"SELECT a.id FROM {source} {ordering(page)}", [json_array(rows)])
    return [row[0] for row in found]


async def page_of(db: Database, selection: Selection, page: PageRequest) -> tuple[str, list[Any]]:
    """Return a query for the ids of the page's assets and of one more, which means that there is another page."""
    if page.sort in _BY_COLUMN:
        return "SELECT value AS id FROM json_each(?)", [json_array(await _by_column(db, selection, page))]
    if isinstance(selection, RowSelection):
        return _query(selection, page)
    if isinstance(selection, FolderSelection):
        return await _page_in_folders(db, selection, page)
    if page.sort == "last_access_time" and page.after is None and selection.total > _LEAST_WALK:
        ids = await _by_last_access(db, selection, page)
    elif _is_gathered(selection, page):
        return _query(RowSelection("1", [json_array(selection.ids)], selection.total, selection.sets, BY_IDS), page)
    else:
        ids = await _walk(db, selection, page)
    return "SELECT value AS id FROM json_each(?)", [json_array(ids)]


def _is_gathered(found: IdSelection, page: PageRequest) -> bool:
    """Return whether sorting all found assets is cheaper than walking all assets in order until the page is full."""
    return found.total <= max(_LEAST_WALK, isqrt(_reach(page) * found.library))


def _reach(page: PageRequest) -> int:
    """Return how many passing assets are needed from the first one, or the cursor, to one behind the page's end."""
    return page.limit + 1 + (page.offset if page.after is None else 0)


def _query(rows: RowSelection, page: PageRequest) -> tuple[str, list[Any]]:
    source, keys = rows.source, (SORT_KEYS[page.sort], "a.id")
    if rows.tag_assets is not None:
        if page.sort == "created_at":
            keys = ("u.created_at", "u.asset_id")  # the order of the tag's own index
        elif rows.tag_assets > GATHER_LIMIT:
            source = BY_ASSET
    condition, bound = after_key(*keys, page.order, page.after)
    sql = f"SELECT a.id FROM {source} WHERE {rows.where}{condition} {order_by(*keys, page.order)} LIMIT ? OFFSET ?"
    return sql, [*rows.parameters, *bound, page.limit + 1, page.offset if page.after is None else 0]


async def _page_in_folders(db: Database, found: FolderSelection, page: PageRequest) -> tuple[str, list[Any]]:
    """Return the query for a page of the assets in folders."""
    if found.total <= GATHER_LIMIT:
        inside, parameters = found.scope.folders()
        where, bound = _of_sets(found)
        rows = RowSelection(
            f"a.folder_id IN ({inside}){where}",
            [*parameters, *bound],
            found.total,
            found.sets,
            "assets a INDEXED BY assets_by_folder",
        )
        return _query(rows, page)
    if page.sort != "created_at" or _reach(page) > _MOST_MERGED:
        return await page_of(db, IdSelection(await ids_of(db, found), found.total, found.sets, found.library), page)
    ids = await _among_first(db, found, page)
    return "SELECT value AS id FROM json_each(?)", [json_array(ids or await _merged(db, found, page))]


def _of_sets(found: FolderSelection) -> tuple[str, list[Any]]:
    """Return the condition on tag sets, to be appended to others, and its parameters."""
    if found.is_whole:
        return "", []
    return " AND a.tag_set_id IN (SELECT value FROM json_each(?))", [json_array(found.counts)]


async def _among_first(db: Database, found: FolderSelection, page: PageRequest) -> list[int] | None:
    """Return the ids of the page if its assets are among the first of all; else, and for small folders, None."""
    if found.total * _LARGE_SHARE < found.library:
        return None
    inside, parameters = found.scope.holds("a.folder_id")
    where, bound = _of_sets(found)
    condition, start = after_key("a.created_at", "a.id", page.order, page.after)
    rows = await db.fetch_all(
        f"SELECT id FROM (SELECT a.id, a.folder_id, a.tag_set_id FROM assets a WHERE 1{condition} {ordering(page)}"
        f" LIMIT {_FIRST_LOOK}) a WHERE {inside}{where} LIMIT ?",
        [*start, *parameters, *bound, _reach(page)],
    )
    return [row[0] for row in rows[_reach(page) - page.limit - 1 :]] if len(rows) == _reach(page) else None


async def _merged(db: Database, found: FolderSelection, page: PageRequest) -> list[int]:
    """Return the ids of the page by merging the assets of folders, each of which an index has in order.

    Only as many folders as the page needs assets can contribute: those whose own first asset comes first.
    """
    inside, parameters = found.scope.folders()
    where, bound = _of_sets(found)
    condition, start = after_key("a.created_at", "a.id", page.order, page.after)
    first = (
        "SELECT {column} FROM assets a INDEXED BY assets_by_folder"
        f" WHERE a.folder_id = {{folder}}{where}{condition}{{more}} {ordering(page)} LIMIT {{count}}"
    )
    edge = first.format(column="a.created_at", folder="s.folder_id", more="", count=1)
    rows = await db.fetch_all(
        # LIMIT -1 keeps SQLite from flattening the inner query, which would look for each edge several times.
        f"SELECT folder_id, edge FROM (SELECT s.folder_id, ({edge}) AS edge FROM ({inside}) s LIMIT -1)"
        f" WHERE edge IS NOT NULL ORDER BY edge {page.order} LIMIT ?",
        [*bound, *start, *parameters, _reach(page)],
    )
    # That many folders have at least so many assets up to the last one's first.
    upto = rows[-1][1] if len(rows) == _reach(page) else None
    more = f" AND a.created_at {'>=' if page.order == 'desc' else '<='} {upto}" if upto is not None else ""
    part = first.format(column="a.id", folder="s.value", more=more, count=_reach(page))
    rows = await db.fetch_all(
        f"SELECT a.id FROM json_each(?) s, json_each((SELECT json_group_array(id) FROM ({part}))) i"
        f" JOIN assets a ON a.id = i.value {ordering(page)} LIMIT ? OFFSET ?",
        [
            json_array(row[0] for row in rows),
            *bound,
            *start,
            page.limit + 1,
            page.offset if page.after is None else 0,
        ],
    )
    return [row[0] for row in rows]


async def _walk(db: Database, found: IdSelection, page: PageRequest) -> list[int]:
    """Return the ids of the page by walking all assets in order: the more of them were found, the fewer are read."""
    reach = _reach(page)
    skipped = reach - page.limit - 1
    if skipped >= found.total:
        return []
    after, passing = page.after or _start(found, page), list[int]()
    looked = 0
    look = max(_LEAST_LOOK, min(3 * reach * found.library // (2 * found.total), _MOST_LOOK))
    while len(passing) < reach:
        condition, bound = after_key(SORT_KEYS[page.sort], "a.id", page.order, after)
        inner = f"SELECT a.id, {SORT_KEYS[page.sort]} AS key FROM assets a WHERE 1{condition} {ordering(page)}"
        # group_concat keeps the order of the inner query, which SQLite cannot flatten because of its LIMIT.
        rows = await db.fetch_all(
            f"SELECT (SELECT group_concat(id) FROM ({inner} LIMIT ?)), (SELECT key FROM ({inner} LIMIT 1 OFFSET ?))",
            [*bound, look, *bound, look - 1],
        )
        ids = await parse_ids(rows[0][0])
        passing += found.ids.among(ids).tolist()
        if ids.size < look:
            break
        after = CursorKey(rows[0][1], int(ids[-1]))
        look = min(4 * look, _MOST_LOOK)
        looked += ids.size
        if looked > _PATIENCE and page.sort == "name" and (ordered := await _by_name(db, found, page)) is not None:
            return ordered
    return passing[skipped:reach]


def _start(found: IdSelection, page: PageRequest) -> CursorKey | None:
    """Return a key before all found assets: where their values are known to lie in a range, the walk starts there."""
    spans = [span for span in found.spans if span.column == page.sort]
    if page.order == "desc":
        most = min((span.most for span in spans), default=_LAST)
        return CursorKey(most + 1, 0) if most < _LAST else None
    least = max((span.least for span in spans), default=-_LAST)
    return CursorKey(least - 1, _LAST) if least > -_LAST else None


async def _by_column(db: Database, selection: Selection, page: PageRequest) -> list[int]:
    """Return the ids of the page in the order of a column's values."""
    ids = (await ids_of(db, selection)).ids
    if page.sort == "collection":
        values = await positions_of(db, page.collection or "", ids)
    else:
        values = columns.values_of((await columns.load(db, [page.sort]))[page.sort], ids)
    return await asyncio.to_thread(_part_by_value, ids, values, page)


def _part_by_value(ids: Ids, values: Ids, page: PageRequest) -> list[int]:
    """Return the ids of the page, sorted by these values of theirs and by the ids themselves."""
    if page.after is not None:
        value, row_id = int(page.after.value), page.after.row_id
        if page.order == "asc":
            is_behind = (values > value) | ((values == value) & (ids > row_id))
        else:
            is_behind = (values < value) | ((values == value) & (ids < row_id))
        ids, values = ids[is_behind], values[is_behind]
    order = values.argsort(kind="stable")  # ids are in ascending order
    first = page.offset if page.after is None else 0
    part: list[int] = ids[order if page.order == "asc" else order[::-1]][first : first + page.limit + 1].tolist()
    return part


async def _by_name(db: Database, found: IdSelection, page: PageRequest) -> list[int] | None:
    """Return the ids of the page from the cached order of all names, or None if that order may be out of date."""
    order = await name_order(db)
    if order is None:
        return None
    ids = found.ids.among(order if page.order == "asc" else order[::-1])
    first = page.offset
    if page.after is not None:
        names = await db.fetch_all("SELECT name_key FROM assets WHERE id = ?", (page.after.row_id,))
        places = (ids == page.after.row_id).nonzero()[0]
        if not places.size or names != [(page.after.value,)]:
            return None
        first = int(places[0]) + 1
    part: list[int] = ids[first : first + page.limit + 1].tolist()
    return part if ids.size == found.total else None


async def _by_last_access(db: Database, found: IdSelection, page: PageRequest) -> list[int]:
    """Return the ids of a page by offset in the order without an index, as few assets were ever accessed."""
    rows = await db.fetch_all("SELECT id, last_access_at FROM assets WHERE last_access_at > 0")
    times: dict[int, int] = dict(rows)
    accessed = await parse_ids(",".join(map(str, times)))
    latest = sorted(found.ids.among(accessed).tolist(), key=lambda each: (times[each], each))
    never = found.ids.minus(accessed).ids
    first, last = page.offset, page.offset + page.limit + 1
    if page.order == "desc":
        behind = slice(max(0, first - len(latest)), max(0, last - len(latest)))
        return [*latest[::-1][first:last], *never[::-1][behind].tolist()]
    behind = slice(max(0, first - never.size), max(0, last - never.size))
    return [*never[first:last].tolist(), *latest[behind]]


_INDEX_STATE = (
    "(SELECT version FROM search_state), NOT EXISTS (SELECT 1 FROM search_stale)"
    f" AND NOT EXISTS (SELECT 1 FROM assets WHERE id > {ASSETS.upto})"
)
_NAME_ORDER = "order of names"


async def name_order(db: Database) -> Ids | None:
    """Return the ids of all assets by name, or None if some are not indexed in their current state.

    A changed name makes its asset such a one, so the cached order is right otherwise.
    """
    version, is_settled = (await db.fetch_all(f"SELECT {_INDEX_STATE}"))[0]
    packed = db.search_results.get(_NAME_ORDER, version) if is_settled else None
    if packed is None and is_settled:
        # LIMIT -1 keeps SQLite from flattening the inner query, so group_concat keeps its order.
        inner = "SELECT id FROM assets ORDER BY name_key, id LIMIT -1"
        rows = await db.fetch_all(f"SELECT {_INDEX_STATE}, (SELECT group_concat(id) FROM ({inner}))")
        version, is_settled, text = rows[0]
        packed = (await parse_ids(text)).tobytes()
        if is_settled:
            db.search_results.put(_NAME_ORDER, version, packed)
    return order_of(packed) if packed is not None and is_settled else None


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
    ids = (await ids_of(db, selection)).ids
    jobs = await _numbered_jobs(db)
    shown, stacks = await asyncio.to_thread(_first_of_jobs, ids, jobs)
    spans = selection.spans if isinstance(selection, IdSelection) else ()
    return IdSelection(IdSet.of(shown), shown.size, selection.sets, jobs.size, spans), stacks


async def _numbered_jobs(db: Database) -> Values:
    """Return the number of the job that made each asset, by row id, 0 if none did.

    The jobs are numbered from 1 without gaps, once for each state of the column: that takes longer than all else here.
    """
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

    numbers = columns.values_of(jobs, ids)
    counts = np.bincount(numbers, minlength=1)
    first = np.zeros(counts.size, dtype=np.int64)
    first[numbers[::-1]] = ids[::-1]  # the last of several values stays: that of the lowest id
    is_made = numbers != 0
    is_first = is_made & (first[numbers] == ids)
    return ids[is_first | ~is_made], Stacks(ids[is_first], counts[numbers[is_first]])
