"""Jobs as requests see them: lists, single ones, and what can be done to them.

Before anything is read, what the execution queue has told is written to the store, so that a request sees every job in
the state it has reached.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from ..daemon_thread import in_daemon_thread
from ..db import job_links, job_list, jobs
from ..db.connection import Database
from ..errors import JobElsewhereError, JobForbiddenError, JobNotFoundError
from ..host.base import Host
from ..host.execution import NodeProgress
from ..ids import canonical_id
from ..models import FINAL, Job, JobFilter, JobOutput, JobPage, JobRecord, Page
from ..search.job_index import JobSearch
from . import store
from .control import QueueControl
from .live_jobs import HeldJob, spellings
from .recorder import JobRecorder
from .sweep import Sweep

log = logging.getLogger("comfy_assets.jobs")

_INDEX_S = 2.0
_DELETED_AT_ONCE = 500


class JobService:
    """Questions about jobs, and changes to them. A job that is neither the user's nor everybody's is out of reach."""

    def __init__(
        self,
        db: Database,
        host: Host,
        recorder: JobRecorder,
        control: QueueControl,
        *,
        take_over: Callable[[set[int]], Awaitable[None]],
    ) -> None:
        """For the running event loop. ``take_over`` goes on with the jobs of servers (seats) that have ended."""
        self._db = db
        self._host = host
        self._queue = host.execution
        self._recorder = recorder
        self._control = control
        self._take_over = take_over
        self._search = JobSearch(db)
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to look after jobs that no queue holds any more though nobody told so, and to index new ones."""
        sweep = Sweep(self._db, self._queue, self._recorder, self._take_over)
        self._spawn(sweep.run(), "comfy-assets queue sweep")
        if self._db.can_search:
            self._spawn(self._index(), "comfy-assets job search index")

    async def list(self, wanted: JobFilter, page: JobPage) -> Page[Job]:
        """One page of the jobs that pass the filter. Raises SearchUnavailableError."""
        await self._recorder.flush()
        if wanted.words:
            await self._search.complete()
        return await job_list.list_page(self._db, wanted, page)

    async def get(self, job_id: str, owner: str) -> Job:
        """The job. Raises JobNotFoundError, or JobForbiddenError for another user's."""
        await self._recorder.flush()
        job = (await self._find([job_id])).get(job_id)
        if job is None:
            raise JobNotFoundError("There is no such job.", details={"id": job_id})
        if job.owner not in ("", owner):
            raise JobForbiddenError("The job is another user's.", details={"id": job_id})
        return job

    async def record(self, job_id: str, owner: str) -> JobRecord:
        """All there is of the job. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        for record in await jobs.records_of(self._db, [job.row_id]):
            return record
        raise JobNotFoundError("There is no such job.", details={"id": job_id})  # it was removed between the two

    async def stored(self, job_id: str, owner: str) -> JobRecord | None:
        """Return what the store holds of the job, without what happened to it just now; None for another user's."""
        job = (await self._find([job_id])).get(job_id)
        if job is None or job.owner not in ("", owner):
            return None
        records = await jobs.records_of(self._db, [job.row_id])
        return records[0] if records else None

    async def outputs(self, job_id: str, owner: str) -> Sequence[JobOutput]:
        """The assets that the job has shown. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return await job_links.outputs_of(self._db, job.row_id, owner)

    async def progress(self, job_id: str, owner: str) -> Mapping[str, NodeProgress]:
        """How far the job's nodes are, by their ids, while it is executed; else none. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return self._queue.progress(job.id)

    async def history(self, owner: str, limit: int, offset: int) -> Sequence[JobRecord]:
        """The records of jobs that are over, the latest first, without their graphs."""
        page = await self.list(JobFilter(owner, tuple(sorted(FINAL))), JobPage(limit=limit, offset=offset))
        return await jobs.records_of(self._db, [job.row_id for job in page.items], with_graphs=False)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Cancel the job; False when it was over already, or on its way. Raises as ``cancel_many`` does."""
        return bool(await self.cancel_many([job_id], owner))

    async def cancel_many(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Cancel the jobs, or none if one of them cannot be; return the ids of those that were not over.

        Raises JobNotFoundError and JobElsewhereError. Jobs that this server's queue holds need nothing of the store.
        """
        held = {job_id: self._control.find(job_id, owner) for job_id in dict.fromkeys(job_ids)}
        others = [job_id for job_id, job in held.items() if job is None]
        if others:
            await self._check_others(others, owner, is_single=len(job_ids) == 1)
        live: dict[str, HeldJob] = {job.prompt_id: job for job in held.values() if job is not None}
        return await self._control.cancel(live.values())

    async def _check_others(self, job_ids: Sequence[str], owner: str, *, is_single: bool) -> None:
        """Raise for jobs that are unknown, or in the queue of another server. The store has all that is not held."""
        found = {job_id: job for job_id, job in (await self._find(job_ids)).items() if job.owner in ("", owner)}
        unknown = [job_id for job_id in job_ids if job_id not in found]
        if unknown:
            details = {"id": unknown[0]} if is_single else {"ids": unknown}
            raise JobNotFoundError("There is no such job.", details=details)
        at_work = self._recorder.seats_at_work()
        for job_id, job in found.items():
            if job.status not in FINAL and await jobs.seat_of(self._db, job.row_id) in at_work:
                message = "The job is in the queue of another server that shares this library: cancel it there."
                raise JobElsewhereError(message, details={"id": job_id})

    async def _find(self, job_ids: Iterable[str]) -> Mapping[str, Job]:
        """Return the jobs that exist, by the ids as they were given; see ``spellings``."""
        wanted = {job_id: spellings(job_id) for job_id in job_ids}
        rows = await jobs.get_many(self._db, dict.fromkeys(each for ids in wanted.values() for each in ids))
        known = {job.id: job for job in rows}
        return {
            job_id: known[each]
            for job_id, ids in wanted.items()
            if (each := next((spelled for spelled in ids if spelled in known), None)) is not None
        }

    async def delete(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Remove the records of those of the jobs that are over, never their files; answers them."""
        await self._recorder.flush()
        found = {job.row_id: job for job in (await self._find(job_ids)).values() if job.owner in ("", owner)}
        over = [job for job in found.values() if job.status in FINAL]
        async with self._db.transaction() as tx:
            await store.remove(tx, [job.row_id for job in over])
        ids = [job.id for job in over]
        if ids:
            await in_daemon_thread(self._queue.forget, ids)
            self._queue.announce()
        return ids

    async def clear(self, owner: str) -> int:
        """Remove the records of all of the user's jobs that are over, never their files; answers how many."""
        await self._recorder.flush()
        count = 0
        while True:
            async with self._db.transaction() as tx:
                rows = await jobs.rows_over(tx, owner, _DELETED_AT_ONCE)
                await store.remove(tx, [row_id for row_id, _ in rows])
            count += len(rows)
            await in_daemon_thread(self._queue.forget, [job_id for _, job_id in rows])
            if len(rows) < _DELETED_AT_ONCE:
                break
        self._queue.announce()
        return count

    async def _index(self) -> None:
        """Index new jobs while nothing is executed; a search does not wait for that."""
        while True:
            await asyncio.sleep(_INDEX_S)
            if self._host.is_executing():
                continue
            try:
                await self._search.complete()
            except sqlite3.Error as error:
                log.warning("Jobs could not be indexed; that is tried again: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """End background work."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)


def is_job_id(text: str) -> bool:
    """Whether the text is a UUID."""
    return canonical_id(text) is not None
