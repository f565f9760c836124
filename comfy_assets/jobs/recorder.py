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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec

from ..clock import now_ms
from ..credentials import take_out
from ..db.connection import Database
from ..host.execution import FinishedPrompt, SubmittedPrompt
from ..models import CANCELLED, COMPLETED, FAILED
from . import batches, json_text
from .events import Dropped, Ended, Interrupted, JobEvent, Shown, Started, Submitted, encode
from .failures import failure_of
from .journal import Journal
from .redaction import Redaction

log = logging.getLogger("comfy_assets.jobs")

FLUSH_S = 0.5  # how long events wait for others to be written along with
_MAX_WAITING = 20_000  # events that are kept in memory while the store cannot be written to
# What an event that the store does not take raises, as opposed to a store that takes none at the moment.
_UNFIT = (sqlite3.IntegrityError, UnicodeEncodeError, TypeError, OverflowError, RecursionError, msgspec.DecodeError)


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
        self._journal = journal
        self._lock = threading.Lock()
        self._waiting: list[JobEvent] = []
        self._told = self._written = 0
        self._interrupted: set[str] = set()
        self._redaction = Redaction()
        self._db: Database | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writing = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        self._is_awake = False
        self._is_full = False  # the journal holds events that the memory does not
        self._is_closed = False

    @property
    def seat(self) -> int:
        """The number of this server among those that share the store."""
        return self._journal.seat if self._journal is not None else 0

    # What the queue tells.

    def submitted(self, prompt: SubmittedPrompt) -> None:
        submission = _submission.get()
        redacted, credentials = take_out(prompt.extra_data)
        extra = dict(redacted)
        pnginfo = extra.get("extra_pnginfo")
        workflow = pnginfo.get("workflow") if isinstance(pnginfo, Mapping) else None
        if isinstance(workflow, Mapping) and isinstance(pnginfo, Mapping):
            extra["extra_pnginfo"] = {key: value for key, value in pnginfo.items() if key != "workflow"}
        else:
            workflow = None
        own_id = workflow.get("id") if workflow is not None else None
        self._redaction.learn(prompt.prompt_id, prompt.secrets | credentials)
        self._interrupted.discard(prompt.prompt_id)
        redact = self._redaction.of(prompt.prompt_id)
        self._hand_over(
            Submitted(
                id=prompt.prompt_id,
                at=_created_at(prompt.extra_data),
                owner=submission.owner,
                number=_place(prompt.number),
                graph=json_text.as_in_pictures(redact(prompt.graph)),
                workflow=json_text.as_in_pictures(redact(workflow)) if workflow is not None else None,
                extra_data=json_text.encode(redact(extra)),
                outputs=json_text.encode(list(prompt.outputs)),
                workflow_id=submission.workflow_id or (own_id if isinstance(own_id, str) else None),
                workflow_version_id=submission.workflow_version_id,
            )
        )

    def started(self, prompt_id: str) -> None:
        self._hand_over(Started(prompt_id, now_ms()))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        redact = self._redaction.of(prompt_id)
        self._hand_over(Shown(prompt_id, now_ms(), json_text.encode(redact({node_id: output}))))

    def redactor_of(self, prompt_id: str) -> Callable[[Any], Any]:
        """Return a function that copies a value without the credentials of a prompt that is not over."""
        return self._redaction.of(prompt_id)

    def interrupting(self, prompt_id: str) -> None:
        if prompt_id not in self._interrupted:
            self._interrupted.add(prompt_id)
            self._hand_over(Interrupted(prompt_id, now_ms()))

    def finished(self, prompt: FinishedPrompt) -> None:
        redact = self._redaction.of(prompt.prompt_id)
        failure = failure_of(prompt)
        status = COMPLETED
        if prompt.prompt_id in self._interrupted or failure.was_interrupted:
            status = CANCELLED
        elif failure.error is not None:
            status = FAILED
        parts = {"outputs": prompt.outputs, "meta": prompt.meta, "status": prompt.status}
        result = json_text.encode({name: redact(part) for name, part in parts.items()})
        error = json_text.encode(_redacted(failure.error, redact)) if failure.error and status == FAILED else None
        self._hand_over(Ended(prompt.prompt_id, now_ms(), status, result, error))
        self._forget(prompt.prompt_id)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        now = now_ms()
        for prompt_id in prompt_ids:
            self._hand_over(Dropped(prompt_id, now))
            self._forget(prompt_id)

    def _forget(self, prompt_id: str) -> None:
        self._interrupted.discard(prompt_id)
        self._redaction.forget(prompt_id)

    def is_interrupted(self, prompt_id: str) -> bool:
        """Whether the prompt being executed has been asked to stop."""
        return prompt_id in self._interrupted

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
            loop = self._loop
            wake, self._is_awake = loop is not None and not self._is_awake, True
        if wake and loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._start_flushing)

    def open(self, db: Database) -> None:
        """Begin to write to the store, on the running event loop."""
        with self._lock:
            self._db, self._loop = db, asyncio.get_running_loop()
            self._is_awake = True
        self._start_flushing()

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
        try:
            await self.flush()
        except sqlite3.Error as error:
            log.error("Jobs could not be written to the store; they are kept and tried again: %s", error)
            await asyncio.sleep(FLUSH_S)
            with self._lock:
                again = not self._is_awake and not self._is_closed
                self._is_awake = True
            if again:
                self._start_flushing()

    async def flush(self) -> None:
        """Have everything in the store that was told until now."""
        told = self._told
        async with self._writing:
            if self._written >= told or self._db is None:
                return
            with self._lock:
                events, told = list(self._waiting), self._told
                upto = self._journal.rotate() if self._journal is not None else 0
            await self._write(self._db, events)
            with self._lock:
                del self._waiting[: len(events)]
                self._written = told
                if self._journal is not None and not self._is_full:
                    self._journal.drop(upto)

    async def _write(self, db: Database, events: Sequence[JobEvent]) -> None:
        """Write the events: together, or without those that the store does not take."""
        try:
            batch = await asyncio.to_thread(batches.prepare, events, self.seat)
            async with db.transaction() as tx:
                await batches.write(tx, batch)
        except _UNFIT as error:
            if len(events) == 1:
                log.error("Something that happened to the job %s is not recorded: %s", events[0].id, error)
                return
            for event in events:
                await self._write(db, [event])

    async def close(self) -> None:
        """Write what there is and take note of nothing more."""
        with self._lock:
            self._is_awake = True  # nobody is to be woken any more
        if self._flushing is not None:
            self._flushing.cancel()
        with suppress(sqlite3.Error):
            await self.flush()
        with self._lock:
            self._is_closed, self._db, self._waiting = True, None, []
            if self._journal is not None:
                self._journal.close()
                self._journal = None


def _created_at(extra_data: Mapping[str, Any]) -> int:
    """When the server says that the prompt came; older ones do not."""
    at = extra_data.get("create_time")
    return at if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 1 << 48 else now_ms()


def _place(number: float) -> float:
    """A place in the queue that JSON and the store know: the very first or last for what is infinite."""
    if math.isnan(number):
        return 0.0
    return max(-sys.float_info.max, min(float(number), sys.float_info.max))


def _redacted(error: Mapping[str, Any], redact: Callable[[Any], Any]) -> dict[str, Any]:
    """The error with its members' names as they are."""
    return {name: redact(value) for name, value in error.items()}
