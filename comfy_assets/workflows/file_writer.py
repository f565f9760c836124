"""Apply changes made through the API to workflow files.

Others write to these files, too. So a file is replaced or removed only while it holds a text that the store has.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import zlib
from collections.abc import Sequence

from ..db import workflow_files
from ..db.connection import Database
from ..db.workflow_files import WorkflowFileRow
from .folder import WorkflowFolder
from .paths import key_of, path_for

log = logging.getLogger("comfy_assets.workflows")


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
            text = zlib.decompress(await workflow_files.body_of(self._db, row.row_id, row.latest))
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
        """Remove the files of deleted workflows, and return the rows of those that cannot be removed now."""
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
