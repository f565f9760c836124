"""Whatever happens to jobs, in whatever order, and whenever the server dies: each is in one state, the right one."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.models import run_model

pytestmark = pytest.mark.slow

SUCCESS = {"status_str": "success", "completed": True, "messages": []}
FAILURE = {"status_str": "error", "completed": False, "messages": [["execution_error", {"exception_message": "no"}]]}
INTERRUPTED = {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {}]]}
ENDS = {"completed": SUCCESS, "failed": FAILURE, "cancelled": INTERRUPTED}
ACTIVE = ("pending", "in_progress")

which = st.integers(0, 5)
step = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from([0, 0, 1, 2, -1, 1.5])),
    st.tuples(st.just("submit"), st.sampled_from([0, 1])),
    st.tuples(st.just("start")),
    st.tuples(st.just("show")),
    st.tuples(st.just("finish"), st.sampled_from(sorted(ENDS))),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("drop"), which),
    st.tuples(st.just("clear queue")),
    st.tuples(st.just("clear pending")),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("clear history")),
    st.tuples(st.just("look")),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("die"), st.booleans()),
    st.tuples(st.just("die in a write"), st.integers(0, 12)),
    st.tuples(st.just("die after a write")),
)


class JobModel:
    """What should be; and a server, with what is."""

    def __init__(self, open_seat: Any) -> None:
        self._open_seat = open_seat
        self.seat: Any = None
        self.states: dict[str, str] = {}
        self.order: dict[str, tuple[float, int]] = {}
        self.asked_to_stop: set[str] = set()

    async def begin(self, restore: bool = True) -> None:
        self.seat = await self._open_seat(restore=restore)

    async def end(self) -> None:
        """Do nothing: the seats are closed with the block that opens them."""

    def pick(self, index: int) -> str | None:
        return list(self.states)[index % len(self.states)] if self.states else None

    def waiting(self) -> list[str]:
        return sorted((job for job, state in self.states.items() if state == "pending"), key=self.order.__getitem__)

    @property
    def running(self) -> str | None:
        return next((job for job, state in self.states.items() if state == "in_progress"), None)

    async def submit(self, number: float) -> None:
        job_id = f"00000000-0000-4000-8000-{len(self.order):012d}"
        self.order[job_id] = (number, len(self.order))
        self.states[job_id] = "pending"
        self.seat.submit(job_id, number)

    async def start(self) -> None:
        if self.running is None and self.waiting():
            self.states[self.waiting()[0]] = "in_progress"
            assert self.seat.queue.start().prompt_id == self.running

    async def show(self) -> None:
        if self.running is not None:
            self.seat.queue.show("2", {"text": ["half way"]})

    async def finish(self, end: str) -> None:
        if (running := self.running) is not None:
            self.states[running] = "cancelled" if running in self.asked_to_stop else end
            self.seat.end(ENDS[end])

    async def cancel(self, index: int) -> None:
        if (job_id := self.pick(index)) is None:
            return
        expected = self.states[job_id] in ACTIVE and job_id not in self.asked_to_stop
        assert await self.seat.services.jobs.cancel(job_id, "default") is expected
        self.cancelled(job_id)

    def cancelled(self, job_id: str) -> None:
        if self.states[job_id] == "pending":
            self.states[job_id] = "cancelled"
        elif self.states[job_id] == "in_progress":
            self.asked_to_stop.add(job_id)

    async def drop(self, index: int) -> None:
        """Through the server's own queue."""
        if (job_id := self.pick(index)) is not None and self.states[job_id] == "pending":
            assert self.seat.queue.cancel(job_id)
            self.cancelled(job_id)

    async def clear_queue(self) -> None:
        self.seat.queue.clear()
        for job_id in self.waiting():
            self.cancelled(job_id)

    async def clear_pending(self) -> None:
        assert sorted(await self.seat.services.control.cancel_pending("default")) == sorted(self.waiting())
        for job_id in self.waiting():
            self.cancelled(job_id)

    async def delete(self, index: int) -> None:
        if (job_id := self.pick(index)) is None:
            return
        is_over = self.states[job_id] not in ACTIVE
        assert await self.seat.services.jobs.delete([job_id], "default") == ([job_id] if is_over else [])
        if is_over:
            del self.states[job_id]

    async def clear_history(self) -> None:
        over = [job_id for job_id, state in self.states.items() if state not in ACTIVE]
        assert await self.seat.services.jobs.clear("default") == len(over)
        for job_id in over:
            del self.states[job_id]

    async def restart(self, restore: bool) -> None:
        await self.seat.stop()
        await self.again(restore)

    async def die(self, restore: bool = True) -> None:
        await self.seat.die()
        await self.again(restore)

    async def die_in_a_write(self, moment: int) -> None:
        write = asyncio.create_task(self.seat.recorder.flush())
        for _ in range(moment):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        await self.die()

    async def die_after_a_write(self) -> None:
        """What was written is in the journal still."""
        self.seat.journal.drop = lambda upto: None
        await self.seat.recorder.flush()
        await self.die()

    async def again(self, restore: bool) -> None:
        for job_id, state in self.states.items():
            if state == "in_progress":
                self.states[job_id] = "cancelled" if job_id in self.asked_to_stop else "failed"
            elif state == "pending" and not restore:
                self.states[job_id] = "cancelled"
        self.asked_to_stop.clear()
        await self.begin(restore)

    async def look(self) -> None:
        assert await self.seat.states() == self.states
        assert self.seat.waiting() == self.waiting()
        db = self.seat.services.db
        kept = await db.fetch_all("SELECT owner, status, media, n FROM job_counts WHERE n <> 0 ORDER BY 1, 2, 3")
        counted = await db.fetch_all(
            "SELECT owner, status, media, count(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        assert kept == counted
        ((jobs, records, documents),) = await db.fetch_all(
            "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM job_records), (SELECT count(*) FROM documents)"
        )
        assert (jobs, records, documents) == (len(self.states), len(self.states), bool(self.states))
        unended = await db.fetch_all("SELECT 1 FROM jobs WHERE (status < 2) <> (finished_at IS NULL)")
        assert unended == []


async def follow(steps: list[Any], seats: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with seats(Path(folder)) as open_seat:
            await run_model(JobModel(open_seat), steps, at_end=("look", "die", "look"))


def S(text: str) -> list[Any]:
    """Steps, from a line of their names."""
    given_with = {"submit": 0, "finish": "completed", "cancel": 0, "drop": 0, "delete": 0, "restart": True, "die": True}
    given_with["die in a write"] = 6
    names = [name.strip() for name in text.split(",")]
    return [(name, given_with[name]) if name in given_with else (name,) for name in names]


@settings(max_examples=examples(20, 60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=25))
@example(S("submit, start, die after a write, submit, start, finish, die after a write"))
@example(S("submit, submit, start, look, finish, start, die in a write, start, finish, look"))
@example(S("submit, start, cancel, die, look, delete, die"))
@example([*S("submit, submit, start, show, look"), ("restart", False), *S("look, clear history, look")])
@example(S("submit, start, show, cancel, finish, look, clear history, die after a write"))
def test_each_job_is_in_its_state(seats: Any, steps: list[Any]) -> None:
    asyncio.run(follow(steps, seats))
