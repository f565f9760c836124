"""Batches of changes to assets, with what each asset had before; and the statements that change many assets at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from . import tags
from .connection import Database, Transaction
from .sql import Columns, insert_into, json_array

MADE, UNDO_BEGUN, UNDONE = range(3)
_DROPPED_AT_ONCE = 2000  # items


class Batch(msgspec.Struct, frozen=True):
    """A batch of changes. ``parameters`` is a JSON object, ``aspects`` a JSON array of what was changed of assets."""

    row_id: int
    id: str
    owner: str
    action: str
    parameters: str
    aspects: str
    state: int
    changed: int
    created_at: int

    @property
    def is_undone(self) -> bool:
        """True if all of it that could be restored has been."""
        return self.state == UNDONE


_COLUMNS = Columns(
    Batch,
    row_id="b.id",
    id="b.uuid",
    owner="b.owner",
    action="b.action",
    parameters="b.parameters",
    aspects="b.aspects",
    state="b.state",
    changed="b.changed",
    created_at="b.created_at",
)


async def create(tx: Transaction, batch: Batch) -> int:
    """Add a batch; return its row id."""
    values = {
        "uuid": batch.id,
        "owner": batch.owner,
        "action": batch.action,
        "parameters": batch.parameters,
        "aspects": batch.aspects,
        "created_at": batch.created_at,
    }
    await tx.execute(*insert_into("asset_batches", values))
    return int(await tx.fetch_value("SELECT last_insert_rowid()"))


async def get(db: Database | Transaction, batch_id: str, owner: str) -> Batch | None:
    """Return the user's batch of this id, or None."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM asset_batches b WHERE b.uuid = ? AND b.owner = ?", (batch_id, owner)
    )
    return _COLUMNS.read(rows[0]) if rows else None


async def latest(db: Database, owner: str, limit: int) -> list[Batch]:
    """Return the user's latest batches that have changed something, the latest first."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS.sql} FROM asset_batches b WHERE b.owner = ? AND b.changed > 0 ORDER BY b.id DESC LIMIT ?",
        (owner, limit),
    )
    return _COLUMNS.read_all(rows)


async def set_state(tx: Transaction, row_id: int, state: int) -> None:
    """Store how far a batch is undone."""
    await tx.execute("UPDATE asset_batches SET state = ? WHERE id = ?", (state, row_id))


async def record(tx: Transaction, row_id: int, formers: Mapping[int, str]) -> None:
    """Store what assets had before a batch changed them, by row id: JSON texts."""
    # A JSON text in an array of pairs is one parameter for any number of assets.
    await tx.execute(
        "INSERT INTO asset_batch_items (batch_id, asset_id, former)"
        " SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2)",
        (row_id, json_array(formers.items())),
    )
    await tx.execute("UPDATE asset_batches SET changed = changed + ? WHERE id = ?", (len(formers), row_id))


class BatchItem(NamedTuple):
    """An asset that a batch changed, by row id and id; ``former`` (JSON) is what it had before."""

    row_id: int
    id: str
    former: str


async def items(db: Database, row_id: int, after: int, limit: int) -> list[BatchItem]:
    """Return the assets that a batch changed and that were not restored yet, by row id."""
    rows = await db.fetch_all(
        "SELECT i.asset_id, a.uuid, i.former FROM asset_batch_items i JOIN assets a ON a.id = i.asset_id"
        " WHERE i.batch_id = ? AND i.asset_id > ? ORDER BY i.asset_id LIMIT ?",
        (row_id, after, limit),
    )
    return [BatchItem(*row) for row in rows]


async def item_count(db: Database | Transaction, row_id: int) -> int:
    """Return the number of assets that a batch changed and that were not restored yet."""
    rows = await db.fetch_all("SELECT count(*) FROM asset_batch_items WHERE batch_id = ?", (row_id,))
    return int(rows[0][0])


async def drop_items(tx: Transaction, row_id: int, ids: Iterable[int]) -> None:
    """Remove the items of assets that have been restored. A batch without items is undone then."""
    await tx.execute(
        "DELETE FROM asset_batch_items WHERE batch_id = ? AND asset_id IN (SELECT value FROM json_each(?))",
        (row_id, json_array(ids)),
    )
    # In the same transaction: a server that is killed after the last items leaves no batch whose undoing seems to lack.
    await tx.execute(
        "UPDATE asset_batches SET state = ?2 WHERE id = ?1 AND state = ?3"
        " AND NOT EXISTS (SELECT 1 FROM asset_batch_items WHERE batch_id = ?1)",
        (row_id, UNDONE, UNDO_BEGUN),
    )


async def later_on_same(db: Database, batch: Batch, limit: int) -> list[str]:
    """Return later batches of the user, not undone, that changed the same of the same assets."""
    rows = await db.fetch_all(
        "SELECT l.uuid FROM asset_batches l WHERE l.owner = ?1 AND l.id > ?2 AND l.state <> ?3 AND EXISTS"
        " (SELECT 1 FROM json_each(l.aspects) x JOIN json_each(?4) y ON y.value = x.value) AND EXISTS"
        " (SELECT 1 FROM asset_batch_items i JOIN asset_batch_items j ON j.asset_id = i.asset_id AND j.batch_id = ?2"
        " WHERE i.batch_id = l.id) ORDER BY l.id DESC LIMIT ?5",
        (batch.owner, batch.row_id, UNDONE, batch.aspects, limit),
    )
    return [row[0] for row in rows]


async def outdated(db: Database, owner: str, keep: int, keep_items: int, before: int) -> list[int]:
    """Return the user's batches to be dropped, the oldest first.

    The latest ``keep`` stay that were made since ``before`` (ms), as long as they have up to ``keep_items`` items.
    """
    rows = await db.fetch_all(
        "SELECT id FROM (SELECT id, created_at, row_number() OVER (ORDER BY id DESC) AS place,"
        " sum(changed) OVER (ORDER BY id DESC) AS items FROM asset_batches WHERE owner = ?1)"
        # The latest one stays, however large it is.
        " WHERE place > 1 AND (place > ?2 OR items > ?3 OR created_at < ?4) ORDER BY id",
        (owner, keep, keep_items, before),
    )
    return [row[0] for row in rows]


async def drop(tx: Transaction, row_id: int) -> None:
    """Delete a batch: it cannot be undone any more. The transaction pauses between items."""
    while await tx.execute(
        "DELETE FROM asset_batch_items WHERE batch_id = ?1 AND asset_id IN"
        " (SELECT asset_id FROM asset_batch_items WHERE batch_id = ?1 LIMIT ?2)",
        (row_id, _DROPPED_AT_ONCE),
    ):
        await tx.pause()
    await tx.execute("DELETE FROM asset_batches WHERE id = ?", (row_id,))


# Selected assets


async def rows_of(db: Database | Transaction, ids: Sequence[str], owner: str, *, deleted: bool) -> dict[str, int]:
    """Return the rows of visible assets, or of deleted ones, by the ids or aliases that were given."""
    condition = f"s.owner IN ('', ?2) AND s.hidden & {tags.DELETED}" if deleted else tags.FOUND.replace("?", "?2")
    # In this order: SQLite would begin with the tags of users, and compare all of their assets with each id.
    rows = await db.fetch_all(
        "SELECT j.value, a.id FROM json_each(?1) j CROSS JOIN assets a ON a.id = coalesce("
        "(SELECT id FROM assets WHERE uuid = j.value), (SELECT asset_id FROM asset_aliases WHERE alias = j.value))"
        f" CROSS JOIN tag_sets s ON s.id = a.tag_set_id WHERE {condition}",
        (json_array(ids), owner),
    )
    return dict(rows)


async def ids_of(db: Database | Transaction, rows: Iterable[int]) -> dict[int, str]:
    """Return the ids of assets by row."""
    found = await db.fetch_all(
        "SELECT id, uuid FROM assets WHERE id IN (SELECT value FROM json_each(?))", (json_array(rows),)
    )
    return dict(found)


async def still_visible(tx: Transaction, rows: Iterable[int], owner: str) -> list[int]:
    """Return those of the assets that the user can see now."""
    found = await tx.fetch_all(
        "SELECT a.id FROM json_each(?) j CROSS JOIN assets a ON a.id = j.value"
        f" JOIN tag_sets s ON s.id = a.tag_set_id WHERE {tags.FOUND}",
        (json_array(rows), owner),
    )
    return [row[0] for row in found]


# Tags


async def lacking_tags(tx: Transaction, rows: Iterable[int], names: Iterable[str]) -> dict[int, list[str]]:
    """Return which of the tags assets lack, by row; those that lack none are left out."""
    found = await tx.fetch_all(
        "SELECT a.id, json_group_array(n.value) FROM json_each(?1) i CROSS JOIN assets a ON a.id = i.value"
        " CROSS JOIN json_each(?2) n LEFT JOIN tags t ON t.name = n.value"
        " WHERE NOT EXISTS (SELECT 1 FROM asset_tags u WHERE u.asset_id = a.id AND u.tag_id = t.id)"
        " AND NOT EXISTS (SELECT 1 FROM tag_set_tags l WHERE l.tag_set_id = a.tag_set_id AND l.tag_id = t.id)"
        " GROUP BY a.id",
        (json_array(rows), json_array(names)),
    )
    return {row[0]: msgspec.json.decode(row[1], type=list[str]) for row in found}


async def given_tags(tx: Transaction, rows: Iterable[int], names: Iterable[str]) -> dict[int, list[str]]:
    """Return which of the tags users have given to assets, by row; those that have none are left out."""
    found = await tx.fetch_all(
        "SELECT u.asset_id, json_group_array(t.name) FROM json_each(?1) i CROSS JOIN asset_tags u"
        " ON u.asset_id = i.value JOIN tags t ON t.id = u.tag_id"
        " WHERE t.name IN (SELECT value FROM json_each(?2)) GROUP BY u.asset_id",
        (json_array(rows), json_array(names)),
    )
    return {row[0]: msgspec.json.decode(row[1], type=list[str]) for row in found}


async def tagged_by_place(tx: Transaction, rows: Iterable[int], names: Iterable[str]) -> set[int]:
    """Return the assets that have one of the tags because of the places of their files."""
    found = await tx.fetch_all(
        "SELECT DISTINCT a.id FROM json_each(?1) i CROSS JOIN assets a ON a.id = i.value"
        " JOIN tag_set_tags l ON l.tag_set_id = a.tag_set_id JOIN tags t ON t.id = l.tag_id"
        " WHERE t.name IN (SELECT value FROM json_each(?2))",
        (json_array(rows), json_array(names)),
    )
    return {row[0] for row in found}


async def tag_counts(tx: Transaction, rows: Iterable[int]) -> dict[int, int]:
    """Return how many tags assets have in all, by row."""
    found = await tx.fetch_all(
        "SELECT a.id, json_array_length(s.tags) + s.missing + (SELECT count(*) FROM asset_tags WHERE asset_id = a.id)"
        " FROM json_each(?) i CROSS JOIN assets a ON a.id = i.value JOIN tag_sets s ON s.id = a.tag_set_id",
        (json_array(rows),),
    )
    return dict(found)


async def touch(tx: Transaction, rows: Iterable[int], now: int) -> None:
    """Set the time (ms) of the last change of assets."""
    await tx.execute(
        "UPDATE assets SET updated_at = ? WHERE id IN (SELECT value FROM json_each(?))", (now, json_array(rows))
    )


# Members of the metadata of users


class MemberValue(NamedTuple):
    """A member of an asset's user metadata: its JSON text, None without it; ``has_metadata``: there is an object."""

    text: str | None
    has_metadata: bool


async def members_of(tx: Transaction, rows: Iterable[int], name: str) -> dict[int, MemberValue]:
    """Return a member of the user metadata of assets, by row. ``name`` has letters alone."""
    found = await tx.fetch_all(
        # SQLite has no booleans: json_extract makes numbers of them.
        "SELECT a.id, CASE json_type(a.user_metadata, ?2) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
        " WHEN 'null' THEN 'null' ELSE iif(json_type(a.user_metadata, ?2) IS NULL, NULL,"
        " json_quote(json_extract(a.user_metadata, ?2))) END, a.user_metadata IS NOT NULL"
        " FROM json_each(?1) i CROSS JOIN assets a ON a.id = i.value",
        (json_array(rows), f"$.{name}"),
    )
    return {row[0]: MemberValue(row[1], bool(row[2])) for row in found}


async def set_member(tx: Transaction, rows: Iterable[int], name: str, value: MemberValue, now: int) -> None:
    """Set a member of the user metadata of assets, or remove it, at ``now`` (ms).

    Without ``has_metadata`` an object that is empty then is removed.
    """
    path, chosen = f"$.{name}", json_array(rows)
    if value.text is None:
        changed = "json_remove(user_metadata, ?3)"
        if not value.has_metadata:
            changed = f"nullif({changed}, '{{}}')"
        parameters: tuple[str | int, ...] = (chosen, now, path)
    else:
        changed = "json_set(coalesce(user_metadata, '{}'), ?3, json(?4))"
        parameters = (chosen, now, path, value.text)
    await tx.execute(
        f"UPDATE assets SET user_metadata = {changed}, updated_at = ?2 WHERE id IN (SELECT value FROM json_each(?1))",
        parameters,
    )
