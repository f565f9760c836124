"""Jobs that have ended and whose files are being taken into the library: their ends are written after that."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..host.execution import FinishedPrompt
from .endings import has_files
from .events import Ended, JobEvent

WAIT_S = 1.0  # how long somebody who asks for jobs waits for their files
HOLD_S = 5.0  # how long an end is held back at most


class Taker(Protocol):
    """Takes files of jobs into the library; says through ``JobRecorder.settled`` when it has."""

    def record(self, prompt: FinishedPrompt) -> None:
        """Begin to record the files of the prompt. Safe from any thread; returns at once."""

    def flush_soon(self) -> None:
        """Do not wait for more prompts to end. On the event loop."""


class Unsettled:
    """The jobs by their prompts' ids. Prompts are added on any thread, all else happens on the event loop."""

    def __init__(self) -> None:
        self._taker: Taker | None = None
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[str, int, float]] = {}  # id in the store, run, and until when
        self._changed: asyncio.Event | None = None

    def open(self, taker: Taker | None) -> None:
        """Begin to hold back the ends of jobs whose files this one takes."""
        self._taker = taker

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, prompt: FinishedPrompt, job_id: str, run: int) -> None:
        """Have the files of a job that has ended taken, if there are any, and hold back its end."""
        taker = self._taker
        if taker is None or not has_files(prompt.outputs):
            return
        with self._lock:
            self._jobs[prompt.prompt_id] = (job_id, run, time.monotonic() + HOLD_S)
        taker.record(prompt)

    def settle(self, prompt_ids: Iterable[str]) -> bool:
        """Hold back the ends of these jobs no more; whether any was."""
        with self._lock:
            found = [prompt_id for prompt_id in prompt_ids if self._jobs.pop(prompt_id, None) is not None]
        if found and self._changed is not None:
            self._changed.set()
        return bool(found)

    def clear(self) -> None:
        """Hold back nothing more."""
        self._taker = None
        self.settle(list(self._jobs))

    def held_back(self, events: Sequence[JobEvent]) -> list[JobEvent]:
        """Return the events that are ends of these jobs."""
        with self._lock:
            jobs = {job[:2] for job in self._jobs.values()}
        return [event for event in events if isinstance(event, Ended) and (event.id, event.run) in jobs] if jobs else []

    def overdue(self) -> list[str]:
        """The jobs whose ends have been held back for too long."""
        now = time.monotonic()
        with self._lock:
            return [prompt_id for prompt_id, (_, _, until) in self._jobs.items() if until < now]

    async def wait(self) -> None:
        """Wait until the jobs that have ended by now are settled, but not long."""
        wanted = set(self._jobs)
        if not wanted or self._taker is None:
            return
        self._taker.flush_soon()
        deadline = time.monotonic() + WAIT_S
        while wanted & self._jobs.keys() and (left := deadline - time.monotonic()) > 0:
            changed = self._changed = self._changed or asyncio.Event()
            changed.clear()
            try:
                await asyncio.wait_for(changed.wait(), left)
            except asyncio.TimeoutError:
                return
