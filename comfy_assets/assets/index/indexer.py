"""The index's upkeep as tasks: scan, hash, prune; their progress, and what pages are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ...background.cancel import Cancelled, CancelToken
from ...background.runner import Task, TaskRunner
from ...background.throttle import Throttle
from ...db import folders
from ...db.connection import Database
from ...host.base import Host
from ..roots import Roots
from .apply import ScanProgress
from .hash_run import WORKERS, HashRun
from .scanner import Scanner

SCAN, HASH, PRUNE = "asset_scan", "asset_hash", "asset_prune"
_EVENT_INTERVAL_S = 0.5


class Indexer:
    """Keeps the index in step with the disk."""

    def __init__(
        self,
        db: Database,
        host: Host,
        tasks: TaskRunner,
        gate: Throttle,
        *,
        hash_files: bool,
        unrecorded_since: Callable[[], int | None] | None = None,
    ) -> None:
        """``unrecorded_since`` is passed to the scanner."""
        self._db = db
        self._host = host
        self._tasks = tasks
        self._gate = gate
        self._hash_files = hash_files
        self.scanner = Scanner(db, host, gate, unrecorded_since)
        self._files_to_hash = False
        self.is_followed = False  # whether changes on disk are noticed without a scan
        self._is_seeding = False  # a scan was asked for, and its end is to be told of
        self._reading = CancelToken()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="comfy-assets-hash")

    def start_scan(self, only: frozenset[str] | None = None) -> tuple[Task, bool]:
        """Scan, then hash; answers the scan's task and whether it was started by this call.

        ``only`` restricts the scan to kinds or categories.
        """
        payload = {"roots": sorted(only)} if only else {}

        async def work(task: Task) -> None:
            await self._scan(task, only)

        return self._tasks.start(SCAN, work, payload)

    def start_reading(self) -> None:
        """Read what has been found otherwise than by a scan, if files are to be read; pages hear of the end alone."""
        if self._hash_files:
            self._files_to_hash = True
            self._tasks.start(HASH, self._hash)

    async def read_now(self, ids: Sequence[int]) -> None:
        """Read those of these files whose content is not known as they are now.

        Somebody waits for it: it does not wait for prompts that are executed.
        """
        gate = Throttle(lambda: False)
        run = HashRun(self._db, self._host, gate, self._pool, self._reading, is_followed=self.is_followed)
        await run.read(ids)

    def cancel(self) -> bool:
        """Ask the scan and the hash run to stop; answers whether any was under way."""
        return any([self._tasks.cancel(SCAN), self._tasks.cancel(HASH)])

    def pause(self) -> None:
        """Let all upkeep rest, also what begins later, until it is resumed or the server starts anew."""
        self._gate.hold()

    def resume(self) -> None:
        """Let upkeep go on."""
        self._gate.release()

    async def prune(self) -> int:
        """Mark the files that are no longer there; answers how many were marked.

        Raises RuntimeError when that failed, with the reason, and StoreBusyError when the store takes nothing now.
        """
        await self._db.probe(self._db.patience_s)
        task, _ = self._tasks.start(PRUNE, self._prune)
        await task.done.wait()
        if task.status == "failed":
            raise RuntimeError(task.error)
        return int(task.result.get("marked", 0))

    async def finish(self) -> None:
        """Wait until the scan and the hash run under way have ended."""
        for name in (SCAN, HASH):
            task = self._tasks.latest(name)
            if task is not None:
                await task.done.wait()

    def status(self) -> dict[str, Any]:
        """The latest scan and hash run: what is running, how far it is, and what went wrong."""
        scan, hashing = self._tasks.latest(SCAN), self._tasks.latest(HASH)
        if scan is None:
            return {"status": "idle", "phase": "idle", "on_hold": self._gate.is_on_hold}
        if hashing is not None and not hashing.is_running and hashing.started_at < scan.started_at:
            hashing = None  # the end of an earlier scan's run says nothing of this one
        current = hashing if hashing is not None and not scan.is_running else scan
        phases = {SCAN: "listing", HASH: "hashing"}
        answer: dict[str, Any] = {
            "status": current.status,
            "phase": phases[current.name] if current.is_running else "idle",
            "paused": current.is_running and self._gate.is_closed,
            "on_hold": self._gate.is_on_hold,
            **scan.result,
            **(hashing.result if hashing is not None else {}),
            "errors": scan.result.get("errors", []),
            "started_at": scan.started_at,
        }
        answer["moved"] = sum(task.result.get("moved", 0) for task in (scan, hashing) if task is not None)
        answer["total"] = answer.get("total", answer.get("scanned", 0))
        failed = [task.error for task in (scan, hashing) if task is not None and task.status == "failed"]
        if failed:
            answer["error_message"] = failed[0]
        return answer

    def cancel_reading(self) -> None:
        """Let the threads end in which files are read that somebody waits for."""
        self._reading.cancel()

    def close(self) -> None:
        """Let the worker threads end."""
        self.cancel_reading()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _scan(self, task: Task, only: frozenset[str] | None) -> None:
        progress = ScanProgress()
        self._is_seeding = True
        self._host.emit("assets.seed.started", {"roots": sorted(only or ())})
        async with _Ticker(self, task, progress.as_dict):
            await self._told(self.scanner.scan(only, task.token, progress))
        self._host.emit("assets.seed.fast_complete", task.result)
        if self._hash_files:
            self.start_reading()
        else:
            self._tell_end(task.result)

    async def _hash(self, task: Task) -> None:
        """Hash until there is nothing left of what was found, also by scans that end meanwhile."""
        while self._files_to_hash:
            self._files_to_hash = False
            run = HashRun(self._db, self._host, self._gate, self._pool, task.token, is_followed=self.is_followed)
            async with _Ticker(self, task, lambda run=run: run.progress.as_dict()):
                await self._told(run.run())
            self._tell_end(task.result)

    async def _told(self, work: Any) -> None:
        """Await the work; pages hear when it was cancelled."""
        try:
            await work
        except Cancelled:
            self._is_seeding = False
            self._host.emit("assets.seed.cancelled", {})
            raise

    def _tell_end(self, result: dict[str, Any]) -> None:
        if self._is_seeding:
            self._is_seeding = False
            self._host.emit("assets.seed.completed", result)
        elif counts := {name: result[name] for name in ("hashed", "moved") if result.get(name)}:
            self._host.emit("assets.changed", counts)

    async def _prune(self, task: Task) -> None:
        roots = Roots(await asyncio.to_thread(self._host.folders))
        walk_roots = roots.walk_roots()
        marked = 0
        for folder in await folders.known(self._db):
            task.token.check()
            marked += await self.scanner.mark_absent(folder.path, roots, walk_roots)
            task.result = {"marked": marked}
        task.result = {"marked": marked}

    def emit_progress(self, task: Task) -> None:
        """Tell pages how far a task is that they have heard of."""
        if self._is_seeding:
            self._host.emit("assets.seed.progress", {"task_id": str(task.id), **self.status()})


class _Ticker:
    """Copies progress to a task now and then while a block runs, and once more at its end."""

    def __init__(self, indexer: Indexer, task: Task, progress: Any) -> None:
        self._indexer = indexer
        self._task = task
        self._progress = progress
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._ticking = asyncio.create_task(self._tick())

    async def __aexit__(self, *_: object) -> None:
        assert self._ticking is not None
        self._ticking.cancel()
        with suppress(asyncio.CancelledError):
            await self._ticking
        self._task.result = self._progress()

    async def _tick(self) -> None:
        while True:
            self._task.result = self._progress()
            self._indexer.emit_progress(self._task)
            await asyncio.sleep(_EVENT_INTERVAL_S)
