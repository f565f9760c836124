"""What scans last saw at a place on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from .connection import Database, Transaction


@dataclass(frozen=True)
class Sighting:
    """A folder that a scan listed, and of a file in it what it was when its content was hashed.

    ``hash`` is the 32-byte blake3 digest of the file of this size and time; None when that is not known.
    """

    size: int | None
    mtime_ns: int | None
    hash: bytes | None


async def at(db: Database | Transaction, folder: str, name: str) -> Sighting | None:
    """What is known of the file of this name; None when no scan has ever listed the folder."""
    rows = await db.fetch_all(
        "SELECT f.size, f.mtime_ns, c.hash FROM folders d"
        " LEFT JOIN files f ON f.folder_id = d.id AND f.name = ?2 LEFT JOIN assets a ON a.id = f.id"
        " LEFT JOIN contents c ON c.id = a.content_id WHERE d.path = ?1",
        (folder, name),
    )
    return Sighting(*rows[0]) if rows else None
