"""Shares: workflows handed to others on this server, each as it was when it was published, with assets.

Whoever knows a share id may read what is shared under it: the workflow, and the contents of the assets.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from ..assets.index.indexer import Indexer
from ..assets.roots import Roots, absolute
from ..db import assets, shares, workflows
from ..db.assets import ContentFile
from ..db.connection import Database, Transaction
from ..db.shares import NewShare
from ..errors import (
    AssetNotFoundError,
    InvalidBodyError,
    PublishedTooLargeError,
    ShareNotFoundError,
    UnknownAssetsError,
    UnshareableAssetsError,
    WorkflowNotFoundError,
)
from ..fs.paths import extended_path
from ..fs.stat import stat_as_recorded
from ..host.base import Host
from ..ids import canonical_id, now_ms
from ..models import Asset, SharedAsset, Snapshot, Workflow
from ..store_guard import is_protected
from .paths import in_userdata, name_of
from .shared_files import as_shared
from .sync import WorkflowFiles
from .taking import content_gone, take

MAX_ASSETS = 500
_SHARE_ID_BYTES = 18


@dataclass(frozen=True)
class Shared:
    """A share as a user sees it: ``in_library`` are the ids of those of its assets whose content they have."""

    snapshot: Snapshot
    in_library: frozenset[str]


@dataclass(frozen=True)
class Publication:
    """A workflow, and what is published of it."""

    workflow_id: str
    shared: Shared | None


class Shares:
    """Publishes workflows of users, and hands out what is published."""

    def __init__(self, db: Database, host: Host, indexer: Indexer, files: WorkflowFiles) -> None:
        self._db = db
        self._host = host
        self._indexer = indexer
        self._workflow_files = files

    async def snapshot(self, share_id: str) -> Snapshot:
        """What is published under an id, whoever asks, with its text. Raises ShareNotFoundError."""
        return await self._snapshot(share_id, None)

    async def get(self, share_id: str, owner: str, limit: int) -> Shared:
        """A share as a user sees it (getPublishedWorkflow).

        Raises ShareNotFoundError, and PublishedTooLargeError where the workflow has more than ``limit`` bytes.
        """
        return await self._seen(await self._snapshot(share_id, limit), owner)

    async def info(self, file: str, owner: str) -> Publication:
        """What is published of the workflow in a file of the user's (getUserdataFilePublish).

        Raises WorkflowNotFoundError.
        """
        workflow = await self._workflow_at(file, owner)
        share_id = await shares.id_of(self._db, workflow.row_id)
        found = await shares.get(self._db, share_id) if share_id is not None else None
        return Publication(workflow.id, await self._seen(found[0], owner) if found is not None else None)

    async def publish(self, file: str, asset_ids: Sequence[str], owner: str) -> Publication:
        """Publish the latest version of the workflow in a file of the user's, and assets (postUserdataFilePublish).

        It takes the place of what was published of it before. Raises WorkflowNotFoundError, InvalidBodyError,
        UnknownAssetsError, UnshareableAssetsError.
        """
        workflow = await self._workflow_at(file, owner)
        ids = _checked(asset_ids, "asset_ids")
        await self._indexer.read_now([asset.row_id for asset in await _own_assets(self._db, ids, owner)])
        away = await self._without_file(await _own_assets(self._db, ids, owner), owner)
        if away:
            raise _away(away)
        roots = Roots(await asyncio.to_thread(self._host.folders))
        async with self._db.transaction() as tx:
            workflow = await _latest(tx, workflow, file)
            found = _as_shared(await _own_assets(tx, ids, owner), roots)
            new = NewShare(
                secrets.token_hex(_SHARE_ID_BYTES),
                workflow.row_id,
                workflow.latest_version,
                workflow.name or _title(file),
                now_ms(),
            )
            share_id = await shares.publish(tx, new, found)
            published = await shares.get(tx, share_id)
        if published is None:
            raise LookupError("a new share is not there")
        return Publication(workflow.id, await self._seen(published[0], owner))

    async def withdraw(self, file: str, owner: str) -> None:
        """Take back what is published of the workflow in a file of the user's: its share id is nobody's from now on.

        Raises WorkflowNotFoundError, ShareNotFoundError.
        """
        workflow = await self._workflow_at(file, owner)
        async with self._db.transaction() as tx:
            share_id = await shares.id_of(tx, workflow.row_id)
            if share_id is None:
                raise ShareNotFoundError("The workflow is not published.", details={"id": workflow.id})
            await shares.withdraw(tx, share_id)

    async def add_to_library(self, share_id: str, asset_ids: Sequence[str], owner: str) -> list[Asset]:
        """Let a user have assets of a share; answers them as the library has them, in this order.

        What they have already is not added again. Raises ShareNotFoundError, InvalidBodyError, UnknownAssetsError,
        and AssetContentMissingError; then nothing is added.
        """
        ids = _checked(asset_ids, "published_asset_ids")
        away = await self._without_file(_among(ids, (await _existing(self._db, share_id))[0]), owner)
        if away:
            raise content_gone(away)
        roots = Roots(await asyncio.to_thread(self._host.folders))
        async with self._db.transaction() as tx:
            taken = await take(tx, _among(ids, (await _existing(tx, share_id))[0]), owner, roots)
        if taken.created:
            self._host.emit("assets.changed", {"created": taken.created})
        return taken.assets

    async def content(self, share_id: str, asset_id: str) -> tuple[SharedAsset, Path]:
        """An asset of a share, and a file that holds what was published.

        Raises ShareNotFoundError, AssetNotFoundError, and AssetContentMissingError when there is no such file now.
        """
        snapshot, asset = await self.asset(share_id, asset_id)
        path = (await self._files_of([asset.hash], snapshot.owner)).get(asset.hash)
        if path is None:
            raise content_gone([asset_id])
        return asset, path

    async def asset(self, share_id: str, asset_id: str) -> tuple[Snapshot, SharedAsset]:
        """An asset of a share, and the share without its text. Raises ShareNotFoundError, AssetNotFoundError."""
        snapshot, _ = await _existing(self._db, share_id)
        asset = next((each for each in snapshot.assets if each.id == asset_id), None)
        if asset is None:
            raise AssetNotFoundError("The share has no such asset.", details={"id": asset_id})
        return snapshot, asset

    async def _snapshot(self, share_id: str, limit: int | None) -> Snapshot:
        snapshot, body = await _existing(self._db, share_id)
        text = await asyncio.to_thread(_unpacked, body, limit)
        if text is None:
            raise PublishedTooLargeError(
                f"The workflow is larger than the {limit} bytes this server takes.", details={"max_bytes": limit}
            )
        return replace(snapshot, text=text)

    async def _seen(self, snapshot: Snapshot, owner: str) -> Shared:
        had = await assets.reachable(self._db, [asset.hash for asset in snapshot.assets], owner)
        return Shared(snapshot, frozenset(asset.id for asset in snapshot.assets if asset.hash in had))

    async def _workflow_at(self, file: str, owner: str) -> Workflow:
        """The user's workflow at a path in their folder. Raises WorkflowNotFoundError."""
        path = in_userdata(file)
        if path is not None:
            async with self._workflow_files.turn_for_request(owner):
                await self._workflow_files.look_at(owner, path, may_be_gone=False)
        workflow = await workflows.by_path(self._db, owner, path) if path is not None else None
        if workflow is None:
            raise _no_workflow(file)
        return workflow

    async def _files_of(self, digests: Sequence[bytes], owner: str) -> dict[bytes, Path]:
        """For each content a file that is there and is as it was when it was read."""
        found = {digest: await assets.files_of_content(self._db, digest, owner) for digest in set(digests)}
        return await asyncio.to_thread(_first_there, found, self._host)

    async def _without_file(self, found: Sequence[Asset | SharedAsset], owner: str) -> list[str]:
        """The ids of those of the assets whose content is not known, or in no file that is there."""
        there = await self._files_of([asset.hash for asset in found if asset.hash is not None], owner)
        return [asset.id for asset in found if asset.hash not in there]


async def _latest(tx: Transaction, workflow: Workflow, file: str) -> Workflow:
    """The workflow as it is now. Raises WorkflowNotFoundError."""
    found = await workflows.get(tx, workflow.id)
    if found is None:
        raise _no_workflow(file)
    return found


async def _own_assets(db: Database | Transaction, ids: Sequence[str], owner: str) -> list[Asset]:
    """The assets, which the user must be able to see. Raises UnknownAssetsError."""
    found = [await assets.get(db, asset_id, owner) for asset_id in ids]
    unknown = [asset_id for asset_id, asset in zip(ids, found, strict=True) if asset is None]
    if unknown:
        raise UnknownAssetsError("There are no such assets.", details={"field": "asset_ids", "ids": unknown})
    return [asset for asset in found if asset is not None]


def _as_shared(found: Sequence[Asset], roots: Roots) -> list[tuple[int, SharedAsset]]:
    """The assets, by row, as they are published. Raises UnshareableAssetsError."""
    shared = [(asset, as_shared(asset, str(uuid.uuid4()), roots)) for asset in found]
    away = [asset.id for asset, published in shared if published is None]
    if away:
        raise _away(away)
    return [(asset.row_id, published) for asset, published in shared if published is not None]


async def _existing(db: Database | Transaction, share_id: str) -> tuple[Snapshot, bytes]:
    found = await shares.get(db, share_id)
    if found is None:
        raise ShareNotFoundError("There is no such share, or not any more.", details={"share_id": share_id})
    return found


def _among(ids: Sequence[str], snapshot: Snapshot) -> list[SharedAsset]:
    """The assets of a share with these ids. Raises UnknownAssetsError."""
    known = {asset.id: asset for asset in snapshot.assets}
    unknown = [asset_id for asset_id in ids if asset_id not in known]
    if unknown:
        raise UnknownAssetsError(
            "The share has no such assets, or not any more: it may have been published again.",
            details={"field": "published_asset_ids", "ids": unknown},
        )
    return [known[asset_id] for asset_id in ids]


def _checked(ids: Sequence[str], field: str) -> list[str]:
    """The ids in canonical form, each once. Raises InvalidBodyError, UnknownAssetsError for what is no id."""
    if len(ids) > MAX_ASSETS:
        raise InvalidBodyError(f"At most {MAX_ASSETS} assets can be given.", details={"field": field})
    canonical = {asset_id: canonical_id(asset_id) for asset_id in ids}
    malformed = [asset_id for asset_id in ids if canonical[asset_id] is None]
    if malformed:
        raise UnknownAssetsError("These are no ids of assets.", details={"field": field, "ids": malformed})
    return list(dict.fromkeys(asset_id for asset_id in canonical.values() if asset_id is not None))


def _unpacked(body: bytes, limit: int | None) -> bytes | None:
    """The text, or None where it has more than ``limit`` bytes. Blocks."""
    if limit is None:
        return zlib.decompress(body)
    text = zlib.decompressobj().decompress(body, limit + 1)
    return text if len(text) <= limit else None


def _first_there(found: dict[bytes, list[ContentFile]], host: Host) -> dict[bytes, Path]:
    """The first of the files of each content that is in the library and as it was when it was read. Blocks."""
    roots = Roots(host.folders())
    there: dict[bytes, Path] = {}
    for digest, candidates in found.items():
        path = next((path for copy in candidates if (path := _unchanged(copy, roots)) is not None), None)
        if path is not None:
            there[digest] = path
    return there


def _unchanged(copy: ContentFile, roots: Roots) -> Path | None:
    path = extended_path(copy.folder, copy.name)
    if is_protected(path) or stat_as_recorded(path, copy.size, copy.mtime_ns) is None:
        return None
    return path if roots.place(absolute(Path(copy.folder))) is not None else None


def _away(asset_ids: list[str]) -> UnshareableAssetsError:
    return UnshareableAssetsError(
        "The files of these assets are not there, or cannot be read.", details={"field": "asset_ids", "ids": asset_ids}
    )


def _title(file: str) -> str:
    """The name that a workflow in a file has, where it was given none."""
    return name_of(in_userdata(file) or file)


def _no_workflow(file: str) -> WorkflowNotFoundError:
    return WorkflowNotFoundError("There is no such workflow.", details={"file": file})
