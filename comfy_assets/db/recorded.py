"""Files whose content is on record: those of equal content, all of them in turn, and a new time or inode of one."""

from __future__ import annotations

import msgspec

from ..models import FileStat
from .connection import Database, Transaction
from .files import HASHED


class RecordedFile(msgspec.Struct, frozen=True, gc=False):
    """A file that is there, as it was when it was read. ``hash`` is the blake3 digest of what it held then."""

    id: int
    folder: str
    name: str
    size: int
    mtime_ns: int
    hash: bytes


_COLUMNS = "f.id, d.path, f.name, f.size, f.mtime_ns, c.hash"
_TABLES = """
    files f JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id JOIN contents c ON c.id = a.content_id
"""
_IS_RECORDED = f"f.missing = 0 AND f.state = {HASHED}"


async def of_equal_content(db: Database) -> list[RecordedFile]:
    """Every file whose content lies in other files too, those of one content together; empty files are passed over."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {_IS_RECORDED} AND a.content_id IN"
        " (SELECT a.content_id FROM assets a JOIN files f ON f.id = a.id"
        f" WHERE {_IS_RECORDED} AND f.size > 0 AND a.content_id IS NOT NULL GROUP BY a.content_id HAVING count(*) > 1)"
        " ORDER BY a.content_id, d.path, f.name"
    )
    return [RecordedFile(*row) for row in rows]


async def page(db: Database, after_id: int, limit: int) -> list[RecordedFile]:
    """Files on record, by id."""
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM {_TABLES} WHERE f.id > ? AND {_IS_RECORDED} ORDER BY f.id LIMIT ?", (after_id, limit)
    )
    return [RecordedFile(*row) for row in rows]


async def totals(db: Database) -> tuple[int, int]:
    """How many files are on record, and their bytes."""
    row = await db.fetch_one(f"SELECT count(*), coalesce(sum(f.size), 0) FROM {_TABLES} WHERE {_IS_RECORDED}")
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def restamp(tx: Transaction, folder: str, name: str, before_mtime_ns: int, stat: FileStat) -> None:
    """Note the new time and inode of a file whose content is as before, unless its row has changed meanwhile.

    An inode of 0 stays: where scans see none, none is compared.
    """
    size, mtime_ns, inode = stat
    await tx.execute(
        "UPDATE files SET mtime_ns = ?, inode = CASE inode WHEN 0 THEN 0 ELSE ? END"
        " WHERE folder_id = (SELECT id FROM folders WHERE path = ?)"
        f" AND name = ? AND size = ? AND mtime_ns = ? AND state = {HASHED}",
        (mtime_ns, inode, folder, name, size, before_mtime_ns),
    )
