"""The execution queue as one user sees it: the ids of its prompts, what it shows, and what the user may cancel.

All of this works without the store: prompts are submitted and stopped whatever the state of the disk.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from .. import json_text
from ..credentials import take_out
from ..db.connection import Database
from ..db.jobs import StoredId, stored_ids
from ..errors import InvalidPromptIdError, PromptIdTakenError
from ..host.base import Host
from ..host.execution import ExecutionQueue, QueueListing, SubmittedPrompt, in_daemon_thread
from .live_jobs import LiveJob, spellings
from .recorder import JobRecorder

log = logging.getLogger("comfy_assets.jobs")

_REPEAT_S = 0.25  # an interrupt just before the execution begins is lost: it is repeated until the job has ended
MAX_PROMPT_ID = 256  # characters
_EMPTY = msgspec.Raw(b"{}")


class QueueControl:
    """Cancel prompts. A prompt of another user is out of reach."""

    def __init__(self, queue: ExecutionQueue, recorder: JobRecorder) -> None:
        self._queue = queue
        self._recorder = recorder
        self._repeating: set[asyncio.Task[None]] = set()

    def listing(self) -> QueueListing:
        """Return the prompts in the queue."""
        return self._queue.listing()

    def find(self, job_id: str, owner: str) -> LiveJob | None:
        """Return the job if it is known without the store: in the queue, or just out of it."""
        job = self._recorder.live.find(job_id)
        return job if job is not None and job.is_accessible(owner) else None

    def is_queued(self, prompt_id: str) -> bool:
        """Return whether the queue holds a prompt with this id."""
        return self._recorder.live.is_active(prompt_id)

    async def cancel(self, jobs: Iterable[LiveJob]) -> Sequence[str]:
        """Cancel the jobs; return the ids without jobs that had ended or been cancelled before."""
        wanted = {job.prompt_id: job.job_id for job in jobs if not self._recorder.is_interrupted(job.prompt_id)}
        # Node packs wrap the methods of the queue, and what they do there may never return.
        cancelled = await in_daemon_thread(self._queue.cancel_many, list(wanted)) if wanted else []
        for prompt_id in cancelled:
            self._repeat_interrupt(prompt_id)
        return [wanted[prompt_id] for prompt_id in cancelled]

    async def cancel_known(self, job_ids: Iterable[str], owner: str) -> Sequence[str]:
        """Cancel the jobs that are in the queue and accessible to the user; return their ids."""
        found = (self.find(job_id, owner) for job_id in dict.fromkeys(job_ids))
        return await self.cancel({job.prompt_id: job for job in found if job is not None}.values())

    async def cancel_pending(self, owner: str) -> Sequence[str]:
        """Cancel all waiting jobs of the user; return their ids."""
        listing = await asyncio.to_thread(self._queue.listing)
        waiting = [prompt.prompt_id for prompt in listing.pending]
        mine = [prompt_id for prompt_id in waiting if self._is_accessible(prompt_id, owner)]
        return await in_daemon_thread(self._queue.drop_many, mine) if mine else []

    async def interrupt(self, owner: str, job_id: str | None = None) -> str | None:
        """Cancel the running job, or the next one if none runs; return its id.

        With ``job_id``, cancel the running job only if it has this id.
        """
        listing = self._queue.listing()
        prompts = listing.running if job_id is not None else (*listing.running, *listing.pending)
        named = None if job_id is None else spellings(job_id)
        # Prompts of other users are passed over, and so are those that are being interrupted already.
        for prompt in prompts:
            if named is not None and prompt.prompt_id not in named:
                continue
            if self._is_accessible(prompt.prompt_id, owner) and await self._cancel(prompt.prompt_id):
                return prompt.prompt_id
        return None

    def _is_accessible(self, prompt_id: str, owner: str) -> bool:
        """Return whether the user may stop the prompt. A prompt queued before recording began has no owner."""
        job = self._recorder.live.get(prompt_id)
        return job is None or job.is_accessible(owner)

    async def _cancel(self, prompt_id: str) -> bool:
        if self._recorder.is_interrupted(prompt_id) or not await in_daemon_thread(self._queue.cancel, prompt_id):
            return False
        self._repeat_interrupt(prompt_id)
        return True

    def _repeat_interrupt(self, prompt_id: str) -> None:
        """Repeat an interrupt in the background until the job has ended.

        ComfyUI clears the flag of interrupts when an execution begins, so one that comes just before it has no effect.
        """
        if self._recorder.is_interrupted(prompt_id):
            task = asyncio.create_task(self._interrupt_until_ended(prompt_id), name="comfy-assets interrupt")
            self._repeating.add(task)
            task.add_done_callback(self._ended)

    async def _interrupt_until_ended(self, prompt_id: str) -> None:
        while self._recorder.is_interrupted(prompt_id):
            await asyncio.sleep(_REPEAT_S)
            if not await in_daemon_thread(self._queue.cancel, prompt_id):
                return

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._repeating.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s failed", task.get_name(), exc_info=error)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """Free memory when the running job has ended."""
        self._queue.free(unload_models=unload_models, free_memory=free_memory)

    async def close(self) -> None:
        """Cancel background tasks and wait for them."""
        for task in list(self._repeating):
            task.cancel()
        await asyncio.gather(*self._repeating, return_exceptions=True)


class PromptIds:
    """Reject prompt ids that are in use. An id belongs to one job at a time, and to the same user for ever."""

    def __init__(self, recorder: JobRecorder) -> None:
        self._recorder = recorder

    @asynccontextmanager
    async def claimed(self, prompt_id: str, owner: str, db: Database | None) -> AsyncIterator[None]:
        """Reserve the id for the prompt that is submitted within the block.

        Raises PromptIdTakenError, InvalidPromptIdError.

        Without a store, only ids of prompts in the queue are known.
        """
        _check_spelling(prompt_id)
        if not self._recorder.live.reserve(prompt_id):
            raise _taken("A job in the queue has this prompt_id.")
        try:
            await self._check_owner(prompt_id, owner, db)
            yield
        finally:
            self._recorder.live.release(prompt_id)

    async def _check_owner(self, prompt_id: str, owner: str, db: Database | None) -> None:
        ended = self._recorder.live.get(prompt_id)
        if ended is not None and not ended.is_accessible(owner):
            raise _taken("Another job has this prompt_id.")
        if db is None:
            return
        try:
            if ended is not None:
                await self._recorder.flush()  # its outputs must be linked to its record before that is replaced
            stored = (await stored_ids(db, [prompt_id])).get(prompt_id)
        except sqlite3.Error as error:
            log.warning("The owner of the job %s could not be looked up: %s", prompt_id, error)
            return
        if stored is not None:
            self._check_stored(stored, owner)

    def _check_stored(self, stored: StoredId, owner: str) -> None:
        if stored.owner not in ("", owner):
            raise _taken("Another job has this prompt_id.")
        if stored.is_active and stored.seat in self._recorder.running_seats():
            raise _taken("A job in the queue of another server has this prompt_id.")


def _check_spelling(prompt_id: str) -> None:
    """Raise InvalidPromptIdError for an id that could not be part of a URL."""
    is_text = prompt_id.isprintable() and prompt_id.strip() == prompt_id
    if not prompt_id or not is_text or len(prompt_id) > MAX_PROMPT_ID:
        raise InvalidPromptIdError(
            f"A prompt_id must have 1 to {MAX_PROMPT_ID} printable characters.", details={"field": "prompt_id"}
        )


def _taken(reason: str) -> PromptIdTakenError:
    return PromptIdTakenError(f"{reason} Omit prompt_id to get a new one.", details={"field": "prompt_id"})


class ShownPrompt(msgspec.Struct, frozen=True):
    """A prompt in the queue. ``graph`` and ``extra_data`` are JSON objects without credentials.

    Both are empty, and ``targets`` too, for a prompt of another user. ``created_at`` is the server's own value.
    """

    number: float
    prompt_id: str
    graph: msgspec.Raw
    extra_data: msgspec.Raw
    targets: Sequence[str]
    created_at: Any  # of any type, as clients may send it in the extra data


class ShownQueue(msgspec.Struct, frozen=True):
    """The running prompts, and the waiting ones, next first."""

    running: Sequence[ShownPrompt]
    pending: Sequence[ShownPrompt]


class UserQueue:
    """Show and change the prompts of a user, and prompts without an owner."""

    def __init__(self, host: Host, recorder: JobRecorder, control: QueueControl) -> None:
        self._host = host
        self._recorder = recorder
        self._control = control

    async def show(self, owner: str) -> ShownQueue:
        """Return the queue, without the content of other users' prompts."""
        listing = await asyncio.to_thread(self._control.listing)
        visible: set[str] | None = None
        if self._host.is_multi_user():
            prompts = (*listing.running, *listing.pending)
            visible = {prompt.prompt_id for prompt in prompts if self._is_visible(prompt.prompt_id, owner)}
        return await asyncio.to_thread(_shown_queue, listing, visible, self._recorder.redactor_of)

    def _is_visible(self, prompt_id: str, owner: str) -> bool:
        """Return whether to show the content of a prompt. The owner of an unrecorded prompt is unknown."""
        job = self._recorder.live.get(prompt_id)
        return job is not None and job.is_accessible(owner)

    async def interrupt(self, owner: str, job_id: str | None = None) -> None:
        """Cancel the user's running jobs, or only the one with this id."""
        for running in await self._running():
            if job_id in (None, running):
                await self._control.interrupt(owner, running)

    async def drop(self, job_ids: Sequence[str], owner: str) -> None:
        """Cancel the user's waiting jobs among these; running ones continue."""
        running = set(await self._running())
        waiting = [job_id for job_id in job_ids if running.isdisjoint(spellings(job_id))]
        await self._control.cancel_known(waiting, owner)

    async def _running(self) -> list[str]:
        listing = await asyncio.to_thread(self._control.listing)
        return [prompt.prompt_id for prompt in listing.running]


def _shown_queue(
    listing: QueueListing, visible: Collection[str] | None, redactor_of: Callable[[str], Callable[[Any], Any]]
) -> ShownQueue:
    """Return the queue with the content of the ``visible`` prompts only; None: of all. Blocks while it encodes them."""

    def show(prompt: SubmittedPrompt) -> ShownPrompt:
        created_at = prompt.extra_data.get("create_time")
        if visible is not None and prompt.prompt_id not in visible:
            return ShownPrompt(prompt.number, prompt.prompt_id, _EMPTY, _EMPTY, (), created_at)
        redact = redactor_of(prompt.prompt_id)
        graph, extra_data = redact(prompt.graph), redact(take_out(prompt.extra_data)[0])
        return ShownPrompt(
            prompt.number, prompt.prompt_id, _raw(graph), _raw(extra_data), list(prompt.outputs), created_at
        )

    return ShownQueue([show(prompt) for prompt in listing.running], [show(prompt) for prompt in listing.pending])


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(value).encode())
