"""References: assets without a file of their own, whose content lies in the file of another asset."""

from __future__ import annotations

from ..models import MISSING_TAG, REFERENCE
from . import files
from .connection import Transaction


async def need_file_of(tx: Transaction, content_id: int, row_id: int) -> bool:
    """Whether references to this content would lose it without the file of this asset."""
    found = await tx.fetch_value(
        "SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.content_id = ?1 AND a.origin = {REFERENCE} AND s.hidden = 0 AND NOT EXISTS"
        " (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = ?1 AND b.id <> ?2 AND f.missing = 0) LIMIT 1",
        (content_id, row_id),
    )
    return found is not None


async def settle(tx: Transaction) -> None:
    """Mark the references whose content is in no file any more as missing, and unmark those whose is."""
    rows = await tx.fetch_all(
        "SELECT a.id, EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = a.content_id AND f.missing = 0) FROM assets a"
        f" WHERE a.origin = {REFERENCE} AND a.content_id IS NOT NULL"
    )
    there = [row[0] for row in rows if row[1]]
    away = [row[0] for row in rows if not row[1]]
    if there:
        await files.retag(tx, there, remove=(MISSING_TAG,))
    if away:
        await files.retag(tx, away, add=(MISSING_TAG,))
