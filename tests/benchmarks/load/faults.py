"""What happens to the server during a run, one thing after the other: kills, a locked store, a full disk, a removed
node pack."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from asking import Asker
from job_client import FINAL, graph
from notes import JobNote, Json
from server import Server
from small_disk import SmallDisk

NAMES = ("locked", "full", "hostile", "removed")
REFILL_S = 0.1
RECOVERY_S = 5.0
PATIENCE_S = 120.0
LONG_S = 120.0
WAITING = 3
FIRST = -1_000_000
LOCK_CHILD = Path(__file__).with_name("lock_child.py")

Fault = Callable[[], Awaitable[None]]


class Faults:
    """Has each of the faults come at a moment that nobody expects."""

    def __init__(self, server: Server, disk: SmallDisk, ask: Asker, chance: random.Random, outage_s: float) -> None:
        self._server, self._disk, self._ask, self._chance = server, disk, ask, chance
        self._outage_s = outage_s

    def of(self, names: Sequence[str], kills: int, times: int) -> list[Fault]:
        """Return the faults of a run, in the order in which they come."""
        wanted: list[Fault] = [self._kill] * kills
        wanted += [self._lock] * (times if "locked" in names else 0)
        wanted += [self._fill] * (times if "full" in names else 0)
        wanted += [self._remove_pack] * ("removed" in names)
        self._chance.shuffle(wanted)
        return wanted

    async def work(self, faults: Sequence[Fault], until: float) -> None:
        """Have them come, spread over the time."""
        for left, fault in zip(range(len(faults), 0, -1), faults, strict=True):
            share = max(until - time.monotonic(), 0) / (left + 0.5)
            await asyncio.sleep(share * (0.7 + 0.6 * self._chance.random()))
            self._note(fault.__name__, "begins")
            await fault()
            if fault == self._fill:  # what was accepted meanwhile is written now; a kill before that loses it
                await asyncio.sleep(RECOVERY_S)
            self._note(fault.__name__, "is over")

    def _note(self, fault: str, what: str) -> None:
        self._ask.notes.write("faults", fault=fault, what=what)

    async def _kill(self) -> None:
        """Kill the server and start it again."""
        self._server.kill()
        await asyncio.sleep(self._chance.random())
        self._server.start()
        await self._server.wait_until_up()

    async def _lock(self) -> None:
        """Have another process hold the store's write lock."""
        child = await self._child(self._outage_s)
        assert child.stdout is not None
        with self._server.outage.lasting():
            is_held = await child.stdout.readline() == b"locked\n"
            await child.wait()
        self._ask.notes.must(is_held and child.returncode == 0, "the store could not be locked")

    async def _child(self, seconds: float) -> asyncio.subprocess.Process:
        command = [sys.executable, str(LOCK_CHILD), str(self._server.data / "library.db"), str(seconds)]
        return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

    async def _fill(self) -> None:
        """Leave the store no room on its disk."""
        with self._server.outage.lasting():
            emptying = await self._child(0)
            await emptying.wait()
            end = time.monotonic() + self._outage_s
            try:
                while time.monotonic() < end:
                    await asyncio.to_thread(self._disk.fill)
                    await asyncio.sleep(REFILL_S)
                self._ask.notes.must(self._disk.free == 0, "the disk could not be filled")
            finally:
                self._disk.empty()

    async def _remove_pack(self) -> None:
        """Kill the server while prompts wait for a node, and start it without the node's pack.

        These prompts must fail and name the node, and those that wait behind them must be executed. Nobody interrupts
        just any job meanwhile.
        """
        async with self._server.quiet:
            first = await self._submit(0, waiting_graph(LONG_S))
            lost = [await self._submit(number, passing_graph()) for number in range(1, 1 + WAITING)]
            behind = [await self._submit(number, self._picture()) for number in range(1 + WAITING, 1 + 2 * WAITING)]
            await self._until(lambda: self._is_running(first), "the first job is not executed")
            self._server.packs.discard("load_passing")
            await self._kill()
            first.ends = "failed"
            for job in lost:
                job.ends, job.names = "failed", "LoadPassing"
            for job in behind:
                job.ends = "completed"
            for job in (*lost, *behind):
                await self._until(lambda job=job: self._is_over(job), f"job {job.id} does not end")

    def _picture(self) -> Json:
        return graph(self._chance.randrange(1 << 24), self._ask.user)

    async def _submit(self, number: int, prompt: Json) -> JobNote:
        """Submit a prompt that is executed before all others, in the order of these numbers."""
        job = JobNote(str(uuid.uuid4()), self._ask.who)
        body = {
            "prompt": prompt,
            "prompt_id": job.id,
            "number": FIRST + number,
            "extra_data": {"load_exact": True},
        }
        answer = await self._ask.ask("submit", "POST", "/api/prompt", json=body)
        self._ask.notes.must(answer.status == 200, f"a prompt is answered {answer}")
        self._ask.notes.jobs[job.id] = job
        return job

    async def _is_running(self, job: JobNote) -> bool:
        queue = await self._ask.learn("queue", "/api/queue")
        return any(item[1] == job.id for item in queue.json["queue_running"])

    async def _is_over(self, job: JobNote) -> bool:
        found = await self._ask.learn("job", f"/api/jobs/{job.id}")
        return found.status == 200 and found.json["status"] in FINAL

    async def _until(self, is_so: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not await is_so():
            if time.monotonic() > deadline:
                self._ask.notes.find(otherwise)
                return
            await asyncio.sleep(0.1)


def waiting_graph(seconds: float) -> Json:
    """Return the graph of a node that takes so long."""
    return {"1": {"class_type": "LoadWaiting", "inputs": {"seconds": seconds, "word": str(uuid.uuid4())}}}


def passing_graph() -> Json:
    """Return the graph of the node whose pack is removed."""
    return {"1": {"class_type": "LoadPassing", "inputs": {"word": str(uuid.uuid4())}}}
