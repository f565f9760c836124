"""Interrupts jobs of its own and measures how long each interrupt takes to be answered, and to have effect.

Requests are sent from a thread, on connections of their own, so that the other clients do not lengthen them.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
import uuid
from contextlib import closing, suppress
from typing import Any

from asking import Asker, Unanswered
from faults import waiting_graph
from notes import JobNote, Json
from users import headers_of

TIMEOUT_S = 60.0
EFFECT_S = 10.0
JOB_S = 15.0
PAUSE_S = 0.2


class Interrupter:
    """Submits a long job, interrupts it in one of the ways that there are, and goes on until the time is over.

    Amiss is every interrupt that is not answered with 200 within ``limit_s``, whatever happens to the store, and every
    job that is still in the queue long after it.
    """

    def __init__(self, ask: Asker, chance: random.Random, limit_s: float) -> None:
        self._ask, self._chance, self._limit_s = ask, chance, limit_s

    async def work(self, until: float) -> None:
        """Go on until then; while the server is away it waits."""
        while time.monotonic() < until:
            await self._ask.server.up.wait()
            with suppress(Unanswered):  # killed under way: what became of the job is for the audit
                await self._interrupt_one()
            await asyncio.sleep(PAUSE_S)

    async def _interrupt_one(self) -> None:
        kills = self._ask.server.kills
        job = await self._submit()
        await asyncio.sleep(self._chance.random())
        path, body = self._way(job.id)
        if body == {}:
            async with self._ask.server.quiet:
                await self._timed(path, body)
        else:
            await self._timed(path, body)
        if await self._is_queued(job.id):  # an interrupt hits what is executed, and it may still wait
            await self._timed(f"/api/jobs/{job.id}/cancel", {})
            await self._wait_for_effect(job.id, kills)
        job.is_cancelled = self._ask.server.kills == kills

    def _way(self, job_id: str) -> tuple[str, Json]:
        """Return one of the requests that interrupt a job; the one with an empty body takes whichever is executed."""
        ways: list[tuple[str, Json]] = [
            ("/api/interrupt", {}),
            ("/api/interrupt", {"prompt_id": job_id}),
            (f"/api/jobs/{job_id}/cancel", {"job": job_id}),
            ("/api/queue", {"delete": [job_id]}),
        ]
        return self._chance.choice(ways)

    async def _submit(self) -> JobNote:
        job = JobNote(str(uuid.uuid4()), self._ask.who, has_files=False)
        body = {"prompt": waiting_graph(JOB_S), "prompt_id": job.id, "front": True}
        try:
            answer = await self._ask.ask("submit", "POST", "/api/prompt", json=body)
        except Unanswered:
            self._ask.notes.given_up_jobs.add(job.id)
            raise
        self._ask.notes.must(answer.status == 200, f"{self._ask.who}: a prompt is answered {answer}")
        self._ask.notes.jobs[job.id] = job
        return job

    async def _is_queued(self, job_id: str) -> bool:
        queue = (await self._ask.learn("queue", "/api/queue")).json
        return any(item[1] == job_id for part in queue.values() for item in part)

    async def _wait_for_effect(self, job_id: str, kills: int) -> None:
        deadline = time.monotonic() + EFFECT_S
        while await self._is_queued(job_id):
            if self._ask.server.kills != kills:
                raise Unanswered
            if not self._ask.notes.must(
                time.monotonic() < deadline, f"{self._ask.who}: job {job_id} goes on after it was cancelled"
            ):
                return
            await asyncio.sleep(0.1)

    async def _timed(self, path: str, body: Json) -> None:
        """Send the request and note how long its answer took. Raises Unanswered when the server was killed."""
        kills = self._ask.server.kills
        outcome = await asyncio.to_thread(self._send, path, body)
        self._ask.notes.write(self._ask.who, kind="interrupt", path=path, body=body, outcome=outcome)
        status, taken = outcome
        if self._ask.server.kills != kills or not self._ask.server.up.is_set():
            raise Unanswered
        self._ask.notes.interrupts.append(taken)
        self._ask.notes.times["interrupt"].append(taken)
        state = "while the store cannot be written" if self._ask.server.outage.is_on else ""
        is_right = status == 200 and taken <= self._limit_s
        self._ask.notes.must(is_right, f"POST {path} is answered {status} after {taken:.2f} s {state}".rstrip())

    def _send(self, path: str, body: Json) -> tuple[Any, float]:
        """Return the status of the answer, or the error in its place, and the seconds until it was there."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._ask.server.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", **headers_of(self._ask.user)}
        with closing(connection):
            try:
                connection.request("POST", path, json.dumps(body).encode(), headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                return repr(error), time.perf_counter() - began
        return response.status, time.perf_counter() - began
