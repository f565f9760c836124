"""The index's upkeep as tasks: scan, hash, prune; their progress, and what pages are told of it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..db import files, references
from ..db.connection import Database
from ..host.base import Host
from ..tasks.cancel import Cancelled
from ..tasks.runner import Task, TaskRunner
from .gate import WorkGate
from .hashing import WORKERS, HashRun
from .roots import Roots, root_of
from .scanner import Scanner, ScanProgress
from .walker import extended, is_gone

SCAN, HASH, PRUNE = "asset_scan", "asset_hash", "asset_prune"
_EVENT_INTERVAL_S = 0.5


class Indexer:
    """Keeps the index in step with the disk."""

    def __init__(self, db: Database, host: Host, tasks: TaskRunner, gate: WorkGate, *, hash_files: bool) -> None:
        self._db = db
        self._host = host
        self._tasks = tasks
        self._gate = gate
        self._hash_files = hash_files
        self._scanner = Scanner(db, host, gate)
        self._files_to_hash = False
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="comfy-assets-hash")

    def start_scan(self, only: frozenset[str] | None = None) -> tuple[Task, bool]:
        """Scan, then hash; answers the scan's task and whether it was started by this call.

        ``only`` restricts the scan to kinds or categories.
        """
        payload = {"roots": sorted(only)} if only else {}

        async def work(task: Task) -> None:
            await self._scan(task, only)

        return self._tasks.start(SCAN, work, payload)

    def cancel(self) -> bool:
        """Ask the scan and the hash run to stop; answers whether any was under way."""
        return any([self._tasks.cancel(SCAN), self._tasks.cancel(HASH)])

    async def prune(self) -> int:
        """Mark the files that are no longer there; answers how many were marked.

        Raises RuntimeError when that failed, with the reason.
        """
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
            return {"status": "idle", "phase": "idle"}
        if hashing is not None and not hashing.is_running and hashing.started_at < scan.started_at:
            hashing = None  # the end of an earlier scan's run says nothing of this one
        current = hashing if hashing is not None and not scan.is_running else scan
        phases = {SCAN: "listing", HASH: "hashing"}
        answer: dict[str, Any] = {
            "status": current.status,
            "phase": phases[current.name] if current.is_running else "idle",
            "paused": current.is_running and self._gate.is_closed,
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

    def close(self) -> None:
        """Let the worker threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _scan(self, task: Task, only: frozenset[str] | None) -> None:
        progress = ScanProgress()
        self._host.emit("assets.seed.started", {"roots": sorted(only or ())})
        async with _Ticker(self, task, progress.as_dict):
            await self._told(self._scanner.scan(only, task.token, progress))
        self._host.emit("assets.seed.fast_complete", task.result)
        if self._hash_files:
            self._files_to_hash = True
            self._tasks.start(HASH, self._hash)
        else:
            self._host.emit("assets.seed.completed", task.result)

    async def _hash(self, task: Task) -> None:
        """Hash until there is nothing left of what scans have found, those included that end meanwhile."""
        while self._files_to_hash:
            self._files_to_hash = False
            run = HashRun(self._db, self._host, self._gate, self._pool, task.token)
            async with _Ticker(self, task, lambda run=run: run.progress.as_dict()):
                await self._told(run.run())
            self._host.emit("assets.seed.completed", task.result)

    async def _told(self, work: Any) -> None:
        """Await the work; pages hear when it was cancelled."""
        try:
            await work
        except Cancelled:
            self._host.emit("assets.seed.cancelled", {})
            raise

    async def _prune(self, task: Task) -> None:
        roots = Roots(await asyncio.to_thread(self._host.folders))
        walk_roots = roots.walk_roots()
        marked = 0
        for folder in await files.folders(self._db):
            task.token.check()
            known = await files.present_in(self._db, folder.path)
            gone = await asyncio.to_thread(_absent, folder.path, known, walk_roots)
            if gone:
                async with self._db.transaction() as tx:
                    marked += await files.mark_missing(tx, gone)
                    await references.settle(tx)
                task.result = {"marked": marked}
        task.result = {"marked": marked}

    def emit_progress(self, task: Task) -> None:
        """Tell pages how far a task is."""
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


def _absent(folder: str, known: list[tuple[int, str]], walk_roots: list[Path]) -> list[int]:
    """Those of a folder's files that are surely not there; none when the folder is out of reach."""
    root = root_of(folder, walk_roots)
    if root is None:
        return []
    try:
        with os.scandir(extended(folder)) as entries:
            there = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return [file_id for file_id, _ in known] if is_gone(folder, root, []) else []
    except OSError:
        return []
    return [file_id for file_id, name in known if name not in there]
