"""Recorder of jobs: the queue reports events on any thread, and the recorder never blocks it.

Each event is appended to the journal, which survives the process. All events of a second are then written to the
store in one transaction. Readers of the store call ``flush`` first, so that they see every reported event.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from ..credentials import PromptRedaction, take_out
from ..db.connection import Database
from ..db.jobs import ActiveJob
from ..errors import StoreBusyError
from ..host.execution import FinishedPrompt, SubmittedPrompt
from ..ids import now_ms
from ..json_text import FOREIGN
from ..models import JobRecord
from . import store
from .deferred_ends import DeferredEnds, FileRecorder
from .events import (
    JobDropped,
    JobEnded,
    JobEvent,
    JobInterrupted,
    JobStarted,
    JobSubmitted,
    OutputShown,
    encode,
    encode_redacted,
    job_ended,
    job_ended_without_outputs,
    presumed_end,
)
from .journal import Journal
from .live_jobs import LiveJob, LiveJobs
from .submission import JobSubmission, current_submission, submitted_event

log = logging.getLogger("comfy_assets.jobs")

FLUSH_S = 1.0  # delay of a write, so that a burst of events shares a transaction
PATIENCE_S = 0.7  # wait for another process that locks the store; a request may be waiting for its list
_MAX_WAITING = 20_000  # events kept in memory while the store cannot be written; the journal has them all
_MAX_SHOWN = 4 << 20  # characters of one node's output; a larger one is only recorded at the end of the job


class JobRecorder:
    """Implements ``QueueListener`` over the journal and, once it is open, the store."""

    def __init__(self, journal: Journal | None) -> None:
        """Without a journal, the events of the last second are lost with the process."""
        self.live = LiveJobs()
        self._journal = journal
        self._lock = threading.Lock()
        self._waiting: list[JobEvent] = []
        self._reported = self._written = 0  # numbers of changes; equal when the store is up to date
        self._redaction = PromptRedaction()
        self._ends = DeferredEnds()
        self._db: Database | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._is_awake = False
        self._is_full = False  # the journal has events that memory has not: its files must stay
        self._is_closed = False
        self.trouble: StoreBusyError | None = None  # the reason why reported events are not stored

    @property
    def has_journal(self) -> bool:
        """Whether reported events survive the process before they are stored."""
        return self._journal is not None

    @property
    def seat(self) -> int:
        """The number of this server among the servers that share the store; 0 without a journal."""
        return self._journal.seat if self._journal is not None else 0

    def take_over(self) -> set[int]:
        """Claim the seats of servers that have ended meanwhile; return them."""
        with self._lock:
            return self._journal.take_over() if self._journal is not None else set()

    def running_seats(self) -> set[int]:
        """Return the seats of other servers that run now."""
        with self._lock:
            return self._journal.other_seats if self._journal is not None else set()

    # Events of the queue: see ``QueueListener``.

    def is_free(self, prompt_id: str) -> bool:
        return not self.live.is_active(prompt_id)

    def submitted(self, prompt: SubmittedPrompt) -> None:
        submission = current_submission()
        # Before anything that may fail: later events of the prompt are redacted in any case.
        self._redaction.add(prompt.prompt_id, prompt.secrets)
        job = self.live.add(prompt.prompt_id, submission.owner)
        event: JobEvent
        try:
            event = self._submitted(prompt, submission, job)
        except FOREIGN as error:
            log.exception("What was submitted as %s could not be recorded", job.job_id)
            bare = JobSubmitted(job.job_id, now_ms(), job.owner, 0.0, "{}", None, "{}", "[]", run=job.run)
            event = store.without_content(bare, f"{type(error).__name__}.") or bare
        job.created_at = event.at
        self._report(event)

    def _submitted(self, prompt: SubmittedPrompt, submission: JobSubmission, job: LiveJob) -> JobSubmitted:
        extra_data, credentials = take_out(prompt.extra_data)
        self._redaction.add(prompt.prompt_id, prompt.secrets | credentials)
        redact = self._redaction.of(prompt.prompt_id)
        return submitted_event(prompt, extra_data, submission, job, redact)

    def restored(self, jobs: Iterable[JobRecord]) -> None:
        """Add jobs of an earlier run that are about to return to the queue."""
        for record in jobs:
            self.live.add(record.job.id, record.job.owner, record.run).created_at = record.job.created_at

    def started(self, prompt_id: str) -> None:
        job_id, run = self._stored_key(prompt_id)
        now = now_ms()
        self.live.start(prompt_id, now)
        self._report(JobStarted(job_id, now, run))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        job_id, run = self._stored_key(prompt_id)
        text = encode_redacted({node_id: output}, self._redaction.of(prompt_id)).text
        if len(text) <= _MAX_SHOWN:
            self._report(OutputShown(job_id, now_ms(), text, run))

    def redactor_of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the credentials of a prompt in the queue."""
        return self._redaction.of(prompt_id)

    def completing(self, prompt_id: str) -> None:
        self._ends.expect(prompt_id)

    def interrupting(self, prompt_id: str) -> None:
        job = self.live.get(prompt_id) or self.live.add(prompt_id, "", 0)
        if not job.is_interrupted:
            job.is_interrupted = True
            self._report(JobInterrupted(job.job_id, now_ms(), job.run))

    def finished(self, prompt: FinishedPrompt) -> None:
        job_id, run = self._stored_key(prompt.prompt_id)
        self._ends.add(prompt, job_id, run)
        was_interrupted = self.is_interrupted(prompt.prompt_id)
        try:
            end = job_ended(prompt, self._redaction.of(prompt.prompt_id), was_interrupted=was_interrupted)
        except FOREIGN as error:
            log.exception("The outputs of the job %s could not be recorded", job_id)
            end = job_ended_without_outputs(prompt, error, was_interrupted=was_interrupted)
        self._report(msgspec.structs.replace(end, id=job_id, run=run))
        self._left_queue(prompt.prompt_id)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        now = now_ms()
        for prompt_id in prompt_ids:
            job_id, run = self._stored_key(prompt_id)
            self._report(JobDropped(job_id, now, run))
            self._left_queue(prompt_id)

    def presume_ended(self, jobs: Iterable[ActiveJob]) -> None:
        """End jobs that left the queue without a report. A report that comes later replaces the presumed end."""
        for job in jobs:
            live = self.live.find(job.id)
            is_same_run = live is not None and live.run == job.run
            was_interrupted = job.is_interrupted or (is_same_run and live is not None and live.is_interrupted)
            if job.is_running:
                self._report(presumed_end(job.id, job.run, was_interrupted=was_interrupted))
            else:
                self._report(JobDropped(job.id, now_ms(), job.run, is_presumed=True))
            if is_same_run and live is not None:
                self.live.end(live.prompt_id)

    def job_id_of(self, prompt_id: str) -> str:
        """Return the id in the store of a prompt in the queue."""
        return self._stored_key(prompt_id)[0]

    def _stored_key(self, prompt_id: str) -> tuple[str, int]:
        """Return the id and the run that identify the job in the store."""
        job = self.live.get(prompt_id) or LiveJob(prompt_id, "", 0)
        return job.job_id, job.run

    def _left_queue(self, prompt_id: str) -> None:
        self.live.end(prompt_id)
        self._redaction.forget(prompt_id)

    def is_interrupted(self, prompt_id: str) -> bool:
        """Return whether a running prompt has been asked to stop."""
        job = self.live.get(prompt_id)
        return job is not None and job.is_interrupted

    def has_ended(self, job_id: str, run: int) -> bool:
        """Return whether the end of the job was reported, though it may not be stored yet."""
        job = self.live.find(job_id)
        return job is not None and job.run == run and job.is_over

    # Writing to the store.

    def _report(self, event: JobEvent) -> None:
        line = encode(event)  # before the lock, as it may take long
        with self._lock:
            if self._is_closed:
                return
            self._reported += 1
            if len(self._waiting) < _MAX_WAITING:
                self._waiting.append(event)
            elif not self._is_full:
                self._is_full = True
                log.error("The store takes no jobs: further events are only stored at the next start of the server.")
            if self._journal is not None:
                self._journal.append(line)
        self._wake()

    def _wake(self) -> None:
        """Schedule a write unless one is scheduled. Safe from any thread."""
        with self._lock:
            loop = self._loop
            wake, self._is_awake = loop is not None and not self._is_awake, True
        if wake and loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._start_flushing)

    def open(self, db: Database, files: FileRecorder | None = None) -> None:
        """Begin to write to the store, on the running event loop.

        The end of a job with files is written after ``files`` has recorded them.
        """
        with self._lock:
            self._db, self._loop = db, asyncio.get_running_loop()
            self._is_awake = True
        self._ends.open(files)
        self._start_flushing()

    def files_recorded(self, prompt_ids: Iterable[str]) -> None:
        """Write the ends of these jobs: their files are assets now, or cannot be. On the event loop."""
        if self._ends.release(prompt_ids):
            with self._lock:
                self._reported += 1
            self._wake()

    def give_up(self) -> None:
        """Keep nothing in memory: there is no store."""
        with self._lock:
            self._is_closed = True
            self._waiting = []

    def _start_flushing(self) -> None:
        self._flushing = asyncio.get_running_loop().create_task(self._flush_later(), name="comfy-assets jobs")

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        with self._lock:
            self._is_awake = False
        self.files_recorded(self._ends.overdue())
        try:
            await self.write()
        except sqlite3.Error as error:
            log.error("Jobs could not be written to the store; they are kept and tried again: %s", error)
        else:
            if not self._ends:
                return
        # Something is left, deferred or refused by the store, and perhaps no further event will wake the recorder.
        await asyncio.sleep(FLUSH_S)
        self._wake()

    async def files_of_ended(self) -> None:
        """Wait until the files of all jobs that have ended by now are assets, but at most ``FILES_WAIT_S``."""
        await self._ends.wait()

    async def flush(self) -> None:
        """Write every event reported until now. Raises StoreBusyError if the store cannot be written soon."""
        await self._ends.wait()
        await self.write()

    async def write(self) -> None:
        """Write every event reported until now, except deferred ends. Raises as ``flush`` does."""
        reported = self._reported
        while self._written < reported and self._db is not None:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write(self._db), name="comfy-assets jobs being written")
                self._writing.add_done_callback(_retrieve)
            await asyncio.shield(self._writing)  # a cancelled request must not cancel the write of all others

    async def _write(self, db: Database) -> None:
        with self._lock:
            events, reported = list(self._waiting), self._reported
            later = self._ends.deferred(events)
            upto = self._rotate(later)
        try:
            await store.record(db, _to_write(events, later), self.seat, PATIENCE_S)
        except StoreBusyError as error:
            self.trouble = error
            raise
        self.trouble = None
        with self._lock:
            self._waiting[: len(events)] = later
            self._written = reported
            if self._journal is not None and not self._is_full:
                self._journal.drop(upto)
        deferred = set(map(id, later))
        self.live.forget((event.id, event.run) for event in events if _is_final(event) and id(event) not in deferred)

    def _rotate(self, later: Iterable[JobEvent]) -> int:
        """Begin a new journal file with the deferred events; return the number of the last file."""
        if self._journal is None:
            return 0
        upto = self._journal.rotate()
        for event in later:
            self._journal.append(encode(event))
        return upto

    async def close(self) -> None:
        """Write the events in memory; ignore all later ones."""
        with self._lock:
            self._is_awake = True  # schedule no further writes
            self._reported += 1
        self._ends.clear()
        if self._flushing is not None:
            self._flushing.cancel()
        with suppress(sqlite3.Error):
            await self.write()
        with self._lock:
            self._is_closed, self._db, self._waiting = True, None, []
            if self._journal is not None:
                self._journal.close()
                self._journal = None


def _to_write(events: Sequence[JobEvent], later: Sequence[JobEvent]) -> list[JobEvent]:
    """Return the events without deferred ones.

    The outputs that a node has shown are left out once the end of the job was reported, which contains them.
    """
    deferred = set(map(id, later))
    ended = {(event.id, event.run) for event in events if isinstance(event, JobEnded) and not event.is_presumed}
    return [
        event
        for event in events
        if id(event) not in deferred and not (isinstance(event, OutputShown) and (event.id, event.run) in ended)
    ]


def _retrieve(task: asyncio.Task[None]) -> None:
    """Mark a failure as retrieved, which asyncio would log otherwise. The next write meets it again."""
    if not task.cancelled():
        task.exception()


def _is_final(event: JobEvent) -> bool:
    """Return whether no further event of the job can follow."""
    return isinstance(event, (JobEnded, JobDropped)) and not event.is_presumed
