"""References: assets without a file of their own, of content that the library has already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..db import assets, contents, files, trash
from ..db.assets import NewAsset
from ..db.connection import Database, Transaction
from ..db.contents import Facts
from ..db.tags import ROOT_TAGS, split
from ..errors import AssetNotFoundError, BlobNotFoundError
from ..fs.paths import extended_path, stat_as_recorded
from ..host.base import Host
from ..ids import new_ids, now_ms
from ..models import MISSING_TAG, REFERENCE, Asset
from .fields import UploadFields, reference_category, typed_tags, upload_file_name
from .roots import Roots, current_roots

_MOST_GONE = 3  # files of a content found gone by one request


@dataclass(frozen=True)
class CreatedAsset:
    """An asset returned for a request to create one; ``is_new`` is False if it existed already.

    ``is_preview``: it belongs to another asset, see ``uploads``. ``is_new_content`` is False if it refers to content
    that the library had.
    """

    asset: Asset
    is_new: bool
    is_preview: bool = False
    is_new_content: bool = True


class ReferenceService:
    """Creates references: assets of content that is there already."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def create(self, digest: bytes, fields: UploadFields, owner: str) -> CreatedAsset:
        """Return an asset of the content with this blake3 digest (createAssetFromHash).

        An asset that the owner already has of that content is returned instead of a new one. Raises
        AssetNotFoundError if the owner can see no asset of the content, InvalidTagsError, ReservedTagError.
        """
        roots = await current_roots(self._host)
        category = reference_category(fields.tags, roots)
        async with self._db.transaction() as tx:
            if not await contents.hash_exists(tx, digest, owner):
                raise AssetNotFoundError("There is no content with this hash.", details={"field": "hash"})
            # Creating the same reference twice returns the same asset, so that clients may repeat a request.
            own = await assets.of_content(tx, digest, owner, own=True)
            if own:
                return CreatedAsset(own[0], is_new=False)
            source = (await assets.of_content(tx, digest, owner, own=False))[0]
            asset = await add_reference(
                tx,
                Facts(digest, source.size, source.metadata or "{}"),
                owner,
                name=fields.name or source.name,
                mime_type=fields.mime_type or source.mime_type,
                tags=typed_tags(fields.tags, source.name, category, roots),
                user_metadata=fields.user_metadata,
            )
        self._host.emit("assets.changed", {"created": 1})
        return CreatedAsset(asset, is_new=True)

    async def mint(self, digest: bytes, fields: UploadFields, owner: str) -> CreatedAsset:
        """Return a new reference to the content with this blake3 digest, or the owner's equal one (assetFromHash).

        Raises BlobNotFoundError unless the owner can see an asset of the content whose file is on the disk now,
        InvalidTagsError, ReservedTagError.
        """
        roots = await current_roots(self._host)
        async with self._db.transaction() as tx:
            source = await find_present(tx, digest, owner)
            created = await mint(tx, source, fields, owner, roots) if source is not None else None
        # After the transaction, which may have found that files are gone.
        if created is None:
            raise BlobNotFoundError("There is no content with this hash.", details={"field": "hash"})
        if created.is_new:
            self._host.emit("assets.changed", {"created": 1})
        return created


async def find_present(tx: Transaction, digest: bytes, owner: str) -> Asset | None:
    """Return an asset of the content that the owner can see, whose file is on the disk now."""
    # A reference shows one of the files: after that is marked missing, it shows another.
    for _ in range(_MOST_GONE):
        if not await contents.hash_exists(tx, digest, owner):
            return None
        for own in (True, False):
            for asset in await assets.of_content(tx, digest, owner, own=own):
                if await holds_now(tx, asset):
                    return asset
    return None


async def mint(tx: Transaction, source: Asset, fields: UploadFields, owner: str, roots: Roots) -> CreatedAsset:
    """Return a new reference to the content of an asset, or the owner's equal one, which is then kept longer.

    Without the tag of a root it gets the tags that the source has from its place. Raises InvalidTagsError,
    ReservedTagError.
    """
    if source.hash is None:
        raise LookupError("the content of an asset found by its hash is not known")
    name = upload_file_name(fields) if fields.name or fields.file_name else source.name
    given = fields.tags
    category = reference_category(given, roots)
    if not any(tag in ROOT_TAGS for tag in given):
        given = (*split(msgspec.json.decode(source.tags, type=list[str]))[0], *given)
    wanted = typed_tags(given, source.name, category, roots)
    deadline = deadline_of(fields)
    for asset in await assets.of_content(tx, source.hash, owner, own=True):
        tags_ = set(msgspec.json.decode(asset.tags, type=list[str])) - {MISSING_TAG}
        if asset.origin == REFERENCE and (asset.name, tags_) == (name, set(wanted)):
            known = await trash.expiration_of(tx, asset.row_id)
            await trash.put_expiration(tx, asset.row_id, max(known, deadline) if known and deadline else None)
            return CreatedAsset(asset, is_new=False, is_new_content=False)
    facts = Facts(source.hash, source.size, source.metadata or "{}")
    asset = await add_reference(tx, facts, owner, name=name, mime_type=source.mime_type, tags=wanted)
    await trash.put_expiration(tx, asset.row_id, deadline)
    return CreatedAsset(asset, is_new=True, is_new_content=False)


def deadline_of(fields: UploadFields) -> int | None:
    """Return the time (ms since 1970) at which a new asset will be deleted, None if it is kept."""
    return None if fields.expires_in is None else now_ms() + fields.expires_in * 1000


async def add_reference(
    tx: Transaction,
    content: Facts,
    owner: str,
    *,
    name: str,
    mime_type: str,
    tags: tuple[str, ...],
    user_metadata: str | None = None,
) -> Asset:
    """Add an asset of stored content that has no file of its own.

    ``tags`` include those of the root and category, because no location implies them; see ``typed_tags``.
    """
    entry = NewAsset(
        uuid=new_ids(1)[0],
        owner=owner,
        name=name,
        mime_type=mime_type,
        tags=tags,
        origin=REFERENCE,
        created_at=now_ms(),
        user_metadata=user_metadata,
    )
    await assets.add(tx, entry, content.size, content)
    asset = await assets.get(tx, entry.uuid, owner)
    if asset is None:
        raise LookupError("a new reference is not there")
    return asset


async def holds_now(tx: Transaction, asset: Asset) -> bool:
    """Return whether the asset's content is in a file that is on the disk now, as it was when it was read.

    A file that is gone is marked missing.
    """
    if asset.location is None or asset.location.missing:
        return False
    folder, name = asset.location.folder, asset.location.name
    known = await files.stat_at(tx, folder, name)
    if known is None:
        return False
    path = extended_path(folder, name)
    if await asyncio.to_thread(stat_as_recorded, path, known.size, known.mtime_ns) is not None:
        return True
    if await asyncio.to_thread(_is_gone, path):
        touched = await contents.of_assets(tx, [known.file_id])
        await files.mark_missing(tx, [known.file_id])
        await contents.update_missing_references(tx, touched)
    return False


def _is_gone(path: Path) -> bool:
    """Return whether a file has been removed, rather than being on a drive that is away."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path.parent.is_dir()
    except OSError:
        return False
    return False
