"""Record in the store what was found in workflow files. Each function runs within one transaction of its caller."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from ..db import workflow_files, workflows
from ..db.connection import Transaction
from ..db.workflow_files import WorkflowFileRow
from ..db.workflows import NewVersion, NewWorkflow
from ..ids import canonical_id, new_ids, now_ms
from ..models import WorkflowEdit
from .document import ParsedWorkflow
from .folder import FileStamp
from .paths import name_of, path_for, view_of


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
