"""Collect what goes into a bundle: a workflow or share, found by id, name or path, and the assets that it needs."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
from blake3 import blake3

from ...assets.roots import Roots
from ...db import assets, shares, workflows
from ...db.connection import Database
from ...errors import WorkflowNotFoundError
from ...host.base import Host
from ...ids import canonical_id, hash_text
from ...models import MODEL_TYPE_PREFIX, Asset, Location, SharedAsset, Workflow
from ..document import parse_workflow
from ..service import WorkflowService
from ..shares import snapshot_of
from .format import BundledWorkflow


@dataclass(frozen=True)
class RequiredAsset:
    """An asset of the workflow, and the files that may hold its content. Its hash is empty if it is not known."""

    asset: SharedAsset
    files: Sequence[Path]


@dataclass(frozen=True)
class BundleContent:
    """A workflow as the manifest describes it, its text, the assets that it needs, and its owner."""

    workflow: BundledWorkflow
    text: bytes
    required: Sequence[RequiredAsset]
    owner: str


async def collect(
    db: Database, host: Host, service: WorkflowService, name: str, version: int | None = None
) -> BundleContent:
    """Collect a share or workflow. ``name`` is its id, the name of a workflow, or the path of its file.

    Raises WorkflowNotFoundError, WorkflowVersionNotFoundError, and ValueError if several workflows have the name.
    """
    share = await _share(db, name) if version is None else None  # a share is one version for good
    return share if share is not None else await _saved(db, host, service, name, version)


async def _share(db: Database, share_id: str) -> BundleContent | None:
    """Return a share as it was published."""
    found = await shares.get(db, share_id)
    if found is None:
        return None
    snapshot, body = found
    text = await asyncio.to_thread(zlib.decompress, body)
    workflow = await workflows.get(db, snapshot.workflow_id)
    description = BundledWorkflow(
        _hash_of(text),
        len(text),
        snapshot.name,
        workflow.description if workflow is not None else None,
        workflow.default_view if workflow is not None else "workflow",
        snapshot.workflow_id,
        snapshot.version,
        snapshot.share_id,
    )
    required = []
    for asset in snapshot.assets:
        files = await assets.files_of_content(db, asset.hash, snapshot.owner)
        required.append(RequiredAsset(asset, [Path(file.folder, file.name) for file in files]))
    return BundleContent(description, text, required, snapshot.owner)


async def _saved(db: Database, host: Host, service: WorkflowService, name: str, version: int | None) -> BundleContent:
    """Return a workflow with the assets that the version was linked to, and those that its file names refer to now."""
    workflow = await _workflow(db, name)
    content = await service.content(workflow.id, workflow.owner, version)
    references = (await asyncio.to_thread(parse_workflow, content.text)).references
    # Files may have been added since the version was saved, and linked ones renamed.
    ids = {*content.asset_ids, *await workflows.assets_called(db, workflow.owner, references.files)}
    found = await assets.get_many(db, sorted(ids))
    roots = Roots(await asyncio.to_thread(host.folders))
    description = BundledWorkflow(
        _hash_of(content.text),
        len(content.text),
        workflow.name,
        workflow.description,
        workflow.default_view,
        workflow.id,
        content.version.number,
    )
    return BundleContent(
        description, content.text, [_required(asset, roots) for asset in found.values()], workflow.owner
    )


async def _workflow(db: Database, name: str) -> Workflow:
    workflow_id = canonical_id(name)
    found = await workflows.get(db, workflow_id) if workflow_id is not None else None
    matches = [found] if found is not None else await workflows.called(db, name)
    if not matches:
        raise WorkflowNotFoundError(f"There is no share or workflow with the id, name or file {name}.")
    if len(matches) > 1:
        ids = ", ".join(workflow.id for workflow in matches)
        raise ValueError(f"several workflows are named {name}; use the id of one of them: {ids}")
    return matches[0]


def _required(asset: Asset, roots: Roots) -> RequiredAsset:
    location = asset.location
    if location is None:
        return RequiredAsset(_shared_asset(asset, "", None, asset.name), ())
    # Missing and unread files are required as well: the export reports them, or reads them.
    present = msgspec.structs.replace(asset, hash=asset.hash or b"", location=_present(location))
    shared = snapshot_of(present, asset.id, roots) or _as_recorded(asset, location)
    return RequiredAsset(shared, [Path(location.folder, location.name)])


def _present(location: Location) -> Location:
    return msgspec.structs.replace(location, missing=False)


def _as_recorded(asset: Asset, location: Location) -> SharedAsset:
    """Describe an asset in a folder that only the server knows, by what was recorded when it was scanned."""
    tags = msgspec.json.decode(asset.tags, type=list[str])
    categories = sorted(tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags if tag.startswith(MODEL_TYPE_PREFIX))
    category = categories[0] if categories and location.loader_prefix is not None else None
    inside = location.loader_prefix if category else PurePosixPath(*PurePosixPath(location.logical).parts[1:])
    return _shared_asset(asset, location.kind, category, str(PurePosixPath(inside or "", location.name)))


def _shared_asset(asset: Asset, kind: str, category: str | None, path: str) -> SharedAsset:
    return SharedAsset(
        asset.id, asset.hash or b"", asset.name, asset.size, asset.mime_type, kind, category, path
    )  # fmt: skip


def _hash_of(text: bytes) -> str:
    return hash_text(blake3(text).digest())
