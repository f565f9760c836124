"""References: assets of content that is already in the library, without a file of their own."""

from __future__ import annotations

import asyncio

from ..db import assets
from ..db.assets import NewAsset
from ..db.connection import Database, Transaction
from ..db.contents import Facts
from ..errors import AssetNotFoundError
from ..host.base import Host
from ..ids import new_ids, now_ms
from ..models import MODEL_TYPE_PREFIX, REFERENCE, Asset
from ..names import split_suffix
from .roots import Roots
from .tag_rules import choose_destination
from .upload_fields import CreatedAsset, UploadFields


class ReferenceService:
    """Creates references for ``createAssetFromHash``."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def create(self, digest: bytes, fields: UploadFields, owner: str) -> CreatedAsset:
        """Return an asset of the content with this blake3 digest (createAssetFromHash).

        An asset that the owner already has of that content is returned instead of a new one. Raises
        AssetNotFoundError if the owner can see no asset of the content, InvalidTagsError.
        """
        roots = Roots(await asyncio.to_thread(self._host.folders))
        place = choose_destination(fields.tags, roots)
        async with self._db.transaction() as tx:
            if not await assets.hash_exists(tx, digest, owner):
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
                tags=typed_tags(fields.tags, source.name, place.category, roots),
                user_metadata=fields.user_metadata,
            )
        self._host.emit("assets.changed", {"created": 1})
        return CreatedAsset(asset, is_new=True)


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


def typed_tags(tags: tuple[str, ...], file_name: str, category: str | None, roots: Roots) -> tuple[str, ...]:
    """Return the tags of an asset; for models also the category, and the model type if its loaders accept the file."""
    if category is None:
        return tags
    accepted = roots.suffixes(category)
    loads = not accepted or split_suffix(file_name)[1].lower() in accepted
    typed = (f"{MODEL_TYPE_PREFIX}{category}",) if loads else ()
    return (*(tag for tag in tags if not tag.startswith(MODEL_TYPE_PREFIX)), category, *typed)
