"""Saved workflows: made, changed, forked and deleted, each in one transaction, so that of two writers one is first."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from ..db import workflow_files, workflows
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
from . import sync_store, trash
from .drafts import draft
from .sync import WorkflowFiles


@dataclass(frozen=True)
class About:
    """What a client says of a new workflow. ``forked_from_…`` are ids, perhaps another server's."""

    name: str | None = None
    description: str | None = None
    default_view: WorkflowView = "workflow"
    forked_from_id: str | None = None
    forked_from_version_id: str | None = None


@dataclass(frozen=True)
class Saved:
    """A version, and the workflow that has it."""

    workflow: Workflow
    version: WorkflowVersion


class WorkflowService:
    """Questions about workflows, and changes to them. Texts are JSON objects in UTF-8, kept letter by letter.

    What is asked for is as the workflow's file is, and what is changed is written to it.
    """

    def __init__(self, db: Database, files: WorkflowFiles) -> None:
        self._db = db
        self._files = files

    async def create(self, about: About, text: bytes, owner: str) -> Workflow:
        """A new workflow with its first version (createWorkflow). Raises UnprocessableBodyError."""
        prepared = await asyncio.to_thread(draft, text)
        async with self._db.transaction() as tx:
            now = now_ms()
            row_id, workflow_id = await _add(tx, about, owner, now)
            await sync_store.add_version(tx, row_id, 1, owner, prepared, now)
            made = await _existing(tx, workflow_id, owner)
        await self._files.write(row_id)
        return await self._with_path(made)

    async def _with_path(self, workflow: Workflow) -> Workflow:
        """The workflow, with the path that its file has been given."""
        row = await workflow_files.of_row(self._db, workflow.row_id)
        return msgspec.structs.replace(workflow, path=None if row is None else row.path)

    async def list(self, wanted: WorkflowFilter, page: WorkflowPage) -> Page[Workflow]:
        """One page of the workflows that pass the filter (listWorkflows)."""
        return await workflows.list_page(self._db, wanted, page)

    async def get(self, workflow_id: str, owner: str) -> Workflow:
        """The workflow (getWorkflow). Raises WorkflowNotFoundError, or WorkflowForbiddenError for another user's."""
        return await self._current(workflow_id, owner)

    async def _current(self, workflow_id: str, owner: str) -> Workflow:
        """The workflow, with what its file holds now."""
        workflow = await _existing(self._db, workflow_id, owner)
        if await self._files.refresh(workflow.id):
            return await _existing(self._db, workflow_id, owner)
        return workflow

    async def update(self, workflow_id: str, change: WorkflowEdit, owner: str) -> Workflow:
        """Change what is said of a workflow (updateWorkflow). Raises WorkflowNotFoundError."""
        async with self._db.transaction() as tx:
            workflow = await _own(tx, workflow_id, owner)
            if change == WorkflowEdit():
                return workflow
            await workflows.edit(tx, workflow.row_id, change, now_ms())
            changed = await _existing(tx, workflow_id, owner)
            is_misnamed = (workflow.name, workflow.default_view) != (changed.name, changed.default_view)
            if is_misnamed:
                await workflow_files.misname(tx, changed.row_id)
        if is_misnamed:
            await self._files.rename(changed.row_id)
            return await self._with_path(changed)
        return changed

    async def delete(self, workflow_id: str, owner: str) -> None:
        """Delete a workflow (deleteWorkflow); it can be brought back. Raises WorkflowNotFoundError."""
        await self._files.refresh((await _own(self._db, workflow_id, owner)).id)
        async with self._files.turn_for_request(owner):  # a look that is on its way would take the file for a new one
            async with self._db.transaction() as tx:
                workflow = await _own(tx, workflow_id, owner)
                await workflows.hide(tx, workflow.row_id, now_ms())
                await workflow_files.set_removal(tx, workflow.row_id, wanted=True)
            await self._files.remove(owner)

    async def restore(self, workflow_id: str, owner: str) -> Workflow:
        """Bring a deleted workflow back, with its versions, its file and its share. Raises WorkflowNotFoundError."""
        restored = await trash.restore(self._db, workflow_id, owner)
        await self._files.write(restored.row_id)
        return await self._with_path(restored)

    async def content(self, workflow_id: str, owner: str, number: int | None = None) -> WorkflowContent:
        """A version and its text (getWorkflowContent); None is the latest.

        Raises as ``get`` does, and WorkflowVersionNotFoundError.
        """
        workflow = await self._current(workflow_id, owner)
        found = await workflows.body_of(self._db, workflow.row_id, number, owner)
        if found is None:
            raise _no_version(workflow, number)
        content, body = found
        return replace(content, text=await asyncio.to_thread(zlib.decompress, body))

    async def versions(self, workflow_id: str, owner: str, limit: int, offset: int) -> tuple[Workflow, Sequence[Saved]]:
        """Versions of a workflow, the latest first. Raises as ``get`` does."""
        workflow = await self._current(workflow_id, owner)
        found = await workflows.versions_of(self._db, workflow.row_id, limit, offset)
        return workflow, [Saved(workflow, version) for version in found if version.number <= workflow.latest_version]

    async def create_version(self, workflow_id: str, base: int, text: bytes, owner: str) -> Saved:
        """A new version of a workflow whose latest is ``base`` (createWorkflowVersion).

        Raises as ``get`` does, VersionConflictError when another is the latest, and UnprocessableBodyError.
        """
        prepared = await asyncio.to_thread(draft, text)
        await self._current(workflow_id, owner)
        async with self._db.transaction() as tx:
            workflow = await _existing(tx, workflow_id, owner)
            now = now_ms()
            if not await workflows.advance(tx, workflow.row_id, base, now):
                raise _conflict(workflow, base)
            await sync_store.add_version(tx, workflow.row_id, base + 1, owner, prepared, now)
            saved = await _saved(tx, workflow_id, owner)
        await self._files.write(workflow.row_id)
        return saved

    async def fork(self, workflow_id: str, number: int, name: str | None, owner: str) -> Workflow:
        """A new workflow whose first version is a version of this one (forkWorkflow).

        Raises as ``get`` does, and WorkflowVersionNotFoundError.
        """
        await self._current(workflow_id, owner)
        async with self._db.transaction() as tx:
            source = await _existing(tx, workflow_id, owner)
            version = await workflows.version_of(tx, source.row_id, number)
            if version is None:
                raise _no_version(source, number)
            about = About(
                name if name is not None else source.name,
                source.description,
                source.default_view,
                source.id,
                version.id,
            )
            now = now_ms()
            row_id, fork_id = await _add(tx, about, owner, now)
            first = NewVersion(new_ids(1)[0], 1, owner, now)
            await workflows.copy_version(tx, row_id, first, version)
            fork = await _existing(tx, fork_id, owner)
        await self._files.write(row_id)
        return await self._with_path(fork)


async def _add(tx: Transaction, about: About, owner: str, now: int) -> tuple[int, str]:
    """Add a workflow, which is to have a version 1, at ``now`` (ms); answers its row and its id."""
    workflow_id = new_ids(1)[0]
    new = NewWorkflow(
        workflow_id,
        owner,
        about.name,
        about.description,
        about.default_view,
        about.forked_from_id,
        about.forked_from_version_id,
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
    """The workflow; another user's is as good as none."""
    try:
        return await _existing(db, workflow_id, owner)
    except WorkflowForbiddenError:
        raise _not_found(workflow_id) from None


async def _saved(tx: Transaction, workflow_id: str, owner: str) -> Saved:
    workflow = await _existing(tx, workflow_id, owner)
    version = await workflows.version_of(tx, workflow.row_id, workflow.latest_version)
    if version is None:
        raise LookupError("a new version is not there")
    return Saved(workflow, version)


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
    """The id in canonical form; what is no UUID is no workflow's. Raises WorkflowNotFoundError."""
    canonical = canonical_id(workflow_id)
    if canonical is None:
        raise _not_found(workflow_id)
    return canonical
