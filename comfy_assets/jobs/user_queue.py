"""The queue, and the history of the server, as one of several users may see and change them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..db import jobs
from ..db.connection import Database
from ..host.base import Host
from . import stock_history
from .recorder import JobRecorder
from .service import JobService
from .shown_queue import ShownQueue, shown


class UserQueue:
    """Shows and changes what is a user's own, or everybody's."""

    def __init__(self, db: Database, host: Host, recorder: JobRecorder, service: JobService) -> None:
        self._db = db
        self._host = host
        self._queue = host.execution
        self._recorder = recorder
        self._jobs = service

    async def show(self, owner: str) -> ShownQueue:
        """Return what the execution queue holds now, without the content of what is another user's."""
        listing = await asyncio.to_thread(self._queue.listing)
        visible: set[str] | None = None
        if self._host.is_multi_user():
            await self._recorder.flush()
            prompts = (*listing.running, *listing.pending)
            visible = await jobs.visible(self._db, [prompt.prompt_id for prompt in prompts], owner)
        return await asyncio.to_thread(shown, listing, visible, self._recorder.redactor_of)

    async def interrupt(self, owner: str, job_id: str | None = None) -> None:
        """Cancel the user's job that is being executed, if it is this one (None: whichever)."""
        running = await self._running()
        await self._jobs.cancel_known([each for each in running if job_id in (None, each)], owner)

    async def drop(self, job_ids: Sequence[str], owner: str) -> None:
        """Cancel those of the user's jobs that wait, and leave those that are executed."""
        running = await self._running()
        await self._jobs.cancel_known([job_id for job_id in job_ids if job_id not in running], owner)

    async def _running(self) -> list[str]:
        listing = await asyncio.to_thread(self._queue.listing)
        return [prompt.prompt_id for prompt in listing.running]

    async def history(self, owner: str, limit: int, offset: int | None) -> stock_history.Entries:
        """Return executed jobs as servers show them in their own history; see ``stock_history.page``."""
        await self._recorder.flush()
        return await stock_history.page(self._db, owner, limit, offset)

    async def history_of(self, owner: str, job_id: str) -> stock_history.Entries:
        """Return the same of one job, if the user has it."""
        await self._recorder.flush()
        return await stock_history.single(self._db, owner, job_id)
