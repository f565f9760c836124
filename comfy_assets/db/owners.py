"""Owners of assets: give public assets to a user, and find the users whose jobs made them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from ..models import REFERENCE
from . import tags
from .connection import Database, Transaction
from .sql import json_array


class JobOwner(NamedTuple):
    """The owner of a job ("" for everybody), and when it began (ms)."""

    owner: str
    began_at: int


async def owners_of_jobs(tx: Transaction, job_ids: Collection[str]) -> dict[str, JobOwner]:
    """Return the owners of jobs by job id. Unknown jobs are left out."""
    rows = await tx.fetch_all(
        "SELECT uuid, owner, coalesce(started_at, created_at) FROM jobs WHERE uuid IN (SELECT value FROM json_each(?))",
        (json_array(job_ids),),
    )
    return {row[0]: JobOwner(row[1], row[2]) for row in rows}


async def give(tx: Transaction, asset_ids: Iterable[int], owner: str) -> None:
    """Give assets that are public to a user, with their tags."""
    await tags.move_assets(tx, asset_ids, lambda s: s if s.owner else s._replace(owner=owner))


# Public outputs of these users' jobs, without those that a workflow or share needs.
_PUBLIC_OUTPUTS = """
    SELECT DISTINCT a.id, j.owner, j.id FROM jobs j CROSS JOIN job_outputs o ON o.job_id = j.id
    JOIN assets a ON a.id = o.asset_id AND a.job_id = j.uuid
    JOIN tag_sets s ON s.id = a.tag_set_id AND s.owner = ''
    WHERE j.id > ?1 AND j.owner IN (SELECT value FROM json_each(?2))
    AND NOT EXISTS (SELECT 1 FROM asset_uses WHERE asset_id = a.id) ORDER BY j.id LIMIT ?3
"""


async def names_of_others(db: Database, folder: str, user: str) -> set[str]:
    """Return the names of the files in a folder that belong to other users."""
    rows = await db.fetch_all(
        "SELECT f.name FROM folders d JOIN files f ON f.folder_id = d.id JOIN assets a ON a.id = f.id"
        " JOIN tag_sets s ON s.id = a.tag_set_id WHERE d.path = ? AND s.owner NOT IN ('', ?)",
        (folder, user),
    )
    return {row[0] for row in rows}


class PublicOutput(NamedTuple):
    """A public asset that a job of the user ``owner`` made."""

    row_id: int
    owner: str
    job_row: int


async def public_outputs(db: Database, users: Sequence[str], after: int, limit: int) -> list[PublicOutput]:
    """Return public assets that jobs of these users made, by the rows of the jobs, after the row ``after``."""
    named = json_array([user for user in users if user])
    return [PublicOutput(*row) for row in await db.fetch_all(_PUBLIC_OUTPUTS, (after, named, limit))]


# Other users' assets among the outputs of jobs: the jobs' rows, ids and owners, and the assets with their contents.
_OTHERS_SHOWN = """
    SELECT DISTINCT j.id, j.uuid, j.owner, a.id, a.content_id, s.tags
    FROM json_each(?) u JOIN jobs j ON j.uuid = u.value JOIN job_outputs o ON o.job_id = j.id
    JOIN assets a ON a.id = o.asset_id JOIN tag_sets s ON s.id = a.tag_set_id
    WHERE j.owner <> '' AND s.owner NOT IN ('', j.owner) AND a.content_id IS NOT NULL
"""
_OWN_OF_CONTENT = """
    SELECT a.id FROM assets a JOIN tag_sets s ON s.id = a.tag_set_id
    WHERE a.content_id = ? AND s.owner = ? AND s.hidden = 0 ORDER BY a.id LIMIT 1
"""
_REFER = f"""
    INSERT INTO assets
    (uuid, tag_set_id, content_id, name, name_key, mime_type, size, created_at, updated_at, origin, job_id)
    SELECT ?1, ?2, content_id, name, name_key, mime_type, size, ?3, ?3, {REFERENCE}, ?4 FROM assets WHERE id = ?5
"""


async def refer_to_others(tx: Transaction, job_ids: Collection[str], new_id: Callable[[], str], now: int) -> int:
    """Replace other users' assets among the outputs of jobs by references of the jobs' owners; return how many are new.

    Servers reuse cached results of nodes for all users, so a job may show files that another user's job made.
    """
    rows = await tx.fetch_all(_OTHERS_SHOWN, (json_array(job_ids),))
    count = 0
    for job_row, job_id, owner, asset_row, content_id, text in rows:
        own = await tx.fetch_value(_OWN_OF_CONTENT, (content_id, owner))
        if own is None:
            roots = [tag for tag in msgspec.json.decode(text, type=list[str]) if tag in tags.ROOT_TAGS]
            set_id = await tags.intern(tx, owner, roots)
            await tx.execute(_REFER, (new_id(), set_id, now, job_id, asset_row))
            own = await tx.fetch_value("SELECT last_insert_rowid()")
            count += 1
        await tx.execute(
            "UPDATE job_outputs SET asset_id = ? WHERE job_id = ? AND asset_id = ?", (own, job_row, asset_row)
        )
    return count
