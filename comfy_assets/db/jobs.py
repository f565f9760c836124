"""Jobs as they come, go and end; and single ones with all there is of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import msgspec

from ..models import CANCELLED, COMPLETED, FAILED, IN_PROGRESS, PENDING, Job, JobRecord
from . import documents
from .connection import Database, Row, Transaction
from .contents import Document

COLUMNS = (
    "j.id, j.uuid, j.owner, j.status, j.number, j.workflow_id, j.workflow_version_id, j.created_at, j.started_at,"
    " j.finished_at, j.updated_at, j.duration, j.outputs_count, j.previewable_count, j.preview,"
    f" CASE WHEN j.status = {FAILED} THEN (SELECT error FROM job_records WHERE job_id = j.id) END"
)
VISIBLE = "j.owner IN ('', ?)"
_ACTIVE = f"status IN ({PENDING}, {IN_PROGRESS})"


class NewJob(msgspec.Struct, frozen=True, gc=False):
    """A job that was submitted; see ``models.JobRecord``. Documents have no key."""

    id: str
    owner: str
    number: float
    seat: int
    workflow_id: str | None
    workflow_version_id: str | None
    at: int
    graph: Document
    workflow: Document | None
    extra_data: str
    targets: str


class EndedJob(msgspec.Struct, frozen=True, gc=False):
    """How a job ended; see ``models.Job``. ``result`` is compressed; ``started_at`` counts if it was not told yet."""

    id: str
    at: int
    status: int
    result: bytes
    error: str | None
    started_at: int | None = None
    outputs_count: int = 0
    previewable_count: int = 0
    media: int = 0
    preview: str | None = None


async def add(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Add jobs, whose ids are not known."""
    bodies = {d.hash: d.body for job in jobs for d in (job.graph, job.workflow) if d is not None}
    await tx.execute_many("INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", list(bodies.items()))
    await tx.execute_many(
        "INSERT INTO jobs (uuid, owner, status, number, seat, workflow_id, workflow_version_id, created_at, updated_at)"
        f" VALUES (?1, ?2, {PENDING}, ?3, ?4, ?5, ?6, ?7, ?7)",
        [(j.id, j.owner, j.number, j.seat, j.workflow_id, j.workflow_version_id, j.at) for j in jobs],
    )
    await tx.execute_many(
        "INSERT INTO job_records (job_id, graph_id, workflow_id, extra_data, targets) VALUES ("
        "(SELECT id FROM jobs WHERE uuid = ?), (SELECT id FROM documents WHERE hash = ?),"
        " (SELECT id FROM documents WHERE hash = ?), ?, ?)",
        [(j.id, j.graph.hash, j.workflow.hash if j.workflow else None, j.extra_data, j.targets) for j in jobs],
    )


async def start(tx: Transaction, started: Sequence[tuple[str, int]]) -> None:
    """Note that jobs began: ids and times."""
    await tx.execute_many(
        f"UPDATE jobs SET status = {IN_PROGRESS}, started_at = ?2, updated_at = ?2"
        f" WHERE uuid = ?1 AND status = {PENDING}",
        started,
    )


async def show(tx: Transaction, shown: Sequence[tuple[str, int, str]]) -> None:
    """Note what nodes have shown: ids, times and JSON objects of the nodes' outputs."""
    await tx.execute_many(
        "UPDATE job_records SET shown = json_patch(coalesce(shown, '{}'), ?2)"
        f" WHERE job_id = (SELECT id FROM jobs WHERE uuid = ?1 AND {_ACTIVE})",
        [(job_id, outputs) for job_id, _, outputs in shown],
    )
    await tx.execute_many(
        f"UPDATE jobs SET updated_at = ?2 WHERE uuid = ?1 AND {_ACTIVE}", [(job_id, at) for job_id, at, _ in shown]
    )


async def interrupt(tx: Transaction, interrupted: Sequence[tuple[str]]) -> None:
    """Note that jobs were asked to stop while they were executed: ids."""
    await tx.execute_many(f"UPDATE jobs SET interrupted = 1 WHERE uuid = ? AND {_ACTIVE}", interrupted)


async def interrupted(tx: Transaction) -> set[int]:
    """The rows of the jobs that were asked to stop and have not ended."""
    return {row[0] for row in await tx.fetch_all(f"SELECT id FROM jobs WHERE {_ACTIVE} AND interrupted")}


async def drop(tx: Transaction, dropped: Sequence[tuple[str, int]]) -> None:
    """Note that jobs were cancelled before they began: ids and times."""
    await tx.execute_many(
        f"UPDATE jobs SET status = {CANCELLED}, started_at = ?2, finished_at = ?2, updated_at = ?2"
        f" WHERE uuid = ?1 AND status = {PENDING}",
        dropped,
    )


async def end(tx: Transaction, ended: Sequence[EndedJob]) -> None:
    """Note how jobs ended."""
    await tx.execute_many(
        "UPDATE job_records SET shown = NULL, result = ?2, error = ?3"
        f" WHERE job_id = (SELECT id FROM jobs WHERE uuid = ?1 AND {_ACTIVE})",
        [(e.id, e.result, e.error) for e in ended],
    )
    await tx.execute_many(
        "UPDATE jobs SET status = ?2, started_at = coalesce(started_at, ?8, ?3), finished_at = ?3,"
        " updated_at = ?3, duration = max(?3 - coalesce(started_at, ?8, ?3), 0), outputs_count = ?4,"
        f" previewable_count = ?5, media = ?6, preview = ?7 WHERE uuid = ?1 AND {_ACTIVE}",
        [(e.id, e.status, e.at, e.outputs_count, e.previewable_count, e.media, e.preview, e.started_at) for e in ended],
    )


async def get(db: Database | Transaction, job_id: str) -> Job | None:
    """The job, whoever's it is."""
    rows = await db.fetch_all(f"SELECT {COLUMNS} FROM jobs j WHERE j.uuid = ?", (job_id,))
    return Job(*rows[0]) if rows else None


async def get_many(db: Database | Transaction, job_ids: Iterable[str]) -> list[Job]:
    """Those of the jobs that there are, whoever's they are."""
    ids = msgspec.json.encode(list(job_ids)).decode()
    rows = await db.fetch_all(f"SELECT {COLUMNS} FROM jobs j WHERE j.uuid IN (SELECT value FROM json_each(?))", (ids,))
    return [Job(*row) for row in rows]


_RECORD = f"{COLUMNS}, g.body, w.body, r.extra_data, r.targets, r.shown, r.result"
_RECORD_JOINS = (
    "JOIN job_records r ON r.job_id = j.id JOIN documents g ON g.id = r.graph_id"
    " LEFT JOIN documents w ON w.id = r.workflow_id"
)


async def records_of(
    db: Database | Transaction, row_ids: Sequence[int], *, with_graphs: bool = True
) -> list[JobRecord]:
    """All there is of jobs that are there, in the order asked for; without graphs these are empty objects."""
    columns = _RECORD if with_graphs else _RECORD.replace("g.body, w.body", "NULL, NULL")
    rows = await db.fetch_all(
        f"SELECT {columns} FROM json_each(?) e CROSS JOIN jobs j ON j.id = e.value {_RECORD_JOINS} ORDER BY e.key",
        (msgspec.json.encode(row_ids).decode(),),
    )
    return [_record(row) for row in rows]


async def pending_of(db: Database, seat: int) -> list[str]:
    """The ids of the jobs that wait in a server's queue."""
    rows = await db.fetch_all(f"SELECT uuid FROM jobs WHERE status = {PENDING} AND seat = ?", (seat,))
    return [row[0] for row in rows]


async def active_of(tx: Transaction, others: Iterable[int]) -> list[JobRecord]:
    """The jobs that are not over, except those of other seats, in the order of execution."""
    seats = msgspec.json.encode(list(others)).decode()
    rows = await tx.fetch_all(
        f"SELECT {_RECORD} FROM jobs j {_RECORD_JOINS} WHERE j.{_ACTIVE}"
        " AND j.seat NOT IN (SELECT value FROM json_each(?)) ORDER BY j.number, j.id",
        (seats,),
    )
    return [_record(row) for row in rows]


async def move_to_seat(tx: Transaction, row_ids: Iterable[int], seat: int) -> None:
    """Say that this server's queue holds the jobs."""
    await tx.execute_many("UPDATE jobs SET seat = ? WHERE id = ?", [(seat, row_id) for row_id in row_ids])


async def newest_finished(db: Database, limit: int, before: int | None = None) -> list[JobRecord]:
    """The records of jobs that were executed, the latest first; those added before the one of this row."""
    rows = await db.fetch_all(
        f"SELECT {_RECORD} FROM jobs j {_RECORD_JOINS} WHERE r.result IS NOT NULL AND j.id < ?"
        " ORDER BY j.id DESC LIMIT ?",
        (before if before is not None else 1 << 62, limit),
    )
    return [_record(row) for row in rows]


async def visible(db: Database, job_ids: Iterable[str], owner: str) -> set[str]:
    """Those of the ids that are of jobs which the user may see."""
    ids = msgspec.json.encode(list(job_ids)).decode()
    rows = await db.fetch_all(
        f"SELECT j.uuid FROM jobs j WHERE j.uuid IN (SELECT value FROM json_each(?)) AND {VISIBLE}", (ids, owner)
    )
    return {row[0] for row in rows}


_EXECUTED = f"j.finished_at IS NOT NULL AND r.result IS NOT NULL AND {VISIBLE}"


async def executed(db: Database, owner: str, limit: int, offset: int | None) -> list[int]:
    """Rows of jobs that were executed and that the user may see: oldest first from ``offset`` on, or latest first."""
    order, start = ("DESC", 0) if offset is None else ("ASC", offset)
    rows = await db.fetch_all(
        f"SELECT j.id FROM jobs j JOIN job_records r ON r.job_id = j.id WHERE {_EXECUTED}"
        f" ORDER BY j.id {order} LIMIT ? OFFSET ?",
        (owner, limit, start),
    )
    return [row[0] for row in rows]


async def executed_as(db: Database, owner: str, job_id: str) -> list[int]:
    """The row of the job of this id, if it was executed and the user may see it."""
    rows = await db.fetch_all(
        f"SELECT j.id FROM jobs j JOIN job_records r ON r.job_id = j.id WHERE {_EXECUTED} AND j.uuid = ?",
        (owner, job_id),
    )
    return [row[0] for row in rows]


def _record(row: Row) -> JobRecord:
    graph, workflow, extra_data, targets, shown, result = row[-6:]
    return JobRecord(
        job=Job(*row[:-6]),
        graph=zlib.decompress(graph) if graph is not None else b"{}",
        workflow=zlib.decompress(workflow) if workflow is not None else None,
        extra_data=extra_data.encode(),
        targets=targets.encode(),
        result=zlib.decompress(result) if result is not None else _so_far(shown),
    )


def _so_far(shown: str | None) -> bytes:
    return b'{"outputs":%s}' % (shown or "{}").encode()


async def latest_unlinked(db: Database, limit: int) -> list[int]:
    """The rows of those of the latest jobs that are over, have outputs, and are linked to no asset."""
    rows = await db.fetch_all(
        "SELECT id FROM (SELECT id, outputs_count FROM jobs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT ?) j"
        " WHERE outputs_count > 0 AND NOT EXISTS (SELECT 1 FROM job_outputs WHERE job_id = j.id) ORDER BY id",
        (limit,),
    )
    return [row[0] for row in rows]


async def rows_over(tx: Transaction, owner: str, limit: int) -> list[tuple[int, str]]:
    """Rows and ids of jobs that are over and that the user may see."""
    rows = await tx.fetch_all(
        f"SELECT j.id, j.uuid FROM jobs j WHERE {VISIBLE} AND j.status IN ({COMPLETED}, {FAILED}, {CANCELLED}) LIMIT ?",
        (owner, limit),
    )
    return [(row[0], row[1]) for row in rows]


async def rows_to_prune(db: Database | Transaction, before: int | None, keep: int, limit: int = -1) -> list[int]:
    """The rows of jobs that were over before a time (ms; None: whenever), except the ``keep`` latest that are over."""
    rows = await db.fetch_all(
        f"SELECT id FROM (SELECT id, finished_at FROM jobs WHERE status IN ({COMPLETED}, {FAILED}, {CANCELLED})"
        " ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?1) WHERE ?2 IS NULL OR finished_at < ?2"
        f" ORDER BY id LIMIT {limit:d}",
        (keep, before),
    )
    return [row[0] for row in rows]


async def rows_of(tx: Transaction, job_ids: Sequence[str]) -> list[int]:
    """The rows of those of the jobs that there are."""
    ids = msgspec.json.encode(job_ids).decode()
    rows = await tx.fetch_all("SELECT id FROM jobs WHERE uuid IN (SELECT value FROM json_each(?))", (ids,))
    return [row[0] for row in rows]


async def delete(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove jobs, and the documents that nothing else refers to. Their words must have been taken out of the index."""
    ids = msgspec.json.encode(list(row_ids)).decode()
    found = await tx.fetch_all(
        "SELECT graph_id FROM job_records WHERE job_id IN (SELECT value FROM json_each(?1)) UNION"
        " SELECT workflow_id FROM job_records WHERE job_id IN (SELECT value FROM json_each(?1))"
        " AND workflow_id IS NOT NULL",
        (ids,),
    )
    await tx.execute("DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    await documents.drop_unused(tx, [row[0] for row in found])
