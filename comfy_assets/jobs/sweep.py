"""Looks for jobs that are not over according to the store, and that no queue holds any more."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from ..db import jobs, tasks
from ..db.connection import Database
from ..db.jobs import ActiveJob
from ..host.execution import ExecutionQueue
from .recorder import JobRecorder

log = logging.getLogger("comfy_assets.jobs")

SWEEP_S = 4.0  # two looks are over within ten seconds


class Sweep:
    """Ends such jobs: other packs change the queue's list, or keep the server from hearing how a prompt ended.

    Two looks in a row must miss a job: it is recorded a moment before it enters the queue, and leaves it a moment
    before its end is told. Servers that shared the store and have died are noticed as well.
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
        self._missed: set[tuple[str, int]] = set()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.look()
            except sqlite3.Error as error:
                log.warning("Jobs that are in no queue any more could not be looked for: %s", error)

    async def look(self) -> None:
        """Look once."""
        await self._recorder.write()
        active = await jobs.active(self._db)
        others = {job.seat for job in active} | await tasks.running_instances(self._db)
        others -= {0, self._recorder.seat}  # 0: a server that has no journal
        if others:
            await asyncio.to_thread(self._recorder.take_over)
            ended = others - self._recorder.seats_at_work()
            if ended:
                log.info("A server that shared this library has ended; its jobs and tasks are put in order.")
                await self._take_over(ended)
                active = await jobs.active(self._db)
        gone = self._not_held([job for job in active if job.seat == self._recorder.seat])
        self._recorder.presume_ended(job for key, job in gone.items() if key in self._missed)
        self._missed = set(gone) - self._missed

    def _not_held(self, active: list[ActiveJob]) -> dict[tuple[str, int], ActiveJob]:
        """Return this server's jobs that are not in its queue, by their ids and runs."""
        if not active:
            return {}
        listing = self._queue.listing()
        held = {self._recorder.job_id_of(prompt.prompt_id) for prompt in (*listing.running, *listing.pending)}
        return {
            (job.id, job.run): job
            for job in active
            if job.id not in held and not self._recorder.is_end_told(job.id, job.run)
        }
