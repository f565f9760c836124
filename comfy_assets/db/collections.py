"""Collections: assets that a user has put together, in an order of their own.

Members have positions with gaps between them. What is put between two members gets positions there; if the gap is too
small, the positions of the collection are spread out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..models import Collection, CollectionEdit, CollectionPage
from . import tags
from .connection import Database, Transaction
from .sql import Columns, insert_into, json_array

_GAP = 1 << 32  # between two members that are added at the end
_AT_ONCE = 500  # contents that are looked for with one statement
_MOST = 1 << 62  # of a position: near the end of SQLite's integers they are spread out again

_COLUMNS = Columns(
    Collection,
    row_id="c.id",
    id="c.uuid",
    owner="c.owner",
    name="c.name",
    description="c.description",
    version="c.version",
    created_at="c.created_at",
    updated_at="c.updated_at",
    # The chosen cover if the owner (the first parameter) can see it, else the first member that they can see.
    cover_id=(
        "coalesce((SELECT a.uuid FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.id = c.cover_id AND {tags.VISIBLE.replace('?', '?1')}),"
        " (SELECT a.uuid FROM collection_members m INDEXED BY collection_members_by_position"
        " CROSS JOIN assets a ON a.id = m.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE m.collection_id = c.id AND {tags.VISIBLE.replace('?', '?1')} ORDER BY m.position LIMIT 1))"
    ),
)
_ORDERS = {"name": "c.name_key", "created_at": "c.created_at", "updated_at": "c.updated_at"}


async def list_page(db: Database, owner: str, page: CollectionPage) -> tuple[list[Collection], int]:
    """Return a page of a user's collections, and the number of all that match."""
    where = "c.owner = ?1 AND c.deleted_at IS NULL AND instr(c.name_key, ?2) > 0"
    parameters: list[Any] = [owner, page.name_contains.casefold()]
    if page.asset_id is not None:
        where += (
            " AND EXISTS (SELECT 1 FROM assets a JOIN collection_members m ON m.asset_id = a.id"
            " WHERE a.uuid = ?3 AND m.collection_id = c.id)"
        )
        parameters.append(page.asset_id)
    [(total,)] = await db.fetch_all(f"SELECT count(*) FROM collections c WHERE {where}", parameters)
    order = page.order.upper()
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM collections c WHERE {where}"
        f" ORDER BY {_ORDERS[page.sort]} {order}, c.id {order} LIMIT {page.limit} OFFSET {page.offset}",
        parameters,
    )
    return _COLUMNS.read_all(rows), total


async def get(
    db: Database | Transaction, collection_id: str, owner: str, *, deleted: bool = False
) -> Collection | None:
    """Return a user's collection, or with ``deleted`` one that can be restored."""
    state = "IS NOT NULL" if deleted else "IS NULL"
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM collections c WHERE c.owner = ?1 AND c.uuid = ?2 AND c.deleted_at {state}",
        (owner, collection_id),
    )
    return _COLUMNS.read(rows[0]) if rows else None


async def by_name(db: Database | Transaction, name: str, owner: str) -> Collection | None:
    """Return a user's collection of this name, whatever its case."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM collections c WHERE c.owner = ?1 AND c.name_key = ?2 AND c.deleted_at IS NULL",
        (owner, name.casefold()),
    )
    return _COLUMNS.read(rows[0]) if rows else None


async def deleted(db: Database, owner: str) -> list[tuple[Collection, int]]:
    """Return a user's deleted collections that can be restored, each with the time (ms), the latest first."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql}, c.deleted_at FROM collections c WHERE c.owner = ?1 AND c.deleted_at IS NOT NULL"
        " ORDER BY c.deleted_at DESC, c.id DESC",
        (owner,),
    )
    return [(_COLUMNS.read(row), row[_COLUMNS.count]) for row in rows]


async def count(tx: Transaction, owner: str) -> int:
    """Return the number of a user's collections."""
    return int(
        await tx.fetch_value("SELECT count(*) FROM collections WHERE owner = ? AND deleted_at IS NULL", (owner,))
    )


async def add(tx: Transaction, collection_id: str, owner: str, name: str, description: str | None, now: int) -> int:
    """Add an empty collection; return its row."""
    values = {
        "uuid": collection_id,
        "owner": owner,
        "name": name,
        "name_key": name.casefold(),
        "description": description,
        "created_at": now,
        "updated_at": now,
    }
    await tx.execute(*insert_into("collections", values))
    return int(await tx.fetch_value("SELECT last_insert_rowid()"))


async def edit(tx: Transaction, row_id: int, change: CollectionEdit, now: int) -> None:
    """Change a collection at ``now`` (ms). Members that are None stay as they are; an empty cover removes it."""
    if change.name is not None:
        await tx.execute(
            "UPDATE collections SET name = ?, name_key = ? WHERE id = ?", (change.name, change.name.casefold(), row_id)
        )
    if change.description is not None:
        await tx.execute("UPDATE collections SET description = ? WHERE id = ?", (change.description, row_id))
    if change.cover_id is not None:
        await tx.execute(
            "UPDATE collections SET cover_id = (SELECT id FROM assets WHERE uuid = ?) WHERE id = ?",
            (change.cover_id, row_id),
        )
    await touch(tx, row_id, now)


async def touch(tx: Transaction, row_id: int, now: int) -> None:
    """Record a change of a collection at ``now`` (ms)."""
    await tx.execute("UPDATE collections SET version = version + 1, updated_at = ? WHERE id = ?", (now, row_id))


async def set_deleted(tx: Transaction, row_id: int, at: int | None) -> None:
    """Delete a collection at a time (ms) so that it can be restored, or restore it (None)."""
    await tx.execute("UPDATE collections SET deleted_at = ?, version = version + 1 WHERE id = ?", (at, row_id))


async def purge(tx: Transaction, before: int) -> None:
    """Remove the collections that were deleted before a time (ms)."""
    await tx.execute("DELETE FROM collections WHERE deleted_at < ?", (before,))


# Members.


async def visible_rows(db: Database | Transaction, ids: Sequence[str], owner: str) -> dict[str, int]:
    """Return the rows of the owner's and the public assets by the ids, or aliases, that were given."""
    rows = await db.fetch_all(
        "SELECT j.value, a.id FROM json_each(?) j CROSS JOIN assets a ON a.id = coalesce("
        "(SELECT id FROM assets WHERE uuid = j.value), (SELECT asset_id FROM asset_aliases WHERE alias = j.value))"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.FOUND}",
        (json_array(ids), owner),
    )
    return dict(rows)


async def size(tx: Transaction, row_id: int) -> int:
    """Return the number of members, with deleted assets."""
    return int(await tx.fetch_value("SELECT count(*) FROM collection_members WHERE collection_id = ?", (row_id,)))


async def members_among(tx: Transaction, row_id: int, assets: Sequence[int]) -> set[int]:
    """Return those of the assets (rows) that are members."""
    rows = await tx.fetch_all(
        "SELECT value FROM json_each(?) j JOIN collection_members m ON m.asset_id = j.value AND m.collection_id = ?",
        (json_array(assets), row_id),
    )
    return {row[0] for row in rows}


async def put(tx: Transaction, row_id: int, assets: Sequence[int], before: int | None, now: int) -> None:
    """Put assets (distinct rows) in this order before a member, which is none of them, or at the end (None).

    Members among them are moved.
    """
    positions = await _free_positions(tx, row_id, assets, before)
    if positions is None:
        await _spread(tx, row_id)
        positions = await _free_positions(tx, row_id, assets, before)
    if positions is None:
        raise LookupError("a collection that was spread out has no gaps")
    await tx.execute(
        "INSERT INTO collection_members (collection_id, asset_id, position, added_at)"
        " SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?3 FROM json_each(?2) WHERE true"
        " ON CONFLICT DO UPDATE SET position = excluded.position",
        (row_id, json_array(zip(assets, positions, strict=True)), now),
    )


async def _free_positions(tx: Transaction, row_id: int, assets: Sequence[int], before: int | None) -> list[int] | None:
    """Return a position for each of the assets, or None if there is no room."""
    right = None
    if before is not None:
        right = await tx.fetch_value(
            "SELECT position FROM collection_members WHERE collection_id = ? AND asset_id = ?", (row_id, before)
        )
    left = await tx.fetch_value(
        "SELECT position FROM collection_members INDEXED BY collection_members_by_position"
        " WHERE collection_id = ?1 AND position < ?2 AND asset_id NOT IN (SELECT value FROM json_each(?3))"
        " ORDER BY position DESC LIMIT 1",
        (row_id, _MOST if right is None else right, json_array(assets)),
    )
    return spaced(left, right, len(assets))


def spaced(left: int | None, right: int | None, count: int) -> list[int] | None:
    """Return ascending positions between two, or beyond one of them; None if there are not so many. Pure."""
    if left is None and right is None:
        left = 0
    if right is None:
        found = [(left or 0) + _GAP * number for number in range(1, count + 1)]
    elif left is None:
        found = [right - _GAP * number for number in range(count, 0, -1)]
    else:
        step = (right - left) // (count + 1)
        if step < 1:
            return None
        found = [left + step * number for number in range(1, count + 1)]
    return found if not found or (found[0] > -_MOST and found[-1] < _MOST) else None


async def _spread(tx: Transaction, row_id: int) -> None:
    """Give the members of a collection positions with large gaps."""
    await tx.execute(
        "INSERT INTO collection_members (collection_id, asset_id, position, added_at)"
        " SELECT collection_id, asset_id, row_number() OVER (ORDER BY position, asset_id) * ?2, added_at"
        " FROM collection_members WHERE collection_id = ?1"
        " ON CONFLICT DO UPDATE SET position = excluded.position",
        (row_id, _GAP),
    )


async def remove(tx: Transaction, row_id: int, assets: Iterable[int]) -> int:
    """Remove assets (rows) from a collection; return how many were members."""
    return await tx.execute(
        "DELETE FROM collection_members WHERE collection_id = ? AND asset_id IN (SELECT value FROM json_each(?))",
        (row_id, json_array(assets)),
    )


class FormerMember(msgspec.Struct, frozen=True):
    """The place of an asset that was a member: its position, and the time (ms) at which it was added."""

    position: int
    added_at: int


async def places_of(tx: Transaction, row_id: int, assets: Sequence[int]) -> dict[int, FormerMember]:
    """Return the places of those of the assets (rows) that are members."""
    rows = await tx.fetch_all(
        "SELECT m.asset_id, m.position, m.added_at FROM json_each(?) j"
        " JOIN collection_members m ON m.asset_id = j.value AND m.collection_id = ?",
        (json_array(assets), row_id),
    )
    return {row[0]: FormerMember(row[1], row[2]) for row in rows}


async def put_back(tx: Transaction, row_id: int, places: Mapping[int, FormerMember]) -> None:
    """Put assets that are no members, by their rows, at the places that they had."""
    # Another member may have such a position by now: neighbours with equal positions are ordered by their rows.
    await tx.execute(
        "INSERT INTO collection_members (collection_id, asset_id, position, added_at)"
        " SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
        " FROM json_each(?2)",
        (row_id, json_array((row, place.position, place.added_at) for row, place in places.items())),
    )


async def member_ids(db: Database, row_id: int, owner: str, limit: int) -> list[str]:
    """Return the ids of the first members that a user can see, in order."""
    rows = await db.fetch_all(
        "SELECT a.uuid FROM collection_members m INDEXED BY collection_members_by_position"
        " CROSS JOIN assets a ON a.id = m.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE m.collection_id = ? AND {tags.VISIBLE} ORDER BY m.position LIMIT ?",
        (row_id, owner, limit),
    )
    return [row[0] for row in rows]


class CollectionOfAssets(msgspec.Struct, frozen=True):
    """A collection by its name and description, with the contents of some of its members, in order."""

    name: str
    description: str | None
    hashes: tuple[bytes, ...]


async def of_contents(db: Database, hashes: Sequence[bytes], owner: str) -> list[CollectionOfAssets]:
    """Return a user's collections that have assets of these contents, with these members alone."""
    found: dict[int, tuple[str, str | None, dict[bytes, int]]] = {}
    for first in range(0, len(hashes), _AT_ONCE):
        part = hashes[first : first + _AT_ONCE]
        rows = await db.fetch_all(
            "SELECT c.id, c.name, c.description, k.hash, m.position FROM contents k"
            " JOIN assets a ON a.content_id = k.id JOIN collection_members m ON m.asset_id = a.id"
            " JOIN collections c ON c.id = m.collection_id"
            f" WHERE k.hash IN ({', '.join('?' * len(part))}) AND c.owner = ? AND c.deleted_at IS NULL",
            (*part, owner),
        )
        for row_id, name, description, digest, position in rows:
            members = found.setdefault(row_id, (name, description, {}))[2]
            members[digest] = min(position, members.get(digest, position))
    return [
        CollectionOfAssets(name, description, tuple(sorted(members, key=members.__getitem__)))
        for name, description, members in sorted(found.values(), key=lambda each: each[0].casefold())
    ]


async def of_digests(tx: Transaction, digests: Sequence[bytes], owner: str) -> dict[bytes, int]:
    """Return, for contents that a user has or can see, the row of an asset: their own and the oldest first."""
    found: dict[bytes, int] = {}
    for first in range(0, len(digests), _AT_ONCE):
        part = digests[first : first + _AT_ONCE]
        rows = await tx.fetch_all(
            "SELECT k.hash, a.id FROM contents k JOIN assets a ON a.content_id = k.id"
            f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE k.hash IN ({', '.join('?' * len(part))})"
            f" AND {tags.VISIBLE} ORDER BY s.owner, a.id DESC",
            (*part, owner),
        )
        found |= dict(rows)  # the last of each is kept
    return found
