"""Keep users' workflows and the files in their workflows folders in step, in both directions.

The files win: a file that was saved, renamed or deleted, by the frontend or outside of ComfyUI, is imported as it is.
Changes made through the API go to the store first and to the file afterwards, so that a crash in between loses nothing:
the next synchronization writes the file.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from .. import json_limits, json_text
from ..assets.move_matching import match
from ..db import workflow_files, workflows
from ..db.connection import Database
from ..db.moves import MoveCandidate
from ..db.workflow_files import WorkflowFileRow
from ..errors import InvalidBodyError, StoreBusyError
from ..fs.atomic import LEFTOVER_AGE_S
from ..host.base import Host
from ..ids import now_ms
from . import file_changes
from .document import ParsedWorkflow, parse_workflow
from .file_changes import FileWriter, WorkflowFile
from .folder import FOLDER, UNCERTAIN_MTIME, FileStamp, WorkflowFolder, WorkflowListing, is_workflow

log = logging.getLogger("comfy_assets.workflows")

REQUEST_WAIT_S = 10.0  # how long a request waits for the lock
_INTERVAL_S = 2.0  # between two synchronizations of all folders
_INTERVAL_SHARE = 50  # a slow disk is not read more than a fiftieth of the time
_BATCH = 500  # files that are read or written before requests get a chance at the lock
_TRANSACTION = 50  # files imported in one transaction, so that other writers get in between


@dataclass
class FolderChanges:
    """Differences between the workflows of a user and the files in their folder.

    ``changed``: workflows whose file differs from what was last seen. ``appeared``: paths of files without a workflow.
    ``vanished``: workflows whose file is gone. ``unwritten``: workflows whose latest version is not in their file yet.
    ``misnamed``: workflows whose file has yet to be renamed. ``is_unavailable``: the folder could not be read as it
    should be, so that nothing can be concluded from it or written into it.
    """

    changed: list[WorkflowFileRow] = field(default_factory=list)
    appeared: list[str] = field(default_factory=list)
    vanished: list[WorkflowFileRow] = field(default_factory=list)
    unwritten: list[WorkflowFileRow] = field(default_factory=list)
    misnamed: list[WorkflowFileRow] = field(default_factory=list)
    is_unavailable: bool = False


def compare(rows: Iterable[WorkflowFileRow], listing: WorkflowListing) -> FolderChanges:
    """Compare the workflows of a user with a listing of their folder. No I/O."""
    changes = FolderChanges()
    paths: set[str] = set()
    written_count = 0
    for row in rows:
        paths.add(row.path or "")
        written_count += row.version is not None
        stamp = listing.files.get(row.path) if row.path is not None else None
        if stamp is not None and stamp != (row.size, row.mtime_ns):
            changes.changed.append(row)
        elif stamp is None and row.version is not None:
            changes.vanished.append(row)
        if row.version < row.latest if row.version is not None else stamp is None:
            changes.unwritten.append(row)
        if row.is_misnamed and (stamp is not None or row.version is None):
            changes.misnamed.append(row)
    changes.vanished = [row for row in changes.vanished if row.path is not None and listing.covers(row.path)]
    # Files that were only seen too soon after a change come last: most of them have not changed again.
    changes.changed.sort(
        key=lambda row: row.mtime_ns == UNCERTAIN_MTIME and listing.files[str(row.path)].size == row.size
    )
    changes.appeared = [path for path in listing.files if path not in paths]
    # A disk that is not mounted shows as an empty folder. One workflow may well have been deleted, all of them at once
    # hardly.
    changes.is_unavailable = bool(written_count) and not listing.covers("")
    if changes.is_unavailable or (written_count > 1 and not listing.files):
        changes.is_unavailable, changes.vanished, changes.unwritten, changes.misnamed = True, [], [], []
    return changes


def find_renamed(appeared: Sequence[WorkflowFile], vanished: Sequence[WorkflowFileRow]) -> dict[str, WorkflowFileRow]:
    """Match files that have appeared with workflows whose files have vanished; return the workflows by the new paths.

    The same text is the better evidence: workflows made from one template share the id in their graphs.
    """
    found: dict[str, WorkflowFileRow] = {}
    for row_key, file_key in _EVIDENCE:
        taken = {row.row_id for row in found.values()}
        rows = {row.row_id: row for row in vanished if row.row_id not in taken}
        files = [file for file in appeared if file.path not in found]
        numbers: dict[bytes | str, int] = {}
        gone = [_candidate(i, str(row.path), row_key(row), numbers) for i, row in rows.items()]
        new = [_candidate(-i, file.path, file_key(file.parsed), numbers) for i, file in enumerate(files, 1)]
        found.update({files[-m.new.id - 1].path: rows[m.gone.id] for m in match(gone, new)})
    return found


# The values of a workflow and of a file that are equal if the file is that workflow's, the surest first.
_EVIDENCE: tuple[
    tuple[Callable[[WorkflowFileRow], bytes | str | None], Callable[[ParsedWorkflow], bytes | str | None]], ...
] = (
    (lambda row: row.held_hash, lambda parsed: parsed.document.hash),
    (lambda row: row.hash, lambda parsed: parsed.document.hash),
    (lambda row: row.graph_id, lambda parsed: parsed.graph_id),
)


def _candidate(number: int, path: str, value: bytes | str | None, numbers: dict[bytes | str, int]) -> MoveCandidate:
    """Return a file for the matcher. Only content counts: size and time are those of an unknown file."""
    folder, _, name = path.rpartition("/")
    content_id = numbers.setdefault(value, len(numbers)) if value is not None else None
    return MoveCandidate(number, 0, 0, 0, folder, folder, name, content_id, is_decided=True)


class WorkflowSync:
    """Synchronizes the workflows folders of all users. Only the holder of a user's ``lock`` may touch their files."""

    def __init__(self, db: Database, host: Host, limit: int) -> None:
        """``limit`` is the size in bytes that a workflow may have."""
        self._db = db
        self._host = host
        self._limit = limit
        self._writer = FileWriter(db, limit)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by owner
        self._seen: dict[str, WorkflowListing] = {}  # listings without any difference from the store, by owner
        self._unavailable: set[str] = set()  # owners
        self._missing: dict[str, set[int]] = {}  # workflows whose file was missing once, by owner
        self._invalid: dict[tuple[str, str], FileStamp] = {}  # files that are no workflows, by owner and path
        self._listing_s = 0.0  # total time spent on reading folders
        self._task: asyncio.Task[None] | None = None

    def start(self, *, follow: bool) -> None:
        """Synchronize all folders in the background: again and again with ``follow``, otherwise once."""
        self._task = asyncio.create_task(self._run(follow=follow), name="comfy-assets workflow files")

    async def close(self) -> None:
        """End what ``start`` began."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self, *, follow: bool) -> None:
        cleaned: set[str] = set()
        while True:
            listing_s = 0.0
            for owner in self._host.user_ids():
                try:
                    if owner not in cleaned:
                        cleaned.add(owner)
                        await self._remove_leftovers(owner)
                    listing_s += await self.sync_all(owner)
                except (OSError, sqlite3.Error, LookupError):
                    log.exception("The workflow files of %s could not be synchronized. Trying again later.", owner)
            if not follow:
                return
            await asyncio.sleep(max(_INTERVAL_S, _INTERVAL_SHARE * listing_s))

    async def _remove_leftovers(self, owner: str) -> None:
        """Remove incomplete files that a killed server left in an owner's folder."""
        await asyncio.to_thread(self._folder(owner).remove_leftovers, time.time() - LEFTOVER_AGE_S)

    @asynccontextmanager
    async def lock(self, owner: str, wait_s: float | None = None) -> AsyncIterator[None]:
        """Hold the lock of an owner's files. Raises TimeoutError if it is not free within ``wait_s`` seconds."""
        lock = self._locks[owner]
        await asyncio.wait_for(lock.acquire(), wait_s)
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def lock_for_request(self, owner: str) -> AsyncIterator[None]:
        """Hold the lock for a request that has not changed anything yet. Raises StoreBusyError if it stays taken."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.lock(owner, REQUEST_WAIT_S))
            except asyncio.TimeoutError:
                raise StoreBusyError("The workflow files are in use; try again.") from None
            yield

    # From files to the store.

    async def sync_all(self, owner: str) -> float:
        """Synchronize an owner's folder completely, and return how long reading the folder took (s).

        Waiting for the lock or the store does not count: it says nothing about how expensive the folder is to read.
        """
        before, has_more = self._listing_s, True
        while has_more:
            async with self.lock(owner):
                has_more = await self.sync_once(owner)
        return self._listing_s - before

    async def sync_once(self, owner: str, *, is_sure: bool = False) -> bool:
        """Synchronize a batch of an owner's files, in both directions, and return whether more are left.

        The caller holds the lock. A missing file counts as deleted when it is missing for the second time, as editors
        may remove a file before they write it again; with ``is_sure`` at once.
        """
        folder = self._folder(owner)
        undeletable = await self._remove_deleted(owner, folder)
        began = time.monotonic()
        rows, changes = await self._find_changes(owner, folder, undeletable)
        self._listing_s += time.monotonic() - began
        if changes == FolderChanges():
            return False
        vanished = await self._import(owner, folder, changes)
        await self._delete(vanished if is_sure else self._missing_twice(owner, vanished))
        await self._writer.write(folder, changes.unwritten[:_BATCH], rows)
        for row in changes.misnamed:
            await self._rename(row.row_id)
        return len(changes.appeared) + len(changes.changed) > _BATCH or len(changes.unwritten) > _BATCH

    async def _find_changes(
        self, owner: str, folder: WorkflowFolder, undeletable: Sequence[WorkflowFileRow]
    ) -> tuple[Sequence[WorkflowFileRow], FolderChanges]:
        """Return the owner's workflows and their changes; without reading the workflows where the listing is known."""
        listing = await asyncio.to_thread(folder.listing)
        for row in undeletable:
            listing.files.pop(str(row.path), None)  # or the deleted workflow would be imported as a new one
        if (
            listing == self._seen.get(owner)
            and owner not in self._unavailable
            and await workflow_files.is_at_rest(self._db, owner)
        ):
            return [], FolderChanges()
        rows = await workflow_files.of_owner(self._db, owner)
        changes = self._without_invalid(owner, compare(rows, listing), listing)
        self._set_unavailable(owner, changes.is_unavailable)
        if changes == FolderChanges():
            self._seen[owner] = listing
        return rows, changes

    def _without_invalid(self, owner: str, changes: FolderChanges, listing: WorkflowListing) -> FolderChanges:
        """Remove files that were found invalid and have not changed since."""

        def is_invalid(path: str | None) -> bool:
            return path is not None and self._invalid.get((owner, path)) == listing.files[path]

        changes.appeared = [path for path in changes.appeared if not is_invalid(path)]
        changes.changed = [row for row in changes.changed if not is_invalid(row.path)]
        return changes

    def _set_unavailable(self, owner: str, is_unavailable: bool) -> None:
        if is_unavailable and owner not in self._unavailable:
            log.warning("The workflows folder of %s is empty or cannot be read. Its workflows are kept.", owner)
        (self._unavailable.add if is_unavailable else self._unavailable.discard)(owner)

    async def sync_file(self, owner: str, path: str, *, may_be_gone: bool = True) -> None:
        """Import the file at a path as it is now. The caller holds the lock.

        A missing file counts as deleted if it ``may_be_gone``; otherwise its disk may just not be available.
        """
        folder = self._folder(owner)
        actual = await asyncio.to_thread(folder.actual_path, path)
        row = await workflow_files.at(self._db, owner, actual or path)
        changes = FolderChanges()
        if actual is None:
            changes.vanished += [row] if row is not None and may_be_gone else []
        elif row is not None:
            changes.changed.append(row)
        elif is_workflow(actual):
            changes.appeared.append(actual)
        await self._delete(await self._import(owner, folder, changes))

    async def sync_move(self, owner: str, path: str, new: str) -> None:
        """Apply the move of a file or folder that has just happened on disk. The caller holds the lock.

        Either path may be outside the workflows or belong to no workflow.
        """
        if not (path.lower().endswith(".json") or new.lower().endswith(".json")):  # a folder
            while await self.sync_once(owner, is_sure=True):
                pass
            return
        folder = self._folder(owner)
        row = await workflow_files.at(self._db, owner, path)
        actual = await asyncio.to_thread(folder.actual_path, new)
        is_gone = await asyncio.to_thread(folder.actual_path, path) != path
        if row is not None and actual is not None and is_workflow(actual) and is_gone:
            async with self._db.transaction() as tx:
                await file_changes.move_file(tx, row.row_id, actual)
        await self.sync_file(owner, path)
        await self.sync_file(owner, new)

    async def refresh(self, workflow_id: str) -> bool:
        """Import the file of a workflow if it has changed, and return whether it had."""
        row = await workflow_files.of_id(self._db, workflow_id)
        if row is None or row.path is None or row.version is None:
            return False
        try:
            stamp = await asyncio.to_thread(self._folder(row.owner).stamp, row.path)
        except OSError:
            return False
        is_unchanged = stamp == (row.size, row.mtime_ns)
        if stamp is None or is_unchanged or self._invalid.get((row.owner, row.path)) == stamp:
            return False
        try:
            async with self.lock(row.owner, REQUEST_WAIT_S):
                await self._import(row.owner, self._folder(row.owner), FolderChanges(changed=[row]))
        except asyncio.TimeoutError:
            return False  # the stored version is current enough; the next synchronization imports the file
        return True

    async def _import(self, owner: str, folder: WorkflowFolder, changes: FolderChanges) -> list[WorkflowFileRow]:
        """Import files that changed or appeared, and return the workflows whose files vanished without a new path."""
        paths = [*changes.appeared, *(str(row.path) for row in changes.changed)][:_BATCH]
        files = await asyncio.to_thread(self._read, owner, folder, paths)
        appeared = set(changes.appeared)
        renamed = find_renamed([file for file in files if file.path in appeared], changes.vanished)
        for first in range(0, len(files), _TRANSACTION):
            async with self._db.transaction() as tx:
                for file in files[first : first + _TRANSACTION]:
                    if file.path in renamed:
                        await file_changes.move_file(tx, renamed[file.path].row_id, file.path)
                    await file_changes.import_file(tx, owner, file)
        if files:
            self.announce()
        moved = {row.row_id for row in renamed.values()}
        return [row for row in changes.vanished if row.row_id not in moved]

    def _missing_twice(self, owner: str, vanished: Sequence[WorkflowFileRow]) -> list[WorkflowFileRow]:
        """Return the workflows whose files were missing the last time as well."""
        before = self._missing.pop(owner, set())
        self._missing[owner] = {row.row_id for row in vanished} - before
        return [row for row in vanished if row.row_id in before]

    async def _delete(self, rows: Sequence[WorkflowFileRow]) -> None:
        if rows:
            async with self._db.transaction() as tx:
                for row in rows:
                    await workflows.hide(tx, row.row_id, now_ms())
            self.announce()

    def _read(self, owner: str, folder: WorkflowFolder, paths: Iterable[str]) -> list[WorkflowFile]:
        """Read and parse files; leave out files that are no workflows. Blocks."""
        files = []
        for path in paths:
            try:
                text = folder.read(path, self._limit)
                problem = f"it has more than {self._limit} bytes"
                if text is not None:
                    # Responses embed the text as it is, so it must be JSON that every client can read.
                    shape = json_limits.check(text.content, json_limits.LARGE)
                    json_text.members(text.content.decode(), shape.values)
                    files.append(WorkflowFile(path, parse_workflow(text.content), text.stamp))
                    self._invalid.pop((owner, path), None)
                    continue
            except OSError as error:
                log.info("The file %s cannot be read now: %s", path, error)
                continue
            except (ValueError, RecursionError, InvalidBodyError) as error:
                problem = str(error)
            self._mark_invalid(owner, folder, path, problem)
        return files

    def _mark_invalid(self, owner: str, folder: WorkflowFolder, path: str, problem: str) -> None:
        """Ignore a file until it changes."""
        try:
            stamp = folder.stamp(path)
        except OSError:
            return
        if stamp is not None and self._invalid.get((owner, path)) != stamp:
            self._invalid[owner, path] = stamp
            log.warning("The file %s is ignored because it is not a workflow: %s", path, problem)

    # From the store to files.

    async def write(self, row_id: int) -> None:
        """Write the latest version of a workflow into its file. The next synchronization tries again if that fails."""
        await self._apply_soon(row_id, self._write)
        self.announce()

    async def _apply_soon(self, row_id: int, apply: Callable[[int], Awaitable[None]]) -> None:
        """Apply a change that the store already has to the file. If that fails, the request succeeds nevertheless."""
        try:
            row = await workflow_files.of_row(self._db, row_id)
            if row is not None:
                async with self.lock_for_request(row.owner):
                    await apply(row_id)
        except StoreBusyError as error:
            log.warning("A change of a workflow is written to its file by the next synchronization: %s", error)

    async def _write(self, row_id: int) -> None:
        row = await workflow_files.of_row(self._db, row_id)
        if row is not None:
            folder = self._folder(row.owner)
            if await self._is_writable(row.owner, folder):
                await self._writer.write(folder, [row], [])

    async def _is_writable(self, owner: str, folder: WorkflowFolder) -> bool:
        """Whether the folder exists, or never did; one that is gone may be a disk that is not mounted."""
        if owner in self._unavailable:
            return False
        if await asyncio.to_thread(folder.exists):
            return True
        return not any(row.version is not None for row in await workflow_files.of_owner(self._db, owner))

    async def rename(self, row_id: int) -> None:
        """Rename the file of a renamed workflow. The next synchronization tries again if that fails."""
        await self._apply_soon(row_id, self._rename)
        self.announce()

    async def _rename(self, row_id: int) -> None:
        row = await workflow_files.of_row(self._db, row_id)
        if row is not None and row.is_misnamed:
            await self._writer.rename(self._folder(row.owner), row)

    async def remove_deleted(self, owner: str) -> None:
        """Remove the files of workflows that were deleted through the API. The caller holds the lock."""
        await self._remove_deleted(owner, self._folder(owner))
        self.announce()

    async def _remove_deleted(self, owner: str, folder: WorkflowFolder) -> list[WorkflowFileRow]:
        """Remove the files of deleted workflows, and return the rows of files that cannot be removed now."""
        rows = await workflow_files.to_remove(self._db, owner)
        if rows and (owner in self._unavailable or not await asyncio.to_thread(folder.exists)):
            return rows
        return await self._writer.remove(folder, rows)

    def announce(self) -> None:
        """Tell pages that workflows have changed. Not whose: the message goes to the pages of all users."""
        self._host.emit("workflows.changed", {})

    def _folder(self, owner: str) -> WorkflowFolder:
        return WorkflowFolder(self._host.user_directory(owner) / FOLDER)
