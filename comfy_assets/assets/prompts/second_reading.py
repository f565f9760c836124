"""Second reading of output files that were read right after they were written.

Clients wait for the assets of a job that has ended, so its files are read at once. For some milliseconds, though, a
further write may leave the size and the time stamp of a file as they are. Once these have passed, its content is
compared with the one that was read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from ...db.contents import Hashed
from ...fs.paths import fresh_for_ns
from ..index.content_reader import is_rewritten
from .output_rows import JobOutputFile

log = logging.getLogger("comfy_assets.library")


class SecondReading:
    """Compares the contents of files that were read early. On the event loop."""

    def __init__(self, record_again: Callable[[Sequence[JobOutputFile]], Awaitable[None]]) -> None:
        """``record_again`` gets the files that were rewritten."""
        self._record_again = record_again
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = asyncio.Event()

    def plan(self, outputs: Iterable[JobOutputFile]) -> None:
        """Compare those of the recorded outputs that were read early, as soon as their time stamps are reliable."""
        early = [output for output in outputs if output.is_early and isinstance(output.reading, Hashed)]
        if early:
            task = asyncio.create_task(self._compare(early), name="comfy-assets second reading")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Compare all of them now."""
        self._is_closing.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Outputs could not be read a second time.", exc_info=error)

    async def _compare(self, outputs: Sequence[JobOutputFile]) -> None:
        wait_s = max(fresh_for_ns(output.located.stat[1]) for output in outputs) / 1e9
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._is_closing.wait(), wait_s)
        rewritten = await asyncio.to_thread(_rewritten, outputs)
        if rewritten:
            await self._record_again(rewritten)


def _rewritten(outputs: Iterable[JobOutputFile]) -> list[JobOutputFile]:
    return [
        output
        for output in outputs
        if isinstance(output.reading, Hashed) and is_rewritten(output.located.pending(), output.reading.hash)
    ]
