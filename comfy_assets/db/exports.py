"""Exported archives, and the jobs whose outputs go into one."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from . import tags
from .connection import Database, Transaction
from .sql import Columns, insert_into, json_array


class ExportedArchive(msgspec.Struct, frozen=True):
    """An archive in the folder of exports. Times are in ms; the token permits its download."""

    name: str
    task_id: bytes
    owner: str
    token: str
    created_at: int
    expires_at: int


_COLUMNS = Columns(ExportedArchive, **{name: name for name in ExportedArchive.__struct_fields__})


async def add(tx: Transaction, archive: ExportedArchive) -> None:
    """Add an archive. An earlier one of the same task is replaced."""
    await tx.execute("DELETE FROM exports WHERE task_id = ?", (archive.task_id,))
    await tx.execute(*insert_into("exports", msgspec.structs.asdict(archive)))


async def get(db: Database, name: str) -> ExportedArchive | None:
    """Return the archive of this name, of any owner, or None."""
    row = await db.fetch_one(f"SELECT {_COLUMNS.sql} FROM exports WHERE name = ?", (name,))
    return _COLUMNS.read(row) if row is not None else None


async def expired(db: Database, now: int) -> list[str]:
    """Return the names of archives that have expired at ``now`` (ms)."""
    return [row[0] for row in await db.fetch_all("SELECT name FROM exports WHERE expires_at <= ?", (now,))]


async def names(db: Database) -> set[str]:
    """Return the names of all archives."""
    return {row[0] for row in await db.fetch_all("SELECT name FROM exports")}


async def remove(tx: Transaction, name: str) -> None:
    """Remove the record of an archive."""
    await tx.execute("DELETE FROM exports WHERE name = ?", (name,))


class ExportedJob(NamedTuple):
    """A job whose outputs are exported: its row, and the time of its creation (ms)."""

    row_id: int
    created_at: int


async def jobs(db: Database, ids: Collection[str], owner: str) -> dict[str, ExportedJob]:
    """Return the user's and the public jobs by id; others are left out."""
    rows = await db.fetch_all(
        "SELECT uuid, id, created_at FROM jobs WHERE uuid IN (SELECT value FROM json_each(?)) AND owner IN ('', ?)",
        (json_array(ids), owner),
    )
    return {row[0]: ExportedJob(row[1], row[2]) for row in rows}


async def output_ids(db: Database, job_ids: Collection[str], owner: str, limit: int) -> list[tuple[str, str]]:
    """Return pairs of a job's id and an asset's id: the outputs of jobs, in the order of jobs, nodes and outputs."""
    rows = await db.fetch_all(
        "SELECT j.uuid, a.uuid FROM jobs j JOIN job_outputs o ON o.job_id = j.id"
        " JOIN assets a ON a.id = o.asset_id JOIN tag_sets s ON s.id = a.tag_set_id"
        f" WHERE j.uuid IN (SELECT value FROM json_each(?)) AND {tags.VISIBLE}"
        " ORDER BY j.id, o.node_id, o.output_key, o.output_index LIMIT ?",
        (json_array(job_ids), owner, limit),
    )
    return [(row[0], row[1]) for row in rows]


async def results(db: Database, job_row: int) -> bytes | None:
    """Return the outputs, descriptions and status of an ended job as compressed JSON, or None."""
    row = await db.fetch_one("SELECT result FROM job_records WHERE job_id = ?", (job_row,))
    return row[0] if row is not None else None
