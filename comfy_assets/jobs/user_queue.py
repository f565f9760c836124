"""The queue as one of several users may see and change it. It needs nothing of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..host.base import Host
from .control import QueueControl
from .live_jobs import spellings
from .recorder import JobRecorder
from .shown_queue import ShownQueue, shown


class UserQueue:
    """Shows and changes what is a user's own, or everybody's."""

    def __init__(self, host: Host, recorder: JobRecorder, control: QueueControl) -> None:
        self._host = host
        self._recorder = recorder
        self._control = control

    async def show(self, owner: str) -> ShownQueue:
        """Return what the execution queue holds now, without the content of what is another user's."""
        listing = await asyncio.to_thread(self._control.listing)
        visible: set[str] | None = None
        if self._host.is_multi_user():
            prompts = (*listing.running, *listing.pending)
            visible = {prompt.prompt_id for prompt in prompts if self._is_visible(prompt.prompt_id, owner)}
        return await asyncio.to_thread(shown, listing, visible, self._recorder.redactor_of)

    def _is_visible(self, prompt_id: str, owner: str) -> bool:
        """Return whether the content of a prompt may be shown. The owner of an unrecorded prompt is not known."""
        job = self._recorder.held.get(prompt_id)
        return job is not None and job.is_within_reach(owner)

    async def interrupt(self, owner: str, job_id: str | None = None) -> None:
        """Cancel the user's job that is being executed, if it is this one (None: whichever)."""
        for running in await self._running():
            if job_id in (None, running):
                await self._control.interrupt(owner, running)

    async def drop(self, job_ids: Sequence[str], owner: str) -> None:
        """Cancel those of the user's jobs that wait, and leave those that are executed."""
        running = set(await self._running())
        waiting = [job_id for job_id in job_ids if running.isdisjoint(spellings(job_id))]
        await self._control.cancel_known(waiting, owner)

    async def _running(self) -> list[str]:
        listing = await asyncio.to_thread(self._control.listing)
        return [prompt.prompt_id for prompt in listing.running]
