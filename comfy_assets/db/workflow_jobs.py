"""Links from jobs to workflow versions: what is left to check, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .connection import Database, Transaction


class LinkProgress(NamedTuple):
    """The last rows of jobs and of versions."""

    job_id: int
    version_id: int


class NamedWorkflow(NamedTuple):
    """An owner, and a workflow id that their jobs name."""

    owner: str
    workflow_id: str


class UnlinkedJob(msgspec.Struct, frozen=True, gc=False):
    """A job without a version. ``body`` is its compressed graph, in the frontend's form if there is one."""

    row_id: int
    document_hash: bytes
    body: bytes


class LinkCandidate(msgspec.Struct, frozen=True, gc=False):
    """A version that a job may belong to."""

    workflow_id: str
    version_id: str
    graph_digest: bytes | None


async def progress(db: Database) -> tuple[LinkProgress, LinkProgress]:
    """Return the rows up to which jobs and versions were checked, and the last rows that there are."""
    rows = await db.fetch_all(
        "SELECT job_id, version_id, (SELECT coalesce(max(id), 0) FROM jobs),"
        " (SELECT coalesce(max(id), 0) FROM workflow_versions) FROM workflow_links"
    )
    return LinkProgress(*rows[0][:2]), LinkProgress(*rows[0][2:])


async def advance(tx: Transaction, upto: LinkProgress) -> None:
    """Store the rows up to which jobs and versions were checked."""
    await tx.execute("UPDATE workflow_links SET job_id = ?, version_id = ?", upto)


async def named_by_jobs(db: Database, after: int, upto: int) -> list[NamedWorkflow]:
    """Return the existing workflows that the jobs of these rows name."""
    rows = await db.fetch_all(
        "SELECT DISTINCT j.owner, j.workflow_id FROM jobs j WHERE j.id > ? AND j.id <= ?"
        " AND j.workflow_id IS NOT NULL AND j.workflow_version_id IS NULL AND (EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.graph_id = j.workflow_id AND w.owner = j.owner) OR EXISTS"
        " (SELECT 1 FROM workflows w WHERE w.uuid = j.workflow_id AND w.owner = j.owner))",
        (after, upto),
    )
    return [NamedWorkflow(*row) for row in rows]


async def named_by_versions(db: Database, after: int, upto: int) -> list[NamedWorkflow]:
    """Return the ids by which jobs may name the workflows that have the versions of these rows."""
    rows = await db.fetch_all(
        "SELECT w.owner, w.uuid FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 UNION"
        " SELECT w.owner, v.graph_id FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
        " WHERE v.id > ?1 AND v.id <= ?2 AND v.graph_id IS NOT NULL",
        (after, upto),
    )
    return [NamedWorkflow(*row) for row in rows]


async def unlinked(db: Database, named: NamedWorkflow, after: int, limit: int) -> list[UnlinkedJob]:
    """Return the latest jobs after a row that name a workflow and have no version yet."""
    rows = await db.fetch_all(
        "SELECT j.id, d.hash, d.body FROM jobs j JOIN job_records r ON r.job_id = j.id"
        " JOIN documents d ON d.id = coalesce(r.workflow_id, r.graph_id)"
        " WHERE j.owner = ? AND j.workflow_id = ? AND j.workflow_version_id IS NULL AND j.id > ?"
        " ORDER BY j.id DESC LIMIT ?",
        (*named, after, limit),
    )
    return [UnlinkedJob(*row) for row in rows]


async def candidates(db: Database, named: NamedWorkflow) -> list[LinkCandidate]:
    """Return the versions of workflows that an id may mean, those whose graphs have the id first."""
    rows = await db.fetch_all(
        "SELECT w.uuid, v.uuid, v.graph_digest FROM workflows w JOIN workflow_versions v ON v.workflow_id = w.id"
        " WHERE w.owner = ?1 AND w.deleted_at IS NULL AND w.id IN"
        " (SELECT id FROM workflows WHERE graph_id = ?2 UNION SELECT id FROM workflows WHERE uuid = ?2)"
        " ORDER BY w.graph_id IS ?2 DESC, w.uuid = ?2 DESC, w.updated_at DESC, w.id, v.version DESC",
        named,
    )
    return [LinkCandidate(*row) for row in rows]


async def link(tx: Transaction, links: Iterable[tuple[int, str, str | None]]) -> None:
    """Set the workflow and version of jobs: rows and ids."""
    await tx.execute_many("UPDATE jobs SET workflow_id = ?2, workflow_version_id = ?3 WHERE id = ?1", links)
