"""Which jobs are whose workflow's: what is to be looked at, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .connection import Database, Transaction


class Marks(NamedTuple):
    """The last rows of jobs and of versions."""

    job_id: int
    version_id: int


class Named(NamedTuple):
    """An owner, and the id of a workflow that jobs of theirs name."""

    owner: str
    workflow_id: str


class UnlinkedJob(msgspec.Struct, frozen=True, gc=False):
    """A job of no version; ``body`` is its graph, compressed: the page's form of it, if there is one."""

    row_id: int
    document_hash: bytes
    body: bytes


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A version that a job may be of."""

    workflow_id: str
    version_id: str
    graph_digest: bytes | None


async def marks(db: Database) -> tuple[Marks, Marks]:
    """Up to where has been looked, and up to where there is something."""
    rows = await db.fetch_all(
        "SELECT job_id, version_id, (SELECT coalesce(max(id), 0) FROM jobs),"
        " (SELECT coalesce(max(id), 0) FROM workflow_versions) FROM workflow_links"
    )
    return Marks(*rows[0][:2]), Marks(*rows[0][2:])


async def advance(tx: Transaction, upto: Marks) -> None:
    """Note up to where has been looked."""
    await tx.execute("UPDATE workflow_links SET job_id = ?, version_id = ?", upto)


async def named_by_jobs(db: Database, after: int, upto: int) -> list[Named]:
    """Which workflows the jobs of these rows name, of those that there are."""
    rows = await db.fetch_all(
        "SELECT DISTINCT j.owner, j.workflow_id FROM jobs j WHERE j.id > ? AND j.id <= ?"
        " AND j.workflow_id IS NOT NULL AND j.workflow_version_id IS NULL AND (EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.graph_id = j.workflow_id AND w.owner = j.owner) OR EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.uuid = j.workflow_id AND w.owner = j.owner))",
        (after, upto),
    )
    return [Named(*row) for row in rows]


async def named_by_versions(db: Database, after: int, upto: int) -> list[Named]:
    """By which ids jobs may name the workflows that have the versions of these rows."""
    rows = await db.fetch_all(
        "SELECT w.owner, w.uuid FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 UNION"
        " SELECT w.owner, v.graph_id FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 AND v.graph_id IS NOT NULL",
        (after, upto),
    )
    return [Named(*row) for row in rows]


async def unlinked(db: Database, named: Named, after: int, limit: int) -> list[UnlinkedJob]:
    """The latest jobs after a row that name a workflow and are of no version yet."""
    rows = await db.fetch_all(
        "SELECT j.id, d.hash, d.body FROM jobs j JOIN job_records r ON r.job_id = j.id"
        " JOIN documents d ON d.id = coalesce(r.workflow_id, r.graph_id)"
        " WHERE j.owner = ? AND j.workflow_id = ? AND j.workflow_version_id IS NULL AND j.id > ?"
        " ORDER BY j.id DESC LIMIT ?",
        (*named, after, limit),
    )
    return [UnlinkedJob(*row) for row in rows]


async def candidates(db: Database, named: Named) -> list[Candidate]:
    """Versions of the workflows that an id may stand for: first those whose graphs have it."""
    rows = await db.fetch_all(
        "SELECT w.uuid, v.uuid, v.graph_digest FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id"
        " WHERE w.owner = ?1 AND w.deleted_at IS NULL AND w.id IN"
        " (SELECT id FROM workflows WHERE graph_id = ?2 UNION SELECT id FROM workflows WHERE uuid = ?2)"
        " ORDER BY w.graph_id IS ?2 DESC, w.uuid = ?2 DESC, w.updated_at DESC, w.id, v.version DESC",
        named,
    )
    return [Candidate(*row) for row in rows]


async def link(tx: Transaction, links: Iterable[tuple[int, str, str | None]]) -> None:
    """Say of which workflow and version jobs are: rows and ids."""
    await tx.execute_many("UPDATE jobs SET workflow_id = ?2, workflow_version_id = ?3 WHERE id = ?1", links)
