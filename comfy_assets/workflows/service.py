"""Create, read, change, fork, delete and restore workflows.

Each change is one transaction that checks the version it is based on, so that of two concurrent writers one fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from ..db import workflow_files, workflows
from ..db.compression import decompress
from ..db.connection import Database, Transaction
from ..db.workflows import NewVersion, NewWorkflow
from ..errors import (
    VersionConflictError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowVersionNotFoundError,
)
from ..ids import canonical_id, new_ids, now_ms
from ..models import (
    Page,
    Workflow,
    WorkflowContent,
    WorkflowEdit,
    WorkflowFilter,
    WorkflowPage,
    WorkflowVersion,
    WorkflowView,
)
from . import file_changes
from .document import parse_workflow
from .sync import WorkflowSync

TRASH_DAYS = 30  # how long deleted workflows can be restored
_DAY_MS = 86_400_000
_PAGE = 100  # workflows read at once
_PURGED_AT_ONCE = 100  # in one transaction, so that other writers get in between


@dataclass(frozen=True)
class WorkflowDetails:
    """Properties of a new workflow. ``forked_from_…`` are ids, possibly of another server."""

    name: str | None = None
    description: str | None = None
    default_view: WorkflowView = "workflow"
    forked_from_id: str | None = None
    forked_from_version_id: str | None = None


@dataclass(frozen=True)
class SavedVersion:
    """A version and its workflow."""

    workflow: Workflow
    version: WorkflowVersion


class WorkflowService:
    """The workflows of users. Texts are JSON objects in UTF-8, kept byte for byte.

    Reading imports changes of the workflow's file first, and changes are written to the file.
    """

    def __init__(self, db: Database, sync: WorkflowSync) -> None:
        self._db = db
        self._sync = sync

    async def create(self, details: WorkflowDetails, text: bytes, owner: str) -> Workflow:
        """Create a workflow with its first version (createWorkflow). Raises UnprocessableBodyError."""
        parsed = await asyncio.to_thread(parse_workflow, text)
        async with self._db.transaction() as tx:
            now = now_ms()
            row_id, workflow_id = await _add(tx, details, owner, now)
            await file_changes.add_version(tx, row_id, 1, owner, parsed, now)
            made = await _existing(tx, workflow_id, owner)
        await self._sync.write(row_id)
        return await self._with_path(made)

    async def _with_path(self, workflow: Workflow) -> Workflow:
        """Return the workflow with the path of its file, which is known only after writing or renaming."""
        row = await workflow_files.of_row(self._db, workflow.row_id)
        return msgspec.structs.replace(workflow, path=None if row is None else row.path)

    async def list(self, wanted: WorkflowFilter, page: WorkflowPage) -> Page[Workflow]:
        """Return one page of the workflows that match the filter (listWorkflows)."""
        return await workflows.list_page(self._db, wanted, page)

    async def folders(self, owner: str, folder: str) -> Sequence[tuple[str, int]]:
        """Return the folders in a folder of the user's workflows by path, with the numbers of workflows in them."""
        return await workflows.folders_in(self._db, owner, folder)

    async def check_known(self, workflow_id: str) -> None:
        """Raise WorkflowNotFoundError unless some user has this workflow."""
        if await workflows.get(self._db, _canonical(workflow_id)) is None:
            raise _not_found(workflow_id)

    async def get(self, workflow_id: str, owner: str) -> Workflow:
        """Return a workflow (getWorkflow). Raises WorkflowNotFoundError, WorkflowForbiddenError for another user's."""
        return await self._current(workflow_id, owner)

    async def _current(self, workflow_id: str, owner: str) -> Workflow:
        """Return the workflow after importing changes of its file."""
        workflow = await _existing(self._db, workflow_id, owner)
        if await self._sync.refresh(workflow.id):
            return await _existing(self._db, workflow_id, owner)
        return workflow

    async def update(self, workflow_id: str, change: WorkflowEdit, owner: str) -> Workflow:
        """Change the properties of a workflow (updateWorkflow). Raises WorkflowNotFoundError."""
        async with self._db.transaction() as tx:
            workflow = await _own(tx, workflow_id, owner)
            if change == WorkflowEdit():
                return workflow
            await workflows.edit(tx, workflow.row_id, change, now_ms())
            changed = await _existing(tx, workflow_id, owner)
            is_starred_otherwise = workflow.is_starred != changed.is_starred
            is_misnamed = (workflow.name, workflow.default_view) != (changed.name, changed.default_view)
            if is_misnamed:
                await workflow_files.misname(tx, changed.row_id)
        if is_misnamed:
            await self._sync.rename(changed.row_id)
            return await self._with_path(changed)
        if is_starred_otherwise:
            self._sync.announce()  # a rename tells of it as well
        return changed

    async def delete(self, workflow_id: str, owner: str) -> None:
        """Delete a workflow so that it can be restored (deleteWorkflow). Raises WorkflowNotFoundError."""
        # An edit that is not imported yet would make the file differ from all versions, and so keep it.
        await self._sync.refresh((await _own(self._db, workflow_id, owner)).id)
        # Without the lock, a running synchronization would import the file again as a new workflow.
        async with self._sync.lock_for_request(owner):
            async with self._db.transaction() as tx:
                workflow = await _own(tx, workflow_id, owner)
                await workflows.hide(tx, workflow.row_id, now_ms())
                await workflow_files.set_removal(tx, workflow.row_id, wanted=True)
            await self._sync.remove_deleted(owner)

    async def restore(self, workflow_id: str, owner: str) -> Workflow:
        """Restore a deleted workflow with its versions, file and share. Raises WorkflowNotFoundError."""
        restored = await restore_workflow(self._db, workflow_id, owner)
        await self._sync.write(restored.row_id)
        return await self._with_path(restored)

    async def content(self, workflow_id: str, owner: str, number: int | None = None) -> WorkflowContent:
        """Return a version with its text, the latest by default (getWorkflowContent).

        Raises the errors of ``get``, and WorkflowVersionNotFoundError.
        """
        workflow = await self._current(workflow_id, owner)
        found = await workflows.body_of(self._db, workflow.row_id, number, owner)
        if found is None:
            raise _no_version(workflow, number)
        content, body = found
        return replace(content, text=await asyncio.to_thread(decompress, body))

    async def find(self, name: str | None, text: bytes, owner: str) -> Workflow | None:
        """Return a workflow of the owner with exactly this name and latest text, or None."""
        page = WorkflowPage(limit=_PAGE)
        while True:
            listed = await self.list(WorkflowFilter(owner, name or ""), page)
            for workflow in listed.items:
                if workflow.name == name and (await self.content(workflow.id, owner)).text == text:
                    return workflow
            if not listed.has_more:
                return None
            page = replace(page, offset=page.offset + _PAGE)

    async def link_assets(self, workflow_id: str, owner: str) -> None:
        """Link the latest version to the assets that it refers to, for assets that were added after it was saved.

        Raises the errors of ``get``.
        """
        content = await self.content(workflow_id, owner)
        references = (await asyncio.to_thread(parse_workflow, content.text)).references
        async with self._db.transaction() as tx:
            await workflows.link_files(tx, content.version.id, owner, references.files)
            await workflows.link_references(tx, content.version.id, owner, references.asset_ids, references.digests)

    async def versions(
        self, workflow_id: str, owner: str, limit: int, offset: int
    ) -> tuple[Workflow, Sequence[SavedVersion]]:
        """Return versions of a workflow, the latest first. Raises the errors of ``get``."""
        workflow = await self._current(workflow_id, owner)
        found = await workflows.versions_of(self._db, workflow.row_id, limit, offset)
        # A version may have been added since the workflow was read.
        return workflow, [
            SavedVersion(workflow, version) for version in found if version.number <= workflow.latest_version
        ]

    async def create_version(self, workflow_id: str, base: int, text: bytes, owner: str) -> SavedVersion:
        """Add a version to a workflow whose latest version is ``base`` (createWorkflowVersion).

        Raises the errors of ``get``, VersionConflictError if the latest is another one, and UnprocessableBodyError.
        """
        parsed = await asyncio.to_thread(parse_workflow, text)
        await self._current(workflow_id, owner)
        async with self._db.transaction() as tx:
            workflow = await _existing(tx, workflow_id, owner)
            now = now_ms()
            if not await workflows.advance(tx, workflow.row_id, base, now):
                raise _conflict(workflow, base)
            await file_changes.add_version(tx, workflow.row_id, base + 1, owner, parsed, now)
            saved = await _saved(tx, workflow_id, owner)
        await self._sync.write(workflow.row_id)
        return saved

    async def fork(self, workflow_id: str, number: int, name: str | None, owner: str) -> Workflow:
        """Create a workflow whose first version is a version of this one (forkWorkflow).

        Raises the errors of ``get``, and WorkflowVersionNotFoundError.
        """
        await self._current(workflow_id, owner)
        async with self._db.transaction() as tx:
            source = await _existing(tx, workflow_id, owner)
            version = await workflows.version_of(tx, source.row_id, number)
            if version is None:
                raise _no_version(source, number)
            details = WorkflowDetails(
                name if name is not None else source.name,
                source.description,
                source.default_view,
                source.id,
                version.id,
            )
            now = now_ms()
            row_id, fork_id = await _add(tx, details, owner, now)
            # A copy of the row only: both versions share one stored text.
            first = NewVersion(new_ids(1)[0], 1, owner, now)
            await workflows.copy_version(tx, row_id, first, version)
            fork = await _existing(tx, fork_id, owner)
        await self._sync.write(row_id)
        return await self._with_path(fork)


async def restore_workflow(db: Database, workflow_id: str, owner: str | None = None) -> Workflow:
    """Restore a deleted workflow in the store, with all its versions; the caller or a server writes its file.

    With an ``owner`` it must be theirs. Raises WorkflowNotFoundError if there is no such deleted workflow.
    """
    async with db.transaction() as tx:
        found = await workflows.get_deleted(tx, canonical_id(workflow_id) or workflow_id)
        if found is not None and owner in (None, found.owner):
            await workflow_files.release(tx, found.row_id)
            await workflows.show(tx, found.row_id)
            workflow = await workflows.get(tx, found.id)
            if workflow is not None:
                return workflow
    raise WorkflowNotFoundError("There is no such deleted workflow.", details={"id": workflow_id})


async def purge_workflows(db: Database, now: int | None = None) -> int:
    """Remove all traces of workflows that were deleted more than ``TRASH_DAYS`` ago, and return their number."""
    before = (now_ms() if now is None else now) - TRASH_DAYS * _DAY_MS
    count = 0
    while True:
        async with db.transaction() as tx:
            rows = await workflows.rows_deleted_before(tx, before, _PURGED_AT_ONCE)
            await workflows.remove(tx, rows)
        count += len(rows)
        if len(rows) < _PURGED_AT_ONCE:
            return count


async def _add(tx: Transaction, details: WorkflowDetails, owner: str, now: int) -> tuple[int, str]:
    """Add a workflow without versions, created at ``now`` (ms), and return its row and its id."""
    workflow_id = new_ids(1)[0]
    new = NewWorkflow(
        workflow_id,
        owner,
        details.name,
        details.description,
        details.default_view,
        details.forked_from_id,
        details.forked_from_version_id,
        now,
    )
    return await workflows.add(tx, new), workflow_id


async def _existing(db: Database | Transaction, workflow_id: str, owner: str) -> Workflow:
    workflow = await workflows.get(db, _canonical(workflow_id))
    if workflow is None:
        raise _not_found(workflow_id)
    if workflow.owner != owner:
        raise WorkflowForbiddenError("The workflow is another user's.", details={"id": workflow_id})
    return workflow


async def _own(db: Database | Transaction, workflow_id: str, owner: str) -> Workflow:
    """Return a workflow for a change. Raises WorkflowNotFoundError for another user's as well."""
    try:
        return await _existing(db, workflow_id, owner)
    except WorkflowForbiddenError:
        raise _not_found(workflow_id) from None


async def _saved(tx: Transaction, workflow_id: str, owner: str) -> SavedVersion:
    workflow = await _existing(tx, workflow_id, owner)
    version = await workflows.version_of(tx, workflow.row_id, workflow.latest_version)
    if version is None:
        raise LookupError("a new version is not there")
    return SavedVersion(workflow, version)


def _not_found(workflow_id: str) -> WorkflowNotFoundError:
    return WorkflowNotFoundError("There is no such workflow.", details={"id": workflow_id})


def _no_version(workflow: Workflow, number: int | None) -> WorkflowVersionNotFoundError:
    return WorkflowVersionNotFoundError(
        "The workflow has no such version.",
        details={"id": workflow.id, "version": number, "latest_version": workflow.latest_version},
    )


def _conflict(workflow: Workflow, base: int) -> VersionConflictError:
    return VersionConflictError(
        f"The change is based on version {base}, but the latest is {workflow.latest_version}.",
        details={"base_version": base, "latest_version": workflow.latest_version},
    )


def _canonical(workflow_id: str) -> str:
    """Return the id in canonical form. Raises WorkflowNotFoundError if it is not a UUID, as no workflow has it."""
    canonical = canonical_id(workflow_id)
    if canonical is None:
        raise _not_found(workflow_id)
    return canonical
