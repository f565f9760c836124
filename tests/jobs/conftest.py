"""Servers that share a data folder, each with a queue of its own, and that may die at any moment."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import JOB_STATUSES, JobFilter, JobPage

GRAPH: Mapping[str, Any] = {"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "made"}}}
SUCCESS: Mapping[str, Any] = {"status_str": "success", "completed": True, "messages": []}
FAILURE: Mapping[str, Any] = {
    "status_str": "error",
    "completed": False,
    "messages": [["execution_error", {"exception_message": "it broke", "exception_type": "LookupError"}]],
}
INTERRUPTED: Mapping[str, Any] = {
    "status_str": "error",
    "completed": False,
    "messages": [["execution_interrupted", {"node_id": "2"}]],
}
OUTPUTS: Mapping[str, Any] = {"2": {"images": [{"filename": "made.png", "subfolder": "", "type": "output"}]}}


class Seat:
    """One server over a data folder."""

    _created = itertools.count(1_700_000_000_000)

    def __init__(self, base: Path, *, restore: bool = True, is_known: Callable[[str], bool] | None = None) -> None:
        (base / "output").mkdir(parents=True, exist_ok=True)
        folders = HostFolders((LibraryFolder("output", base / "output"),), (base / "user",))
        self.data = base / "user" / "__comfy_assets"
        self.host = MemoryHost(self.data, folders)
        self.queue = self.host.execution
        if is_known is not None:
            self.queue.is_known = is_known
        self.services = Services(self.host, Config(scan_on_start=False, restore_queue=restore))

    async def start(self) -> Seat:
        self.services.watch_queue()
        await self.services.start()
        assert self.services.problem is None
        return self

    @property
    def recorder(self) -> Any:
        return self.services._recorder

    @property
    def journal(self) -> Any:
        return self.services._journal

    def submit(self, prompt_id: str, number: float = 0, **extra: Any) -> str:
        extra = {"create_time": next(self._created), **extra}
        self.queue.submit(SubmittedPrompt(number, prompt_id, GRAPH, extra, ["2"]))
        return prompt_id

    def end(self, status: Any = SUCCESS, outputs: Any = OUTPUTS) -> None:
        """The running prompt ends."""
        self.queue.finish(outputs, status)

    def waiting(self) -> list[str]:
        """The ids in the queue, next first."""
        return [prompt.prompt_id for prompt in self.queue.waiting]

    async def states(self) -> dict[str, str]:
        """Every job in the store, and its state."""
        page = await self.services.jobs.list(JobFilter("default"), JobPage(limit=1000))
        assert page.total == len(page.items)
        return {job.id: JOB_STATUSES[job.status] for job in page.items}

    async def job(self, job_id: str) -> Any:
        return await self.services.jobs.get(job_id, "default")

    async def stop(self) -> None:
        """In an orderly way."""
        await self.services.stop()

    async def die(self) -> None:
        """As if the process were killed: nothing more is written, its locks are the system's to free."""
        recorder, journal = self.recorder, self.journal
        recorder._is_awake = recorder._is_closed = True
        recorder._db = recorder._journal = None
        if recorder._flushing is not None:
            recorder._flushing.cancel()
            await asyncio.gather(recorder._flushing, return_exceptions=True)
        journal.rotate()
        for lock in journal._locks.values():
            lock.release()
        await self.services.stop()


OpenSeat = Callable[..., Any]


@asynccontextmanager
async def seats_over(base: Path) -> AsyncIterator[OpenSeat]:
    """Starts servers over a folder; all end with the block."""
    opened: list[Seat] = []

    async def open_seat(**options: Any) -> Seat:
        seat = Seat(base, **options)
        opened.append(seat)
        return await seat.start()

    try:
        yield open_seat
    finally:
        for seat in opened:
            await seat.services.stop()


@pytest.fixture
async def open_seat(tmp_path: Path) -> AsyncIterator[OpenSeat]:
    """Starts servers that share a folder."""
    async with seats_over(tmp_path) as opener:
        yield opener


@pytest.fixture(scope="session")
def seats() -> Callable[[Path], Any]:
    """Makes a block in which servers share a folder."""
    return seats_over
