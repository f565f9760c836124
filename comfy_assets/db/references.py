"""References: assets without a file of their own, whose content is in another asset's file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..models import REFERENCE
from . import tags
from .connection import Transaction
from .sql import json_array


async def need_file_of(tx: Transaction, content_id: int, row_id: int) -> bool:
    """Return whether references to this content would lose it without the file of this asset."""
    found = await tx.fetch_value(
        "SELECT 1 FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.content_id = ?1 AND a.origin = {REFERENCE} AND s.hidden = 0 AND NOT EXISTS"
        " (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = ?1 AND b.id <> ?2 AND f.missing = 0) LIMIT 1",
        (content_id, row_id),
    )
    return found is not None


async def contents_of(tx: Transaction, ids: Sequence[int]) -> set[int]:
    """Return the contents of these assets, as far as they have been read."""
    rows = await tx.fetch_all(
        "SELECT content_id FROM assets WHERE id IN (SELECT value FROM json_each(?)) AND content_id IS NOT NULL",
        (json_array(ids),),
    )
    return {row[0] for row in rows}


async def update_missing(tx: Transaction, contents: Collection[int] | None = None) -> None:
    """Mark the references whose content is in no file any more as missing, and unmark those whose is.

    ``contents`` are those of which files were gained or lost; None: any.
    """
    chosen = "" if contents is None else " AND a.content_id IN (SELECT value FROM json_each(?))"
    rows = await tx.fetch_all(
        "SELECT id, present FROM (SELECT a.id AS id, EXISTS (SELECT 1 FROM assets b JOIN files f ON f.id = b.id"
        " WHERE b.content_id = a.content_id AND f.missing = 0) AS present, s.missing AS marked"
        " FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE a.origin = {REFERENCE} AND a.content_id IS NOT NULL{chosen}) WHERE present = marked",
        () if contents is None else (json_array(sorted(contents)),),
    )
    await tags.set_missing(tx, [row[0] for row in rows if row[1]], missing=False)
    await tags.set_missing(tx, [row[0] for row in rows if not row[1]], missing=True)
