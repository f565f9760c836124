"""Bundles over the API: export as an archive to download, and import of an uploaded one, as tasks with progress."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from typing import Any

from ...assets.exports import AssetExports
from ...background.tasks import Task, TaskFailedError, TaskRunner, Work
from ...db.connection import Database
from ...errors import NotEnoughSpaceError, StorageError, TooManyExportsError
from ...fs import atomic
from ...fs.partial_file import PartialFile
from ...fs.paths import ChangedWhileReading
from ...host.base import Host
from ..service import WorkflowService
from .archive import BundleError
from .exporter import BundleContent, BundleExporter, ExportOptions, collect
from .importer import AssetOutcome, BundleImporter, ImportResult

EXPORT, IMPORT = "workflow_export", "workflow_import"  # names of the tasks
_MOST_OF_ONE = 5  # running bundles of a user
_AT_ONCE = 2  # more would only make the disk slower
_WAIT_S = 0.1
_REPORT_S = 0.25
_RESERVE = 64 << 20  # bytes that stay free on the disk
_MOST_NAMED = 1000  # assets in a result


class BundleService:
    """Exports and imports bundles of the users' workflows."""

    def __init__(
        self,
        db: Database,
        host: Host,
        runner: TaskRunner,
        workflows: WorkflowService,
        exports: AssetExports,
        max_workflow: int,
    ) -> None:
        """``max_workflow`` limits the bytes of a workflow."""
        self._db = db
        self._host = host
        self._runner = runner
        self._workflows = workflows
        self._exports = exports
        self._max_workflow = max_workflow
        self._working = 0

    async def export(self, workflow_id: str, version: int | None, owner: str, *, models: bool) -> Task:
        """Start to export a version of a workflow, by default the latest, with its assets, and its models if wanted.

        The task's result names the archive, as of exports of assets. Raises the errors of ``WorkflowService.content``,
        and TooManyExportsError.
        """
        await self._workflows.content(workflow_id, owner, version)
        self._check_number(owner)
        workflow = await self._workflows.get(workflow_id, owner)
        content = await collect(self._db, self._host, self._workflows, workflow.id, version)
        payload = {"workflow_id": workflow.id, "version": content.workflow.version, "models": models}
        work = self._in_turn(lambda task: self._export(task, content, models=models))
        return await self._runner.spawn(Task(EXPORT, payload, owner), work)

    async def _export(self, task: Task, content: BundleContent, *, models: bool) -> None:
        partial = self._exports.folder / atomic.temp_name(str(task.id))
        size = sum(each.asset.size for each in content.required if models or each.asset.kind != "models")
        await asyncio.to_thread(self._check_space, size)
        exporter = BundleExporter(task.token)
        # What cannot be read is left out and reported: the workflow itself is worth having.
        running = exporter.run(content, partial, ExportOptions(models=models, incomplete=True))
        result = await _reported(task, running, lambda: exporter.progress.as_dict())
        archive = await self._exports.publish(task, partial, content.workflow.name or "workflow")
        entries = result.manifest.assets
        task.result = {
            "export_name": archive.name,
            "assets": len(entries),
            "included": sum(entry.member is not None for entry in entries),
            "problems": list(result.problems)[:_MOST_NAMED],
            "progress": 1.0,
        }

    def _check_space(self, size: int) -> None:
        self._exports.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._exports.folder).free
        if free < size + _RESERVE:
            needed, left = (size + _RESERVE) >> 20, free >> 20
            raise TaskFailedError(
                f"The bundle needs {needed:,} MiB, but the disk of the library has {left:,} MiB free."
            )

    async def receive(self, size: int | None) -> PartialFile:
        """Return a file for a bundle of ``size`` bytes, if that is known. Raises NotEnoughSpaceError, StorageError."""
        try:
            return await asyncio.to_thread(self._create, size or 0)
        except OSError as error:
            raise StorageError(f"The bundle cannot be stored: {error.strerror or error}.") from error

    def _create(self, size: int) -> PartialFile:
        self._exports.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._exports.folder).free < size + _RESERVE:
            raise NotEnoughSpaceError("The disk of the library has no room for the bundle.")
        # Its temporary name lets the sweep of exports remove it after a crash.
        return PartialFile(self._exports.folder)

    async def import_(self, file: PartialFile, owner: str) -> Task:
        """Start to import a received bundle for a user; the file is removed at the end.

        Model files that can run code when they are loaded are left out: only the command line imports them. The task's
        result tells the workflow and what became of each asset. Raises TooManyExportsError, StoreUnavailableError.
        """
        self._check_number(owner)
        work = self._in_turn(lambda task: self._import(task, file))
        return await self._runner.spawn(Task(IMPORT, {"size": file.size}, owner), work)

    async def _import(self, task: Task, file: PartialFile) -> None:
        try:
            importer = BundleImporter(self._db, self._host, self._workflows, task.token, self._max_workflow)
            running = importer.run(file.path, task.owner)
            result = await _reported(task, running, lambda: importer.progress.as_dict())
            task.result = {**_outcome(result), "progress": 1.0}
        finally:
            await asyncio.shield(asyncio.to_thread(file.discard))

    def _check_number(self, owner: str) -> None:
        if self._runner.count((EXPORT, IMPORT), owner) >= _MOST_OF_ONE:
            raise TooManyExportsError(f"At most {_MOST_OF_ONE} bundles can be exported and imported at a time.")

    def _in_turn(self, work: Work) -> Work:
        """Return the work, which waits for its turn and fails with a message for people."""

        async def run(task: Task) -> None:
            try:
                while self._working >= _AT_ONCE:
                    task.token.check()
                    await asyncio.sleep(_WAIT_S)
                self._working += 1
                try:
                    await work(task)
                finally:
                    self._working -= 1
            except BundleError as error:
                raise TaskFailedError(f"The bundle cannot be used: {error}.") from error
            except (ChangedWhileReading, OSError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                raise TaskFailedError(f"The bundle cannot be read or written: {reason}.") from error

        return run


async def _reported(task: Task, running: Coroutine[Any, Any, Any], progress: Callable[[], dict[str, Any]]) -> Any:
    """Return the result of a coroutine; meanwhile copy the progress to the task."""

    async def report() -> None:
        while True:
            found = progress()
            total = found.get("bytes_total") or 0
            share = min(found.get("bytes_hashed", 0) / total, 1.0) if total else 0.0
            task.result = {**found, "progress": share}
            await asyncio.sleep(_REPORT_S)

    reporting = asyncio.create_task(report(), name=f"comfy-assets progress of {task.name}")
    try:
        return await running
    finally:
        reporting.cancel()


def _outcome(result: ImportResult) -> dict[str, Any]:
    """Return the result of an import, problems first."""
    return {
        "workflow_id": result.workflow.id,
        "workflow_name": result.workflow.name,
        "is_new": result.is_new,
        **result.counts,
        "assets": [_asset(each) for each in result.problems_first[:_MOST_NAMED]],
    }


def _asset(each: AssetOutcome) -> dict[str, Any]:
    members = {"path": each.asset.library_path, "outcome": each.outcome, "note": each.note}
    return {name: value for name, value in members.items() if value is not None}
