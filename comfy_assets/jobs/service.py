"""Jobs as requests see them: lists, single ones, and what can be done to them.

Before anything is read, what the execution queue has told is written to the store, so that a request sees every job in
the state it has reached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from ..assets.identity import canonical_id
from ..daemon import in_daemon_thread
from ..db import job_files, job_lists, jobs
from ..db.connection import Database
from ..errors import JobForbiddenError, JobNotFoundError
from ..host.base import Host
from ..host.execution import NodeProgress
from ..models import FINAL, Job, JobFilter, JobOutput, JobPage, JobRecord, Page
from . import batches
from .recorder import JobRecorder
from .search import JobSearch

log = logging.getLogger("comfy_assets.jobs")

_INSIST_S = 0.25  # an interrupt can come too early to be heard: it is repeated until the job has ended
_SWEEP_S = 5.0
_INDEX_S = 2.0
_DELETED_AT_ONCE = 500


class JobService:
    """Questions about jobs, and changes to them. A job that is neither the user's nor everybody's is out of reach."""

    def __init__(self, db: Database, host: Host, recorder: JobRecorder) -> None:
        """For the running event loop."""
        self._db = db
        self._host = host
        self._queue = host.execution
        self._recorder = recorder
        self._search = JobSearch(db)
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to look after jobs that vanish from the queue in ways that nobody tells of, and to index new ones."""
        self._spawn(self._sweep(), "comfy-assets queue sweep")
        if self._db.can_search:
            self._spawn(self._index(), "comfy-assets job search index")

    async def list(self, wanted: JobFilter, page: JobPage) -> Page[Job]:
        """One page of the jobs that pass the filter. Raises SearchUnavailableError."""
        await self._recorder.flush()
        if wanted.words:
            await self._search.complete()
        return await job_lists.list_page(self._db, wanted, page)

    async def get(self, job_id: str, owner: str) -> Job:
        """The job. Raises JobNotFoundError, or JobForbiddenError for another user's."""
        await self._recorder.flush()
        job = await jobs.get(self._db, _canonical(job_id))
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
        job = await jobs.get(self._db, _canonical(job_id))
        if job is None or job.owner not in ("", owner):
            return None
        records = await jobs.records_of(self._db, [job.row_id])
        return records[0] if records else None

    async def outputs(self, job_id: str, owner: str) -> Sequence[JobOutput]:
        """The assets that the job has shown. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return await job_files.outputs_of(self._db, job.row_id, owner)

    async def progress(self, job_id: str, owner: str) -> Mapping[str, NodeProgress]:
        """How far the job's nodes are, by their ids, while it is executed; else none. Raises as ``get`` does."""
        job = await self.get(job_id, owner)
        return self._queue.progress(job.id)

    async def history(self, owner: str, limit: int, offset: int) -> Sequence[JobRecord]:
        """The records of jobs that are over, the latest first, without their graphs."""
        page = await self.list(JobFilter(owner, tuple(sorted(FINAL))), JobPage(limit=limit, offset=offset))
        return await jobs.records_of(self._db, [job.row_id for job in page.items], with_graphs=False)

    async def cancel(self, job_id: str, owner: str) -> bool:
        """Cancel the job; False when it was over already, or on its way. Raises JobNotFoundError."""
        return bool(await self.cancel_many([job_id], owner))

    async def cancel_many(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Cancel the jobs, or none of them when one is unknown; answers those that were not over already.

        Raises JobNotFoundError.
        """
        wanted = list(dict.fromkeys(map(_canonical, job_ids)))
        known = {job.id: job for job in await self._within_reach(wanted, owner)}
        unknown = [job_id for job_id in wanted if job_id not in known]
        if unknown:
            details = {"id": unknown[0]} if len(job_ids) == 1 else {"ids": unknown}
            raise JobNotFoundError("There is no such job.", details=details)
        return await self._cancel_all(known[job_id] for job_id in wanted)

    async def cancel_known(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Cancel those of the jobs that are there and not over; answers them."""
        return await self._cancel_all(await self._within_reach(map(_canonical, job_ids), owner))

    async def _within_reach(self, job_ids: Iterable[str], owner: str) -> Sequence[Job]:
        """Those of the jobs (ids in canonical form) that there are and that the user may see."""
        await self._recorder.flush()
        return [job for job in await jobs.get_many(self._db, job_ids) if job.owner in ("", owner)]

    async def cancel_pending(self, owner: str) -> Sequence[str]:
        """Cancel all of the user's jobs that wait; return them."""
        listing = await asyncio.to_thread(self._queue.listing)
        waiting = [prompt.prompt_id for prompt in listing.pending]
        return await self._cancel_all(await self._within_reach(waiting, owner))

    async def interrupt(self, owner: str, job_id: str | None = None) -> str | None:
        """Cancel the job being executed (with an id: only if it is that), or else the next; answers it."""
        listing = self._queue.listing()
        prompts = listing.running if job_id is not None else (*listing.running, *listing.pending)
        candidates = [prompt.prompt_id for prompt in prompts if job_id in (None, prompt.prompt_id)]
        for candidate in candidates:
            if await self.cancel_known([candidate], owner):
                return candidate
        return None

    async def _cancel_all(self, found: Iterable[Job]) -> Sequence[str]:
        """Cancel those of the jobs that are not over and were not asked to stop before; return them."""
        wanted = [job.id for job in found if job.status not in FINAL and not self._recorder.is_interrupted(job.id)]
        cancelled = await in_daemon_thread(self._queue.cancel_many, wanted) if wanted else []
        for job_id in cancelled:
            if self._recorder.is_interrupted(job_id):
                self._spawn(self._insist(job_id), "comfy-assets interrupt")
        return cancelled

    async def _insist(self, job_id: str) -> None:
        """Interrupt the job again and again until it ends: the server forgets what comes just before it begins."""
        while self._recorder.is_interrupted(job_id):
            await asyncio.sleep(_INSIST_S)
            if not await in_daemon_thread(self._queue.cancel, job_id):
                return

    async def delete(self, job_ids: Sequence[str], owner: str) -> Sequence[str]:
        """Remove the records of those of the jobs that are over, never their files; answers them."""
        found = await self._within_reach(dict.fromkeys(map(_canonical, job_ids)), owner)
        over = [job for job in found if job.status in FINAL]
        async with self._db.transaction() as tx:
            await batches.remove(tx, [job.row_id for job in over])
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
                await batches.remove(tx, [row_id for row_id, _ in rows])
            count += len(rows)
            await in_daemon_thread(self._queue.forget, [job_id for _, job_id in rows])
            if len(rows) < _DELETED_AT_ONCE:
                break
        self._queue.announce()
        return count

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """Free memory once the job being executed has ended."""
        self._queue.free(unload_models=unload_models, free_memory=free_memory)

    async def _sweep(self) -> None:
        """Cancel jobs that wait according to the store but are in the queue no more.

        Other packs may change the queue's list itself. Two looks in a row must miss a job: it is recorded a moment
        before it enters the queue.
        """
        missed: set[str] = set()
        while True:
            await asyncio.sleep(_SWEEP_S)
            pending = set(await jobs.pending_of(self._db, self._recorder.seat))
            if not pending:
                missed = set()
                continue
            listing = self._queue.listing()
            pending -= {prompt.prompt_id for prompt in (*listing.running, *listing.pending)}
            self._recorder.dropped(sorted(pending & missed))
            missed = pending - missed

    async def _index(self) -> None:
        """Index new jobs while nothing is executed; a search does not wait for that."""
        while True:
            await asyncio.sleep(_INDEX_S)
            if not self._host.is_executing():
                await self._search.complete()

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


def _canonical(job_id: str) -> str:
    """A UUID in canonical form; ids of other kinds, which older servers allow, as they are."""
    return canonical_id(job_id) or job_id
