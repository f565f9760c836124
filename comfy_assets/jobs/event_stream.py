"""The events of one job for one reader: its state at first, then every change, and at last its end.

A reader that is slow gets fewer of the events that only the latest counts of: progress, previews and places in the
queue. It gets every output once, all of them before the end.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TypeAlias

import msgspec

from ..assets.prompts.outputs import OutputSlot
from ..errors import ApiError
from ..host.execution import NodePreview
from ..models import FINAL, Job
from .live_jobs import LiveState, Watcher
from .progress import ProgressSnapshot
from .views import JobState, JobView, JobViews, ShownOutput

log = logging.getLogger("comfy_assets.jobs")

PREVIEW_MIME = "image/jpeg"
_PROGRESS_S = 0.5  # least time between two events of progress, or two previews
_MOVE_S = 0.25  # least time between two looks at the place in the queue
_PATIENCE_S = 30.0  # for the end of a job, once it was reported, to be stored
_RETRY_S = 0.2
_ELSEWHERE_S = 2.0  # between two looks at a job in the queue of another server
_MAX_EDGE = 1024  # pixels of a preview
_QUALITY = 80


class StatusChange(msgspec.Struct, frozen=True):
    """The state of the job, and its place in the queue from 1 while it waits."""

    status: JobState
    queue_position: int | None = None


class PreviewPicture(msgspec.Struct, frozen=True):
    """A picture of unfinished work, as a JPEG."""

    node_id: str
    data: bytes


StreamEvent: TypeAlias = "StatusChange | ProgressSnapshot | PreviewPicture | ShownOutput"


class EventStream:
    """The events of a job for a user who may see it. ``events`` is used once."""

    def __init__(self, views: JobViews, job: Job, owner: str) -> None:
        self._views = views
        self._job = job
        self._owner = owner
        self._status: StatusChange | None = None
        self._progress: ProgressSnapshot | None = None
        self._progress_due = self._look_due = 0.0
        self._preview = 0  # of ``LiveState.previews``: the latest that was sent
        self._shown = 0  # of ``LiveState.shown``: the outputs that were looked up
        self._sent: set[OutputSlot] = set()

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events, until the job has ended or the server stops."""
        live = self._views.live
        state = live.find(self._job.id)
        if state is None:
            async for change in self._without_state():
                yield change
        else:
            with live.watching(state) as watcher:
                async for event in self._live(state, watcher):
                    yield event
        if live.is_closed:
            return
        view = await self._end()
        if view is not None:
            for last in self._last(view):
                yield last

    async def _live(self, state: LiveState, watcher: Watcher) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of a job in this server's queue, without its end."""
        while not self._views.live.is_closed:
            phase = state.phase  # before anything else is read: what changes later is seen in the next round
            if phase == "ended":
                return
            status = StatusChange(phase, self._views.live.position(state) if phase == "queued" else None)
            if status != self._status:
                self._status = status
                yield status
            if (progress := await self._new_progress(state)) is not None:
                yield progress
            if (preview := await self._new_preview(state)) is not None:
                yield preview
            for output in await self._new_outputs(state):
                yield output
            if state.phase == phase and self._shown == len(state.shown):
                await watcher.wait(_MOVE_S if phase == "queued" else _PROGRESS_S)

    async def _new_progress(self, state: LiveState) -> ProgressSnapshot | None:
        now = asyncio.get_running_loop().time()
        if now < self._progress_due:
            return None
        progress = await state.progress_now()
        if progress is None or progress == self._progress:
            return None
        self._progress, self._progress_due = progress, now + _PROGRESS_S
        return progress

    async def _new_preview(self, state: LiveState) -> PreviewPicture | None:
        now = asyncio.get_running_loop().time()
        preview, number = state.preview, state.previews
        if preview is None or number == self._preview or now < self._look_due:
            return None
        self._preview, self._look_due = number, now + _PROGRESS_S
        async with state.encoding:  # one reader encodes it for all
            if state.encoded is None or state.encoded[0] < number:
                try:
                    state.encoded = number, await asyncio.to_thread(_jpeg, preview)
                except Exception as error:  # noqa: BLE001  a picture of foreign code
                    log.warning("A preview of the job %s cannot be shown: %s", self._job.id, error)
                    return None
        return PreviewPicture(preview.node_id, state.encoded[1])

    async def _new_outputs(self, state: LiveState) -> list[ShownOutput]:
        """Return the outputs that nodes have shown since the last call, as assets."""
        count = len(state.shown)
        if count == self._shown:
            return []
        outputs: Sequence[ShownOutput] = ()
        try:
            job = await self._views.job(self._job.id, self._owner)
            outputs = await self._views.outputs(job, self._owner, state)
        except (ApiError, sqlite3.Error) as error:
            # They come at the end at the latest.
            log.warning("Outputs of the job %s cannot be shown yet: %s", self._job.id, error)
        self._shown = count
        return list(self._unsent(outputs))

    def _unsent(self, outputs: Sequence[ShownOutput]) -> Iterator[ShownOutput]:
        for output in outputs:
            if output.slot not in self._sent:
                self._sent.add(output.slot)
                yield output

    async def _without_state(self) -> AsyncGenerator[StreamEvent, None]:
        """Yield the states of a job that is not in this server's queue, until it has ended."""
        while not self._views.live.is_closed:
            job = await self._views.job(self._job.id, self._owner)
            if job.status in FINAL:
                return
            status = StatusChange(self._views.state_of(job))
            if status != self._status:
                self._status = status
                yield status
            await asyncio.sleep(_ELSEWHERE_S)

    async def _end(self) -> JobView | None:
        """Return the job as it has ended; None if its end is not stored in time."""
        end = asyncio.get_running_loop().time() + _PATIENCE_S
        while asyncio.get_running_loop().time() < end and not self._views.live.is_closed:
            try:
                view = await self._views.ending(self._job.id, self._owner)
                if view.has_ended:
                    return view
            except sqlite3.Error as error:
                log.warning("The end of the job %s cannot be read yet: %s", self._job.id, error)
            await asyncio.sleep(_RETRY_S)
        return None

    def _last(self, view: JobView) -> Iterator[StreamEvent]:
        if view.progress is not None and view.progress != self._progress:
            yield view.progress
        yield from self._unsent(view.outputs)
        yield StatusChange(view.state)


def _jpeg(preview: NodePreview) -> bytes:
    """Encode a preview. Blocks."""
    from PIL import Image  # here: importing Pillow slows the server's start

    picture = preview.picture
    edge = min(preview.max_size or _MAX_EDGE, _MAX_EDGE)
    if max(picture.size) > edge:
        picture = picture.copy()
        picture.thumbnail((edge, edge), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
