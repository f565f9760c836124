"""The space that the files of a user take."""

from __future__ import annotations

from ..models import REFERENCE
from .connection import Database


async def bytes_of(db: Database, owner: str) -> int:
    """Return the bytes of a user's uploads and outputs, those in the trash and downloads that run included.

    Assets that refer to content have no file of their own, and files that are missing take no space.
    """
    rows = await db.fetch_all(
        "SELECT coalesce(sum(a.size), 0) FROM tag_sets s JOIN assets a ON a.tag_set_id = s.id"
        " LEFT JOIN files f ON f.id = a.id LEFT JOIN trash t ON t.asset_id = a.id"
        f" WHERE s.owner = ?1 AND a.origin <> {REFERENCE}"
        " AND (t.stored IS NOT NULL OR f.missing = 0)"  # the file of a deleted asset may have stayed in its place
        " UNION ALL SELECT coalesce(sum(json_extract(source, '$.size')), 0) FROM downloads"
        " WHERE owner = ?1 AND is_active = 1",
        (owner,),
    )
    return sum(int(row[0]) for row in rows)
