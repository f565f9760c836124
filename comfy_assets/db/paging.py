"""A part of what passes a filter, in order."""

from __future__ import annotations

from typing import Any

import msgspec

from ..models import CursorKey, PageRequest
from .connection import Database
from .selection import BY_IDS, HANDED_OVER, Found, Rows

# The expression each sort order goes by; all but the last have an index.
SORT_KEYS = {
    "created_at": "a.created_at",
    "updated_at": "a.updated_at",
    "name": "a.name_key",
    "size": "a.size",
    "last_access_time": "coalesce(a.last_access_at, 0)",
}
_INDEXED = SORT_KEYS.keys() - {"last_access_time"}
_LEAST_LOOK, _MOST_LOOK = 256, 16_384  # assets looked at in one go
_ALL = 1 << 62


def ordering(page: PageRequest) -> str:
    """The order of a page's rows."""
    direction = page.order.upper()
    return f"ORDER BY {SORT_KEYS[page.sort]} {direction}, a.id {direction}"


async def page_of(db: Database, selection: Rows | Found, page: PageRequest) -> tuple[str, list[Any]]:
    """A query for the ids of the page's assets and of the one behind them, if there is one."""
    if isinstance(selection, Rows):
        return _query("assets a", selection.where, selection.parameters, page)
    if selection.total <= HANDED_OVER:
        return _query(BY_IDS, "1", [_json(list(selection.ids))], page)
    return "SELECT value AS id FROM json_each(?)", [_json(await _walk(db, selection, page))]


def _query(source: str, where: str, parameters: list[Any], page: PageRequest) -> tuple[str, list[Any]]:
    condition, bound = _behind(page, page.after)
    sql = f"SELECT a.id FROM {source} WHERE {where}{condition} {ordering(page)} LIMIT ? OFFSET ?"
    return sql, [*parameters, *bound, page.limit + 1, page.offset if page.after is None else 0]


def _behind(page: PageRequest, after: CursorKey | None) -> tuple[str, list[Any]]:
    if after is None:
        return "", []
    sign = "<" if page.order == "desc" else ">"
    return f" AND ({SORT_KEYS[page.sort]}, a.id) {sign} (?, ?)", [after.value, after.row_id]


async def _walk(db: Database, found: Found, page: PageRequest) -> list[int]:
    """The ids of the page, by looking at all assets in order: that is short where many are in the set."""
    skipped = page.offset if page.after is None else 0
    wanted = skipped + page.limit + 1
    if skipped >= found.total:
        return []
    after, passing = page.after, list[int]()
    expected = 3 * wanted * found.library // (2 * found.total)
    look = max(_LEAST_LOOK, min(expected, _MOST_LOOK)) if page.sort in _INDEXED else _ALL
    while len(passing) < wanted:
        condition, bound = _behind(page, after)
        rows = await db.fetch_all(
            f"SELECT a.id, {SORT_KEYS[page.sort]} FROM assets a WHERE 1{condition} {ordering(page)} LIMIT ?",
            [*bound, look],
        )
        passing += found.ids.among(row[0] for row in rows)
        if len(rows) < look:
            break
        after = CursorKey(rows[-1][1], rows[-1][0])
        look = min(2 * look, _MOST_LOOK)
    return passing[skipped:wanted]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
