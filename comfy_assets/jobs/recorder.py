"""Takes note of what happens to prompts: told by the execution queue on any thread, it never holds anybody up.

Each event is appended to the journal, which survives the process, and a moment later all that came meanwhile is written
to the store in one transaction. Whoever reads the store has what was told before written first (``flush``), so that no
reader sees less than the queue has told.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import json_text
from ..credentials import take_out
from ..db.connection import Database
from ..db.jobs import ActiveJob
from ..errors import StoreBusyError
from ..host.execution import FinishedPrompt, SubmittedPrompt
from ..ids import now_ms
from ..json_text import FOREIGN
from ..models import JobRecord
from . import store
from .endings import ended, ended_without_outputs, presumed_end, recorded
from .events import Dropped, Ended, Interrupted, JobEvent, Shown, Started, Submitted, encode
from .journal import Journal
from .live_jobs import HeldJob, HeldJobs
from .redaction import Redaction
from .unsettled import Taker, Unsettled

log = logging.getLogger("comfy_assets.jobs")

FLUSH_S = 0.5  # how long events wait for others to be written along with
PATIENCE_S = 0.7  # how long to wait for another process that holds the store: somebody wants to see a list
_MAX_WAITING = 20_000  # events that are kept in memory while the store cannot be written to
_MAX_SHOWN = 4 << 20  # characters of what a node has shown while the job goes on


@dataclass(frozen=True)
class Submission:
    """What a request says of the prompt it submits, beyond the prompt."""

    owner: str = ""
    workflow_id: str | None = None
    workflow_version_id: str | None = None


_NOBODYS = Submission()
_submission: ContextVar[Submission] = ContextVar("comfy_assets_submission", default=_NOBODYS)


@contextmanager
def submitting(submission: Submission) -> Iterator[None]:
    """Let prompts that enter the queue within the block be this submission's."""
    token = _submission.set(submission)
    try:
        yield
    finally:
        _submission.reset(token)


class JobRecorder:
    """Implements ``QueueListener`` over the journal and, once it is open, the store."""

    def __init__(self, journal: Journal | None) -> None:
        """Without a journal a killed process loses the events of the last moment."""
        self.held = HeldJobs()
        self._journal = journal
        self._lock = threading.Lock()
        self._waiting: list[JobEvent] = []
        self._told = self._written = 0
        self._redaction = Redaction()
        self._unsettled = Unsettled()
        self._db: Database | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._is_awake = False
        self._is_full = False  # the journal holds events that the memory does not
        self._is_closed = False
        self.trouble: StoreBusyError | None = None  # why what was told is not in the store

    @property
    def seat(self) -> int:
        """The number of this server among those that share the store."""
        return self._journal.seat if self._journal is not None else 0

    def take_over(self) -> set[int]:
        """Take the seats of servers that have ended meanwhile, and that this one looks after; return them."""
        with self._lock:
            return self._journal.take_over() if self._journal is not None else set()

    def seats_at_work(self) -> set[int]:
        """The seats of other servers that are at work now."""
        with self._lock:
            return self._journal.other_seats if self._journal is not None else set()

    # What the queue tells.

    def is_free(self, prompt_id: str) -> bool:
        return not self.held.is_active(prompt_id)

    def submitted(self, prompt: SubmittedPrompt) -> None:
        submission = _submission.get()
        self._redaction.learn(prompt.prompt_id, prompt.secrets)
        job = self.held.add(prompt.prompt_id, submission.owner)
        event: JobEvent
        try:
            event = self._submitted(prompt, submission, job)
        except FOREIGN as error:
            log.exception("What was submitted as %s could not be recorded", job.job_id)
            bare = Submitted(job.job_id, now_ms(), job.owner, 0.0, "{}", None, "{}", "[]", run=job.run)
            event = store.without_content(bare, f"{type(error).__name__}.") or bare
        self._hand_over(event)

    def _submitted(self, prompt: SubmittedPrompt, submission: Submission, job: HeldJob) -> Submitted:
        extra_data, credentials = take_out(prompt.extra_data)
        self._redaction.learn(prompt.prompt_id, prompt.secrets | credentials)
        extra = dict(extra_data)
        pnginfo = extra.get("extra_pnginfo")
        workflow = pnginfo.get("workflow") if isinstance(pnginfo, Mapping) else None
        if isinstance(workflow, Mapping) and isinstance(pnginfo, Mapping):
            extra["extra_pnginfo"] = {key: value for key, value in pnginfo.items() if key != "workflow"}
        else:
            workflow = None
        own_id = workflow.get("id") if workflow is not None else None
        redact = self._redaction.of(prompt.prompt_id)
        return Submitted(
            id=job.job_id,
            at=_created_at(prompt.extra_data),
            owner=submission.owner,
            number=_place(prompt.number),
            graph=json_text.as_in_pictures(redact(prompt.graph)),
            workflow=json_text.as_in_pictures(redact(workflow)) if workflow is not None else None,
            extra_data=recorded(extra, redact).text,
            outputs=json_text.encode(list(prompt.outputs)),
            workflow_id=submission.workflow_id or (json_text.clean(own_id) if isinstance(own_id, str) else None),
            workflow_version_id=submission.workflow_version_id,
            run=job.run,
        )

    def restored(self, jobs: Iterable[JobRecord]) -> None:
        """Know of jobs of an earlier run that are about to be put back into the queue."""
        for record in jobs:
            self.held.add(record.job.id, record.job.owner, record.run)

    def started(self, prompt_id: str) -> None:
        job_id, run = self._known(prompt_id)
        now = now_ms()
        self.held.start(prompt_id, now)
        self._hand_over(Started(job_id, now, run))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        job_id, run = self._known(prompt_id)
        text = recorded({node_id: output}, self._redaction.of(prompt_id)).text
        if len(text) <= _MAX_SHOWN:  # what is larger comes with the end
            self._hand_over(Shown(job_id, now_ms(), text, run))

    def redactor_of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the credentials of a prompt that is not over."""
        return self._redaction.of(prompt_id)

    def interrupting(self, prompt_id: str) -> None:
        job = self.held.get(prompt_id) or self.held.add(prompt_id, "", 0)
        if not job.is_interrupted:
            job.is_interrupted = True
            self._hand_over(Interrupted(job.job_id, now_ms(), job.run))

    def finished(self, prompt: FinishedPrompt) -> None:
        job_id, run = self._known(prompt.prompt_id)
        self._unsettled.add(prompt, job_id, run)
        was_interrupted = self.is_interrupted(prompt.prompt_id)
        try:
            end = ended(prompt, self._redaction.of(prompt.prompt_id), was_interrupted=was_interrupted)
        except FOREIGN as error:
            log.exception("The outputs of the job %s could not be recorded", job_id)
            end = ended_without_outputs(prompt, error, was_interrupted=was_interrupted)
        self._hand_over(msgspec.structs.replace(end, id=job_id, run=run))
        self._forget(prompt.prompt_id)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        now = now_ms()
        for prompt_id in prompt_ids:
            job_id, run = self._known(prompt_id)
            self._hand_over(Dropped(job_id, now, run))
            self._forget(prompt_id)

    def presume_ended(self, jobs: Iterable[ActiveJob]) -> None:
        """End jobs that are in no queue any more, though nobody told it. Their own ends count if they are told yet."""
        for job in jobs:
            held = self.held.find(job.id)
            is_held = held is not None and held.run == job.run
            was_interrupted = job.is_interrupted or (is_held and held is not None and held.is_interrupted)
            if job.is_running:
                self._hand_over(presumed_end(job.id, job.run, was_interrupted=was_interrupted))
            else:
                self._hand_over(Dropped(job.id, now_ms(), job.run, is_presumed=True))
            if is_held and held is not None:
                self.held.end(held.prompt_id)

    def job_id_of(self, prompt_id: str) -> str:
        """The id in the store of a prompt in the queue."""
        return self._known(prompt_id)[0]

    def _known(self, prompt_id: str) -> tuple[str, int]:
        """The id of the job in the store, and its run."""
        job = self.held.get(prompt_id) or HeldJob(prompt_id, "", 0)
        return job.job_id, job.run

    def _forget(self, prompt_id: str) -> None:
        self.held.end(prompt_id)
        self._redaction.forget(prompt_id)

    def is_interrupted(self, prompt_id: str) -> bool:
        """Whether the prompt being executed has been asked to stop."""
        job = self.held.get(prompt_id)
        return job is not None and job.is_interrupted

    def is_end_told(self, job_id: str, run: int) -> bool:
        """Return whether the end of the job is known, though it may not be in the store yet."""
        job = self.held.find(job_id)
        return job is not None and job.run == run and job.is_over

    # On its way into the store.

    def _hand_over(self, event: JobEvent) -> None:
        line = encode(event)
        with self._lock:
            if self._is_closed:
                return
            self._told += 1
            if len(self._waiting) < _MAX_WAITING:
                self._waiting.append(event)
            elif not self._is_full:
                self._is_full = True
                log.error("The store takes no jobs: what happens to them is seen when the server starts anew.")
            if self._journal is not None:
                self._journal.append(line)
        self._wake()

    def _wake(self) -> None:
        """Have what waits written a moment later. Safe from any thread."""
        with self._lock:
            loop = self._loop
            wake, self._is_awake = loop is not None and not self._is_awake, True
        if wake and loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._start_flushing)

    def open(self, db: Database, taker: Taker | None = None) -> None:
        """Begin to write to the store, on the running event loop.

        The ends of jobs whose files the ``taker`` takes into the library are written after that.
        """
        with self._lock:
            self._db, self._loop = db, asyncio.get_running_loop()
            self._is_awake = True
        self._unsettled.open(taker)
        self._start_flushing()

    def settled(self, prompt_ids: Iterable[str]) -> None:
        """Let the ends of jobs be written: their files are in the library, or cannot be. On the event loop."""
        if self._unsettled.settle(prompt_ids):
            with self._lock:
                self._told += 1
            self._wake()

    def give_up(self) -> None:
        """There is no store: keep nothing in memory any more."""
        with self._lock:
            self._is_closed = True
            self._waiting = []

    def _start_flushing(self) -> None:
        self._flushing = asyncio.get_running_loop().create_task(self._flush_later(), name="comfy-assets jobs")

    async def _flush_later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        with self._lock:
            self._is_awake = False
        self.settled(self._unsettled.overdue())
        try:
            await self.write()
        except sqlite3.Error as error:
            log.error("Jobs could not be written to the store; they are kept and tried again: %s", error)
        else:
            if not self._unsettled:
                return
        await asyncio.sleep(FLUSH_S)
        self._wake()

    async def flush(self) -> None:
        """Have everything in the store that was told until now. Raises StoreBusyError when that cannot be had soon."""
        await self._unsettled.wait()
        await self.write()

    async def write(self) -> None:
        """The same but for the ends of jobs whose files are being taken into the library."""
        told = self._told
        while self._written < told and self._db is not None:
            if self._writing is None or self._writing.done():
                self._writing = asyncio.create_task(self._write(self._db), name="comfy-assets jobs being written")
                self._writing.add_done_callback(_retrieve)
            await asyncio.shield(self._writing)  # whoever waits for it shares its failure

    async def _write(self, db: Database) -> None:
        with self._lock:
            events, told = list(self._waiting), self._told
            later = self._unsettled.held_back(events)
            upto = self._rotate(later)
        # What was shown before an end is part of it: it need not be written even where the end has to wait.
        ended = {(event.id, event.run) for event in events if isinstance(event, Ended) and not event.is_presumed}
        kept = {id(event) for event in later}
        ready = [
            event
            for event in events
            if id(event) not in kept and not (isinstance(event, Shown) and (event.id, event.run) in ended)
        ]
        try:
            await store.record(db, ready, self.seat, PATIENCE_S)
        except StoreBusyError as error:
            self.trouble = error
            raise
        self.trouble = None
        with self._lock:
            self._waiting[: len(events)] = later
            self._written = told
            if self._journal is not None and not self._is_full:
                self._journal.drop(upto)
        self.held.forget((event.id, event.run) for event in ready if _is_last(event))

    def _rotate(self, later: Iterable[JobEvent]) -> int:
        """Begin another file of the journal with what is to be written later; return the number of the last one."""
        if self._journal is None:
            return 0
        upto = self._journal.rotate()
        for event in later:
            self._journal.append(encode(event))
        return upto

    async def close(self) -> None:
        """Write what there is and take note of nothing more."""
        with self._lock:
            self._is_awake = True  # nobody is to be woken any more
            self._told += 1
        self._unsettled.clear()
        if self._flushing is not None:
            self._flushing.cancel()
        with suppress(sqlite3.Error):
            await self.write()
        with self._lock:
            self._is_closed, self._db, self._waiting = True, None, []
            if self._journal is not None:
                self._journal.close()
                self._journal = None


def _retrieve(task: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody waits for any more; it is met again."""
    if not task.cancelled():
        task.exception()


def _is_last(event: JobEvent) -> bool:
    """Return whether nothing is going to be told of the job any more."""
    return isinstance(event, (Ended, Dropped)) and not event.is_presumed


def _created_at(extra_data: Mapping[str, Any]) -> int:
    """When the server says that the prompt came; older ones do not."""
    at = extra_data.get("create_time")
    return at if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 1 << 48 else now_ms()


def _place(number: object) -> float:
    """A place in the queue that JSON and the store know: the very first or last for what is infinite."""
    try:
        place = float(number)  # type: ignore[arg-type]
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max  # type: ignore[operator]
    except (TypeError, ValueError):
        return 0.0
    if math.isnan(place):
        return 0.0
    return max(-sys.float_info.max, min(place, sys.float_info.max))
