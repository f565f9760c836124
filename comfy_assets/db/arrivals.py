"""Files that prompts have just written: what is known of them already, and which job made them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ..models import FileStat
from .connection import Database, Transaction
from .files import CHANGED, HASHED

Position = tuple[str, str]  # a folder's path and a file's name


class Arrival(NamedTuple):
    """A file that has a row. ``is_read``: its content is known; ``is_stale``: it has changed since that was so."""

    id: int
    stat: FileStat
    missing: bool
    is_read: bool
    is_stale: bool
    job_id: str | None


async def known(db: Database | Transaction, positions: Sequence[Position]) -> dict[Position, Arrival]:
    """The rows of the files in these positions, for those that have one."""
    rows = await db.fetch_all(
        "SELECT d.path, f.name, f.id, f.size, f.mtime_ns, f.inode, f.missing, f.state, a.job_id FROM json_each(?) j"
        " CROSS JOIN folders d ON d.path = json_extract(j.value, '$[0]')"
        " JOIN files f ON f.folder_id = d.id AND f.name = json_extract(j.value, '$[1]') JOIN assets a ON a.id = f.id",
        (msgspec.json.encode(positions).decode(),),
    )
    return {
        (row[0], row[1]): Arrival(
            row[2], (row[3], row[4], row[5]), bool(row[6]), row[7] == HASHED, row[7] == CHANGED, row[8]
        )
        for row in rows
    }


async def owner_at(db: Database, folder: str, name: str) -> str | None:
    """Return whose the file in this position is, deleted assets included; None where none is known."""
    row = await db.fetch_one(
        "SELECT s.owner FROM folders d JOIN files f ON f.folder_id = d.id JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE d.path = ? AND f.name = ?",
        (folder, name),
    )
    return str(row[0]) if row else None


async def set_jobs(tx: Transaction, jobs: Sequence[tuple[int, str]]) -> None:
    """Say which jobs made files, by id."""
    await tx.execute_many("UPDATE assets SET job_id = ?2 WHERE id = ?1", jobs)
