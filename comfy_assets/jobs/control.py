"""Operations on prompts in the queue. They need no store: stopping works whatever the state of the disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from ..daemon_thread import in_daemon_thread
from ..host.execution import ExecutionQueue, QueueListing
from .live_jobs import HeldJob, spellings
from .recorder import JobRecorder

log = logging.getLogger("comfy_assets.jobs")

_INSIST_S = 0.25  # an interrupt can come too early to be heard: it is repeated until the job has ended


class QueueControl:
    """Cancels prompts. One that is neither the user's nor everybody's is out of reach."""

    def __init__(self, queue: ExecutionQueue, recorder: JobRecorder) -> None:
        self._queue = queue
        self._recorder = recorder
        self._insisting: set[asyncio.Task[None]] = set()

    def listing(self) -> QueueListing:
        """Return the prompts that the queue holds now."""
        return self._queue.listing()

    def find(self, job_id: str, owner: str) -> HeldJob | None:
        """The job as far as it is known without the store: one that the queue holds, or that has just left it."""
        job = self._recorder.held.find(job_id)
        return job if job is not None and job.is_within_reach(owner) else None

    async def cancel(self, jobs: Iterable[HeldJob]) -> Sequence[str]:
        """Cancel the jobs; return the ids of those that were neither over nor on their way to it."""
        wanted = {job.prompt_id: job.job_id for job in jobs if not self._recorder.is_interrupted(job.prompt_id)}
        cancelled = await in_daemon_thread(self._queue.cancel_many, list(wanted)) if wanted else []
        for prompt_id in cancelled:
            self._insist_if_interrupted(prompt_id)
        return [wanted[prompt_id] for prompt_id in cancelled]

    async def cancel_known(self, job_ids: Iterable[str], owner: str) -> Sequence[str]:
        """Cancel the jobs that the queue holds and the user may see; return their ids."""
        found = (self.find(job_id, owner) for job_id in dict.fromkeys(job_ids))
        return await self.cancel({job.prompt_id: job for job in found if job is not None}.values())

    async def cancel_pending(self, owner: str) -> Sequence[str]:
        """Cancel all waiting jobs of the user; return their ids."""
        listing = await asyncio.to_thread(self._queue.listing)
        waiting = [prompt.prompt_id for prompt in listing.pending]
        mine = [prompt_id for prompt_id in waiting if self._is_within_reach(prompt_id, owner)]
        return await in_daemon_thread(self._queue.drop_many, mine) if mine else []

    async def interrupt(self, owner: str, job_id: str | None = None) -> str | None:
        """Cancel the running job (with an id: only if it is that job), or else the next; return its id."""
        listing = self._queue.listing()
        prompts = listing.running if job_id is not None else (*listing.running, *listing.pending)
        named = None if job_id is None else spellings(job_id)
        for prompt in prompts:
            if named is not None and prompt.prompt_id not in named:
                continue
            if self._is_within_reach(prompt.prompt_id, owner) and await self._cancel(prompt.prompt_id):
                return prompt.prompt_id
        return None

    def _is_within_reach(self, prompt_id: str, owner: str) -> bool:
        """Return whether the user may stop the prompt. One that came before anybody listened is everybody's."""
        job = self._recorder.held.get(prompt_id)
        return job is None or job.is_within_reach(owner)

    async def _cancel(self, prompt_id: str) -> bool:
        if self._recorder.is_interrupted(prompt_id) or not await in_daemon_thread(self._queue.cancel, prompt_id):
            return False
        self._insist_if_interrupted(prompt_id)
        return True

    def _insist_if_interrupted(self, prompt_id: str) -> None:
        if self._recorder.is_interrupted(prompt_id):
            task = asyncio.create_task(self._insist(prompt_id), name="comfy-assets interrupt")
            self._insisting.add(task)
            task.add_done_callback(self._ended)

    async def _insist(self, prompt_id: str) -> None:
        """Interrupt the job again and again until it ends: the server forgets what comes just before it begins."""
        while self._recorder.is_interrupted(prompt_id):
            await asyncio.sleep(_INSIST_S)
            if not await in_daemon_thread(self._queue.cancel, prompt_id):
                return

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._insisting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """Free memory once the job being executed has ended."""
        self._queue.free(unload_models=unload_models, free_memory=free_memory)

    async def close(self) -> None:
        """End background work."""
        for task in list(self._insisting):
            task.cancel()
        await asyncio.gather(*self._insisting, return_exceptions=True)
