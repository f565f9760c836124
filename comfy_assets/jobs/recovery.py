"""What a server does about the jobs of an earlier run: bring in what it left unwritten, end what it was executing, and
put back into the queue what was waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .. import json_text
from ..credentials import REDACTED
from ..daemon_thread import in_daemon_thread
from ..db import jobs
from ..db.connection import Database, Transaction
from ..db.jobs import StoredId
from ..host.execution import ExecutionQueue, FinishedPrompt, SubmittedPrompt
from ..host.prompt_problems import INVALID, Problem, failed
from ..ids import now_ms
from ..models import CANCELLED, FAILED, IN_PROGRESS, JobRecord
from . import store
from .events import Ended, JobEvent, Submitted, decode
from .journal import Journal
from .outcome import stopped

log = logging.getLogger("comfy_assets.jobs")

_HISTORY_BYTES = 64 << 20  # of JSON text that a server's own history is given back at most
_HISTORY_CHUNK = 200
_AT_ONCE = 200  # jobs that are read and checked together
_UNLINKED = 500  # jobs that are looked at again
_STOPPED = "The server stopped while it executed the job."


async def recover(
    db: Database, journal: Journal | None, *, restore: bool, seats: set[int] | None = None
) -> list[JobRecord]:
    """Put the jobs of ended servers in order; return those that wait again: none without ``restore``.

    ``seats`` are servers that have ended while this one is at work; None: whoever was at work before it.
    """
    seat = journal.seat if journal is not None else 0
    if journal is not None:
        await _bring_in(db, journal, min(seats) if seats else seat)
    async with db.transaction() as tx:
        active = await jobs.active_of(tx, await _others(tx, journal, seats))
        cut_short = [record for record in active if record.job.status == IN_PROGRESS]
        waiting = [record for record in active if record.job.status != IN_PROGRESS]
        asked = await jobs.interrupted(tx)
        ends = [_end_of(record, was_asked=record.job.row_id in asked) for record in cut_short]
        await jobs.end(tx, [store.ended_job(end) for end in ends])
        await _settle_waiting(tx, waiting, seat, restore=restore)
    return waiting if restore else []


async def _others(tx: Transaction, journal: Journal | None, seats: set[int] | None) -> set[int]:
    """The seats whose jobs are not to be touched."""
    if journal is None:
        return set()
    if seats is None:
        return journal.other_seats
    return {job.seat for job in await jobs.active(tx)} - seats


async def put_back(waiting: Sequence[JobRecord], queue: ExecutionQueue, tell: Callable[[FinishedPrompt], None]) -> None:
    """Have jobs wait in the queue again, in their order. Listeners of the queue must be there by now.

    Those that the server cannot execute any more fail; ``tell`` is told of those that cannot even be read.
    """
    refused = 0
    for start in range(0, len(waiting), _AT_ONCE):
        records = waiting[start : start + _AT_ONCE]
        prompts = await asyncio.to_thread(_readable, records, tell)
        refused += len(records) - len(prompts) + len(await in_daemon_thread(queue.restore, prompts))
    if waiting:
        log.info("%d jobs of the last run are back in the queue.", len(waiting) - refused)
    if refused:
        log.error("%d jobs of the last run failed: the server cannot execute them any more.", refused)


def _readable(records: Iterable[JobRecord], tell: Callable[[FinishedPrompt], None]) -> list[SubmittedPrompt]:
    prompts = []
    for record in records:
        try:
            prompts.append(submitted(record))
        except (ValueError, TypeError, RecursionError) as error:  # DecodeError is a ValueError
            log.exception("The prompt of the job %s could not be read", record.job.id)
            message = f"The prompt could not be read from the store. {type(error).__name__}: {error}"
            tell(failed(record.job.id, Problem(INVALID, message)))
    return prompts


async def _bring_in(db: Database, journal: Journal, seat: int) -> None:
    """Write what ended servers left in their journals: every event that the store takes, as this seat's."""
    lines = await asyncio.to_thread(journal.left_behind)
    events = [event for line in lines if (event := decode(line)) is not None]
    known = await jobs.stored_ids(db, {event.id for event in events if isinstance(event, Submitted)})
    await store.record(db, list(_news(events, known)), seat)
    journal.drop_left_behind()


def _news(events: Sequence[JobEvent], known: Mapping[str, StoredId]) -> Iterator[JobEvent]:
    """The events but for submissions that are in the store, or were replaced there: they would begin those jobs anew.

    What was told of an earlier job with the same id is left out as well. The rest does no harm a second time.
    """
    stored_runs = {(each.id, each.run) for each in known.values() if each.run}
    there = {event.id for event in events if isinstance(event, Submitted) and (event.id, event.run) in stored_runs}
    outdated, passed = set[str](), set[str]()
    for event in events:
        if not isinstance(event, Submitted):
            if event.id not in outdated:
                yield event
            continue
        stored = known.get(event.id)
        if (event.id, event.run) in stored_runs:
            passed.add(event.id)
            outdated.discard(event.id)
        elif stored is None or stored.row_id is None or _follows(event, stored, event.id in there, event.id in passed):
            outdated.discard(event.id)
            yield event
        elif event.id in there or event.at < stored.created_at:
            outdated.add(event.id)
        else:
            outdated.discard(event.id)


def _follows(event: Submitted, stored: StoredId, is_there: bool, has_passed: bool) -> bool:
    """Return whether a submission came after the stored one: by the order of the journal, else by the clock."""
    return has_passed if is_there else event.at > stored.created_at


def _end_of(record: JobRecord, *, was_asked: bool) -> Ended:
    """A job that was being executed ends when the server did, as far as is known: at the last sign of it.

    One that was asked to stop has been cancelled by that.
    """
    at = max(record.job.updated_at, record.job.created_at)
    if was_asked:
        return Ended(record.job.id, at, CANCELLED, _result(record), run=record.run)
    error = msgspec.json.encode(stopped(_STOPPED)).decode()
    return Ended(record.job.id, at, FAILED, _result(record), error, run=record.run)


def _result(record: JobRecord) -> str:
    """The result of a job that has none: the outputs it had shown."""
    status = {"status_str": "error", "completed": False, "messages": []}
    so_far = json_text.read(record.result, dict[str, Any])
    return msgspec.json.encode({"outputs": so_far["outputs"], "meta": {}, "status": status}).decode()


async def _settle_waiting(tx: Transaction, waiting: Sequence[JobRecord], seat: int, *, restore: bool) -> None:
    if restore:
        await jobs.move_to_seat(tx, [record.job.row_id for record in waiting], seat)
        return
    now = now_ms()
    await jobs.drop(tx, [(record.job.id, record.run, now, False) for record in waiting])


def submitted(record: JobRecord) -> SubmittedPrompt:
    """The prompt as it was submitted, but for its credentials, which are not kept."""
    return SubmittedPrompt(
        number=record.job.number,
        prompt_id=record.job.id,
        graph=json_text.decode(record.graph),
        extra_data=extra_data(record),
        outputs=msgspec.json.decode(record.targets),
    )


def extra_data(record: JobRecord, *, with_workflow: bool = True) -> dict[str, Any]:
    """What came along with the prompt; the page's form of the graph is in its place again, unless it is not wanted."""
    extra = json_text.read(record.extra_data, dict[str, Any])
    if record.workflow is not None and with_workflow:
        extra["extra_pnginfo"] = {"workflow": json_text.decode(record.workflow), **extra.get("extra_pnginfo", {})}
    return extra


async def unlinked(db: Database) -> list[FinishedPrompt]:
    """The latest jobs whose outputs are not linked to assets: the server may have been killed just before that."""
    rows = await jobs.latest_unlinked(db, _UNLINKED)
    records = await jobs.records_of(db, rows, with_graphs=False)
    results = [(record.job.id, json_text.read(record.result, dict[str, Any])) for record in records]
    return [FinishedPrompt(job_id, result["outputs"]) for job_id, result in results]


async def fill_history(db: Database, queue: ExecutionQueue) -> None:
    """Give the server's own history the latest of earlier runs, as many as its page reads and memory allows."""
    room, budget = queue.history_room(), _HISTORY_BYTES
    entries: dict[str, dict[str, Any]] = {}
    before: int | None = None
    while len(entries) < room and budget > 0:
        chunk = await jobs.newest_finished(db, min(_HISTORY_CHUNK, room - len(entries)), before)
        for record in chunk:
            budget -= len(record.graph) + len(record.workflow or b"") + len(record.result)
            if budget > 0:
                entries[record.job.id] = await asyncio.to_thread(history_entry, record)
        if not chunk:
            break
        before = chunk[-1].job.row_id
    if entries:
        queue.remember(dict(reversed(entries.items())))


def history_entry(record: JobRecord) -> dict[str, Any]:
    """Return the job as an entry of a server's own history. Credentials, which are not stored, are left out."""
    result = json_text.read(record.result, dict[str, Any])
    extra = {key: value for key, value in extra_data(record).items() if value != REDACTED}
    graph, targets = json_text.decode(record.graph), msgspec.json.decode(record.targets)
    return {
        "prompt": (record.job.number, record.job.id, graph, extra, targets),
        "outputs": result.get("outputs") or {},
        "status": result.get("status"),
        "meta": result.get("meta") or {},
    }
