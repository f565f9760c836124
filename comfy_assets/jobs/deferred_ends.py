"""Ends of jobs that wait until the jobs' files are assets, and requests that wait for both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..host.execution import FinishedPrompt
from .events import JobEnded, JobEvent, has_files

FILES_WAIT_S = 1.0  # wait of a request for the files of ended jobs
COMPLETION_S = 0.5  # longest wait for the report of a prompt's end after its last node
_POLL_S = 0.02
FILES_HOLD_S = 5.0  # longest delay of an end whose files are being recorded


class FileRecorder(Protocol):
    """Records the files of ended jobs as assets, then calls ``JobRecorder.files_recorded``."""

    def record(self, prompt: FinishedPrompt) -> None:
        """Begin to record the files of the prompt. Safe from any thread; returns at once."""

    def flush_soon(self) -> None:
        """Do not wait for more prompts to end. On the event loop."""


class DeferredEnds:
    """Ends of jobs that are written after the jobs' files are assets, so that clients find the assets of an ended job.

    Jobs are added on any thread; all else happens on the event loop.
    """

    def __init__(self) -> None:
        self._files: FileRecorder | None = None
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[str, int, float]] = {}  # by prompt id: id in the store, run, deadline
        self._completing: dict[str, float] = {}  # prompts whose end is about to be reported: deadlines
        self._changed: asyncio.Event | None = None

    def open(self, files: FileRecorder | None) -> None:
        """Begin to defer the ends of jobs with files."""
        self._files = files

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def expect(self, prompt_id: str) -> None:
        """Let ``wait`` wait for the end of a prompt, which is about to be added."""
        with self._lock:
            self._completing[prompt_id] = time.monotonic() + COMPLETION_S

    def add(self, prompt: FinishedPrompt, job_id: str, run: int) -> None:
        """Start to record the files of an ended job, and defer its end; do nothing if it has no files."""
        files = self._files
        is_deferred = files is not None and has_files(prompt.outputs)
        with self._lock:
            self._completing.pop(prompt.prompt_id, None)
            if is_deferred:
                self._jobs[prompt.prompt_id] = (job_id, run, time.monotonic() + FILES_HOLD_S)
        if is_deferred and files is not None:
            files.record(prompt)

    def release(self, prompt_ids: Iterable[str]) -> bool:
        """Defer the ends of these jobs no longer; return whether any was deferred."""
        with self._lock:
            found = [prompt_id for prompt_id in prompt_ids if self._jobs.pop(prompt_id, None) is not None]
        if found and self._changed is not None:
            self._changed.set()
        return bool(found)

    def clear(self) -> None:
        """Defer nothing any more."""
        self._files = None
        self.release(list(self._jobs))

    def deferred(self, events: Sequence[JobEvent]) -> list[JobEvent]:
        """Return the events that are deferred ends."""
        with self._lock:
            jobs = {job[:2] for job in self._jobs.values()}
        if not jobs:
            return []
        return [event for event in events if isinstance(event, JobEnded) and (event.id, event.run) in jobs]

    def overdue(self) -> list[str]:
        """Return the prompt ids of the jobs whose deadline has passed."""
        now = time.monotonic()
        with self._lock:
            return [prompt_id for prompt_id, (_, _, until) in self._jobs.items() if until < now]

    async def wait(self) -> None:
        """Wait until the files of all jobs that have ended by now are recorded, but at most ``FILES_WAIT_S``."""
        await self._ends_of_completed()
        wanted = set(self._jobs)
        if not wanted or self._files is None:
            return
        self._files.flush_soon()
        deadline = time.monotonic() + FILES_WAIT_S
        while wanted & self._jobs.keys() and (left := deadline - time.monotonic()) > 0:
            changed = self._changed = self._changed or asyncio.Event()
            changed.clear()
            try:
                await asyncio.wait_for(changed.wait(), left)
            except asyncio.TimeoutError:
                return

    async def _ends_of_completed(self) -> None:
        """Wait until the ends of the prompts that complete now are reported, which another thread is about to do."""
        wanted = set(self._completing)
        while wanted and (waiting := self._still_completing(wanted)):
            wanted = waiting
            await asyncio.sleep(_POLL_S)

    def _still_completing(self, wanted: set[str]) -> set[str]:
        """Return those of the prompts whose end is still expected; forget the overdue ones."""
        now = time.monotonic()
        with self._lock:
            for prompt_id in [each for each, until in self._completing.items() if until < now]:
                del self._completing[prompt_id]
            return wanted & self._completing.keys()
