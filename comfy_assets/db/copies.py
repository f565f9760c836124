"""The files that hold a content."""

from __future__ import annotations

from dataclasses import dataclass

from . import tags
from .connection import Database

_LIMIT = 100  # enough to find one that can be used; a content in more files is an empty picture


@dataclass(frozen=True)
class Copy:
    """A file as it was when its content was read. ``visible``: the user may know of the asset it belongs to."""

    row_id: int
    folder: str
    name: str
    size: int
    mtime_ns: int
    visible: bool


async def is_known(db: Database, digest: bytes, owner: str) -> bool:
    """Whether an asset of this content is public or the owner's, be there a file of it or not."""
    rows = await db.fetch_all(
        "SELECT 1 FROM contents c JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE c.hash = ? AND {tags.VISIBLE} LIMIT 1",
        (digest, owner),
    )
    return bool(rows)


async def of_content(db: Database, digest: bytes, owner: str) -> list[Copy]:
    """The files that held this content when last looked at, those of visible assets first, oldest first."""
    rows = await db.fetch_all(
        f"SELECT a.id, d.path, f.name, f.size, f.mtime_ns, {tags.VISIBLE} AS visible FROM contents c"
        " JOIN assets a ON a.content_id = c.id JOIN tag_sets s ON s.id = a.tag_set_id"
        " JOIN files f ON f.id = a.id JOIN folders d ON d.id = f.folder_id"
        " WHERE c.hash = ? ORDER BY visible DESC, f.missing, a.id LIMIT ?",
        (owner, digest, _LIMIT),
    )
    return [Copy(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows]


async def of_asset(db: Database, row_id: int) -> list[Copy]:
    """The asset's own file, if it has one."""
    rows = await db.fetch_all(
        "SELECT f.id, d.path, f.name, f.size, f.mtime_ns FROM files f JOIN folders d ON d.id = f.folder_id"
        " WHERE f.id = ?",
        (row_id,),
    )
    return [Copy(row[0], row[1], row[2], row[3], row[4], True) for row in rows]
