"""Keeps users' workflows and the files in their workflows folders one and the same.

The files are the truth: what is saved, renamed or deleted there, by the page or outside of it, is taken up; what is
saved through the API is written there, after it is in the store, so that no version is lost whatever happens between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from .. import json_limits, json_text
from ..db import workflow_files, workflows
from ..db.connection import Database
from ..db.workflow_files import FileRow
from ..errors import InvalidBodyError, StoreBusyError
from ..fs.partial_file import LEFTOVER_AGE_S
from ..host.base import Host
from ..ids import now_ms
from . import sync_store
from .comparing import Differences, compare, find_moved, is_same
from .drafts import draft
from .folder import Folder, Listing, Stamp
from .paths import FOLDER, is_workflow
from .sync_store import Found
from .file_writer import Writing

log = logging.getLogger("comfy_assets.workflows")

REQUEST_WAIT_S = 10.0  # how long a request waits for its turn
_AT_ONCE = 500  # files that are read or written before others get their turn
_IN_TRANSACTION = 50


class WorkflowFiles:
    """The workflows folders of all users. One thing at a time is done to each of them, in its ``turn``."""

    def __init__(self, db: Database, host: Host, limit: int) -> None:
        """``limit`` is how many bytes a workflow may have."""
        self._db = db
        self._host = host
        self._limit = limit
        self._writing = Writing(db, limit)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # one per owner
        self._seen: dict[str, Listing] = {}
        self._away: set[str] = set()
        self._missed: dict[str, set[int]] = {}
        self._refused: dict[tuple[str, str], Stamp] = {}
        self._looking_s = 0.0  # what it has taken so far to see what there is

    @asynccontextmanager
    async def turn(self, owner: str, wait_s: float | None = None) -> AsyncIterator[None]:
        """Lock an owner's files for the block. Raise TimeoutError if that takes longer than ``wait_s``."""
        lock = self._locks[owner]
        await asyncio.wait_for(lock.acquire(), wait_s)
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def turn_for_request(self, owner: str) -> AsyncIterator[None]:
        """A ``turn`` for a request that has changed nothing yet. Raise StoreBusyError if others take too long."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.turn(owner, REQUEST_WAIT_S))
            except asyncio.TimeoutError:
                raise StoreBusyError("The workflow files are in use; try again.") from None
            yield

    # What was done to files is taken up.

    async def remove_leftovers(self, owner: str) -> None:
        """Remove what a killed server was writing into an owner's folder."""
        await asyncio.to_thread(self._folder(owner).remove_leftovers, time.time() - LEFTOVER_AGE_S)

    async def look_through(self, owner: str) -> float:
        """Look, in turns, until there is no more to do; answers how long it took to see what there is (s).

        What it waits for others, at the files or at the store, says nothing of how costly it is to look.
        """
        before, has_more = self._looking_s, True
        while has_more:
            async with self.turn(owner):
                has_more = await self.look(owner)
        return self._looking_s - before

    async def look(self, owner: str, *, is_sure: bool = False) -> bool:
        """Take up, within a turn, what was done to an owner's files, and write what is to be.

        Answers whether there is more to do. A file that is not there is taken for deleted when it is missed for the
        second time, or at once if ``is_sure``.
        """
        folder = self._folder(owner)
        to_remove = await self._remove_deleted(owner, folder)
        began = time.monotonic()
        rows, found = await self._differences(owner, folder, to_remove)
        self._looking_s += time.monotonic() - began
        if found == Differences():
            return False
        vanished = await self._take_up(owner, folder, found)
        await self._delete(vanished if is_sure else self._missed_again(owner, vanished))
        await self._writing.write(folder, found.unwritten[:_AT_ONCE], rows)
        for row in found.misnamed:
            await self._rename(row.row_id)
        return len(found.appeared) + len(found.changed) > _AT_ONCE or len(found.unwritten) > _AT_ONCE

    async def _differences(
        self, owner: str, folder: Folder, to_remove: Sequence[FileRow]
    ) -> tuple[Sequence[FileRow], Differences]:
        """The owner's workflows, and what is to be done; no workflows where nothing has changed since the last look."""
        listing = await asyncio.to_thread(folder.listing)
        for row in to_remove:
            listing.files.pop(str(row.path), None)
        if (
            listing == self._seen.get(owner)
            and owner not in self._away
            and await workflow_files.is_at_rest(self._db, owner)
        ):
            return [], Differences()
        rows = await workflow_files.of_owner(self._db, owner)
        found = self._without_refused(owner, compare(rows, listing), listing)
        self._note_away(owner, is_away=found.is_away)
        if found == Differences():
            self._seen[owner] = listing
        return rows, found

    def _without_refused(self, owner: str, found: Differences, listing: Listing) -> Differences:
        """The differences, without files that are no workflows and have not changed since that was seen."""

        def is_refused(path: str | None) -> bool:
            return path is not None and self._refused.get((owner, path)) == listing.files[path]

        found.appeared = [path for path in found.appeared if not is_refused(path)]
        found.changed = [row for row in found.changed if not is_refused(row.path)]
        return found

    def _note_away(self, owner: str, *, is_away: bool) -> None:
        if is_away and owner not in self._away:
            log.warning("The workflows folder of %s is away or empty: its workflows stay as they are.", owner)
        (self._away.add if is_away else self._away.discard)(owner)

    async def look_at(self, owner: str, path: str, *, may_be_gone: bool = True) -> None:
        """Take up, within a turn, what was done to the file at a path, as somebody else has it.

        A file that is not there is taken for deleted only if it ``may_be_gone``: its disk may be away as well.
        """
        folder = self._folder(owner)
        on_disk = await asyncio.to_thread(folder.on_disk, path)
        row = await workflow_files.at(self._db, owner, on_disk or path)
        found = Differences()
        if on_disk is None:
            found.vanished += [row] if row is not None and may_be_gone else []
        elif row is not None:
            found.changed.append(row)
        elif is_workflow(on_disk):
            found.appeared.append(on_disk)
        await self._delete(await self._take_up(owner, folder, found))

    async def moved(self, owner: str, path: str, new: str) -> None:
        """Take up, within a turn, that the file, or the folder, at a path was given another.

        Either may be no workflow's.
        """
        if not (path.lower().endswith(".json") or new.lower().endswith(".json")):
            while await self.look(owner, is_sure=True):
                pass
            return
        folder = self._folder(owner)
        row = await workflow_files.at(self._db, owner, path)
        on_disk = await asyncio.to_thread(folder.on_disk, new)
        is_gone = await asyncio.to_thread(folder.on_disk, path) != path
        if row is not None and on_disk is not None and is_workflow(on_disk) and is_gone:
            async with self._db.transaction() as tx:
                await sync_store.move(tx, row.row_id, on_disk)
        await self.look_at(owner, path)
        await self.look_at(owner, new)

    async def refresh(self, workflow_id: str) -> bool:
        """Take up what was done to the file of a workflow; answers whether it showed that something was."""
        row = await workflow_files.of_id(self._db, workflow_id)
        if row is None or row.path is None or row.version is None:
            return False
        try:
            stamp = await asyncio.to_thread(self._folder(row.owner).stamp, row.path)
        except OSError:
            return False
        if stamp is None or is_same(stamp, row) or self._refused.get((row.owner, row.path)) == stamp:
            return False
        async with self.turn_for_request(row.owner):
            await self._take_up(row.owner, self._folder(row.owner), Differences(changed=[row]))
        return True

    async def _take_up(self, owner: str, folder: Folder, found: Differences) -> list[FileRow]:
        """Take up what is in files that changed or appeared; answers the workflows whose files are nowhere."""
        paths = [*found.appeared, *(str(row.path) for row in found.changed)][:_AT_ONCE]
        texts = await asyncio.to_thread(self._read, owner, folder, paths)
        vanished = list(found.vanished)
        appeared = set(found.appeared)
        for first in range(0, len(texts), _IN_TRANSACTION):
            async with self._db.transaction() as tx:
                for text in texts[first : first + _IN_TRANSACTION]:
                    row = find_moved(text.draft, vanished) if text.path in appeared else None
                    if row is not None:
                        vanished.remove(row)
                        await sync_store.move(tx, row.row_id, text.path)
                    await sync_store.take(tx, owner, text)
        return vanished

    def _missed_again(self, owner: str, vanished: Sequence[FileRow]) -> list[FileRow]:
        """Those of the workflows whose files were not there when they were looked for last, either."""
        before = self._missed.pop(owner, set())
        self._missed[owner] = {row.row_id for row in vanished} - before
        return [row for row in vanished if row.row_id in before]

    async def _delete(self, rows: Sequence[FileRow]) -> None:
        if rows:
            async with self._db.transaction() as tx:
                for row in rows:
                    await workflows.hide(tx, row.row_id, now_ms())

    def _read(self, owner: str, folder: Folder, paths: Iterable[str]) -> list[Found]:
        """What is in the files that are workflows. Blocks."""
        found = []
        for path in paths:
            try:
                text = folder.read(path, self._limit)
                problem = f"it has more than {self._limit} bytes"
                if text is not None:
                    shape = json_limits.check(text.content, json_limits.LARGE)
                    json_text.members(text.content.decode(), shape.values)
                    found.append(Found(path, draft(text.content), text.stamp))
                    self._refused.pop((owner, path), None)
                    continue
            except OSError as error:
                log.info("The file %s cannot be read now: %s", path, error)
                continue
            except (ValueError, RecursionError, InvalidBodyError) as error:
                problem = str(error)
            self._refuse(owner, folder, path, problem)
        return found

    def _refuse(self, owner: str, folder: Folder, path: str, problem: str) -> None:
        """Leave a file alone until it changes."""
        try:
            stamp = folder.stamp(path)
        except OSError:
            return
        if stamp is not None and self._refused.get((owner, path)) != stamp:
            self._refused[owner, path] = stamp
            log.warning("The file %s is left alone, it is no workflow: %s", path, problem)

    # What was done through the API is written.

    async def write(self, row_id: int) -> None:
        """Have the file of a workflow hold its latest version. What fails is tried again with the next look."""
        async with AsyncExitStack() as stack:
            if await self._has_turn(stack, row_id):
                await self._write(row_id)

    async def _has_turn(self, stack: AsyncExitStack, row_id: int) -> bool:
        """Take a turn until the stack ends, if one is free soon. A request need not wait for the file to be written."""
        row = await workflow_files.of_row(self._db, row_id)
        if row is None:
            return False
        try:
            await stack.enter_async_context(self.turn_for_request(row.owner))
        except StoreBusyError:
            log.warning("The file of a workflow is not written now, as other files are; the next look writes it.")
            return False
        return True

    async def _write(self, row_id: int) -> None:
        row = await workflow_files.of_row(self._db, row_id)
        if row is not None:
            folder = self._folder(row.owner)
            if await self._is_writable(row.owner, folder):
                await self._writing.write(folder, [row], [])

    async def _is_writable(self, owner: str, folder: Folder) -> bool:
        """Whether the folder is there, or was never."""
        if owner in self._away:
            return False
        if await asyncio.to_thread(folder.exists):
            return True
        return not any(row.version is not None for row in await workflow_files.of_owner(self._db, owner))

    async def rename(self, row_id: int) -> None:
        """Have a workflow's file be called like it. What fails is tried again with the next look."""
        async with AsyncExitStack() as stack:
            if await self._has_turn(stack, row_id):
                await self._rename(row_id)

    async def _rename(self, row_id: int) -> None:
        row = await workflow_files.of_row(self._db, row_id)
        if row is not None and row.is_misnamed:
            await self._writing.rename(self._folder(row.owner), row)

    async def remove(self, owner: str) -> None:
        """Remove, within a turn, the files of the owner's workflows that were deleted through the API."""
        await self._remove_deleted(owner, self._folder(owner))

    async def _remove_deleted(self, owner: str, folder: Folder) -> list[FileRow]:
        """Remove the files of deleted workflows; answers those whose files cannot be removed now."""
        rows = await workflow_files.to_remove(self._db, owner)
        if rows and (owner in self._away or not await asyncio.to_thread(folder.exists)):
            return rows
        return await self._writing.remove(folder, rows)

    def _folder(self, owner: str) -> Folder:
        return Folder(self._host.user_directory(owner) / FOLDER)
