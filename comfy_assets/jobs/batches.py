"""Events brought into the form of the store: prepared in a thread, written in one transaction."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3

from ..db import job_files, jobs
from ..db.connection import Transaction
from ..db.contents import Document
from ..db.jobs import EndedJob, NewJob
from . import search
from .events import Dropped, Ended, Interrupted, JobEvent, Shown, Started, Submitted
from .graphs import NamedFile, named_files
from .json_text import strict
from .outputs import summarize

_LEVEL = 6


@dataclass
class Step:
    """Rows to be written, kind by kind. No job begins twice in it, so the order of kinds is the order of things."""

    added: list[NewJob] = field(default_factory=list)
    named: list[tuple[str, NamedFile]] = field(default_factory=list)
    started: list[tuple[str, int]] = field(default_factory=list)
    shown: list[tuple[str, int, str]] = field(default_factory=list)
    interrupted: list[tuple[str]] = field(default_factory=list)
    dropped: list[tuple[str, int]] = field(default_factory=list)
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
    started_at = dict(step.started)
    step.ended = [msgspec.structs.replace(job, started_at=started_at.pop(job.id, None)) for job in step.ended]
    step.started = list(started_at.items())


def _put(step: Step, event: JobEvent, seat: int) -> None:
    match event:
        case Submitted():
            step.added.append(_new_job(event, seat))
            step.named += [(event.id, file) for file in named_files(msgspec.json.decode(strict(event.graph.encode())))]
        case Started():
            step.started.append((event.id, event.at))
        case Shown():
            step.shown.append((event.id, event.at, event.outputs))
        case Interrupted():
            step.interrupted.append((event.id,))
        case Dropped():
            step.dropped.append((event.id, event.at))
        case Ended():
            step.ended.append(ended_job(event))


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
    )


def _document(text: str) -> Document:
    body = text.encode()
    return Document("", blake3(body).digest(), zlib.compress(body, _LEVEL))


def ended_job(event: Ended) -> EndedJob:
    """The end of a job, with what its outputs come to."""
    result: dict[str, Any] = msgspec.json.decode(event.result)
    summary = summarize(result.get("outputs") or {})
    preview = None if summary.preview is None else msgspec.json.encode(summary.preview).decode()
    return EndedJob(
        id=event.id,
        at=event.at,
        status=event.status,
        result=zlib.compress(event.result.encode(), _LEVEL),
        error=event.error,
        outputs_count=summary.count,
        previewable_count=summary.previewable,
        media=summary.media,
        preview=preview,
    )


async def remove(tx: Transaction, row_ids: Sequence[int]) -> None:
    """Remove jobs, from the index of their words too."""
    if row_ids:
        await search.take_out(tx, row_ids)
        await jobs.delete(tx, row_ids)


async def _add(tx: Transaction, added: Sequence[NewJob]) -> None:
    """Add jobs. One whose id is known takes the place of the older, as in the server's own history."""
    await remove(tx, await jobs.rows_of(tx, [job.id for job in added]))
    await jobs.add(tx, added)


async def write(tx: Transaction, steps: Sequence[Step]) -> None:
    """Write the rows."""
    for step in steps:
        writes: list[tuple[Callable[[Transaction, Any], Awaitable[None]], list[Any]]] = [
            (_add, step.added),
            (job_files.link_inputs, step.named),
            (jobs.start, step.started),
            (jobs.show, step.shown),
            (jobs.interrupt, step.interrupted),
            (jobs.drop, step.dropped),
            (jobs.end, step.ended),
        ]
        for write_rows, rows in writes:
            if rows:
                await write_rows(tx, rows)
