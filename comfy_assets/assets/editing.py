"""What users change of assets: names, types, previews, metadata of their own, tags; and deleting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import msgspec

from ..db import assets, entries, files, references, tags, trash
from ..db.connection import Database, Transaction
from ..db.entries import FileRow, Use
from ..errors import AssetInUseError, AssetNotFoundError, InvalidPreviewError, InvalidTagsError
from ..fs.atomic import run_blocking
from ..host.base import Host
from ..ids import now_ms
from ..models import UPLOADED, ZERO_ID, Asset, AssetEdit
from .service import not_found, parse_id
from .tag_rules import MAX_TAGS, refuse_reserved
from .trash import TrashBin


@dataclass(frozen=True)
class TagChange:
    """What changing tags came to: those that changed, those that were so already, and all afterwards."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    total: tuple[str, ...]


class Editing:
    """Changes assets, each in one transaction. An asset that the user cannot see does not exist for them."""

    def __init__(self, db: Database, host: Host, trash_bin: TrashBin) -> None:
        self._db = db
        self._host = host
        self._bin = trash_bin

    async def update(self, asset_id: str, change: AssetEdit, owner: str) -> Asset:
        """Change what is given (updateAsset). Raises AssetNotFoundError, InvalidPreviewError.

        The file keeps its name and place.
        """
        if change.preview_id == ZERO_ID:
            raise InvalidPreviewError("The zero UUID names no asset.", details={"field": "preview_id"})
        async with self._db.transaction() as tx:
            asset = await _get(tx, asset_id, owner)
            if change.preview_id is not None and await assets.get(tx, change.preview_id, owner) is None:
                raise AssetNotFoundError("There is no such preview asset.", details={"field": "preview_id"})
            await entries.edit(tx, asset.row_id, change, now_ms())
            asset = await _get(tx, asset_id, owner)
        self._host.emit("assets.changed", {"changed": 1})
        return asset

    async def add_tags(self, asset_id: str, wanted: tuple[str, ...], owner: str) -> TagChange:
        """Give an asset normalized tags (addAssetTags).

        Raises AssetNotFoundError, ReservedTagError, InvalidTagsError.
        """
        async with self._db.transaction() as tx:
            asset = await _get(tx, asset_id, owner)
            refuse_reserved(wanted, ())
            present = _tags(asset)
            new = tuple(tag for tag in wanted if tag not in present)
            if new and len(present) + len(new) > MAX_TAGS:
                raise InvalidTagsError(f"An asset has at most {MAX_TAGS} tags.", details={"field": "tags"})
            return await self._retag(tx, asset, owner, new, wanted, add=new)

    async def remove_tags(self, asset_id: str, unwanted: tuple[str, ...], owner: str) -> TagChange:
        """Take tags from an asset (removeAssetTags). Raises AssetNotFoundError, ReservedTagError."""
        async with self._db.transaction() as tx:
            asset = await _get(tx, asset_id, owner)
            refuse_reserved(unwanted, await _place_tags(tx, asset))
            present = _tags(asset)
            gone = tuple(tag for tag in unwanted if tag in present)
            return await self._retag(tx, asset, owner, gone, unwanted, remove=gone)

    async def _retag(
        self,
        tx: Transaction,
        asset: Asset,
        owner: str,
        changed: tuple[str, ...],
        asked: tuple[str, ...],
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> TagChange:
        if changed:
            await files.retag(tx, [asset.row_id], add=add, remove=remove)
            await entries.touch(tx, asset.row_id, now_ms())
            await tags.drop_unused_sets(tx)
            asset = await _get(tx, asset.id, owner)
            self._host.emit("assets.changed", {"changed": 1})
        return TagChange(changed, tuple(tag for tag in asked if tag not in changed), tuple(_tags(asset)))

    async def delete(self, asset_id: str, owner: str) -> None:
        """Delete an asset (deleteAsset); it can be restored. Raises AssetNotFoundError, AssetInUseError, StorageError.

        The file of an upload goes to the trash, unless references need its content; any other file stays where it is.
        """
        async with self._db.transaction() as tx:
            _, file = await _deletable(tx, asset_id, owner)
        async with self._bin.taking(file) as taking, self._db.transaction() as tx:
            asset, file = await _deletable(tx, asset_id, owner)
            taken = None
            if taking is not None and file is not None:
                taken = await run_blocking(partial(taking.take, asset.id, file))
            await trash.hide(tx, asset.row_id, now_ms(), taken)
            await references.settle(tx, await references.contents_of(tx, [asset.row_id]))
            await tags.drop_unused_sets(tx)
        self._host.emit("assets.changed", {"deleted": 1})


async def _get(tx: Transaction, asset_id: str, owner: str) -> Asset:
    asset = await assets.get(tx, parse_id(asset_id), owner)
    if asset is None:
        raise not_found(asset_id)
    return asset


async def _deletable(tx: Transaction, asset_id: str, owner: str) -> tuple[Asset, FileRow | None]:
    """An asset that may be deleted, and the file that goes with it. Raises AssetNotFoundError, AssetInUseError."""
    asset = await _get(tx, asset_id, owner)
    await _refuse_if_used(tx, asset, owner)
    return asset, await _file_to_take(tx, asset)


async def _refuse_if_used(tx: Transaction, asset: Asset, owner: str) -> None:
    used_by = [_shown(use, owner) for use in await entries.uses_of(tx, asset.row_id)]
    if used_by:
        raise AssetInUseError(
            "The asset cannot be deleted: " + ", ".join(_words(use) for use in used_by) + " refers to it.",
            details={"id": asset.id, "used_by": used_by},
        )


def _shown(use: Use, owner: str) -> dict[str, str]:
    """A use as the owner may know of it: another's share id would let them read what was shared."""
    if use.owner is not None and use.owner != owner:
        return {"kind": use.kind, "owner": use.owner}
    return {"kind": use.kind, "id": use.id, **({"name": use.name} if use.name is not None else {})}


def _words(use: dict[str, str]) -> str:
    return f"{use['kind']} {use['id']}" if "id" in use else f"a {use['kind']} of {use['owner']}"


async def _file_to_take(tx: Transaction, asset: Asset) -> FileRow | None:
    """The file that goes with a deleted asset: an upload's, if it is there and no reference lives by it alone."""
    file = await entries.file_of(tx, asset.row_id)
    if asset.origin != UPLOADED or file is None or file.missing:
        return None
    if file.content_id is not None and await references.need_file_of(tx, file.content_id, asset.row_id):
        return None
    return file


def _tags(asset: Asset) -> list[str]:
    return msgspec.json.decode(asset.tags, type=list[str])


async def _place_tags(tx: Transaction, asset: Asset) -> set[str]:
    """Those of the asset's tags that follow from where its file lies."""
    file = await entries.file_of(tx, asset.row_id)
    former = msgspec.json.decode(file.categories, type=list[str]) if file else []
    return tags.place_tags(_tags(asset), former)
