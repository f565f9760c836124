"""What was found in files, written into the store: within one transaction, whatever happens around it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from ..db import workflow_files, workflows
from ..db.connection import Transaction
from ..db.workflow_files import FileRow
from ..db.workflows import NewVersion, NewWorkflow
from ..ids import canonical_id, new_ids, now_ms
from ..models import WorkflowEdit
from .drafts import Draft
from .folder import Stamp
from .paths import name_of, path_for, view_of


@dataclass(frozen=True)
class Found:
    """A file that is a workflow: what it held, and its stamp."""

    path: str
    draft: Draft
    stamp: Stamp


async def add_version(tx: Transaction, row_id: int, number: int, owner: str, draft: Draft, at: int) -> None:
    """Give a workflow its version of this number, its latest, with what it names, at a time (ms)."""
    new = NewVersion(new_ids(1)[0], number, owner, at, draft.graph_id, draft.graph_digest)
    await workflows.add_version(tx, row_id, new, draft.document)
    await workflows.link_files(tx, new.id, owner, draft.named.files)
    await workflows.link_references(tx, new.id, owner, draft.named.asset_ids, draft.named.digests)


async def take(tx: Transaction, owner: str, found: Found) -> None:
    """Have the workflow that is the file hold what is in it; one that is new, or there again, if none is."""
    row = await workflow_files.at(tx, owner, found.path)
    if row is not None and row.version is None and row.hash != found.draft.document.hash:
        await workflow_files.place(tx, row.row_id, None)  # somebody else's file is where it was to be written
        row = None
    if row is None:
        row = await _brought_back(tx, owner, found) or await _added(tx, owner, found)
    await _hold(tx, row, found)


async def move(tx: Transaction, row_id: int, path: str) -> None:
    """Have the workflow be the file at another path; what was there is deleted."""
    row = await workflow_files.of_row(tx, row_id)
    if row is None or row.path == path:
        return
    other = await workflow_files.at(tx, row.owner, path)
    if other is not None:
        await workflows.hide(tx, other.row_id, now_ms())
    await workflow_files.move(tx, row_id, path)
    if path != path_for(row.name, row.view, posixpath.dirname(path), ()):
        await _call_like_file(tx, row_id, path)


async def _hold(tx: Transaction, row: FileRow, found: Found) -> None:
    digest, number = found.draft.document.hash, row.latest
    if row.hash != digest and row.version is not None and row.version < row.latest:
        number = row.version
    if row.hash != digest and await workflow_files.hash_of(tx, row.row_id, number) != digest:
        number = row.latest + 1
        now = now_ms()
        if not await workflows.advance(tx, row.row_id, row.latest, now):
            raise LookupError("a workflow has changed within a transaction")
        await add_version(tx, row.row_id, number, row.owner, found.draft, now)
    # An earlier one than the latest is one after which a version was saved that is still to be written.
    await workflow_files.stamp(tx, row.row_id, *found.stamp, number)


async def _brought_back(tx: Transaction, owner: str, found: Found) -> FileRow | None:
    draft = found.draft
    row_id = await workflow_files.deleted_like(tx, owner, draft.graph_id, found.path, draft.document.hash)
    if row_id is None:
        return None
    await workflow_files.place(tx, row_id, found.path)
    await workflows.show(tx, row_id)
    await _call_like_file(tx, row_id, found.path)
    return await workflow_files.of_row(tx, row_id)


async def _added(tx: Transaction, owner: str, found: Found) -> FileRow:
    """A new workflow; the id that its graph gives itself becomes its own, so that earlier jobs name it."""
    graph_id = found.draft.graph_id
    own = canonical_id(graph_id) if graph_id is not None else None
    workflow_id = own if own is not None and await workflow_files.is_free(tx, own) else new_ids(1)[0]
    name, view = name_of(found.path), view_of(found.path)
    now = now_ms()
    new = NewWorkflow(workflow_id, owner, name, None, view, None, None, now)
    row_id = await workflows.add(tx, new)
    await add_version(tx, row_id, 1, owner, found.draft, now)
    await workflow_files.place(tx, row_id, found.path)
    row = await workflow_files.of_row(tx, row_id)
    if row is None:
        raise LookupError("a new workflow is not there")
    return row


async def _call_like_file(tx: Transaction, row_id: int, path: str) -> None:
    await workflows.edit(tx, row_id, WorkflowEdit(name=name_of(path), default_view=view_of(path)), now_ms())
