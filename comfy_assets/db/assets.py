"""Reading assets: listings by cursor or offset, single assets, histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from ..models import REFERENCE, Asset, AssetFilter, CursorKey, Location, Page, PageRequest, TagCount
from . import tags
from .connection import Database, Row, Transaction

# The expression each sort order goes by; all but the last have an index.
_SORT_KEYS = {
    "created_at": "a.created_at",
    "updated_at": "a.updated_at",
    "name": "a.name_key",
    "size": "a.size",
    "last_access_time": "coalesce(a.last_access_at, 0)",
}
# Up to this many candidates are gathered from the tag index and sorted; more are found by walking the sort
# index.
_GATHER_LIMIT = 8000

_COLUMNS = """
    a.id, a.uuid, s.owner, a.name, a.mime_type, a.size, s.tags, a.created_at, a.updated_at, a.last_access_at,
    c.hash, c.metadata, a.user_metadata, a.job_id, a.origin, p.uuid,
    d.path, f.name, d.kind, d.logical, d.loader_prefix, f.missing
"""
_JOINS = """
    JOIN tag_sets s ON s.id = a.tag_set_id
    LEFT JOIN contents c ON c.id = a.content_id
    LEFT JOIN files f ON f.id = a.id
    LEFT JOIN folders d ON d.id = f.folder_id
    LEFT JOIN assets p ON p.id = a.preview_id
"""
_LOCATION = "d.path, f.name, d.kind, d.logical, d.loader_prefix, f.missing"


@dataclass(frozen=True)
class _Selection:
    """A filter resolved to SQL over ``assets a``: ``total`` is known when tags and owner alone decide."""

    where: str
    parameters: list[Any]
    total: int | None
    candidates: int


async def list_page(db: Database, wanted: AssetFilter, page: PageRequest) -> Page[Asset]:
    """One page of the assets that pass the filter, and how many pass in all."""
    selection = await _select(db, wanted)
    total = selection.total
    if total is None:
        total = await _count(db, selection)
    rows = await db.fetch_all(*_page_query(selection, page)) if total else []
    items = await _complete(db, [_asset(row) for row in rows[: page.limit]])
    has_more = len(rows) > page.limit
    next_key = CursorKey(rows[page.limit - 1][-1], items[-1].row_id) if has_more else None
    return Page(items, total, has_more, next_key)


async def histogram(db: Database, wanted: AssetFilter, limit: int) -> list[TagCount]:
    """How many of the assets that pass the filter carry each tag, most frequent first."""
    if not (wanted.name_contains or wanted.metadata or wanted.hash):
        condition, parameters = tags.set_condition(wanted)
        counts = f"SELECT s.id AS set_id, s.asset_count AS n FROM tag_sets s WHERE {condition}"
    else:
        selection = await _select(db, wanted)
        parameters = selection.parameters
        counts = f"SELECT a.tag_set_id AS set_id, count(*) AS n FROM assets a WHERE {selection.where} GROUP BY 1"
    rows = await db.fetch_all(
        f"WITH counts AS ({counts}) SELECT t.name, sum(counts.n) AS total FROM counts"
        " JOIN tag_set_tags l ON l.tag_set_id = counts.set_id JOIN tags t ON t.id = l.tag_id"
        " WHERE counts.n > 0 GROUP BY t.id ORDER BY total DESC, t.name LIMIT ?",
        [*parameters, limit],
    )
    return [TagCount(name, count) for name, count in rows]


async def get(db: Database | Transaction, asset_id: str, owner: str) -> Asset | None:
    """The asset, if it is public or the owner's."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM assets a {_JOINS} WHERE a.uuid = ? AND {tags.VISIBLE}", (asset_id, owner)
    )
    found = await _complete(db, [_asset(row) for row in rows])
    return found[0] if found else None


async def get_many(db: Database | Transaction, asset_ids: Sequence[str]) -> dict[str, Asset]:
    """Those of the assets that there are, whoever's they are, by id."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM assets a {_JOINS} WHERE a.uuid IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(asset_ids).decode(),),
    )
    return {asset.id: asset for asset in await _complete(db, [_asset(row) for row in rows])}


async def of_content(db: Database | Transaction, digest: bytes, owner: str, *, own: bool) -> list[Asset]:
    """The assets of this content that are the owner's, or else public ones, oldest first."""
    condition = "s.owner = ? AND s.hidden = 0" if own else "s.owner = '' AND s.hidden = 0 AND ? IS NOT NULL"
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM contents k JOIN assets a ON a.content_id = k.id {_JOINS}"
        f" WHERE k.hash = ? AND {condition} ORDER BY a.id",
        (digest, owner),
    )
    return await _complete(db, [_asset(row) for row in rows])


async def _complete(db: Database | Transaction, found: list[Asset]) -> list[Asset]:
    """The assets with what few of them have: a location that is another file's, and a preview chosen by a user."""
    if any(asset.origin == REFERENCE for asset in found):
        places = await _stand_ins(db, [a.hash for a in found if a.origin == REFERENCE and a.hash])
        found = [
            replace(a, location=places.get(a.hash)) if a.origin == REFERENCE and a.hash and a.location is None else a
            for a in found
        ]
    if any(asset.preview_id for asset in found):
        previews = await _locations(db, [a.preview_id for a in found if a.preview_id])
        found = [replace(a, preview=previews.get(a.preview_id)) if a.preview_id else a for a in found]
    return found


async def stand_in(db: Database | Transaction, digest: bytes) -> Location | None:
    """A file that is there and has this content."""
    return (await _stand_ins(db, [digest])).get(digest)


async def _stand_ins(db: Database | Transaction, digests: Sequence[bytes]) -> dict[bytes, Location]:
    rows = await db.fetch_all(
        f"SELECT c.hash, {_LOCATION} FROM contents c JOIN assets b ON b.content_id = c.id JOIN files f ON f.id = b.id"
        f" JOIN folders d ON d.id = f.folder_id WHERE c.hash IN ({', '.join('?' * len(digests))}) AND f.missing = 0"
        " ORDER BY b.id DESC",
        digests,
    )
    return {row[0]: _location(row[1:]) for row in rows}


async def _locations(db: Database | Transaction, ids: Sequence[str]) -> dict[str, Location]:
    rows = await db.fetch_all(
        f"SELECT a.uuid, {_LOCATION} FROM assets a JOIN files f ON f.id = a.id JOIN folders d ON d.id = f.folder_id"
        " WHERE a.uuid IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(ids).decode(),),
    )
    return {row[0]: _location(row[1:]) for row in rows}


async def hash_exists(db: Database | Transaction, digest: bytes, owner: str) -> bool:
    """Whether an asset of this content is public or the owner's, and its content can be read from some file."""
    rows = await db.fetch_all(
        "SELECT 1 FROM contents c JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE c.hash = ? AND {tags.VISIBLE} AND EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = c.id AND f.missing = 0) LIMIT 1",
        (digest, owner),
    )
    return bool(rows)


async def count(db: Database) -> int:
    """The number of assets of all owners, deleted ones not counted."""
    row = await db.fetch_one("SELECT coalesce(sum(asset_count), 0) FROM tag_sets WHERE hidden = 0")
    return int(row[0]) if row else 0


async def record_access(tx: Transaction, times: dict[int, int]) -> None:
    """Set the last access time (ms) of assets by row id."""
    await tx.execute_many(
        "UPDATE assets SET last_access_at = ?2 WHERE id = ?1 AND coalesce(last_access_at, 0) < ?2",
        list(times.items()),
    )


async def _select(db: Database, wanted: AssetFilter) -> _Selection:
    condition, parameters = tags.set_condition(wanted)
    rows = await db.fetch_all(
        f"SELECT s.id, s.asset_count, {condition} FROM tag_sets s WHERE s.asset_count > 0", parameters
    )
    matching = [row[0] for row in rows if row[2]]
    candidates = sum(row[1] for row in rows if row[2])
    where, bound = _content_clauses(wanted)
    total = None if where else candidates
    if len(matching) < len(rows):
        # The unary plus keeps SQLite from choosing the tag index where walking the sort index is cheaper.
        column = "a.tag_set_id" if candidates <= _GATHER_LIMIT else "+a.tag_set_id"
        where.append(f"{column} IN (SELECT value FROM json_each(?))")
        bound.append(msgspec.json.encode(matching).decode())
    return _Selection(" AND ".join(where) or "1", bound, total, candidates)


def _content_clauses(wanted: AssetFilter) -> tuple[list[str], list[Any]]:
    """The filters that must look at the asset itself."""
    clauses: list[str] = []
    parameters: list[Any] = []
    if wanted.name_contains:
        clauses.append("instr(a.name_key, ?) > 0")
        parameters.append(wanted.name_contains.casefold())
    if wanted.hash is not None:
        clauses.append("a.content_id = (SELECT id FROM contents WHERE hash = ?)")
        parameters.append(wanted.hash)
    for key, value in wanted.metadata.items():
        clause, bound = _metadata_clause(key, value)
        clauses.append(clause)
        parameters.extend(bound)
    return clauses, parameters


_METADATA_FIELDS = (
    "(SELECT key, value, type FROM json_each(coalesce(a.user_metadata, '{}')) UNION ALL"
    " SELECT key, value, type FROM json_each((SELECT metadata FROM contents WHERE id = a.content_id)))"
)


def _metadata_clause(key: str, value: Any) -> tuple[str, list[Any]]:
    """A field matches by equality, by any of a list's values; null matches a field that is absent or null."""
    accepted = value if isinstance(value, list) else [value]
    by_type = {
        "type = 'text' AND value": [item for item in accepted if isinstance(item, str)],
        "type": [str(item).lower() for item in accepted if isinstance(item, bool)],
        "type IN ('integer', 'real') AND value": [
            item for item in accepted if isinstance(item, (int, float)) and not isinstance(item, bool)
        ],
    }
    tests = [f"{what} IN (SELECT value FROM json_each(?))" for what, items in by_type.items() if items]
    alternatives: list[str] = []
    parameters: list[Any] = []
    if tests:
        alternatives.append(f"EXISTS (SELECT 1 FROM {_METADATA_FIELDS} WHERE key = ? AND ({' OR '.join(tests)}))")
        parameters = [key, *(msgspec.json.encode(items).decode() for items in by_type.values() if items)]
    if None in accepted:
        alternatives.append(f"NOT EXISTS (SELECT 1 FROM {_METADATA_FIELDS} WHERE key = ? AND type <> 'null')")
        parameters.append(key)
    return f"({' OR '.join(alternatives) or '0'})", parameters


async def _count(db: Database, selection: _Selection) -> int:
    row = await db.fetch_one(f"SELECT count(*) FROM assets a WHERE {selection.where}", selection.parameters)
    return int(row[0]) if row else 0


def _page_query(selection: _Selection, page: PageRequest) -> tuple[str, list[Any]]:
    """The page's rows plus one, each ending with its sort value."""
    key = _SORT_KEYS[page.sort]
    direction = page.order.upper()
    where, parameters = selection.where, list(selection.parameters)
    offset = page.offset
    if page.after is not None:
        where += f" AND ({key}, a.id) {'<' if page.order == 'desc' else '>'} (?, ?)"
        parameters += [page.after.value, page.after.row_id]
        offset = 0
    ordering = f"ORDER BY {key} {direction}, a.id {direction}"
    inner = f"SELECT a.id FROM assets a WHERE {where} {ordering} LIMIT ? OFFSET ?"
    sql = f"SELECT {_COLUMNS}, {key} FROM ({inner}) chosen JOIN assets a ON a.id = chosen.id {_JOINS} {ordering}"
    return sql, [*parameters, page.limit + 1, offset]


def _asset(row: Row) -> Asset:
    location = _location(row[16:22]) if row[16] is not None else None
    return Asset(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9],
        row[10], row[11], row[12], row[13], row[14], row[15], location,
    )  # fmt: skip


def _location(row: Row) -> Location:
    return Location(row[0], row[1], row[2], row[3], row[4], bool(row[5]))
