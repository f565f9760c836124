"""What is to be handed over: a workflow or a share, found by what the user calls it, with the assets that it needs."""

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
class Needed:
    """An asset that goes along; ``hash`` is empty where the content is not known. One of ``files`` should hold it."""

    asset: SharedAsset
    files: Sequence[Path]


@dataclass(frozen=True)
class Subject:
    """The workflow as a manifest tells it, its text, what it needs, and whose it is."""

    workflow: BundledWorkflow
    text: bytes
    needed: Sequence[Needed]
    owner: str


async def find(db: Database, host: Host, service: WorkflowService, called: str, version: int | None = None) -> Subject:
    """What is meant by the id of a share or a workflow, a workflow's name, or the path of its file.

    Raises WorkflowNotFoundError, WorkflowVersionNotFoundError, and ValueError when several have the name.
    """
    share = await _share(db, called) if version is None else None
    return share if share is not None else await _saved(db, host, service, called, version)


async def _share(db: Database, share_id: str) -> Subject | None:
    """A share, as it was published."""
    found = await shares.get(db, share_id)
    if found is None:
        return None
    snapshot, body = found
    text = await asyncio.to_thread(zlib.decompress, body)
    workflow = await workflows.get(db, snapshot.workflow_id)
    said = BundledWorkflow(
        _hash_of(text),
        len(text),
        snapshot.name,
        workflow.description if workflow is not None else None,
        workflow.default_view if workflow is not None else "workflow",
        snapshot.workflow_id,
        snapshot.version,
        snapshot.share_id,
    )
    needed = []
    for asset in snapshot.assets:
        there = await assets.files_of_content(db, asset.hash, snapshot.owner)
        needed.append(Needed(asset, [Path(copy.folder, copy.name) for copy in there]))
    return Subject(said, text, needed, snapshot.owner)


async def _saved(db: Database, host: Host, service: WorkflowService, called: str, version: int | None) -> Subject:
    """A workflow with the assets that its version was linked to, and those that its names mean now."""
    workflow = await _workflow(db, called)
    content = await service.content(workflow.id, workflow.owner, version)
    named = (await asyncio.to_thread(parse_workflow, content.text)).references
    ids = {*content.asset_ids, *await workflows.assets_called(db, workflow.owner, named.files)}
    found = await assets.get_many(db, sorted(ids))
    roots = Roots(await asyncio.to_thread(host.folders))
    said = BundledWorkflow(
        _hash_of(content.text),
        len(content.text),
        workflow.name,
        workflow.description,
        workflow.default_view,
        workflow.id,
        content.version.number,
    )
    return Subject(said, content.text, [_needed(asset, roots) for asset in found.values()], workflow.owner)


async def _workflow(db: Database, called: str) -> Workflow:
    workflow_id = canonical_id(called)
    found = await workflows.get(db, workflow_id) if workflow_id is not None else None
    matches = [found] if found is not None else await workflows.called(db, called)
    if not matches:
        raise WorkflowNotFoundError(f"There is no share or workflow of the id, name or file {called}.")
    if len(matches) > 1:
        ids = ", ".join(workflow.id for workflow in matches)
        raise ValueError(f"several workflows are called {called}; say which by its id: {ids}")
    return matches[0]


def _needed(asset: Asset, roots: Roots) -> Needed:
    location = asset.location
    if location is None:
        return Needed(_told(asset, "", None, asset.name), ())
    there = msgspec.structs.replace(asset, hash=asset.hash or b"", location=_present(location))
    told = snapshot_of(there, asset.id, roots) or _as_recorded(asset, location)
    return Needed(told, [Path(location.folder, location.name)])


def _present(location: Location) -> Location:
    return msgspec.structs.replace(location, missing=False)


def _as_recorded(asset: Asset, location: Location) -> SharedAsset:
    """An asset in a folder that only its server knows, by what was noted when that scanned it."""
    tags = msgspec.json.decode(asset.tags, type=list[str])
    categories = sorted(tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags if tag.startswith(MODEL_TYPE_PREFIX))
    category = categories[0] if categories and location.loader_prefix is not None else None
    inside = location.loader_prefix if category else PurePosixPath(*PurePosixPath(location.logical).parts[1:])
    return _told(asset, location.kind, category, str(PurePosixPath(inside or "", location.name)))


def _told(asset: Asset, kind: str, category: str | None, path: str) -> SharedAsset:
    return SharedAsset(
        asset.id, asset.hash or b"", asset.name, asset.size, asset.mime_type, kind, category, path
    )  # fmt: skip


def _hash_of(text: bytes) -> str:
    return hash_text(blake3(text).digest())
