"""Exports: tasks that write the files of a selection into an archive, which its owner downloads within a day.

An archive is a zip file whose members are stored as they are: images, videos and weights hardly become smaller, and it
is written as fast as the disk. Members and archives of more than 4 GiB have ZIP64 records.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import re
import secrets
import shutil
import sqlite3
import stat
import time
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from .. import store_guard
from ..background.interruption import Cancelled, CancelToken, uninterrupted
from ..background.tasks import Task, TaskFailedError, TaskRunner, Work
from ..db import exports, tasks
from ..db.connection import Database
from ..db.exports import ExportedArchive
from ..errors import ExportNotFoundError, StoreUnavailableError, TooManyExportsError
from ..fs import atomic, shared_files
from ..fs.paths import file_stat, unlimited
from ..host.base import Host
from ..ids import now_ms
from .export_selection import CollectedFiles, ExportCollector, ExportedFile, ExportSelection, FailedAsset, member_names

log = logging.getLogger("comfy_assets.library")

EXPORT = "asset_export"  # name of the tasks, and of their event
FOLDER = "exports"
KEPT_MS = 24 * 60 * 60 * 1000
_SWEEP_S = 600.0
_EVENT_S = 0.25  # between two reports of progress
_AT_ONCE = 2  # archives written at the same time: more would only make the disk slower
_WAIT_S = 0.1
_MOST_OF_ONE = 20  # running and waiting exports of a user
_RESERVE = 64 << 20  # bytes that an export leaves free on the disk
_MOST_NAMED = 1000  # failed assets in a result
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,100}\.zip")
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_MAX_TITLE = 60
_BLOCK = 1 << 20
_REGULAR = 0o100644 << 16  # mode of a Unix file, in the upper half of the external attributes
_FIRST_YEAR, _LAST_YEAR = 1980, 2107  # of the times that a zip file can hold


@dataclass
class ExportProgress:
    """Progress of an export. The thread that writes changes the numbers, the event loop reads them."""

    assets_total: int = 0
    assets_attempted: int = 0
    assets_failed: int = 0
    bytes_total: int = 0
    bytes_processed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the members of results and events; ``progress`` is between 0 and 1."""
        share = min(self.bytes_processed / self.bytes_total, 1.0) if self.bytes_total else 0.0
        return {**vars(self), "progress": share}

    def count(self, size: int) -> None:
        """Add bytes that were written."""
        self.bytes_processed += size


class AssetExports:
    """Starts exports and gives access to their archives. Everything of an export is its owner's alone."""

    def __init__(self, db: Database, host: Host, runner: TaskRunner, collector: ExportCollector) -> None:
        self._db = db
        self._host = host
        self._runner = runner
        self._collector = collector
        self.folder = unlimited(host.data_directory() / FOLDER)
        self._active: dict[uuid.UUID, str] = {}  # owners of running and waiting exports, by task
        self._announced: set[uuid.UUID] = set()  # tasks whose events pages get
        self._writing = 0
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, selection: ExportSelection, owner: str) -> Task:
        """Start an export (createAssetExport), or return the running one of the same selection.

        Raises TooManyExportsError, StoreUnavailableError.
        """
        payload, key = await asyncio.to_thread(lambda: (msgspec.to_builtins(selection), selection.key))
        task = Task(EXPORT, payload, owner, key=key, is_resumable=True)
        if list(self._active.values()).count(owner) >= _MOST_OF_ONE:
            raise TooManyExportsError(f"At most {_MOST_OF_ONE} exports can run or wait; try again when one has ended.")
        return await self._runner.spawn(task, lambda running: self._run(running, selection))

    async def find(self, name: str, owner: str) -> ExportedArchive:
        """Return an archive of the owner (downloadExport). Raises ExportNotFoundError."""
        archive = await self._get(name)
        if archive is None or archive.owner != owner:
            raise _not_found(name)
        return archive

    async def content(self, name: str, *, owner: str = "", token: str = "") -> Path:
        """Return the file of an archive, for its owner or for whoever has its token. Raises ExportNotFoundError.

        Browsers send no user header with a download that a page starts by a link.
        """
        archive = await self._get(name)
        is_allowed = archive is not None and (
            hmac.compare_digest(token.encode(), archive.token.encode()) if token else archive.owner == owner != ""
        )
        path = self.folder / name
        if not is_allowed or not await asyncio.to_thread(path.is_file):
            raise _not_found(name)
        return path

    async def _get(self, name: str) -> ExportedArchive | None:
        """Return the archive of this name unless it has expired."""
        archive = await exports.get(self._db, name) if _NAME.fullmatch(name) else None
        return archive if archive is not None and archive.expires_at > now_ms() else None

    async def open(self, running: Collection[int]) -> None:
        """Continue the exports that an ended server left, and remove expired archives from now on.

        ``running`` are the instances of servers that run.
        """
        await self.resume(running)
        self._sweeping = asyncio.create_task(self._sweep_regularly(), name="comfy-assets expired exports")

    async def resume(self, running: Collection[int]) -> None:
        """Continue the exports that were left by servers other than the running ones, from their beginning."""
        for left in await tasks.interrupted(self._db, EXPORT, running):
            try:
                selection = msgspec.json.decode(left.payload, type=ExportSelection)
            except msgspec.MsgspecError:
                selection = None  # of another version of the program
            task = Task(EXPORT, {}, left.owner, task_id=left.id, key=left.key, is_resumable=True)
            await self._runner.spawn(task, _work_of(self._run, selection))

    async def close(self) -> None:
        """Stop removing expired archives. The task runner ends the exports themselves."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])

    # An export

    async def _run(self, task: Task, selection: ExportSelection) -> None:
        progress = ExportProgress()
        self._active[task.id] = task.owner
        # Servers do not know a page's user: with several users, pages read the state of their own tasks instead.
        if selection.announce and not self._host.is_multi_user():
            self._announced.add(task.id)
        reporting = asyncio.create_task(self._report(task, progress), name="comfy-assets export progress")
        try:
            await self._wait_for_turn(task.token)
            try:
                await self._export(task, selection, progress)
            finally:
                self._writing -= 1
        except Cancelled:
            if task.is_cancel_requested:
                self._emit(task, progress, "cancelled", error="Cancelled on request.")
            raise
        except Exception as error:
            self._emit(task, progress, "failed", error=str(error))
            raise
        finally:
            reporting.cancel()
            del self._active[task.id]
            self._announced.discard(task.id)

    async def _wait_for_turn(self, token: CancelToken) -> None:
        token.check()
        while self._writing >= _AT_ONCE:
            token.check()
            await asyncio.sleep(_WAIT_S)
        self._writing += 1

    async def _export(self, task: Task, selection: ExportSelection, progress: ExportProgress) -> None:
        collected = await self._collector.collect(selection, task.owner)
        self._begin(progress, collected)
        if not collected.files:
            self._fail(task, progress, collected, "None of the assets can be exported.")
        names = await asyncio.to_thread(member_names, collected.files, selection.naming_strategy, collected.job_times)
        partial = self.folder / atomic.temp_name(str(task.id))
        writing = asyncio.to_thread(self._write, partial, collected, names, progress, task.token)
        try:
            await uninterrupted(writing, task.token)
        except OSError as error:
            raise TaskFailedError(f"The archive cannot be written: {error.strerror or error}.") from error
        if progress.assets_failed == progress.assets_total:
            await asyncio.to_thread(shared_files.remove, partial, missing_ok=True)
            self._fail(task, progress, collected, "None of the files could be read.")
        archive = await self.publish(task, partial)
        size = await asyncio.to_thread(lambda: (self.folder / archive.name).stat().st_size)
        task.result = {
            **self._outcome(progress, collected),
            "success": True,
            "export_name": archive.name,
            "export_size": size,
            "progress": 1.0,
        }
        if selection.naming_strategy == "group_by_job_time":
            job_ids = {file.job_id for file in collected.files if file.job_id is not None}
            task.result["used_job_time_fallback"] = not job_ids <= collected.job_times.keys()
        self._emit(task, progress, "completed", export_name=archive.name, progress=1.0)

    def _begin(self, progress: ExportProgress, collected: CollectedFiles) -> None:
        failed = len(collected.failed)
        progress.assets_total = len(collected.files) + failed
        progress.assets_attempted = progress.assets_failed = failed
        progress.bytes_total = sum(collected.sizes)

    def _fail(self, task: Task, progress: ExportProgress, collected: CollectedFiles, message: str) -> None:
        task.result = {**self._outcome(progress, collected), "success": False, "error": message}
        raise TaskFailedError(message)

    def _outcome(self, progress: ExportProgress, collected: CollectedFiles) -> dict[str, Any]:
        outcome = {
            **progress.as_dict(),
            "assets_succeeded": progress.assets_total - progress.assets_failed,
            "uncompressed_size": progress.bytes_processed,
        }
        if collected.failed:
            outcome["failed_assets"] = msgspec.to_builtins(collected.failed[:_MOST_NAMED])
        if collected.unknown_jobs:
            outcome["unknown_jobs"] = collected.unknown_jobs[:_MOST_NAMED]
        return outcome

    def _write(
        self, partial: Path, collected: CollectedFiles, names: list[str], progress: ExportProgress, token: CancelToken
    ) -> None:
        """Write the archive. Blocks. Leaves no file behind if it raises OSError, Cancelled, TaskFailedError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shared_files.remove(partial, missing_ok=True)  # of a server that ended meanwhile
        self._check_space(progress.bytes_total)
        stream = partial.open("xb")
        try:
            writer = ArchiveWriter(stream)
            try:
                for file, name in zip(collected.files, names, strict=True):
                    token.check()
                    self._add(writer, file, name, collected, progress, token)
                writer.finish()
            except BaseException:
                writer.abandon()
                raise
            stream.close()
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk, closing fails as well
                stream.close()
            shared_files.remove(partial, missing_ok=True)
            raise

    def _add(
        self,
        writer: ArchiveWriter,
        file: ExportedFile,
        name: str,
        collected: CollectedFiles,
        progress: ExportProgress,
        token: CancelToken,
    ) -> None:
        before = progress.bytes_processed
        try:
            writer.add(file.path, name, token.check, progress.count)
        except UnreadableMember as error:
            progress.bytes_processed = before
            progress.assets_failed += 1
            failed = FailedAsset(file.asset_id or "", "fetch_failed", file.job_id, file.name, str(error))
            collected.failed.append(failed)
        progress.assets_attempted += 1

    def _check_space(self, size: int) -> None:
        """Raise TaskFailedError unless the disk of the exports has room for this many bytes."""
        free = shutil.disk_usage(self.folder).free
        if free < size + _RESERVE:
            needed, left = (size + _RESERVE) >> 20, free >> 20
            raise TaskFailedError(
                f"The export needs {needed:,} MiB, but the disk of the library has {left:,} MiB free."
            )

    async def publish(self, task: Task, partial: Path, title: str = "comfy-export") -> ExportedArchive:
        """Give a complete archive in the folder its name, which begins with the title, and record it."""
        now = now_ms()
        day = datetime.fromtimestamp(now / 1000, timezone.utc).strftime("%Y-%m-%d")
        title = _NO_NAME.sub("-", title)[:_MAX_TITLE].strip("-") or "comfy-export"
        name = f"{title}-{day}-{secrets.token_hex(8)}.zip"
        archive = ExportedArchive(name, task.id.bytes, task.owner, secrets.token_urlsafe(24), now, now + KEPT_MS)
        await asyncio.to_thread(atomic.move_no_replace, partial, self.folder / name)
        try:
            async with self._db.transaction() as tx:
                await exports.add(tx, archive)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(shared_files.remove, self.folder / name, missing_ok=True))
            raise
        return archive

    async def _report(self, task: Task, progress: ExportProgress) -> None:
        """Copy the progress to the task, and send it to pages while it changes."""
        sent = None
        while True:
            current = progress.as_dict()
            task.result = current
            if current != sent:
                self._emit(task, progress, "running" if progress.assets_total else "created")
                sent = current
            await asyncio.sleep(_EVENT_S)

    def _emit(self, task: Task, counts: ExportProgress, status: str, **more: Any) -> None:
        """Send an event to pages, each of which downloads every export that one announces as completed."""
        if task.id in self._announced:
            self._host.emit("asset_export", {"task_id": str(task.id), **counts.as_dict(), "status": status, **more})

    # Expired archives

    async def _sweep_regularly(self) -> None:
        while True:
            try:
                await self.sweep()
            except (OSError, sqlite3.Error, StoreUnavailableError) as error:
                log.warning("Expired exports could not be removed; the next attempt follows: %s", error)
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self) -> None:
        """Remove expired archives, and files that a killed server left in the folder."""
        for name in await exports.expired(self._db, now_ms()):
            if await asyncio.to_thread(self._removed, self.folder / name):
                async with self._db.transaction() as tx:
                    await exports.remove(tx, name)
        known = await exports.names(self._db)
        await asyncio.to_thread(self._remove_strays, known, time.time() - atomic.LEFTOVER_AGE_S)

    def _removed(self, path: Path) -> bool:
        """Remove a file; return False if it is still open, which prevents it on Windows. Blocks."""
        try:
            shared_files.remove(path, missing_ok=True)
        except PermissionError:
            return False
        return True

    def _remove_strays(self, known: Collection[str], before: float) -> None:
        """Remove partial and unrecorded archives last written before a time (s since 1970). Blocks."""
        if not self.folder.is_dir():
            return
        atomic.remove_leftovers([self.folder], before)
        for path in self.folder.glob("*.zip"):
            if path.name not in known and path.stat().st_mtime < before:
                self._removed(path)


def _work_of(run: Callable[[Task, ExportSelection], Awaitable[None]], selection: ExportSelection | None) -> Work:
    """Return the work of a task that is continued."""

    async def work(task: Task) -> None:
        if selection is None:
            raise TaskFailedError("The server was updated before the export was finished; start it again.")
        await run(task, selection)

    return work


def _not_found(name: str) -> ExportNotFoundError:
    return ExportNotFoundError("There is no such export.", details={"name": name})


class UnreadableMember(Exception):  # an outcome rather than an error
    """A file cannot be read whole, for the reason in the message, and is not in the archive."""


class ArchiveWriter:
    """An archive that is being written to a stream, which must be empty and seekable. Blocks: for worker threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._archive = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, path: Path, name: str, check: Callable[[], None], count: Callable[[int], None]) -> None:
        """Add a file as a member. ``check`` is called before each block, ``count`` with the number of its bytes.

        Raises UnreadableMember for a file that cannot be read or is written to meanwhile; the archive is then as
        before. Any OSError is one of the archive's own file. What ``check`` raises passes through.
        """
        with contextlib.ExitStack() as stack:
            with _reading():
                store_guard.check(path)
                source = stack.enter_context(shared_files.open_shared_raw(path))
                info = os.fstat(source.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise UnreadableMember("it is no regular file")
            start, members = self._archive.start_dir, len(self._archive.filelist)
            try:
                self._copy(source, _member(name, info), check, count)
                with _reading():
                    is_unchanged = file_stat(os.fstat(source.fileno())) == file_stat(info)
                if not is_unchanged:
                    raise UnreadableMember("it was written to while it was read")
            except BaseException:
                self._take_back(start, members)
                raise

    def _copy(
        self, source: BinaryIO, member: zipfile.ZipInfo, check: Callable[[], None], count: Callable[[int], None]
    ) -> None:
        left = member.file_size
        with self._archive.open(member, "w") as target:
            while left:
                check()
                with _reading():
                    block = source.read(min(_BLOCK, left))
                if not block:
                    raise UnreadableMember("it became shorter while it was read")
                target.write(block)
                left -= len(block)
                count(len(block))

    def _take_back(self, start: int, members: int) -> None:
        """Remove an incomplete member. Closing it has added it to the list in any case."""
        for member in self._archive.filelist[members:]:
            self._archive.NameToInfo.pop(member.filename, None)
        del self._archive.filelist[members:]
        self._archive.start_dir = start
        self._stream.seek(start)
        self._stream.truncate()

    def finish(self) -> None:
        """Write the list of members, and everything to the disk. Raises OSError."""
        self._archive.close()
        self._stream.flush()
        atomic.fsync(self._stream.fileno())

    def abandon(self) -> None:
        """Give up. The archive would write its list of members when it is collected."""
        self._archive.fp = None


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn the errors of the block into UnreadableMember."""
    try:
        yield
    except (OSError, ValueError) as error:  # the latter for a path with a null character
        raise UnreadableMember((error.strerror if isinstance(error, OSError) else None) or str(error)) from error


def _member(name: str, info: os.stat_result) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _date(info.st_mtime))
    member.compress_type, member.file_size, member.external_attr = zipfile.ZIP_STORED, info.st_size, _REGULAR
    member.create_system = 3  # Unix, also on Windows: the attributes are those of Unix
    return member


def _date(mtime: float) -> tuple[int, int, int, int, int, int]:
    """Return the local time of a file, or the earliest that a zip file can hold."""
    try:
        at = time.localtime(mtime)
    except (OverflowError, OSError, ValueError):
        return (_FIRST_YEAR, 1, 1, 0, 0, 0)
    if not _FIRST_YEAR <= at.tm_year <= _LAST_YEAR:
        return (_FIRST_YEAR, 1, 1, 0, 0, 0)
    return at.tm_year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, min(at.tm_sec, 59)
