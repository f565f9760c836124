"""Jobs as Comfy API v2 shows them: the record in the store together with the live state of this server's queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from .. import json_text
from ..assets.prompts.output_recorder import OutputRecorder
from ..assets.prompts.outputs import OutputSlot
from ..db import job_links, jobs
from ..db.connection import Database
from ..errors import JobForbiddenError, JobNotFoundError
from ..models import CANCELLED, COMPLETED, FAILED, FINAL, PENDING, Job, JobFilter, JobPage, JobRecord, Page
from .live_jobs import LiveEvents, LiveState
from .progress import ProgressMeter, ProgressSnapshot
from .recorder import JobRecorder
from .service import JobService
from .values import JobValues, outputs_in

log = logging.getLogger("comfy_assets.jobs")

JobState = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled"]
_ENDS: dict[int, JobState] = {COMPLETED: "succeeded", FAILED: "failed", CANCELLED: "canceled"}
_END_STATES = frozenset(_ENDS.values())


class ShownOutput(msgspec.Struct, frozen=True):
    """An output of a job: an asset of the library, or a value (see ``values``). ``hash`` is None until it is known."""

    id: str
    node_id: str
    key: str
    index: int
    name: str
    mime_type: str
    size: int
    hash: bytes | None = None

    @property
    def slot(self) -> OutputSlot:
        """The place among the job's outputs."""
        return OutputSlot(self.node_id, self.key, self.index)


class JobView(msgspec.Struct, frozen=True):
    """A job as clients see it. Times are in milliseconds since 1970; ``error`` is a JSON object.

    ``position`` in the queue counts from 1, and is None unless the job waits in this server. ``outputs`` are those so
    far, of a job that has not ended; none in lists.
    """

    id: str
    state: JobState
    created_at: int
    updated_at: int
    labels: Mapping[str, str]
    started_at: int | None = None
    finished_at: int | None = None
    error: str | None = None
    position: int | None = None
    progress: ProgressSnapshot | None = None
    outputs: Sequence[ShownOutput] = ()

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in _END_STATES


class JobViews:
    """Views of jobs. A job of another user does not exist."""

    def __init__(
        self,
        db: Database,
        service: JobService,
        recorder: JobRecorder,
        live: LiveEvents,
        outputs: OutputRecorder,
        values: JobValues,
    ) -> None:
        self._db = db
        self._service = service
        self._recorder = recorder
        self.live = live
        self._outputs = outputs
        self._values = values
        self._endings: dict[tuple[str, str], asyncio.Task[JobView]] = {}  # by job and user

    async def job(self, job_id: str, owner: str) -> Job:
        """Return the job as stored, with everything reported until now. Raises JobNotFoundError."""
        state = self.live.find(job_id)
        try:
            if state is not None:
                # The files of other jobs that have ended do not matter for one that has not.
                job = await self._service.get(job_id, owner, wait_for_files=False)
                if state.phase != "ended":
                    return job
            return await self._service.get(job_id, owner)
        except JobForbiddenError:  # whether it exists is not told
            raise JobNotFoundError("There is no such job.", details={"id": job_id}) from None

    async def record(self, job_id: str, owner: str) -> JobRecord:
        """Return the job with its graph. Raises JobNotFoundError."""
        return await self._service.record_of(await self.job(job_id, owner))

    async def get(self, job_id: str, owner: str, wait_s: float = 0.0) -> JobView:
        """Return the job; with ``wait_s``, when it has ended, or after that time. Raises JobNotFoundError.

        A job that waits behind others is returned at once: clients ask for many of these one after another.
        """
        if wait_s > 0:
            await self._wait(job_id, owner, wait_s)
        return await self.view(await self.job(job_id, owner), owner)

    async def submitted(self, job_id: str, owner: str, labels: Mapping[str, str]) -> JobView:
        """Return a job that was submitted a moment ago with these labels, without waiting for outputs.

        The journal has it already, and the store gets it later, with other jobs. One that has ended is read from the
        store.
        """
        known, state = self._recorder.live.find(job_id), self.live.find(job_id)
        if known is None or known.is_over or not known.is_accessible(owner) or not self._recorder.has_journal:
            return await self._stored(job_id, owner)
        created_at, started_at = known.created_at, known.started_at
        if started_at is None:
            return JobView(known.job_id, "queued", created_at, created_at, labels, position=self._position(state))
        phase: JobState = "canceling" if known.is_interrupted else "running"
        return JobView(known.job_id, phase, created_at, started_at, labels, started_at)

    async def _stored(self, job_id: str, owner: str) -> JobView:
        job = await self._service.get(job_id, owner, wait_for_files=False)
        if job.status in FINAL:
            return await self.view(job, owner)
        labels = (await jobs.labels_of(self._db, [job.row_id])).get(job.row_id, {})
        state = self.live.find(job.id)
        return _view(job, self.state_of(job, state), labels, position=self._position(state))

    async def _wait(self, job_id: str, owner: str, wait_s: float) -> None:
        """Wait for the end of a job that runs in this server, or is the next to run; at most ``wait_s``."""
        state, known = self.live.find(job_id), self._recorder.live.find(job_id)
        if state is None or known is None or not known.is_accessible(owner):
            return
        end = asyncio.get_running_loop().time() + wait_s
        with self.live.watching(state) as watcher:
            while self._is_at_work(state) and not self.live.is_closed:
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await watcher.wait(left)

    def _is_at_work(self, state: LiveState) -> bool:
        """Return whether the job runs, or is the next to run."""
        return state.phase in ("running", "canceling") or self.live.position(state) == 1

    async def view(self, job: Job, owner: str) -> JobView:
        """Return the view of a job with its outputs, which become assets now if they are not yet."""
        labels = (await jobs.labels_of(self._db, [job.row_id])).get(job.row_id, {})
        state = self.live.find(job.id)
        if job.status not in FINAL and state is None:  # it may have ended since it was read
            job = await self.job(job.id, owner)
        if job.status in FINAL:
            return await self._ended(job, owner, labels)
        outputs: Sequence[ShownOutput] = ()
        if job.status != PENDING and (state is None or state.shown):
            outputs = await self.outputs(job, owner, state)
        progress = await state.progress_now() if state is not None else None
        return _view(
            job, self.state_of(job, state), labels, position=self._position(state), progress=progress, outputs=outputs
        )

    async def _ended(self, job: Job, owner: str, labels: Mapping[str, str]) -> JobView:
        progress = self.live.last_progress(job.id)
        if job.status == COMPLETED:
            progress = await self._completed(job, progress)
        outputs = await self._all_outputs(job, owner)
        return _view(job, self.state_of(job), labels, progress=progress, outputs=outputs)

    async def _completed(self, job: Job, last: ProgressSnapshot | None) -> ProgressSnapshot | None:
        """Return the progress of a job that has succeeded; ``last`` is what was read of it while it ran."""
        if last is not None:
            return ProgressSnapshot(1.0, last.nodes_total, last.nodes_total)
        for record in await jobs.records_of(self._db, [job.row_id]):
            return await asyncio.to_thread(_completed, record)
        return None

    async def ending(self, job_id: str, owner: str) -> JobView:
        """Return a job that ends now, as ``get`` does. Readers that ask at the same time share the work."""
        key = (job_id, owner)
        reading = self._endings.get(key)
        if reading is None:
            reading = self._endings[key] = asyncio.create_task(self.get(job_id, owner), name="comfy-assets ended job")
            reading.add_done_callback(partial(self._forget_ending, key))
        return await asyncio.shield(reading)  # one reader that goes away must not stop the others

    def _forget_ending(self, key: tuple[str, str], reading: asyncio.Task[JobView]) -> None:
        del self._endings[key]
        if not reading.cancelled():
            reading.exception()  # the readers get it, unless all of them have gone

    async def outputs(self, job: Job, owner: str, state: LiveState | None) -> Sequence[ShownOutput]:
        """Return the outputs so far of a job that has not ended; record those whose files are no assets yet."""
        if state is not None:
            await self._record_shown(state)
        return await self._all_outputs(job, owner)

    async def _record_shown(self, state: LiveState) -> None:
        async with state.recording:
            shown = state.shown[state.recorded :]
            if shown:
                await self._outputs.record_now(state.prompt_id, dict(shown))
                state.recorded += len(shown)

    async def _all_outputs(self, job: Job, owner: str) -> Sequence[ShownOutput]:
        """Return the assets among the outputs and the other ones, in the order in which the nodes showed them."""
        record = next(iter(await jobs.records_of(self._db, [job.row_id], with_graphs=False)), None)
        linked = await job_links.outputs_of(self._db, job.row_id, owner)
        files = {
            OutputSlot(each.node_id, each.output_key, each.output_index): ShownOutput(
                each.asset.id, each.node_id, each.output_key, each.output_index, each.asset.name,
                each.asset.mime_type, each.asset.size, each.asset.hash,
            )
            for each in linked
        }  # fmt: skip
        if record is None:
            return list(files.values())
        shown = await asyncio.to_thread(outputs_in, record)
        for value in await self._values.of_job(record, shown, files.keys()):
            output = ShownOutput(
                value.id, value.node_id, value.key, value.index, value.name, value.mime_type, value.size
            )
            files[output.slot] = output
        ranks = {node_id: rank for rank, node_id in enumerate(shown)}
        return sorted(files.values(), key=lambda each: (ranks.get(each.node_id, len(ranks)), each.key, each.index))

    async def page(self, owner: str, labels: Mapping[str, str], page: JobPage) -> Page[JobView]:
        """Return a page of the user's jobs with these labels, the newest first, without outputs."""
        found = await self._service.list(JobFilter(owner, labels=tuple(labels.items())), page)
        labelled = await jobs.labels_of(self._db, [job.row_id for job in found.items])
        views = [
            _view(
                job,
                self.state_of(job),
                labelled.get(job.row_id, {}),
                position=self._position(self.live.find(job.id)),
            )
            for job in found.items
        ]
        return Page(views, found.total, found.has_more, found.next_key)

    def state_of(self, job: Job, state: LiveState | None = None) -> JobState:
        """Return the state of a job; ``state`` is its live state, if it had one when it was read."""
        if job.status in _ENDS:
            return _ENDS[job.status]
        if (state is not None and state.is_canceling) or self._recorder.is_interrupted(job.id):
            return "canceling"
        return "queued" if job.status == PENDING else "running"

    def _position(self, state: LiveState | None) -> int | None:
        return self.live.position(state) if state is not None else None


def _view(job: Job, state: JobState, labels: Mapping[str, str], **more: Any) -> JobView:
    """Return the view of a stored job."""
    return JobView(
        job.id, state, job.created_at, job.updated_at, labels, job.started_at, job.finished_at, job.error, **more
    )


def _completed(record: JobRecord) -> ProgressSnapshot:
    """Return the progress of a job that has succeeded. Blocks while it reads the graph."""
    graph = json_text.decode(record.graph)
    targets = msgspec.json.decode(record.targets, type=list[str])
    return ProgressMeter(graph if isinstance(graph, dict) else {}, targets).completed()
