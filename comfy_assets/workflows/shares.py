"""Publish workflows with assets as shares for other users of this server.

A share is a snapshot. Whoever knows its id may read the workflow and the contents of the assets in it.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from .. import json_limits
from ..assets.fields import typed_tags
from ..assets.index.indexer import Indexer
from ..assets.references import add_reference
from ..assets.roots import Roots, absolute, current_roots
from ..db import assets, contents, shares, workflows
from ..db.compression import decompress, decompress_within
from ..db.connection import Database, Transaction
from ..db.contents import ContentFile, Facts
from ..db.shares import NewShare
from ..errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    InvalidBodyError,
    PublishedTooLargeError,
    ShareNotFoundError,
    UnknownAssetsError,
    UnshareableAssetsError,
    WorkflowNotFoundError,
)
from ..fs.paths import extended_path, stat_as_recorded
from ..host.base import Host, LibraryFolder
from ..ids import canonical_id, now_ms
from ..models import Asset, PublishedWorkflow, SharedAsset, Workflow
from ..store_guard import is_protected
from .document import WorkflowReferences, references_in
from .folder import in_userdata, name_of
from .sync import WorkflowSync

MAX_ASSETS = 500  # of a share
_SHARE_ID_BYTES = 18  # 144 random bits: the id is all that a reader needs to know


@dataclass(frozen=True)
class VisibleShare:
    """A share as a user sees it. ``in_library`` holds the ids of the shared assets whose content the user has."""

    snapshot: PublishedWorkflow
    in_library: frozenset[str]


@dataclass(frozen=True)
class Publication:
    """A workflow and its share, if it is published."""

    workflow_id: str
    share: VisibleShare | None


class Shares:
    """Publishes workflows, and gives access to published ones."""

    def __init__(self, db: Database, host: Host, indexer: Indexer, sync: WorkflowSync) -> None:
        self._db = db
        self._host = host
        self._indexer = indexer
        self._sync = sync

    async def snapshot(self, share_id: str) -> PublishedWorkflow:
        """Return a share with the text of its workflow, for any user. Raises ShareNotFoundError."""
        return await self._snapshot(share_id, None)

    async def get(self, share_id: str, owner: str, limit: int) -> VisibleShare:
        """Return a share with the text of its workflow, as a user sees it (getPublishedWorkflow).

        Raises ShareNotFoundError, and PublishedTooLargeError if the workflow has more than ``limit`` bytes.
        """
        return await self._visible(await self._snapshot(share_id, limit), owner)

    async def info(self, file: str, owner: str) -> Publication:
        """Return the share of the workflow in one of the user's files, if it is published (getUserdataFilePublish).

        Raises WorkflowNotFoundError.
        """
        workflow = await self._workflow_at(file, owner)
        share_id = await shares.id_of(self._db, workflow.row_id)
        found = await shares.get(self._db, share_id) if share_id is not None else None
        return Publication(workflow.id, await self._visible(found[0], owner) if found is not None else None)

    async def is_open(self, share_id: str) -> bool:
        """Return whether the id of a share is enough to read it, without signing in."""
        return await shares.is_open(self._db, share_id)

    async def publish(
        self, file: str, asset_ids: Sequence[str], owner: str, *, is_open: bool | None = None
    ) -> Publication:
        """Publish the latest version of the workflow in one of the user's files, with assets (postUserdataFilePublish).

        An earlier share of the workflow is replaced. ``is_open`` lets whoever knows its id read it without signing in;
        None leaves that as it was. Raises WorkflowNotFoundError,
        UnknownAssetsError, UnshareableAssetsError.
        """
        workflow = await self._workflow_at(file, owner)
        ids = _checked(asset_ids, "asset_ids")
        await self._indexer.read_now([asset.row_id for asset in await _own_assets(self._db, ids, owner)])
        # Hashing has just changed the rows, so they are read again.
        absent = await self._without_file(await _own_assets(self._db, ids, owner), owner)
        if absent:
            raise _unshareable(absent)
        roots = await current_roots(self._host)
        async with self._db.transaction() as tx:
            workflow = await _latest(tx, workflow, file)
            shared = _snapshots(await _own_assets(tx, ids, owner), roots)
            new = NewShare(
                secrets.token_hex(_SHARE_ID_BYTES),
                workflow.row_id,
                workflow.latest_version,
                workflow.name or _title(file),
                now_ms(),
                is_open,
            )
            share_id = await shares.publish(tx, new, shared)
            published = await shares.get(tx, share_id)
        if published is None:
            raise LookupError("a new share is not there")
        return Publication(workflow.id, await self._visible(published[0], owner))

    async def withdraw(self, file: str, owner: str) -> None:
        """Withdraw the share of the workflow in one of the user's files. Its id is never valid again.

        Raises WorkflowNotFoundError, ShareNotFoundError.
        """
        workflow = await self._workflow_at(file, owner)
        async with self._db.transaction() as tx:
            share_id = await shares.id_of(tx, workflow.row_id)
            if share_id is None:
                raise ShareNotFoundError("The workflow is not published.", details={"id": workflow.id})
            await shares.withdraw(tx, share_id)

    async def add_to_library(self, share_id: str, asset_ids: Sequence[str], owner: str) -> list[Asset]:
        """Add assets of a share to a user's library, and return the user's assets in the given order.

        Content that the user can see already is not added again. Raises ShareNotFoundError,
        UnknownAssetsError and AssetContentMissingError, and then adds nothing.
        """
        ids = _checked(asset_ids, "published_asset_ids")
        # Checked before the transaction, which must not wait for a disk.
        absent = await self._without_file(_among(ids, (await _existing(self._db, share_id))[0]), owner)
        if absent:
            raise _content_missing(absent)
        roots = await current_roots(self._host)
        async with self._db.transaction() as tx:
            found, created = await _add_references(tx, _among(ids, (await _existing(tx, share_id))[0]), owner, roots)
        if created:
            self._host.emit("assets.changed", {"created": created})
        return found

    async def assets_needed(self, workflow: bytes, owner: str, *, owned: bool | None = None) -> list[Asset]:
        """Return the assets that a workflow, in either format, names, by name (postAssetsFromWorkflow).

        ``owned`` selects those that belong to the user, or the public ones. Raises InvalidBodyError.
        """
        references = await asyncio.to_thread(_references_of, workflow)
        ids = {*references.asset_ids, *await workflows.assets_called(self._db, owner, references.files)}
        found = {asset.id: asset for asset in (await assets.visible(self._db, sorted(ids), owner)).values()}
        for digest in references.digests:
            own = await assets.of_content(self._db, digest, owner, own=True)
            same = own or await assets.of_content(self._db, digest, owner, own=False)
            found |= {asset.id: asset for asset in same[:1]}
        if owned is not None:
            is_single = not self._host.is_multi_user()  # the only user owns the public assets as well
            found = {each.id: each for each in found.values() if owned == (is_single or each.owner != "")}
        return sorted(found.values(), key=lambda asset: (asset.name.casefold(), asset.id))

    async def content(self, share_id: str, asset_id: str) -> tuple[SharedAsset, Path]:
        """Return an asset of a share, and a file with the published content.

        Raises ShareNotFoundError, AssetNotFoundError, and AssetContentMissingError if there is no such file now.
        """
        snapshot, asset = await self.asset(share_id, asset_id)
        path = (await self._files_of([asset.hash], snapshot.owner)).get(asset.hash)
        if path is None:
            raise _content_missing([asset_id])
        return asset, path

    async def asset(self, share_id: str, asset_id: str) -> tuple[PublishedWorkflow, SharedAsset]:
        """Return a share without its text, and one of its assets. Raises ShareNotFoundError, AssetNotFoundError."""
        snapshot, _ = await _existing(self._db, share_id)
        asset = next((each for each in snapshot.assets if each.id == asset_id), None)
        if asset is None:
            raise AssetNotFoundError("The share has no such asset.", details={"id": asset_id})
        return snapshot, asset

    async def _snapshot(self, share_id: str, limit: int | None) -> PublishedWorkflow:
        snapshot, body = await _existing(self._db, share_id)
        text = await asyncio.to_thread(_unpacked, body, limit)
        if text is None:
            raise PublishedTooLargeError(
                f"The workflow is larger than the {limit} bytes this server takes.", details={"max_bytes": limit}
            )
        return replace(snapshot, text=text)

    async def _visible(self, snapshot: PublishedWorkflow, owner: str) -> VisibleShare:
        reachable = await contents.reachable(self._db, [asset.hash for asset in snapshot.assets], owner)
        return VisibleShare(snapshot, frozenset(asset.id for asset in snapshot.assets if asset.hash in reachable))

    async def _workflow_at(self, file: str, owner: str) -> Workflow:
        """Return the user's workflow at a path in their folder, as its file is now. Raises WorkflowNotFoundError."""
        path = in_userdata(file)
        if path is not None:
            async with self._sync.lock_for_request(owner):
                await self._sync.sync_file(owner, path, may_be_gone=False)
        workflow = await workflows.by_path(self._db, owner, path) if path is not None else None
        if workflow is None:
            raise _no_workflow(file)
        return workflow

    async def _files_of(self, digests: Sequence[bytes], owner: str) -> dict[bytes, Path]:
        """Return a file for each content that still has one which is as it was when it was hashed."""
        found = {digest: await contents.files_of_content(self._db, digest, owner) for digest in set(digests)}
        return await asyncio.to_thread(_unchanged_files, found, self._host)

    async def _without_file(self, found: Sequence[Asset | SharedAsset], owner: str) -> list[str]:
        """Return the ids of the assets whose content is unknown or in no file now."""
        files = await self._files_of([asset.hash for asset in found if asset.hash is not None], owner)
        return [asset.id for asset in found if asset.hash not in files]


def _references_of(text: bytes) -> WorkflowReferences:
    """Return the references in a workflow. Blocks. Raises InvalidBodyError unless it is a JSON object."""
    try:
        workflow = json_limits.decode(text, json_limits.check(text, json_limits.LARGE))
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError(f"It is not valid JSON: {error}.", details={"field": "workflow_api_json"}) from error
    if not isinstance(workflow, dict):
        raise InvalidBodyError("workflow_api_json must be a JSON object.", details={"field": "workflow_api_json"})
    return references_in(workflow)


async def _latest(tx: Transaction, workflow: Workflow, file: str) -> Workflow:
    """Return the current state of the workflow. Raises WorkflowNotFoundError."""
    found = await workflows.get(tx, workflow.id)
    if found is None:
        raise _no_workflow(file)
    return found


async def _own_assets(db: Database | Transaction, ids: Sequence[str], owner: str) -> list[Asset]:
    """Return the assets with these ids. Raises UnknownAssetsError if the user cannot see one of them."""
    found = [await assets.get(db, asset_id, owner) for asset_id in ids]
    unknown = [asset_id for asset_id, asset in zip(ids, found, strict=True) if asset is None]
    if unknown:
        raise UnknownAssetsError("There are no such assets.", details={"field": "asset_ids", "ids": unknown})
    return [asset for asset in found if asset is not None]


def _snapshots(found: Sequence[Asset], roots: Roots) -> list[tuple[int, SharedAsset]]:
    """Return the snapshots of assets with the row ids of the assets. Raises UnshareableAssetsError."""
    # Shared assets get ids of their own: the owner's ids would let readers probe the owner's library.
    shared = [(asset, snapshot_of(asset, str(uuid.uuid4()), roots)) for asset in found]
    absent = [asset.id for asset, snapshot in shared if snapshot is None]
    if absent:
        raise _unshareable(absent)
    return [(asset.row_id, snapshot) for asset, snapshot in shared if snapshot is not None]


def snapshot_of(asset: Asset, new_id: str, roots: Roots) -> SharedAsset | None:
    """Return an asset as it is published, under a new id. None if its content is unknown or its file is missing."""
    location = asset.location
    if asset.hash is None or location is None or location.missing:
        return None
    place = roots.place(absolute(Path(location.folder)))
    if place is None:
        return None
    category = _category(place.categories, location.name)
    # The path is relative to the folder of the category, as loaders name the file, so that it has a meaning elsewhere.
    if category is not None:
        inside = PurePosixPath(*absolute(Path(location.folder)).relative_to(category.path).parts, location.name)
    else:
        inside = PurePosixPath(*PurePosixPath(place.logical).parts[1:], location.name)
    name = category.category if category is not None else None
    return SharedAsset(new_id, asset.hash, asset.name, asset.size, asset.mime_type, place.kind, name, str(inside))


def _category(candidates: Sequence[LibraryFolder], name: str) -> LibraryFolder | None:
    """Return the innermost category folder of a file, preferably one whose loaders accept its suffix."""
    suffix = PurePosixPath(name).suffix.lower()

    def rank(folder: LibraryFolder) -> tuple[bool, int]:
        return not folder.extensions or suffix in folder.extensions, len(folder.path.parts)

    return max(candidates, key=rank, default=None)


async def _add_references(
    tx: Transaction, shared: Sequence[SharedAsset], owner: str, roots: Roots
) -> tuple[list[Asset], int]:
    """Return an asset of the owner's for each shared one, and the number of assets that had to be added.

    Raises AssetContentMissingError if a content is in no file any more.
    """
    # Checked again, within the transaction: files may have been marked as missing since.
    missing = [each.id for each in shared if await contents.stand_in(tx, each.hash) is None]
    if missing:
        raise _content_missing(missing)
    found: list[Asset] = []
    created = 0
    for each in shared:
        asset = await _visible_asset(tx, each.hash, owner)
        if asset is None:
            asset = await add_reference(
                tx,
                Facts(each.hash, each.size, "{}"),  # the content is known, and keeps its metadata
                owner,
                name=each.name,
                mime_type=each.mime_type,
                tags=typed_tags((each.kind,), each.path, each.category, roots),
            )
            created += 1
        found.append(asset)
    return found, created


async def _visible_asset(tx: Transaction, digest: bytes, owner: str) -> Asset | None:
    """Return an asset of this content that the owner can see, preferably their own."""
    own = await assets.of_content(tx, digest, owner, own=True)
    found = own or await assets.of_content(tx, digest, owner, own=False)
    return found[0] if found else None


async def _existing(db: Database | Transaction, share_id: str) -> tuple[PublishedWorkflow, bytes]:
    found = await shares.get(db, share_id)
    if found is None:
        raise ShareNotFoundError("There is no such share; it may have been withdrawn.", details={"share_id": share_id})
    return found


def _among(ids: Sequence[str], snapshot: PublishedWorkflow) -> list[SharedAsset]:
    """Return the assets of a share with these ids. Raises UnknownAssetsError."""
    known = {asset.id: asset for asset in snapshot.assets}
    unknown = [asset_id for asset_id in ids if asset_id not in known]
    if unknown:
        raise UnknownAssetsError(
            "The share has no such assets; it may have been published again.",
            details={"field": "published_asset_ids", "ids": unknown},
        )
    return [known[asset_id] for asset_id in ids]


def _checked(ids: Sequence[str], field: str) -> list[str]:
    """Return the ids in canonical form without repetitions. Raises UnknownAssetsError."""
    canonical = {asset_id: canonical_id(asset_id) for asset_id in ids}
    malformed = [asset_id for asset_id in ids if canonical[asset_id] is None]
    if malformed:
        raise UnknownAssetsError("These are not ids of assets.", details={"field": field, "ids": malformed})
    return list(dict.fromkeys(asset_id for asset_id in canonical.values() if asset_id is not None))


def _unpacked(body: bytes, limit: int | None) -> bytes | None:
    """Decompress a text. None if it has more than ``limit`` bytes. Blocks."""
    return decompress(body) if limit is None else decompress_within(body, limit)


def _unchanged_files(found: dict[bytes, list[ContentFile]], host: Host) -> dict[bytes, Path]:
    """Return the first file of each content that is in the library and as it was when it was hashed. Blocks."""
    roots = Roots(host.folders())
    files: dict[bytes, Path] = {}
    for digest, candidates in found.items():
        path = next((path for copy in candidates if (path := _unchanged(copy, roots)) is not None), None)
        if path is not None:
            files[digest] = path
    return files


def _unchanged(copy: ContentFile, roots: Roots) -> Path | None:
    path = extended_path(copy.folder, copy.name)
    if is_protected(path) or stat_as_recorded(path, copy.size, copy.mtime_ns) is None:
        return None
    return path if roots.place(absolute(Path(copy.folder))) is not None else None


def _unshareable(asset_ids: list[str]) -> UnshareableAssetsError:
    return UnshareableAssetsError(
        "The files of these assets are missing or cannot be read.", details={"field": "asset_ids", "ids": asset_ids}
    )


def _content_missing(asset_ids: list[str]) -> AssetContentMissingError:
    return AssetContentMissingError("The files of these assets are missing.", details={"ids": asset_ids})


def _title(file: str) -> str:
    """Return the name of the workflow in a file."""
    return name_of(in_userdata(file) or file)


def _no_workflow(file: str) -> WorkflowNotFoundError:
    return WorkflowNotFoundError("There is no such workflow.", details={"file": file})
