"""Rows of downloads that have not ended, and the SHA-256 of downloaded contents."""

from __future__ import annotations

import uuid
from collections.abc import Collection

import msgspec

from ..ids import now_ms
from .connection import Database, Transaction
from .sql import Columns, insert_into, json_array


class DownloadRow(msgspec.Struct, frozen=True):
    """A download. ``id`` is the UUID of its task; ``request`` and ``source`` are JSON objects.

    ``key`` is the same for the same file, owner and destination. ``flushed`` is the number of bytes that are safe on
    the disk, ``validator`` identifies the version of the file that they are of, and ``verified`` is the blake3 digest
    of the complete file.
    """

    id: bytes
    owner: str
    instance: int
    key: str
    is_active: bool
    request: str
    source: str
    folder: str
    flushed: int = 0
    validator: str | None = None
    verified: bytes | None = None


_COLUMNS = Columns(DownloadRow, **{name: name for name in DownloadRow.__struct_fields__})


async def claim(db: Database, row: DownloadRow, limit: int) -> DownloadRow | None:
    """Add a download, or continue an interrupted one of the same key under the new id.

    Return the row as stored: one with another id if such a download is active. Return None, without a change, if there
    are ``limit`` active downloads.
    """
    async with db.transaction() as tx:
        known = await _by_key(tx, row.key)
        if known is not None and known.is_active:
            return known
        [(active,)] = await tx.fetch_all("SELECT count(*) FROM downloads WHERE is_active = 1")
        if active >= limit:
            return None
        if known is not None:
            row = msgspec.structs.replace(
                row, folder=known.folder, flushed=known.flushed, validator=known.validator, verified=known.verified
            )
            await tx.execute("DELETE FROM downloads WHERE key = ?", (row.key,))
        statement, parameters = insert_into("downloads", {**msgspec.structs.asdict(row), "updated_at": now_ms()})
        await tx.execute(statement, parameters)
    return row


async def _by_key(tx: Transaction, key: str) -> DownloadRow | None:
    rows = await tx.fetch_all(f"SELECT {_COLUMNS.sql} FROM downloads WHERE key = ?", (key,))
    return _COLUMNS.read(rows[0]) if rows else None


async def active_by_key(db: Database, key: str) -> DownloadRow | None:
    """Return the active download of a key, or None."""
    row = await db.fetch_one(f"SELECT {_COLUMNS.sql} FROM downloads WHERE key = ? AND is_active = 1", (key,))
    return _COLUMNS.read(row) if row is not None else None


async def adopt(db: Database, instance: int, running: Collection[int]) -> list[DownloadRow]:
    """Give the active downloads of servers that have ended to this server; return them.

    ``running`` are the instances of other servers that run.
    """
    async with db.transaction() as tx:
        rows = await tx.fetch_all(
            f"SELECT {_COLUMNS.sql} FROM downloads"
            " WHERE is_active = 1 AND instance NOT IN (SELECT value FROM json_each(?)) ORDER BY updated_at, id",
            (json_array(running),),
        )
        found = _COLUMNS.read_all(rows)
        for each in found:
            await tx.execute("UPDATE downloads SET instance = ? WHERE id = ?", (instance, each.id))
    return [msgspec.structs.replace(each, instance=instance) for each in found]


async def record_progress(db: Database, task_id: uuid.UUID, flushed: int, validator: str | None) -> None:
    """Store how many bytes are safe on the disk, and the version of the file that they are of."""
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE downloads SET flushed = ?, validator = ?, updated_at = ? WHERE id = ?",
            (flushed, validator, now_ms(), task_id.bytes),
        )


async def record_folder(db: Database, task_id: uuid.UUID, folder: str) -> None:
    """Store the folder of a new partial file."""
    async with db.transaction() as tx:
        await tx.execute(
            "UPDATE downloads SET folder = ?, flushed = 0, validator = NULL WHERE id = ?", (folder, task_id.bytes)
        )


async def record_verified(db: Database, task_id: uuid.UUID, blake3: bytes, sha256: bytes) -> None:
    """Store the digests of a complete file."""
    async with db.transaction() as tx:
        await tx.execute("UPDATE downloads SET verified = ? WHERE id = ?", (blake3, task_id.bytes))
        await tx.execute(
            "INSERT INTO downloaded_contents (sha256, blake3) VALUES (?, ?)"
            " ON CONFLICT (sha256) DO UPDATE SET blake3 = excluded.blake3",
            (sha256, blake3),
        )


async def interrupt(db: Database, task_id: uuid.UUID) -> None:
    """Mark a download as interrupted: its partial file stays for a later request."""
    async with db.transaction() as tx:
        await tx.execute("UPDATE downloads SET is_active = 0, updated_at = ? WHERE id = ?", (now_ms(), task_id.bytes))


async def remove(db: Database, task_id: uuid.UUID) -> None:
    """Remove a download that has ended."""
    async with db.transaction() as tx:
        await tx.execute("DELETE FROM downloads WHERE id = ?", (task_id.bytes,))


async def remove_interrupted(db: Database, before: int) -> list[DownloadRow]:
    """Remove the downloads interrupted before this time (ms since 1970); return them."""
    async with db.transaction() as tx:
        condition = "is_active = 0 AND updated_at < ?"
        rows = await tx.fetch_all(f"SELECT {_COLUMNS.sql} FROM downloads WHERE {condition}", (before,))
        await tx.execute(f"DELETE FROM downloads WHERE {condition}", (before,))
    return _COLUMNS.read_all(rows)


async def keys(db: Database) -> set[str]:
    """Return the keys of all downloads that have a partial file."""
    return {row[0] for row in await db.fetch_all("SELECT key FROM downloads")}


async def blake3_of(db: Database, sha256: bytes) -> bytes | None:
    """Return the blake3 digest of a downloaded content, or None."""
    row = await db.fetch_one("SELECT blake3 FROM downloaded_contents WHERE sha256 = ?", (sha256,))
    return row[0] if row is not None else None
