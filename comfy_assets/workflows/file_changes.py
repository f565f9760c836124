"""Apply changes between workflows and their files, in both directions.

The functions record in the store what was found in files, each within one transaction of its caller. ``FileWriter``
applies changes made through the API to the files. Others write to these files, too, so a file is replaced or removed
only while it holds a text that the store has.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from ..db import workflow_files, workflows
from ..db.compression import decompress
from ..db.connection import Database, Transaction
from ..db.workflow_files import WorkflowFileRow
from ..db.workflows import NewVersion, NewWorkflow
from ..ids import canonical_id, new_ids, now_ms
from ..models import WorkflowEdit
from .document import ParsedWorkflow
from .folder import FileStamp, WorkflowFolder, key_of, name_of, path_for, view_of

log = logging.getLogger("comfy_assets.workflows")


@dataclass(frozen=True)
class WorkflowFile:
    """A file in a workflows folder: its path there, its parsed text, and the stamp from before it was read."""

    path: str
    parsed: ParsedWorkflow
    stamp: FileStamp


async def add_version(tx: Transaction, row_id: int, number: int, owner: str, parsed: ParsedWorkflow, at: int) -> None:
    """Add the version of this number, the latest of its workflow, with its references, at a time (ms)."""
    new = NewVersion(new_ids(1)[0], number, owner, at, parsed.graph_id, parsed.graph_digest)
    await workflows.add_version(tx, row_id, new, parsed.document)
    await workflows.link_files(tx, new.id, owner, parsed.references.files)
    await workflows.link_references(tx, new.id, owner, parsed.references.asset_ids, parsed.references.digests)


async def import_file(tx: Transaction, owner: str, file: WorkflowFile) -> None:
    """Save the file's content as a version of its workflow; create or restore the workflow if needed."""
    row = await workflow_files.at(tx, owner, file.path)
    if row is not None and row.version is None and row.hash != file.parsed.document.hash:
        # The workflow was to be written to this path, but somebody else's file was faster. It gets another path.
        await workflow_files.place(tx, row.row_id, None)
        row = None
    if row is None:
        row = await _restored(tx, owner, file) or await _created(tx, owner, file)
    await _save_content(tx, row, file)


async def move_file(tx: Transaction, row_id: int, path: str) -> None:
    """Record that the file of a workflow has another path now. A workflow that had this path is deleted."""
    row = await workflow_files.of_row(tx, row_id)
    if row is None or row.path == path:
        return
    other = await workflow_files.at(tx, row.owner, path)
    if other is not None:
        await workflows.hide(tx, other.row_id, now_ms())
    await workflow_files.move(tx, row_id, path)
    # A name with characters that no file can have stays if the file is called as we would call it.
    if path != path_for(row.name, row.view, posixpath.dirname(path), ()):
        await _name_after_file(tx, row_id, path)


async def _save_content(tx: Transaction, row: WorkflowFileRow, file: WorkflowFile) -> None:
    digest, number = file.parsed.document.hash, row.latest
    # Where the latest version is not in the file yet, the file may still hold the version that was written last.
    if row.hash != digest and row.version is not None and row.version < row.latest:
        number = row.version
    if row.hash != digest and await workflow_files.hash_of(tx, row.row_id, number) != digest:
        number = row.latest + 1
        now = now_ms()
        if not await workflows.advance(tx, row.row_id, row.latest, now):
            raise LookupError("a workflow has changed within a transaction")
        await add_version(tx, row.row_id, number, row.owner, file.parsed, now)
    await workflow_files.stamp(tx, row.row_id, *file.stamp, number)


async def _restored(tx: Transaction, owner: str, file: WorkflowFile) -> WorkflowFileRow | None:
    """Restore the deleted workflow that the file belongs to, if there is one."""
    parsed = file.parsed
    row_id = await workflow_files.deleted_like(tx, owner, parsed.graph_id, file.path, parsed.document.hash)
    if row_id is None:
        return None
    await workflow_files.place(tx, row_id, file.path)
    await workflows.show(tx, row_id)
    await _name_after_file(tx, row_id, file.path)
    return await workflow_files.of_row(tx, row_id)


async def _created(tx: Transaction, owner: str, file: WorkflowFile) -> WorkflowFileRow:
    """Create a workflow for a file. It gets the id in its graph if that is free, because earlier jobs refer to it."""
    graph_id = file.parsed.graph_id
    wanted = canonical_id(graph_id) if graph_id is not None else None
    workflow_id = wanted if wanted is not None and await workflow_files.is_free(tx, wanted) else new_ids(1)[0]
    name, view = name_of(file.path), view_of(file.path)
    now = now_ms()
    new = NewWorkflow(workflow_id, owner, name, None, view, None, None, now)
    row_id = await workflows.add(tx, new)
    await add_version(tx, row_id, 1, owner, file.parsed, now)
    await workflow_files.place(tx, row_id, file.path)
    row = await workflow_files.of_row(tx, row_id)
    if row is None:
        raise LookupError("a new workflow is not there")
    return row


async def _name_after_file(tx: Transaction, row_id: int, path: str) -> None:
    await workflows.edit(tx, row_id, WorkflowEdit(name=name_of(path), default_view=view_of(path)), now_ms())


class FileWriter:
    """Writes, renames and removes files. Failures are logged; the caller, who holds the lock, tries again later."""

    def __init__(self, db: Database, limit: int) -> None:
        """``limit`` is the size in bytes that a workflow may have."""
        self._db = db
        self._limit = limit

    async def write(
        self, folder: WorkflowFolder, rows: Sequence[WorkflowFileRow], known: Sequence[WorkflowFileRow]
    ) -> None:
        """Write the latest versions of workflows into their files. ``known`` are all workflows of the folder."""
        taken: set[str] = set()
        if any(row.path is None for row in rows):
            taken = await asyncio.to_thread(folder.keys_in, "")
            taken |= {key_of(row.path) for row in known if row.path is not None}
        for row in rows:
            try:
                await self._write(folder, row, taken)
            except FileExistsError:  # an unknown file: it is imported, and this workflow gets another path
                async with self._db.transaction() as tx:
                    await workflow_files.place(tx, row.row_id, None)
            except OSError as error:
                log.warning("The workflow %s cannot be written to its file now: %s", row.id, error)

    async def _write(self, folder: WorkflowFolder, row: WorkflowFileRow, taken: set[str]) -> None:
        """Write the latest version, unless the file holds a text that has not been imported yet. Raises OSError."""
        path = row.path if row.path is not None else await self._assign_path(row, taken)
        if path is None:
            return
        held = await asyncio.to_thread(folder.read, path, self._limit)
        if row.version is not None and (held is None or held.hash not in (row.hash, row.held_hash)):
            return
        if held is not None and held.hash == row.hash:
            stamp = held.stamp  # written before a crash, only not recorded
        else:
            text = decompress(await workflow_files.body_of(self._db, row.row_id, row.latest))
            replaces = row.held_hash if row.version is not None else None
            written = await asyncio.to_thread(folder.write, path, text, replaces=replaces)
            if written is None:
                return
            stamp = written
        async with self._db.transaction() as tx:
            now = await workflow_files.of_row(tx, row.row_id)
            if now is not None and now.path == path:
                await workflow_files.stamp(tx, row.row_id, *stamp, row.latest)

    async def _assign_path(self, row: WorkflowFileRow, taken: set[str]) -> str | None:
        """Give a workflow without a file a free path. None if it was deleted or got one meanwhile."""
        async with self._db.transaction() as tx:
            now = await workflow_files.of_row(tx, row.row_id)
            if now is None or now.path is not None:
                return None
            path = path_for(row.name, row.view, "", taken)
            while await workflow_files.at(tx, row.owner, path):
                taken.add(key_of(path))
                path = path_for(row.name, row.view, "", taken)
            taken.add(key_of(path))
            await workflow_files.place(tx, row.row_id, path)
            return path

    async def rename(self, folder: WorkflowFolder, row: WorkflowFileRow) -> None:
        """Rename a file after its workflow. If that fails, it keeps its name until the next synchronization."""
        if row.path is None:
            return
        parent = posixpath.dirname(row.path)
        taken = await asyncio.to_thread(folder.keys_in, parent) - {key_of(row.path)}
        path = path_for(row.name, row.view, parent, taken)
        while path != row.path and await workflow_files.at(self._db, row.owner, path):
            taken.add(key_of(path))
            path = path_for(row.name, row.view, parent, taken)
        try:
            # The transaction begins before the file is renamed, so that an unusable store leaves the file as it is.
            async with self._db.transaction() as tx:
                await workflow_files.move(tx, row.row_id, path)
                if row.version is not None and path != row.path:
                    await asyncio.to_thread(folder.rename, row.path, path)
        except OSError as error:
            log.warning("The file %s cannot be renamed: %s", row.path, error)
        except BaseException:
            # The commit failed. Without its old name, the file would be imported as another workflow.
            await asyncio.shield(asyncio.to_thread(_rename_back, folder, path, row.path))
            raise

    async def remove(self, folder: WorkflowFolder, rows: Sequence[WorkflowFileRow]) -> list[WorkflowFileRow]:
        """Remove the files of deleted workflows, and return the rows of files that cannot be removed now."""
        failed: list[WorkflowFileRow] = []
        for row in rows:
            try:
                await self._remove(folder, row)
            except OSError as error:
                log.warning("The file %s cannot be removed now: %s", row.path, error)
                failed.append(row)
        return failed

    async def _remove(self, folder: WorkflowFolder, row: WorkflowFileRow) -> None:
        """Remove the file of a deleted workflow, unless it has another text by now. Raises OSError."""
        if row.path is not None and await workflow_files.at(self._db, row.owner, row.path) is None:
            held = await asyncio.to_thread(folder.read, row.path, self._limit)
            if held is not None and await workflow_files.has_text(self._db, row.row_id, held.hash):
                await asyncio.to_thread(folder.remove, row.path, held.hash)
        async with self._db.transaction() as tx:
            await workflow_files.set_removal(tx, row.row_id, wanted=False)


def _rename_back(folder: WorkflowFolder, path: str, former: str) -> None:
    """Undo a rename, unless it has not happened. Blocks."""
    if path == former or folder.actual_path(former) is not None or folder.actual_path(path) is None:
        return
    try:
        folder.rename(path, former)
    except OSError as error:
        log.warning("The file %s cannot get its name %s back: %s", path, former, error)
