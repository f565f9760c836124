"""Jobs written to the store: events converted to rows in a thread and written in one transaction.

The first words of a job's prompt, which lists show, are read from its graph and stored with it. Jobs of earlier
releases get them in idle time, and in the lists that show them.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from .. import json_text
from ..db import job_links, jobs
from ..db.compression import decompress
from ..db.connection import Database, Transaction
from ..db.contents import Document
from ..db.jobs import EndedJob, NewJob, StoredId
from ..db.sqlite_errors import is_data_error
from ..graphs import NamedFile, executed_graph, named_files
from ..host.execution import SubmittedPrompt
from ..models import Job, JobRecord
from ..search import index as search_index
from ..search.decoding import decode
from ..search.graph_generation import positive_text
from .events import (
    EMPTY_RESULT,
    JobDropped,
    JobEnded,
    JobEvent,
    JobInterrupted,
    JobStarted,
    JobSubmitted,
    OutputShown,
    summarize,
)

log = logging.getLogger("comfy_assets.jobs")

_decode_graph = msgspec.json.Decoder(dict[str, Any]).decode

_LARGE_GRAPH = 4 << 20  # characters; the prompt of a larger one is not shown
_LEVEL = 6  # zlib's default
_SHORT = 512  # bytes
_SHORT_WINDOW, _SHORT_MEMORY = 10, 4  # a window of 1 KB, a table of 4 KB
PROMPT_LENGTH = 200  # characters
_BATCH = 50  # graphs read at once: some megabytes


@dataclass
class EventRows:
    """Rows to write, by kind of event. No job is submitted twice in it, so kinds can be written one after another."""

    submitted: list[NewJob] = field(default_factory=list)
    files: list[tuple[str, int, NamedFile]] = field(default_factory=list)
    started: list[tuple[str, int, int]] = field(default_factory=list)
    shown: list[tuple[str, int, int, str]] = field(default_factory=list)
    interrupted: list[tuple[str, int]] = field(default_factory=list)
    dropped: list[tuple[str, int, int, bool]] = field(default_factory=list)
    ended: list[EndedJob] = field(default_factory=list)


def rows_of(events: Sequence[JobEvent], seat: int) -> list[EventRows]:
    """Convert events to rows. Blocks while it compresses texts."""
    groups = [EventRows()]
    submitted: set[str] = set()
    for event in events:
        if isinstance(event, JobSubmitted):
            if event.id in submitted:  # a client reuses an id: the rows of the second job go into another group
                groups.append(EventRows())
                submitted.clear()
            submitted.add(event.id)
        _add_rows(groups[-1], event, seat)
    for rows in groups:
        _merge_starts(rows)
    return groups


def _merge_starts(rows: EventRows) -> None:
    """Move start times into the rows of the same jobs that are added or ended: one statement less for each."""
    started_at = {(job_id, run): at for job_id, run, at in rows.started}
    replace = msgspec.structs.replace
    rows.ended = [replace(job, started_at=started_at.pop((job.id, job.run), None)) for job in rows.ended]
    if started_at:
        rows.submitted = [replace(job, started_at=started_at.pop((job.id, job.run), None)) for job in rows.submitted]
    rows.started = [(job_id, run, at) for (job_id, run), at in started_at.items()]


def _add_rows(rows: EventRows, event: JobEvent, seat: int) -> None:
    match event:
        case JobSubmitted():
            graph = _graph_of(event.graph.encode())
            rows.submitted.append(_new_job(event, seat, graph))
            rows.files += [(event.id, event.run, file) for file in named_files(graph)]
        case JobStarted():
            rows.started.append((event.id, event.run, event.at))
        case OutputShown():
            rows.shown.append((event.id, event.run, event.at, event.outputs))
        case JobInterrupted():
            rows.interrupted.append((event.id, event.run))
        case JobDropped():
            rows.dropped.append((event.id, event.run, event.at, event.is_presumed))
        case JobEnded():
            rows.ended.append(ended_job(event))


def _graph_of(text: bytes) -> dict[str, Any]:
    try:
        graph: dict[str, Any] = _decode_graph(text)
    except (msgspec.MsgspecError, RecursionError):  # NaN, lone surrogates, or nested too deeply
        return json_text.read(json_text.strict(text), dict[str, Any])
    return graph


def _new_job(event: JobSubmitted, seat: int, graph: dict[str, Any]) -> NewJob:
    return NewJob(
        id=event.id,
        owner=event.owner,
        number=event.number,
        seat=seat,
        workflow_id=event.workflow_id,
        workflow_version_id=event.workflow_version_id,
        at=event.at,
        graph=_document(event.graph),
        workflow=_document(event.workflow) if event.workflow is not None else None,
        extra_data=event.extra_data,
        targets=event.outputs,
        run=event.run,
        problem=event.problem,
        prompt=first_words(graph) if len(event.graph) <= _LARGE_GRAPH else "",
        labels=msgspec.json.decode(event.labels, type=dict[str, str]) if event.labels is not None else None,
    )


def _document(text: str) -> Document:
    body = text.encode()
    return Document("", blake3(body).digest(), _compressed(body))


def _compressed(body: bytes) -> bytes:
    """Compress a text with zlib. Any zlib can read the result."""
    if len(body) > _SHORT:
        return zlib.compress(body, _LEVEL)
    # By default zlib clears a table of 64 KB for each text, which takes longer than compressing a short one.
    compressor = zlib.compressobj(_LEVEL, wbits=_SHORT_WINDOW, memLevel=_SHORT_MEMORY)
    return compressor.compress(body) + compressor.flush()


def ended_job(event: JobEnded) -> EndedJob:
    """Return the row of a job's end, with a summary of its outputs."""
    result = json_text.read(event.result, dict[str, Any])
    summary = summarize(result.get("outputs") or {})
    preview = None if summary.preview is None else msgspec.json.encode(summary.preview).decode()
    return EndedJob(
        id=event.id,
        run=event.run,
        at=event.at,
        status=event.status,
        result=_compressed(event.result.encode()),
        error=event.error,
        outputs_count=summary.count,
        previewable_count=summary.previewable,
        media=summary.media,
        preview=preview,
        problem=event.problem,
        is_presumed=event.is_presumed,
    )


async def remove(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove jobs and their entries in the full-text index."""
    if row_ids:
        await search_index.remove_jobs(tx, row_ids)
        await jobs.delete(tx, row_ids)


async def _add(tx: Transaction, submitted: Sequence[NewJob]) -> None:
    """Add jobs that are not stored yet. A job replaces an older one of the same id and user."""
    stored = await jobs.stored_ids(tx, [job.id for job in submitted])
    new, started = [], []
    for each in submitted:
        job = _accepted(each, stored.get(each.id))
        if job is not None:
            new.append(job)
        elif each.started_at is not None:  # stored before it began: an earlier server wrote only its submission
            started.append((each.id, each.run, each.started_at))
    replaced = [row_id for job in new if job.id in stored and (row_id := stored[job.id].row_id) is not None]
    await remove(tx, replaced)
    await jobs.add(tx, new)
    await jobs.start(tx, started)


def _accepted(job: NewJob, stored: StoredId | None) -> NewJob | None:
    """Return the job to add; None if it is stored already, or if its id belongs to another user's job.

    Prompts that node packs submit have no user. One that reuses the id of a user's job becomes that user's.
    """
    if stored is None:
        return job
    if stored.row_id is not None and stored.run == job.run and job.run:
        return None
    if job.owner == stored.owner:
        return job
    if not job.owner:
        return msgspec.structs.replace(job, owner=stored.owner)
    if not stored.owner:
        return job
    log.error("The job %s is not recorded: a job of another user has its id.", job.id)
    return None


async def record(db: Database, events: Sequence[JobEvent], seat: int, patience_s: float | None = None) -> None:
    """Write events in one transaction; if the store rejects some, write all others.

    Raises sqlite3.Error if the store accepts no writes at all.
    """
    if not events:
        return
    try:
        # Compressing takes longer than writing, and would hold up the event loop.
        groups = await asyncio.to_thread(rows_of, events, seat)
        async with db.transaction(patience_s) as tx:
            await write(tx, groups)
    except Exception as error:
        if not is_data_error(error):
            raise
        await _record_in_parts(db, events, seat, error)


async def _record_in_parts(db: Database, events: Sequence[JobEvent], seat: int, error: Exception) -> None:
    """Find events that the store rejects by halving; write a rejected event without its content."""
    if len(events) > 1:
        half = len(events) // 2
        for part in (events[:half], events[half:]):
            await record(db, part, seat)
        return
    log.error("An event of the job %s cannot be recorded: %s", events[0].id, error)
    rest = without_content(events[0], f"The store does not take it: {error}.")
    if rest is not None and rest != events[0]:
        await record(db, [rest], seat)


def without_content(event: JobEvent, problem: str) -> JobEvent | None:
    """Return the event without the values of nodes and clients, as a last resort; None if nothing would be left."""
    replace = msgspec.structs.replace
    if isinstance(event, JobSubmitted):
        return replace(
            event, graph="{}", workflow=None, extra_data="{}", outputs="[]", workflow_id=None, workflow_version_id=None,
            labels=None, problem=f"What was submitted could not be recorded. {problem}",
        )  # fmt: skip
    if isinstance(event, JobEnded):
        return replace(event, result=EMPTY_RESULT, problem=f"The outputs could not be recorded. {problem}")
    return None


async def write(tx: Transaction, groups: Sequence[EventRows]) -> None:
    """Write rows, group after group, in the order in which events happen to a job."""
    for rows in groups:
        writes: list[tuple[Callable[[Transaction, Any], Awaitable[None]], list[Any]]] = [
            (_add, rows.submitted),
            (job_links.link_inputs, rows.files),
            (jobs.start, rows.started),
            (jobs.show, rows.shown),
            (jobs.interrupt, rows.interrupted),
            (jobs.drop, rows.dropped),
            (jobs.end, rows.ended),
        ]
        for write_rows, values in writes:
            if values:
                await write_rows(tx, values)


def submitted_prompt(record: JobRecord) -> SubmittedPrompt:
    """Return a stored prompt as it was submitted, without its credentials, which are not stored."""
    return SubmittedPrompt(
        number=record.job.number,
        prompt_id=record.job.id,
        graph=json_text.decode(record.graph),
        extra_data=extra_data(record),
        outputs=msgspec.json.decode(record.targets),
    )


def extra_data(record: JobRecord, *, with_workflow: bool = True) -> dict[str, Any]:
    """Return the extra data of a stored prompt, with the page's workflow in its place unless it is not wanted."""
    extra = json_text.read(record.extra_data, dict[str, Any])
    if record.workflow is not None and with_workflow:
        extra["extra_pnginfo"] = {"workflow": json_text.decode(record.workflow), **extra.get("extra_pnginfo", {})}
    return extra


def first_words(graph: object) -> str:
    """Return the beginning of the prompt in a graph that was executed, on one line; "" without a prompt. Pure."""
    text = " ".join(positive_text(executed_graph(graph)).split())
    return text if len(text) <= PROMPT_LENGTH else f"{text[: PROMPT_LENGTH - 1].rstrip()}…"


async def with_first_words(db: Database, listed: Sequence[Job]) -> list[Job]:
    """Return the jobs of a list with the first words of their prompts. Stores nothing: a list only reads."""
    unread = [job.row_id for job in listed if job.prompt is None]
    texts: dict[int, str] = {}
    for start in range(0, len(unread), _BATCH):
        texts |= await _first_words_of(db, unread[start : start + _BATCH])
    return [replace(job, prompt=texts.get(job.row_id)) if job.prompt is None else job for job in listed]


async def add_first_words(db: Database) -> bool:
    """Read and store the prompts of some jobs that have none yet; return whether there may be more."""
    rows = await jobs.without_prompt(db, _BATCH)
    if rows:
        texts = await _first_words_of(db, rows)
        async with db.transaction() as tx:
            await jobs.set_prompts(tx, [(row_id, texts.get(row_id, "")) for row_id in rows])
    return len(rows) == _BATCH


async def _first_words_of(db: Database, rows: Sequence[int]) -> dict[int, str]:
    bodies = await jobs.graphs_of(db, rows)
    return await asyncio.to_thread(lambda: {row_id: first_words(_decoded(body)) for row_id, body in bodies})


def _decoded(body: bytes) -> object:
    return decode(decompress(body))
