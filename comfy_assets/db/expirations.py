"""Times at which assets are deleted."""

from __future__ import annotations

from typing import NamedTuple

from . import tags
from .connection import Database, Transaction


class DueAsset(NamedTuple):
    """An asset whose time is over. ``is_kept``: a collection has it, another asset has it as its preview, or a user has
    rated, marked or described it.
    """

    row_id: int
    id: str
    owner: str
    is_kept: bool


async def put(tx: Transaction, row_id: int, expires_at: int | None) -> None:
    """Set the time (ms) at which an asset is deleted; None: it is kept."""
    if expires_at is None:
        await tx.execute("DELETE FROM asset_expirations WHERE asset_id = ?", (row_id,))
    else:
        await tx.execute(
            "INSERT OR REPLACE INTO asset_expirations (asset_id, expires_at, due) VALUES (?1, ?2, ?2)",
            (row_id, expires_at),
        )


async def of_asset(db: Database | Transaction, row_id: int) -> int | None:
    """Return the time (ms) at which an asset is deleted, or None."""
    rows = await db.fetch_all("SELECT expires_at FROM asset_expirations WHERE asset_id = ?", (row_id,))
    return rows[0][0] if rows else None


async def due(db: Database, now: int, limit: int) -> list[DueAsset]:
    """Return assets whose time is over at ``now`` (ms), the longest overdue first."""
    rows = await db.fetch_all(
        "SELECT a.id, a.uuid, s.owner, EXISTS (SELECT 1 FROM collection_members m WHERE m.asset_id = a.id) OR EXISTS"
        " (SELECT 1 FROM assets o JOIN tag_sets t ON t.id = o.tag_set_id WHERE o.preview_id = a.id AND o.id <> a.id"
        f" AND NOT t.hidden & {tags.DELETED}) OR coalesce(a.user_metadata, '{{}}') <> '{{}}'"
        " FROM asset_expirations e JOIN assets a ON a.id = e.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        " WHERE e.due <= ? ORDER BY e.due, a.id LIMIT ?",
        (now, limit),
    )
    return [DueAsset(row[0], row[1], row[2], bool(row[3])) for row in rows]


async def postpone(tx: Transaction, row_id: int, due: int) -> None:
    """Look at an asset again at a time (ms)."""
    await tx.execute("UPDATE asset_expirations SET due = ? WHERE asset_id = ?", (due, row_id))
