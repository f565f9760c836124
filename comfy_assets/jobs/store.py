"""Events brought into the form of the store: prepared in a thread, written in one transaction."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3

from .. import json_text
from ..db import job_links, jobs
from ..db.connection import Database, Transaction
from ..db.contents import Document
from ..db.jobs import EndedJob, NewJob, StoredId
from ..db.sqlite_errors import is_unfit
from ..search import job_index
from .events import Dropped, Ended, Interrupted, JobEvent, Shown, Started, Submitted
from .graph_files import NamedFile, named_files
from .summary import summarize

log = logging.getLogger("comfy_assets.jobs")

_decode_graph = msgspec.json.Decoder(dict[str, Any]).decode

_LEVEL = 6
_SHORT = 512  # bytes
_SHORT_WINDOW, _SHORT_MEMORY = 10, 4  # a window of 1 KB, a table of 4 KB
NOTHING = '{"outputs":{},"meta":{},"status":null}'  # the result of a job of which only the end is known


@dataclass
class Step:
    """Rows to be written, kind by kind. No job begins twice in it, so the order of kinds is the order of things."""

    added: list[NewJob] = field(default_factory=list)
    named: list[tuple[str, int, NamedFile]] = field(default_factory=list)
    started: list[tuple[str, int, int]] = field(default_factory=list)
    shown: list[tuple[str, int, int, str]] = field(default_factory=list)
    interrupted: list[tuple[str, int]] = field(default_factory=list)
    dropped: list[tuple[str, int, int, bool]] = field(default_factory=list)
    ended: list[EndedJob] = field(default_factory=list)


def prepare(events: Sequence[JobEvent], seat: int) -> list[Step]:
    """The events as rows. Blocks for as long as it takes to compress them."""
    steps = [Step()]
    begun: set[str] = set()
    for event in events:
        if isinstance(event, Submitted):
            if event.id in begun:  # a client uses an id again
                steps.append(Step())
                begun.clear()
            begun.add(event.id)
        _put(steps[-1], event, seat)
    for step in steps:
        _begin_and_end_at_once(step)
    return steps


def _begin_and_end_at_once(step: Step) -> None:
    """Have jobs that both begin and end in a step change their state once."""
    started_at = {(job_id, run): at for job_id, run, at in step.started}
    with_start = msgspec.structs.replace
    step.ended = [with_start(job, started_at=started_at.pop((job.id, job.run), None)) for job in step.ended]
    step.started = [(job_id, run, at) for (job_id, run), at in started_at.items()]


def _put(step: Step, event: JobEvent, seat: int) -> None:
    match event:
        case Submitted():
            step.added.append(_new_job(event, seat))
            graph = _graph(event.graph.encode())
            step.named += [(event.id, event.run, file) for file in named_files(graph)]
        case Started():
            step.started.append((event.id, event.run, event.at))
        case Shown():
            step.shown.append((event.id, event.run, event.at, event.outputs))
        case Interrupted():
            step.interrupted.append((event.id, event.run))
        case Dropped():
            step.dropped.append((event.id, event.run, event.at, event.is_presumed))
        case Ended():
            step.ended.append(ended_job(event))


def _graph(text: bytes) -> dict[str, Any]:
    try:
        graph: dict[str, Any] = _decode_graph(text)
    except (msgspec.MsgspecError, RecursionError):  # NaN, half characters or depth
        return json_text.read(json_text.strict(text), dict[str, Any])
    return graph


def _new_job(event: Submitted, seat: int) -> NewJob:
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
    )


def _document(text: str) -> Document:
    body = text.encode()
    return Document("", blake3(body).digest(), _compressed(body))


def _compressed(body: bytes) -> bytes:
    """Return the text as zlib compresses it, to be read by any zlib."""
    if len(body) > _SHORT:
        return zlib.compress(body, _LEVEL)
    # zlib clears its 64 KB table for every text, which takes longer than to compress a short one: a small one will do.
    compressor = zlib.compressobj(_LEVEL, wbits=_SHORT_WINDOW, memLevel=_SHORT_MEMORY)
    return compressor.compress(body) + compressor.flush()


def ended_job(event: Ended) -> EndedJob:
    """The end of a job, with what its outputs come to."""
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
    """Remove jobs, from the index of their words too."""
    if row_ids:
        await job_index.take_out(tx, row_ids)
        await jobs.delete(tx, row_ids)


async def _add(tx: Transaction, added: Sequence[NewJob]) -> None:
    """Add jobs that are not in the store yet. One takes the place of an older job of the same id and the same user."""
    stored = await jobs.stored_ids(tx, [job.id for job in added])
    new = [job for each in added if (job := _allowed(each, stored.get(each.id))) is not None]
    replaced = [row_id for job in new if job.id in stored and (row_id := stored[job.id].row_id) is not None]
    await remove(tx, replaced)
    await jobs.add(tx, new)


def _allowed(job: NewJob, stored: StoredId | None) -> NewJob | None:
    """The job as it is to be added, or None: it is there already, or its id is that of another user's job.

    What a node pack submits is of no user: under the id of somebody's job it goes on as that user's.
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
    """Write the events: together, or without those that the store does not take.

    Raises what the store raises while it takes none at all.
    """
    if not events:
        return
    try:
        steps = await asyncio.to_thread(prepare, events, seat)
        async with db.transaction(patience_s) as tx:
            await write(tx, steps)
    except Exception as error:
        if not is_unfit(error):
            raise
        await _record_in_parts(db, events, seat, error)


async def _record_in_parts(db: Database, events: Sequence[JobEvent], seat: int, error: Exception) -> None:
    """Write each half of events of which one or several are unfit; of a single one as much as the store takes."""
    if len(events) > 1:
        half = len(events) // 2
        for part in (events[:half], events[half:]):
            await record(db, part, seat)
        return
    log.error("Something that happened to the job %s cannot be recorded: %s", events[0].id, error)
    rest = without_content(events[0], f"The store does not take it: {error}.")
    if rest is not None and rest != events[0]:
        await record(db, [rest], seat)


def without_content(event: JobEvent, problem: str) -> JobEvent | None:
    """The event without what nodes and clients have put into it, as a last resort; None where nothing is left."""
    replace = msgspec.structs.replace
    if isinstance(event, Submitted):
        return replace(
            event, graph="{}", workflow=None, extra_data="{}", outputs="[]", workflow_id=None, workflow_version_id=None,
            problem=f"What was submitted could not be recorded. {problem}",
        )  # fmt: skip
    if isinstance(event, Ended):
        return replace(event, result=NOTHING, problem=f"The outputs could not be recorded. {problem}")
    return None


async def write(tx: Transaction, steps: Sequence[Step]) -> None:
    """Write the rows."""
    for step in steps:
        writes: list[tuple[Callable[[Transaction, Any], Awaitable[None]], list[Any]]] = [
            (_add, step.added),
            (job_links.link_inputs, step.named),
            (jobs.start, step.started),
            (jobs.show, step.shown),
            (jobs.interrupt, step.interrupted),
            (jobs.drop, step.dropped),
            (jobs.end, step.ended),
        ]
        for write_rows, rows in writes:
            if rows:
                await write_rows(tx, rows)
