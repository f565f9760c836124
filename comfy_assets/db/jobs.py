"""Rows of jobs: submission, labels, progress, end, and complete records."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..models import CANCELLED, COMPLETED, FAILED, IN_PROGRESS, PENDING, Job, JobRecord
from . import contents
from .compression import decompress
from .connection import Database, Transaction
from .contents import Document
from .sql import Columns, Row, json_array

COLUMNS = Columns(
    Job,
    row_id="j.id",
    id="j.uuid",
    owner="j.owner",
    status="j.status",
    number="j.number",
    workflow_id="j.workflow_id",
    workflow_version_id="j.workflow_version_id",
    created_at="j.created_at",
    started_at="j.started_at",
    finished_at="j.finished_at",
    updated_at="j.updated_at",
    duration="j.duration",
    outputs_count="j.outputs_count",
    previewable_count="j.previewable_count",
    preview="j.preview",
    # Few jobs fail, and lists show nothing else of a record: only their records are read.
    error=f"CASE WHEN j.status = {FAILED} THEN (SELECT error FROM job_records WHERE job_id = j.id) END",
    prompt="j.prompt",
    workflow_name="CASE WHEN j.workflow_id IS NOT NULL THEN (SELECT w.name FROM workflows w"
    " WHERE w.uuid = j.workflow_id AND w.owner = j.owner AND w.deleted_at IS NULL) END",
    deleted_outputs="CASE WHEN j.outputs_count > 0 THEN (SELECT count(*) FROM job_outputs o"
    " JOIN trash t ON t.asset_id = o.asset_id WHERE o.job_id = j.id) ELSE 0 END",
)
VISIBLE = "j.owner IN ('', ?)"
_ACTIVE = f"status IN ({PENDING}, {IN_PROGRESS})"


class StoredId(msgspec.Struct, frozen=True, gc=False):
    """The job that has an id. ``row_id`` is None if its record was removed."""

    id: str
    owner: str
    row_id: int | None = None
    run: int = 0
    created_at: int = 0
    seat: int = 0
    is_active: bool = False


class ActiveJob(msgspec.Struct, frozen=True, gc=False):
    """A job that has not ended, with the fields that recovery needs."""

    id: str
    run: int
    seat: int
    is_running: bool
    is_interrupted: bool


class NewJob(msgspec.Struct, frozen=True, gc=False):
    """A submitted job; see ``models.JobRecord``. Its documents have no key."""

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
    run: int = 0
    problem: str | None = None
    started_at: int | None = None  # when it began, if it did so before it was added
    prompt: str | None = None
    labels: dict[str, str] | None = None


class EndedJob(msgspec.Struct, frozen=True, gc=False):
    """The end of a job; see ``models.Job``. ``result`` is compressed; ``started_at`` is used if no start was recorded.

    ``is_presumed``: no event reported the end; if one comes later, it replaces this end.
    """

    id: str
    run: int
    at: int
    status: int
    result: bytes
    error: str | None
    started_at: int | None = None
    outputs_count: int = 0
    previewable_count: int = 0
    media: int = 0
    preview: str | None = None
    problem: str | None = None
    is_presumed: bool = False


async def add(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Add jobs with new ids."""
    bodies = {d.hash: d.body for job in jobs for d in (job.graph, job.workflow) if d is not None}
    await tx.execute_many("INSERT OR IGNORE INTO documents (hash, body) VALUES (?, ?)", list(bodies.items()))
    await tx.execute_many(
        "INSERT INTO jobs"
        " (uuid, owner, status, number, seat, workflow_id, workflow_version_id, created_at, updated_at, run,"
        " started_at, prompt)"
        f" VALUES (?1, ?2, CASE WHEN ?9 IS NULL THEN {PENDING} ELSE {IN_PROGRESS} END, ?3, ?4, ?5, ?6, ?7,"
        " max(?7, coalesce(?9, 0)), ?8, max(?7, ?9), ?10)",
        [
            (
                *(j.id, j.owner, j.number, j.seat, j.workflow_id, j.workflow_version_id),
                *(j.at, j.run, j.started_at, j.prompt),
            )
            for j in jobs
        ],
    )
    await tx.execute_many(
        "INSERT INTO job_records (job_id, graph_id, workflow_id, extra_data, targets, problem) VALUES ("
        "(SELECT id FROM jobs WHERE uuid = ?), (SELECT id FROM documents WHERE hash = ?),"
        " (SELECT id FROM documents WHERE hash = ?), ?, ?, ?)",
        [
            (j.id, j.graph.hash, j.workflow.hash if j.workflow else None, j.extra_data, j.targets, j.problem)
            for j in jobs
        ],
    )
    await _add_labels(tx, {j.id: j.labels for j in jobs if j.labels})


async def _add_labels(tx: Transaction, labels: Mapping[str, Mapping[str, str]]) -> None:
    """Store the labels of new jobs, by their ids."""
    rows = [(job_id, name, value) for job_id, given in labels.items() for name, value in given.items()]
    await tx.execute_many(
        "INSERT OR REPLACE INTO job_labels (job_id, name, value) SELECT id, ?2, ?3 FROM jobs WHERE uuid = ?1", rows
    )


async def labels_of(db: Database, row_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return the labels of jobs by row. Jobs without any are left out."""
    rows = await db.fetch_all(
        "SELECT job_id, name, value FROM job_labels WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY name",
        (json_array(row_ids),),
    )
    found: dict[int, dict[str, str]] = {}
    for row_id, name, value in rows:
        found.setdefault(row_id, {})[name] = value
    return found


async def stored_ids(db: Database | Transaction, job_ids: Iterable[str]) -> dict[str, StoredId]:
    """Return the jobs of these ids, including those whose records were removed."""
    ids = json_array(job_ids)
    rows = await db.fetch_all(
        f"SELECT uuid, owner, id, run, created_at, seat, {_ACTIVE} FROM jobs"
        " WHERE uuid IN (SELECT value FROM json_each(?1))"
        " UNION ALL SELECT uuid, owner, NULL, 0, 0, 0, 0 FROM removed_jobs r"
        " WHERE uuid IN (SELECT value FROM json_each(?1)) AND NOT EXISTS (SELECT 1 FROM jobs WHERE uuid = r.uuid)",
        (ids,),
    )
    return {
        job_id: StoredId(job_id, owner, row_id, run, created_at, seat, bool(is_active))
        for job_id, owner, row_id, run, created_at, seat, is_active in rows
    }


async def start(tx: Transaction, started: Sequence[tuple[str, int, int]]) -> None:
    """Record that jobs began: ids, runs and times. If the clock was set back, that is when they were added."""
    await tx.execute_many(
        f"UPDATE jobs SET status = {IN_PROGRESS}, started_at = max(?3, created_at), updated_at = max(?3, updated_at)"
        f" WHERE uuid = ?1 AND run = ?2 AND status = {PENDING}",
        started,
    )


async def show(tx: Transaction, shown: Sequence[tuple[str, int, int, str]]) -> None:
    """Record what nodes have shown: ids, runs, times and JSON objects of the nodes' outputs."""
    # json_patch merges by node and key: what a node shows later replaces what it has shown under the same key.
    await tx.execute_many(
        "UPDATE job_records SET shown = json_patch(coalesce(shown, '{}'), ?3)"
        f" WHERE job_id = (SELECT id FROM jobs WHERE uuid = ?1 AND run = ?2 AND {_ACTIVE})",
        [(job_id, run, outputs) for job_id, run, _, outputs in shown],
    )
    await tx.execute_many(
        f"UPDATE jobs SET updated_at = max(?3, updated_at) WHERE uuid = ?1 AND run = ?2 AND {_ACTIVE}",
        [(job_id, run, at) for job_id, run, at, _ in shown],
    )


async def interrupt(tx: Transaction, interrupted: Sequence[tuple[str, int]]) -> None:
    """Record that jobs were interrupted while they were executed: ids and runs."""
    await tx.execute_many(f"UPDATE jobs SET interrupted = 1 WHERE uuid = ? AND run = ? AND {_ACTIVE}", interrupted)


async def interrupted(tx: Transaction) -> set[int]:
    """Return the rows of interrupted jobs that have not ended."""
    return {row[0] for row in await tx.fetch_all(f"SELECT id FROM jobs WHERE {_ACTIVE} AND interrupted")}


async def drop(tx: Transaction, dropped: Sequence[tuple[str, int, int, bool]]) -> None:
    """Record that jobs were cancelled before they began: ids, runs, times, and whether that is only presumed."""
    await tx.execute_many(
        f"UPDATE jobs SET status = {CANCELLED}, started_at = max(?3, created_at), finished_at = max(?3, created_at),"
        " updated_at = max(?3, updated_at), is_presumed = ?4"
        f" WHERE uuid = ?1 AND run = ?2 AND status = {PENDING}",
        dropped,
    )


async def end(tx: Transaction, ended: Sequence[EndedJob]) -> None:
    """Record the ends of jobs. A reported end replaces a presumed one."""
    # The records come first: the second statement closes the jobs, by which the first one finds them.
    is_open = f"uuid = ?1 AND run = ?2 AND ({_ACTIVE} OR (is_presumed AND NOT ?3))"
    await tx.execute_many(
        "UPDATE job_records SET shown = NULL, result = ?4, error = ?5,"
        " problem = nullif(trim(coalesce(problem, '') || ' ' || coalesce(?6, '')), '')"
        f" WHERE job_id = (SELECT id FROM jobs WHERE {is_open})",
        [(e.id, e.run, e.is_presumed, e.result, e.error, e.problem) for e in ended],
    )
    # Never before the submission, even if the clock was set back in between.
    began = "max(coalesce(started_at, ?10, ?5), created_at)"
    await tx.execute_many(
        f"UPDATE jobs SET status = ?4, is_presumed = ?3, started_at = {began}, finished_at = max(?5, {began}),"
        f" updated_at = max(?5, updated_at, {began}), duration = max(?5 - {began}, 0), outputs_count = ?6,"
        f" previewable_count = ?7, media = ?8, preview = ?9 WHERE {is_open}",
        [
            (
                *(e.id, e.run, e.is_presumed, e.status, e.at),
                *(e.outputs_count, e.previewable_count, e.media, e.preview, e.started_at),
            )
            for e in ended
        ],
    )


async def get(db: Database | Transaction, job_id: str) -> Job | None:
    """Return the job, of any owner, or None."""
    rows = await db.fetch_all(f"SELECT {COLUMNS.sql} FROM jobs j WHERE j.uuid = ?", (job_id,))
    return COLUMNS.read(rows[0]) if rows else None


async def get_many(db: Database | Transaction, job_ids: Iterable[str]) -> list[Job]:
    """Return jobs of all owners. Unknown ids are left out."""
    ids = json_array(job_ids)
    rows = await db.fetch_all(
        f"SELECT {COLUMNS.sql} FROM jobs j WHERE j.uuid IN (SELECT value FROM json_each(?))", (ids,)
    )
    return COLUMNS.read_all(rows)


_LARGEST_GRAPH = 1 << 20  # compressed bytes; the prompt of a larger one is not shown


async def without_prompt(db: Database, limit: int) -> list[int]:
    """Return rows of jobs whose prompts have not been read, the latest first."""
    rows = await db.fetch_all("SELECT id FROM jobs WHERE prompt IS NULL ORDER BY id DESC LIMIT ?", (limit,))
    return [row[0] for row in rows]


async def graphs_of(db: Database, row_ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Return rows of jobs with their compressed graphs. Graphs that are too large for a list are left out."""
    rows = await db.fetch_all(
        "SELECT r.job_id, d.body FROM json_each(?) e CROSS JOIN job_records r ON r.job_id = e.value"
        " JOIN documents d ON d.id = r.graph_id WHERE length(d.body) <= ?",
        (json_array(row_ids), _LARGEST_GRAPH),
    )
    return [(row[0], row[1]) for row in rows]


async def set_prompts(tx: Transaction, prompts: Sequence[tuple[int, str]]) -> None:
    """Store the first words of prompts by row."""
    await tx.execute_many("UPDATE jobs SET prompt = ?2 WHERE id = ?1", prompts)


_RECORD = f"{COLUMNS.sql}, g.body, w.body, r.extra_data, r.targets, r.shown, r.result, r.problem, j.run"
_RECORD_JOINS = (
    "JOIN job_records r ON r.job_id = j.id JOIN documents g ON g.id = r.graph_id"
    " LEFT JOIN documents w ON w.id = r.workflow_id"
)


async def records_of(
    db: Database | Transaction, row_ids: Sequence[int], *, with_graphs: bool = True
) -> list[JobRecord]:
    """Return complete records in the order of the rows; without graphs, these are empty objects."""
    columns = _RECORD if with_graphs else _RECORD.replace("g.body, w.body", "NULL, NULL")
    rows = await db.fetch_all(
        f"SELECT {columns} FROM json_each(?) e CROSS JOIN jobs j ON j.id = e.value {_RECORD_JOINS} ORDER BY e.key",
        (json_array(row_ids),),
    )
    return [_record(row) for row in rows]


async def active(db: Database | Transaction) -> list[ActiveJob]:
    """Return the jobs of all servers that have not ended."""
    rows = await db.fetch_all(f"SELECT uuid, run, seat, status, interrupted FROM jobs WHERE {_ACTIVE}")
    return [
        ActiveJob(job_id, run, seat, status == IN_PROGRESS, bool(asked)) for job_id, run, seat, status, asked in rows
    ]


async def seat_of(db: Database, row_id: int) -> int:
    """Return the instance whose queue holds, or held, the job."""
    row = await db.fetch_one("SELECT seat FROM jobs WHERE id = ?", (row_id,))
    return row[0] if row is not None else 0


async def active_of(tx: Transaction, others: Iterable[int]) -> list[JobRecord]:
    """Return the records of jobs that have not ended, except those of other instances, in the order of execution."""
    seats = json_array(others)
    rows = await tx.fetch_all(
        f"SELECT {_RECORD} FROM jobs j {_RECORD_JOINS} WHERE j.{_ACTIVE}"
        " AND j.seat NOT IN (SELECT value FROM json_each(?)) ORDER BY j.number, j.id",
        (seats,),
    )
    return [_record(row) for row in rows]


async def move_to_seat(tx: Transaction, row_ids: Iterable[int], seat: int) -> None:
    """Assign jobs to this server's queue."""
    await tx.execute_many("UPDATE jobs SET seat = ? WHERE id = ?", [(seat, row_id) for row_id in row_ids])


async def newest_finished(db: Database, limit: int, before: int | None = None) -> list[JobRecord]:
    """Return records of executed jobs, the latest first; with ``before``, those added before this row."""
    rows = await db.fetch_all(
        f"SELECT {_RECORD} FROM jobs j {_RECORD_JOINS} WHERE r.result IS NOT NULL AND j.id < ?"
        " ORDER BY j.id DESC LIMIT ?",
        (before if before is not None else 1 << 62, limit),  # no row has so large an id
    )
    return [_record(row) for row in rows]


_EXECUTED = f"j.finished_at IS NOT NULL AND r.result IS NOT NULL AND {VISIBLE}"


async def executed(db: Database, owner: str, limit: int, offset: int | None) -> list[int]:
    """Return rows of executed, visible jobs: from ``offset`` on, oldest first, or else the latest first."""
    order, start = ("DESC", 0) if offset is None else ("ASC", offset)
    rows = await db.fetch_all(
        f"SELECT j.id FROM jobs j JOIN job_records r ON r.job_id = j.id WHERE {_EXECUTED}"
        f" ORDER BY j.id {order} LIMIT ? OFFSET ?",
        (owner, limit, start),
    )
    return [row[0] for row in rows]


async def executed_as(db: Database, owner: str, job_id: str) -> list[int]:
    """Return the row of the job with this id in a list, if it was executed and the user may see it."""
    rows = await db.fetch_all(
        f"SELECT j.id FROM jobs j JOIN job_records r ON r.job_id = j.id WHERE {_EXECUTED} AND j.uuid = ?",
        (owner, job_id),
    )
    return [row[0] for row in rows]


def _record(row: Row) -> JobRecord:
    graph, workflow, extra_data, targets, shown, result, problem, run = row[-8:]
    return JobRecord(
        job=COLUMNS.read(row),
        graph=decompress(graph) if graph is not None else b"{}",
        workflow=decompress(workflow) if workflow is not None else None,
        extra_data=extra_data.encode(),
        targets=targets.encode(),
        result=zlib.decompress(result) if result is not None else _so_far(shown),
        problem=problem,
        run=run,
    )


def _so_far(shown: str | None) -> bytes:
    return b'{"outputs":%s}' % (shown or "{}").encode()


async def latest_unlinked(db: Database, limit: int) -> list[int]:
    """Return rows of the latest ended jobs that have outputs but no link to an asset."""
    rows = await db.fetch_all(
        "SELECT id FROM (SELECT id, outputs_count FROM jobs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT ?) j"
        " WHERE outputs_count > 0 AND NOT EXISTS (SELECT 1 FROM job_outputs WHERE job_id = j.id) ORDER BY id",
        (limit,),
    )
    return [row[0] for row in rows]


async def rows_over(tx: Transaction, owner: str, limit: int) -> list[tuple[int, str]]:
    """Return rows and ids of ended jobs that the user may see."""
    rows = await tx.fetch_all(
        f"SELECT j.id, j.uuid FROM jobs j WHERE {VISIBLE} AND j.status IN ({COMPLETED}, {FAILED}, {CANCELLED}) LIMIT ?",
        (owner, limit),
    )
    return [(row[0], row[1]) for row in rows]


async def rows_to_prune(db: Database | Transaction, before: int | None, keep: int, limit: int = -1) -> list[int]:
    """Return rows of jobs that ended before a time (ms; None: at any time), except the ``keep`` latest ended ones."""
    rows = await db.fetch_all(
        f"SELECT id FROM (SELECT id, finished_at FROM jobs WHERE status IN ({COMPLETED}, {FAILED}, {CANCELLED})"
        " ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?1) WHERE ?2 IS NULL OR finished_at < ?2"
        f" ORDER BY id LIMIT {limit:d}",
        (keep, before),
    )
    return [row[0] for row in rows]


async def delete(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Delete jobs, and documents that nothing else refers to. The jobs must have been removed from the full-text index.

    Their ids and owners are kept.
    """
    ids = json_array(row_ids)
    found = await tx.fetch_all(
        "SELECT graph_id FROM job_records WHERE job_id IN (SELECT value FROM json_each(?1)) UNION"
        " SELECT workflow_id FROM job_records WHERE job_id IN (SELECT value FROM json_each(?1))"
        " AND workflow_id IS NOT NULL",
        (ids,),
    )
    # An id stays its owner's: no other user may submit a prompt with it later.
    await tx.execute(
        "INSERT OR IGNORE INTO removed_jobs (uuid, owner) SELECT uuid, owner FROM jobs"
        " WHERE id IN (SELECT value FROM json_each(?)) AND owner <> ''",
        (ids,),
    )
    await tx.execute("DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    await contents.drop_unused_documents(tx, [row[0] for row in found])
