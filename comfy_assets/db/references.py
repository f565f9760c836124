"""References: assets without a file of their own, whose content lies in the file of another asset."""

from __future__ import annotations

from ..models import MISSING_TAG, REFERENCE
from . import files
from .connection import Transaction


async def is_referred_to(tx: Transaction, content_id: int) -> bool:
    """Whether an asset that has not been deleted refers to this content without a file of its own."""
    found = await tx.fetch_value(
        "SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.content_id = ? AND a.origin = {REFERENCE} AND s.hidden = 0 LIMIT 1",
        (content_id,),
    )
    return found is not None


async def settle(tx: Transaction) -> None:
    """Mark the references whose content is in no file any more as missing, and unmark those whose is."""
    rows = await tx.fetch_all(
        "SELECT a.id, EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = a.content_id AND f.missing = 0) FROM assets a"
        f" WHERE a.origin = {REFERENCE} AND a.content_id IS NOT NULL"
    )
    await files.retag(tx, [row[0] for row in rows if row[1]], remove=(MISSING_TAG,))
    await files.retag(tx, [row[0] for row in rows if not row[1]], add=(MISSING_TAG,))
