"""Ids by their first characters, as pages and people shorten them."""

from __future__ import annotations

from typing import Literal

from .connection import Database

Subject = Literal[
    "job", "asset", "deleted asset", "workflow", "deleted workflow", "share", "collection", "deleted collection"
]

# The statement that finds ids from one text on and before another. Each walks along the index of ids.
_STATEMENTS: dict[Subject, str] = {
    "job": "SELECT uuid FROM jobs WHERE uuid >= ? AND uuid < ?",
    "asset": "SELECT a.uuid FROM assets a WHERE a.uuid >= ? AND a.uuid < ?"
    " AND NOT EXISTS (SELECT 1 FROM trash t WHERE t.asset_id = a.id)",
    "deleted asset": "SELECT a.uuid FROM assets a WHERE a.uuid >= ? AND a.uuid < ?"
    " AND EXISTS (SELECT 1 FROM trash t WHERE t.asset_id = a.id)",
    "workflow": "SELECT uuid FROM workflows WHERE uuid >= ? AND uuid < ? AND deleted_at IS NULL",
    "deleted workflow": "SELECT uuid FROM workflows WHERE uuid >= ? AND uuid < ? AND deleted_at IS NOT NULL",
    "collection": "SELECT uuid FROM collections WHERE uuid >= ? AND uuid < ? AND deleted_at IS NULL",
    "deleted collection": "SELECT uuid FROM collections WHERE uuid >= ? AND uuid < ? AND deleted_at IS NOT NULL",
    "share": "SELECT share_id FROM shares WHERE share_id >= ? AND share_id < ?",
}
_LAST = "\U0010ffff"  # sorts behind every character of an id


async def beginning_with(db: Database, subject: Subject, start: str, limit: int) -> list[str]:
    """Return up to ``limit`` ids of a kind, of all users, that begin with a text."""
    rows = await db.fetch_all(f"{_STATEMENTS[subject]} ORDER BY 1 LIMIT ?", (start, start + _LAST, limit))
    return [row[0] for row in rows]
