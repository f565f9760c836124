"""Jobs for requests: lists, single jobs, changes to them, and the form of them that ``GET /history`` returns.

Every read writes the queue's reported events to the store first, so that a request sees the current state of each job.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from .. import json_text
from ..credentials import REDACTED
from ..db import job_links, job_list, jobs
from ..db.connection import Database
from ..errors import JobElsewhereError, JobForbiddenError, JobNotFoundError
from ..host.base import Host
from ..host.execution import ExecutionQueue, in_daemon_thread
from ..ids import canonical_id
from ..models import FINAL, Asset, Job, JobFilter, JobOutput, JobPage, JobRecord, Page
from ..search.index import JobSearch
from . import store
from .live_jobs import LiveEvents, LiveJob, spellings
from .progress import NodeProgress
from .recorder import JobRecorder
from .recovery import LostJobMonitor
from .user_queue import QueueControl

log = logging.getLogger("comfy_assets.jobs")

_INDEX_S = 2.0  # between two rounds of indexing new jobs
_OUTPUT = "output"  # the tag of files in the output folder
_DELETE_BATCH = 500  # jobs removed in a transaction, so that other writers get in between
_MAX_HISTORY = 64 << 20  # stored bytes of one history: the whole of it is in memory at once
_HISTORY_CHUNK, _FILL_CHUNK = 100, 200  # records read at once

HistoryEntries = dict[str, msgspec.Raw]


class JobService:
    """Read and change jobs. A job of another user is out of reach; jobs without an owner belong to all users."""

    def __init__(
        self,
        db: Database,
        host: Host,
        recorder: JobRecorder,
        control: QueueControl,
        live: LiveEvents,
        *,
        take_over: Callable[[set[int]], Awaitable[None]],
        outputs_recorded: Callable[[], Awaitable[None]],
        delete_assets: Callable[[Sequence[str], str], Awaitable[None]],
    ) -> None:
        """Use the running event loop. ``take_over`` adopts the jobs of servers (seats) that have ended.

        ``outputs_recorded`` waits until the outputs of all ended jobs are assets. ``delete_assets`` deletes assets, by
        their ids, for a user, or none of them and raises AssetInUseError.
        """
        self._db = db
        self._host = host
        self._queue = host.execution
        self._recorder = recorder
        self._control = control
        self._live = live
        self._take_over = take_over
        self._outputs_recorded = outputs_recorded
        self._delete_assets = delete_assets
        self._search = JobSearch(db)
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the background tasks: find jobs that left the queue without a report, and index new jobs."""
        monitor = LostJobMonitor(self._db, self._queue, self._recorder, self._take_over)
        self._spawn(monitor.run(), "comfy-assets lost jobs")
        self._spawn(self._index(), "comfy-assets job search index")

    async def list(self, wanted: JobFilter, page: JobPage) -> Page[Job]:
        """Return one page of the jobs that match the filter. Raises SearchUnavailableError."""
        await self._recorder.flush()
        if wanted.words or wanted.excluded:
            await self._search.complete()
        found = await job_list.list_page(self._db, wanted, page)
        return replace(found, items=await store.with_first_words(self._db, found.items))

    async def get(self, job_id: str, owner: str, *, wait_for_files: bool = True) -> Job:
        """Return the job. Raises JobNotFoundError, or JobForbiddenError for a job of another user.

        A job that ends now may not have ended for a moment more without ``wait_for_files``.
        """
        await (self._recorder.flush() if wait_for_files else self._recorder.write())
        job = (await self._find([job_id])).get(job_id)
        if job is None:
            raise JobNotFoundError("There is no such job.", details={"id": job_id})
        if job.owner not in ("", owner):
            raise JobForbiddenError("The job is another user's.", details={"id": job_id})
        return job

    async def record(self, job_id: str, owner: str) -> JobRecord:
        """Return the job with its graph and outputs. Raises as ``get`` does."""
        return await self.record_of(await self.get(job_id, owner))

    async def record_of(self, job: Job) -> JobRecord:
        """Return a job with its graph and outputs. Raises JobNotFoundError if it has been removed meanwhile."""
        for record in await jobs.records_of(self._db, [job.row_id]):
            return record
        raise JobNotFoundError("There is no such job.", details={"id": job.id})

    async def stored(self, job_id: str, owner: str) -> JobRecord | None:
        """Return the job as stored, without events that are not written yet; None for a job of another user."""
        job = (await self._find([job_id])).get(job_id)
        if job is None or job.owner not in ("", owner):
            return None
        records = await jobs.records_of(self._db, [job.row_id])
        return records[0] if records else None

    async def outputs(self, job_id: str, owner: str) -> Sequence[JobOutput]:
        """Return the output assets of the job. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return await job_links.outputs_of(self._db, job.row_id, owner)

    async def progress(self, job_id: str, owner: str) -> Mapping[str, NodeProgress]:
        """Return the progress of the nodes by id; empty unless the job is running. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return self._live.begun_nodes(job.id)

    async def history(self, owner: str, limit: int, offset: int) -> Sequence[JobRecord]:
        """Return ended jobs without their graphs, the latest first."""
        page = await self.list(JobFilter(owner, tuple(sorted(FINAL))), JobPage(limit=limit, offset=offset))
        return await jobs.records_of(self._db, [job.row_id for job in page.items], with_graphs=False)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Cancel the job; return False if it had ended or been cancelled before. Raises as ``cancel_many`` does."""
        return bool(await self.cancel_many([job_id], owner))

    async def cancel_many(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Cancel the jobs, or none if one of them cannot be; return the ids of the jobs that had not ended.

        Raises JobNotFoundError and JobElsewhereError. The store is not read for jobs in this server's queue.
        """
        queued = {job_id: self._control.find(job_id, owner) for job_id in dict.fromkeys(job_ids)}
        others = [job_id for job_id, job in queued.items() if job is None]
        if others:
            await self._check_others(others, owner, is_single=len(job_ids) == 1)
        live: dict[str, LiveJob] = {job.prompt_id: job for job in queued.values() if job is not None}
        return await self._control.cancel(live.values())

    async def _check_others(self, job_ids: Sequence[str], owner: str, *, is_single: bool) -> None:
        """Raise for jobs that are unknown, or in the queue of another server. All jobs not in our queue are stored."""
        found = {job_id: job for job_id, job in (await self._find(job_ids)).items() if job.owner in ("", owner)}
        unknown = [job_id for job_id in job_ids if job_id not in found]
        if unknown:
            details = {"id": unknown[0]} if is_single else {"ids": unknown}
            raise JobNotFoundError("There is no such job.", details=details)
        running = self._recorder.running_seats()
        for job_id, job in found.items():
            if job.status not in FINAL and await jobs.seat_of(self._db, job.row_id) in running:
                message = "The job is in the queue of another server that shares this library. Cancel it there."
                raise JobElsewhereError(message, details={"id": job_id})

    async def _find(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """Return the jobs that exist, by id as it was given. See ``spellings``."""
        wanted = {job_id: spellings(job_id) for job_id in job_ids}
        rows = await jobs.get_many(self._db, dict.fromkeys(each for ids in wanted.values() for each in ids))
        known = {job.id: job for job in rows}
        return {
            job_id: known[each]
            for job_id, ids in wanted.items()
            if (each := next((spelled for spelled in ids if spelled in known), None)) is not None
        }

    async def delete(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Remove the records of the jobs that have ended, never their files; return the ids of these jobs."""
        await self._recorder.flush()
        found = {job.row_id: job for job in (await self._find(job_ids)).values() if job.owner in ("", owner)}
        # Active jobs are left out: their events would have no row to be written to.
        over = [job for job in found.values() if job.status in FINAL]
        async with self._db.transaction() as tx:
            await store.remove(tx, [job.row_id for job in over])
        ids = [job.id for job in over]
        if ids:
            await in_daemon_thread(self._queue.forget, ids)
            self._queue.announce()
        return ids

    async def delete_with_assets(self, job_id: str, owner: str) -> None:
        """Remove the record of a job, and delete the assets that it made so that they can be restored (deleteJob).

        A job that has not ended is left as it is. Raises JobNotFoundError, also for a job of another user, and
        AssetInUseError, which leaves everything as it is.
        """
        try:
            job = await self.get(job_id, owner)
        except JobForbiddenError:
            raise JobNotFoundError("There is no such job.", details={"id": job_id}) from None
        if job.status not in FINAL:
            return
        await self._outputs_recorded()
        outputs = await job_links.outputs_of(self._db, job.row_id, owner)
        made = {output.asset.id for output in outputs if _is_made_by(output.asset, job)}
        await self._delete_assets(sorted(made), owner)
        await self.delete([job.id], owner)

    async def clear(self, owner: str) -> int:
        """Remove the records of all ended jobs of the user, never their files; return their number."""
        await self._recorder.flush()
        count = 0
        while True:
            async with self._db.transaction() as tx:
                rows = await jobs.rows_over(tx, owner, _DELETE_BATCH)
                await store.remove(tx, [row_id for row_id, _ in rows])
            count += len(rows)
            await in_daemon_thread(self._queue.forget, [job_id for _, job_id in rows])
            if len(rows) < _DELETE_BATCH:
                break
        self._queue.announce()
        return count

    async def _index(self) -> None:
        """Index new jobs, and read prompts, while no prompt runs. Lists and searches do not wait for this."""
        while True:
            await asyncio.sleep(_INDEX_S)
            if self._host.is_executing():
                continue
            try:
                if self._db.can_search:
                    await self._search.complete()
                while not self._host.is_executing() and await store.add_first_words(self._db):
                    pass
            except sqlite3.Error as error:
                log.warning("Jobs could not be indexed; the next attempt follows: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel background tasks and wait for them."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)


class UserHistory:
    """The executed jobs that a user may see, as JSON texts by id."""

    def __init__(self, db: Database, recorder: JobRecorder) -> None:
        self._db = db
        self._recorder = recorder

    async def page(self, owner: str, limit: int, offset: int | None) -> HistoryEntries:
        """Return ``limit`` jobs, oldest first: from ``offset`` on, counted from the oldest, or the latest without one.

        A history that is too large lacks the jobs at its far end: the latest with an offset, else the oldest.
        """
        await self._recorder.flush()
        rows = await jobs.executed(self._db, owner, limit, offset)
        entries: HistoryEntries = {}
        budget = _MAX_HISTORY
        for chunk in _chunks_of(rows):
            for record in await jobs.records_of(self._db, chunk):
                budget -= _stored_size(record)
                if budget > 0:
                    entries[record.job.id] = await asyncio.to_thread(_encoded_entry, record)
            if budget <= 0:
                break
        return entries if offset is not None else dict(reversed(entries.items()))

    async def single(self, owner: str, job_id: str) -> HistoryEntries:
        """Return the job with this id, or nothing if it was not executed or belongs to another user."""
        await self._recorder.flush()
        records = await jobs.records_of(self._db, await jobs.executed_as(self._db, owner, job_id))
        return {record.job.id: await asyncio.to_thread(_encoded_entry, record) for record in records}


def _chunks_of(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + _HISTORY_CHUNK] for start in range(0, len(rows), _HISTORY_CHUNK))


def _stored_size(record: JobRecord) -> int:
    return len(record.graph) + len(record.workflow or b"") + len(record.result)


def _encoded_entry(record: JobRecord) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(history_entry(record)).encode())


def history_entry(record: JobRecord) -> dict[str, Any]:
    """Return a job as an entry of a server's own history, without redacted credentials."""
    result = json_text.read(record.result, dict[str, Any])
    extra = {key: value for key, value in store.extra_data(record).items() if value != REDACTED}
    graph, targets = json_text.decode(record.graph), msgspec.json.decode(record.targets)
    return {
        "prompt": (record.job.number, record.job.id, graph, extra, targets),
        "outputs": result.get("outputs") or {},
        "status": result.get("status"),
        "meta": result.get("meta") or {},
    }


async def fill_history(db: Database, queue: ExecutionQueue) -> None:
    """Give the server's own history the latest jobs of earlier runs: as many as its page reads and memory allows."""
    room, budget = queue.history_room(), _MAX_HISTORY
    entries: dict[str, dict[str, Any]] = {}
    before: int | None = None
    while len(entries) < room and budget > 0:
        chunk = await jobs.newest_finished(db, min(_FILL_CHUNK, room - len(entries)), before)
        for record in chunk:
            budget -= _stored_size(record)
            if budget > 0:
                entries[record.job.id] = await asyncio.to_thread(history_entry, record)
        if not chunk:
            break
        before = chunk[-1].job.row_id
    if entries:
        # Read from the latest on, while a server's history has the oldest first.
        queue.remember(dict(reversed(entries.items())))


def _is_made_by(asset: Asset, job: Job) -> bool:
    """Return whether a job wrote an asset that it showed, rather than an input or a result of another job."""
    return asset.job_id == job.id and _OUTPUT in msgspec.json.decode(asset.tags, type=list[str])


async def count_to_prune(db: Database, before: int | None, keep: int) -> int:
    """Return the number of jobs that ``prune`` would remove."""
    return len(await jobs.rows_to_prune(db, before, keep))


async def prune(db: Database, before: int | None, keep: int) -> int:
    """Remove the records of jobs that ended before a time (ms; None: all ended jobs), never their files.

    The ``keep`` latest ended jobs stay, whatever their age. Return the number of removed records. Jobs are kept for
    ever unless a user calls this.
    """
    count = 0
    while True:
        async with db.transaction() as tx:
            rows = await jobs.rows_to_prune(tx, before, keep, _DELETE_BATCH)
            await store.remove(tx, rows)
        count += len(rows)
        if len(rows) < _DELETE_BATCH:
            return count


def is_job_id(text: str) -> bool:
    """Return whether the text is a UUID."""
    return canonical_id(text) is not None
