"""Background tasks of the index: scan, hash and prune, with their progress and events for pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from ...background.interruption import Cancelled, CancelToken, Throttle
from ...background.tasks import Task, TaskRunner
from ...db import files
from ...db.connection import Database
from ...host.base import Host
from ...ids import now_ms
from ..page_refresh import completed
from ..roots import current_roots
from .apply import ScanProgress
from .content_reader import WORKERS
from .exclusions import problem_messages
from .hash_run import HashRun
from .scanner import Scanner

SCAN, HASH, PRUNE = "asset_scan", "asset_hash", "asset_prune"
_EVENT_INTERVAL_S = 0.5  # pages redraw for each event
# Pauses before files that other programs lock are read again. Those locked for longer are read in the next run.
RETRIES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *[60.0] * 10)


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
        self._is_seeding = False  # a scan was requested, and pages get an event at its end
        self._reading = CancelToken()
        self._retries = 0  # of reading locked files, since there was none
        self._retry: asyncio.TimerHandle | None = None
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="comfy-assets-hash")

    def start_scan(self, only: frozenset[str] | None = None) -> tuple[Task, bool]:
        """Scan, then hash; return the scan's task and whether this call has started it.

        ``only`` restricts the scan to kinds or categories.
        """
        payload = {"roots": sorted(only)} if only else {}

        async def work(task: Task) -> None:
            await self._scan(task, only)

        return self._tasks.start(SCAN, work, payload)

    async def scan_now(self, only: frozenset[str] | None = None) -> Task:
        """Scan what is on the disk at the time of the call, and return the ended task.

        Like any scan it pauses while a prompt executes, and while background work is paused.
        """
        payload = {"roots": sorted(only)} if only else {}
        running, started = self.start_scan(only)
        task = running
        # A scan that was running at the call may have been past a folder that has changed since.
        while not started and (task is running or task.payload != payload):
            await task.done.wait()
            task, started = self.start_scan(only)
        await task.done.wait()
        return task

    def start_reading(self) -> None:
        """Read files found without a scan, if files are read at all; pages get an event at the end only."""
        if self._hash_files:
            self._files_to_hash = True
            self._tasks.start(HASH, self._hash)

    async def read_now(self, ids: Sequence[int]) -> None:
        """Read the files, of these, whose present content is not known.

        A user waits for the result, so this does not pause while a prompt executes.
        """
        gate = Throttle(lambda: False)  # never busy
        run = HashRun(self._db, self._host, gate, self._pool, self._reading, is_followed=self.is_followed)
        await run.read(ids)

    def cancel(self) -> bool:
        """Cancel the scan and the hash run; return whether any was running."""
        return any([self._tasks.cancel(SCAN), self._tasks.cancel(HASH)])

    def pause(self) -> None:
        """Pause all background work, also later one, until it is resumed or the server restarts."""
        self._gate.hold()

    def resume(self) -> None:
        """Resume background work."""
        self._gate.release()

    async def prune(self) -> int:
        """Mark removed files as missing; return their number.

        Raises RuntimeError with the reason of a failure, and StoreBusyError while the store cannot be written.
        """
        # A task would fail in the background; the caller must get the error of the store itself.
        await self._db.probe(self._db.patience_s)
        task, _ = self._tasks.start(PRUNE, self._prune)
        await task.done.wait()
        if task.status == "failed":
            raise RuntimeError(task.error)
        return int(task.result.get("marked", 0))

    async def finish(self) -> None:
        """Wait until the running scan and hash run have ended."""
        for name in (SCAN, HASH):
            task = self._tasks.latest(name)
            if task is not None:
                await task.done.wait()

    def status(self) -> dict[str, Any]:
        """Return the state, progress and errors of the latest scan and hash run."""
        scan, hashing = self._tasks.latest(SCAN), self._tasks.latest(HASH)
        if scan is None:
            return {"status": "idle", "phase": "idle", "on_hold": self._gate.is_on_hold}
        if hashing is not None and not hashing.is_running and hashing.started_at < scan.started_at:
            hashing = None  # it belongs to an earlier scan
        current = hashing if hashing is not None and not scan.is_running else scan
        phases = {SCAN: "listing", HASH: "hashing"}
        answer: dict[str, Any] = {
            "status": current.status,
            "phase": phases[current.name] if current.is_running else "idle",
            "paused": current.is_running and self._gate.is_closed,
            "on_hold": self._gate.is_on_hold,
            **scan.result,
            **(hashing.result if hashing is not None else {}),
            "errors": problem_messages(scan.result),
            "started_at": scan.started_at,
        }
        answer["moved"] = sum(task.result.get("moved", 0) for task in (scan, hashing) if task is not None)
        answer["total"] = answer.get("total", answer.get("scanned", 0))
        failed = [task.error for task in (scan, hashing) if task is not None and task.status == "failed"]
        if failed:
            answer["error_message"] = failed[0]
        return answer

    def cancel_reading(self) -> None:
        """Cancel the reading of files that requests wait for."""
        self._reading.cancel()

    def close(self) -> None:
        """Stop the worker threads."""
        self._retry_locked(0)
        self.cancel_reading()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _scan(self, task: Task, only: frozenset[str] | None) -> None:
        progress = ScanProgress()
        self._is_seeding = True
        self._host.emit("assets.seed.started", {"roots": sorted(only or ())})
        async with _ProgressReporter(self, task, progress.as_dict):
            await self._await_reporting(self.scanner.scan(only, task.token, progress))
        self._host.emit("assets.seed.fast_complete", task.result)
        if self._hash_files:
            self.start_reading()
        else:
            self._report_end(task)

    async def _hash(self, task: Task) -> None:
        """Hash until no file is left, including those of scans that end meanwhile."""
        while self._files_to_hash:
            self._files_to_hash = False
            run = HashRun(self._db, self._host, self._gate, self._pool, task.token, is_followed=self.is_followed)
            async with _ProgressReporter(self, task, lambda run=run: run.progress.as_dict()):
                await self._await_reporting(run.run())
            self._report_end(task)
            self._retry_locked(run.progress.locked)

    def _retry_locked(self, count: int) -> None:
        """Read files again after a while if other programs lock some of them."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if count == 0:
            self._retries = 0
        elif self._retries < len(RETRIES_S):
            self._retry = asyncio.get_running_loop().call_later(RETRIES_S[self._retries], self.start_reading)
            self._retries += 1

    async def _await_reporting(self, work: Any) -> None:
        """Await the work; pages get an event if it is cancelled."""
        try:
            await work
        except Cancelled:
            self._is_seeding = False
            self._host.emit("assets.seed.cancelled", {})
            raise

    def _report_end(self, task: Task) -> None:
        result = task.result
        if self._is_seeding:
            self._is_seeding = False
            self._host.emit("assets.seed.completed", {**result, **_completion(task)})
        elif counts := {name: result[name] for name in ("hashed", "moved") if result.get(name)}:
            self._host.emit("assets.changed", counts)

    async def _prune(self, task: Task) -> None:
        roots = await current_roots(self._host)
        walk_roots = roots.walk_roots()
        marked = 0
        for folder in await files.known_folders(self._db):
            task.token.check()
            marked += await self.scanner.mark_absent(folder.path, roots, walk_roots)
            task.result = {"marked": marked}
        task.result = {"marked": marked}

    def emit_progress(self, task: Task) -> None:
        """Send progress of a requested scan to pages."""
        if self._is_seeding:
            self._host.emit("assets.seed.progress", {"task_id": str(task.id), **self.status()})


def _completion(task: Task) -> dict[str, Any]:
    """Return what ComfyUI's page reads of the end of a scan: its lists show facts that only reading has found."""
    result = task.result
    created, enriched = result.get("created", 0), result.get("hashed", 0)
    total = result.get("total", result.get("scanned", 0))
    return completed(
        "enrich" if enriched or result.get("moved") else "fast",
        created=created,
        enriched=enriched,
        skipped=max(0, total - created - enriched),
        total=total,
        elapsed=(now_ms() - task.started_at) / 1000,
        source="scan",
    )


class _ProgressReporter:
    """Copies progress to a task at intervals while a block runs, and once at its end."""

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
