"""Recovery of jobs: of servers that have ended, and of jobs that left the queue without a report.

Events that an ended server left in its journal are written to the store, its running jobs fail, and its waiting jobs
return to the queue.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .. import json_text
from ..db import jobs, tasks
from ..db.connection import Database, Transaction
from ..db.jobs import ActiveJob, StoredId
from ..host.execution import ExecutionQueue, FinishedPrompt, SubmittedPrompt, in_daemon_thread
from ..host.prompt_problems import INVALID, PromptProblem, failed_prompt
from ..ids import now_ms
from ..models import CANCELLED, FAILED, IN_PROGRESS, JobRecord
from . import store
from .events import JobEnded, JobEvent, JobSubmitted, decode, server_stopped
from .journal import Journal
from .recorder import JobRecorder
from .store import submitted_prompt

log = logging.getLogger("comfy_assets.jobs")

_RESTORE_BATCH = 200  # jobs that are in memory with their graphs at a time
_UNLINKED = 500  # of the latest jobs; at most a second of them lacks its links after a crash
_STOPPED = "The server stopped while the job was running."
CHECK_S = 4.0  # two checks happen within ten seconds


async def recover(
    db: Database, journal: Journal | None, *, restore: bool, seats: set[int] | None = None
) -> list[JobRecord]:
    """Settle the jobs of ended servers; return the waiting jobs to put back, none without ``restore``.

    ``seats`` are servers that ended while this one runs; None means all servers that ended before it.
    """
    seat = journal.seat if journal is not None else 0
    if journal is not None:
        # While this server runs, its own seat has jobs that must not be settled: events of ended servers are stored
        # under the seat of one of these.
        await _import_journal(db, journal, min(seats) if seats else seat)
    async with db.transaction() as tx:
        active = await jobs.active_of(tx, await _others(tx, journal, seats))
        cut_short = [record for record in active if record.job.status == IN_PROGRESS]
        waiting = [record for record in active if record.job.status != IN_PROGRESS]
        asked = await jobs.interrupted(tx)  # before the jobs end, after which they are not found any more
        ends = [_end_of(record, was_asked=record.job.row_id in asked) for record in cut_short]
        await jobs.end(tx, [store.ended_job(end) for end in ends])
        await _adopt_waiting(tx, waiting, seat, restore=restore)
    return waiting if restore else []


async def _others(tx: Transaction, journal: Journal | None, seats: set[int] | None) -> set[int]:
    """Return the seats whose jobs must stay as they are."""
    if journal is None:
        return set()
    if seats is None:
        return journal.other_seats
    return {job.seat for job in await jobs.active(tx)} - seats


async def put_back(
    waiting: Sequence[JobRecord],
    queue: ExecutionQueue,
    report_failed: Callable[[FinishedPrompt], None],
    report_returning: Callable[[Iterable[SubmittedPrompt]], None] = lambda _: None,
) -> None:
    """Put jobs back into the queue, in their order. The queue's listeners must be registered before.

    Jobs that the server can no longer execute fail; ``report_failed`` is called for jobs that cannot even be decoded,
    and ``report_returning`` for all others before they enter the queue.
    """
    refused = 0
    for start in range(0, len(waiting), _RESTORE_BATCH):
        records = waiting[start : start + _RESTORE_BATCH]
        prompts = await asyncio.to_thread(_decoded, records, report_failed)
        report_returning(prompts)
        refused += len(records) - len(prompts) + len(await in_daemon_thread(queue.restore, prompts))
    if waiting:
        log.info("%d jobs of the last run are back in the queue.", len(waiting) - refused)
    if refused:
        log.error("%d jobs of the last run failed: the server cannot execute them any more.", refused)


def _decoded(records: Iterable[JobRecord], report_failed: Callable[[FinishedPrompt], None]) -> list[SubmittedPrompt]:
    prompts = []
    for record in records:
        try:
            prompts.append(submitted_prompt(record))
        except (ValueError, TypeError, RecursionError) as error:  # DecodeError is a ValueError
            log.exception("The prompt of the job %s could not be read", record.job.id)
            message = f"The prompt could not be read from the store. {type(error).__name__}: {error}"
            report_failed(failed_prompt(record.job.id, PromptProblem(INVALID, message)))
    return prompts


async def _import_journal(db: Database, journal: Journal, seat: int) -> None:
    """Write the events in the journals of ended servers to the store, as events of this seat."""
    lines = await asyncio.to_thread(journal.left_behind)
    events = [event for line in lines if (event := decode(line)) is not None]
    known = await jobs.stored_ids(db, {event.id for event in events if isinstance(event, JobSubmitted)})
    await store.record(db, list(_new_events(events, known)), seat)
    journal.drop_left_behind()


def _new_events(events: Sequence[JobEvent], known: Mapping[str, StoredId]) -> Iterator[JobEvent]:
    """Yield the events without submissions that are already stored, which would start their jobs again.

    Events of an earlier job with the same id, which was replaced in the store, are left out as well. All other events
    may be written twice without effect.
    """
    stored_runs = {(each.id, each.run) for each in known.values() if each.run}
    there = {event.id for event in events if isinstance(event, JobSubmitted) and (event.id, event.run) in stored_runs}
    outdated, passed = set[str](), set[str]()
    for event in events:
        if not isinstance(event, JobSubmitted):
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


def _follows(event: JobSubmitted, stored: StoredId, is_there: bool, has_passed: bool) -> bool:
    """Return whether a submission came after the stored one: by the order of the journal, else by time."""
    return has_passed if is_there else event.at > stored.created_at


def _end_of(record: JobRecord, *, was_asked: bool) -> JobEnded:
    """Return the end of a job that ran when its server ended, at the time of its last event.

    A job that had been asked to stop counts as cancelled.
    """
    at = max(record.job.updated_at, record.job.created_at)
    if was_asked:
        return JobEnded(record.job.id, at, CANCELLED, _result(record), run=record.run)
    error = msgspec.json.encode(server_stopped(_STOPPED)).decode()
    return JobEnded(record.job.id, at, FAILED, _result(record), error, run=record.run)


def _result(record: JobRecord) -> str:
    """Return the result of a job that was cut short: the outputs its nodes have shown."""
    status = {"status_str": "error", "completed": False, "messages": []}
    so_far = json_text.read(record.result, dict[str, Any])
    return msgspec.json.encode({"outputs": so_far["outputs"], "meta": {}, "status": status}).decode()


async def _adopt_waiting(tx: Transaction, waiting: Sequence[JobRecord], seat: int, *, restore: bool) -> None:
    if restore:
        await jobs.move_to_seat(tx, [record.job.row_id for record in waiting], seat)
        return
    now = now_ms()
    await jobs.drop(tx, [(record.job.id, record.run, now, False) for record in waiting])


async def unlinked(db: Database) -> list[FinishedPrompt]:
    """Return the latest jobs whose outputs are not linked to assets, as when the server was killed in between."""
    rows = await jobs.latest_unlinked(db, _UNLINKED)
    records = await jobs.records_of(db, rows, with_graphs=False)
    results = [(record.job.id, json_text.read(record.result, dict[str, Any])) for record in records]
    return [FinishedPrompt(job_id, result["outputs"]) for job_id, result in results]


class LostJobMonitor:
    """End jobs that are active in the store but in no queue, and adopt the jobs of servers that have ended.

    Such jobs exist because other packs change the queue's list or replace the method that reports ends. A job must be
    absent in two checks in a row: it is recorded a moment before it enters the queue, and leaves the queue a moment
    before its end is reported.
    """

    def __init__(
        self,
        db: Database,
        queue: ExecutionQueue,
        recorder: JobRecorder,
        take_over: Callable[[set[int]], Awaitable[None]],
    ) -> None:
        self._db = db
        self._queue = queue
        self._recorder = recorder
        self._take_over = take_over
        self._absent: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Check every ``CHECK_S`` seconds until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.check()
            except sqlite3.Error as error:
                log.warning("Jobs that left the queue without a report could not be looked for: %s", error)

    async def check(self) -> None:
        """Check once."""
        await self._recorder.write()
        active = await jobs.active(self._db)
        others = {job.seat for job in active} | await tasks.running_instances(self._db)
        others -= {0, self._recorder.seat}  # 0 is a server without a journal, whose end cannot be seen
        if others:
            await asyncio.to_thread(self._recorder.take_over)
            ended = others - self._recorder.running_seats()
            if ended:
                log.info("A server that shared this library has ended; its jobs and tasks are adopted.")
                await self._take_over(ended)
                active = await jobs.active(self._db)
        gone = self._not_queued([job for job in active if job.seat == self._recorder.seat])
        self._recorder.presume_ended(job for key, job in gone.items() if key in self._absent)
        self._absent = set(gone) - self._absent

    def _not_queued(self, active: list[ActiveJob]) -> dict[tuple[str, int], ActiveJob]:
        """Return this server's jobs that are not in its queue, by id and run."""
        if not active:
            return {}
        listing = self._queue.listing()
        queued = {self._recorder.job_id_of(prompt.prompt_id) for prompt in (*listing.running, *listing.pending)}
        return {
            (job.id, job.run): job
            for job in active
            if job.id not in queued and not self._recorder.has_ended(job.id, job.run)
        }
