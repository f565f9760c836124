"""References: assets that a user makes of content that is already there, without a file of their own."""

from __future__ import annotations

import asyncio

from ..clock import now_ms
from ..db import assets, entries
from ..db.connection import Database
from ..db.contents import Facts
from ..db.entries import NewEntry
from ..errors import AssetNotFoundError
from ..host.base import Host
from ..ids import new_ids
from ..models import MODEL_TYPE_PREFIX, REFERENCE
from ..names import split_suffix
from .roots import Roots
from .tag_rules import choose_destination
from .upload_fields import Created, Declared


class References:
    """Makes references."""

    def __init__(self, db: Database, host: Host) -> None:
        self._db = db
        self._host = host

    async def create(self, digest: bytes, declared: Declared, owner: str) -> Created:
        """An asset of the content with this blake3 digest, which the owner can reach (createAssetFromHash).

        An asset of the owner's own with that content is the answer if there is one. Raises AssetNotFoundError,
        InvalidTagsError.
        """
        roots = Roots(await asyncio.to_thread(self._host.folders))
        place = choose_destination(declared.tags, roots)
        async with self._db.transaction() as tx:
            if not await assets.hash_exists(tx, digest, owner):
                raise AssetNotFoundError("There is no content with this hash.", details={"field": "hash"})
            own = await assets.of_content(tx, digest, owner, own=True)
            if own:
                return Created(own[0], is_new=False)
            source = (await assets.of_content(tx, digest, owner, own=False))[0]
            name = declared.name or source.name
            entry = NewEntry(
                uuid=new_ids(1)[0],
                owner=owner,
                name=name,
                mime_type=declared.mime_type or source.mime_type,
                tags=typed_tags(declared.tags, source.name, place.category, roots),
                origin=REFERENCE,
                created_at=now_ms(),
                user_metadata=declared.user_metadata,
            )
            await entries.add(tx, entry, source.size, Facts(digest, source.size, source.metadata or "{}"))
            asset = await assets.get(tx, entry.uuid, owner)
        if asset is None:
            raise LookupError("a new reference is not there")
        self._host.emit("assets.changed", {"created": 1})
        return Created(asset, is_new=True)


def typed_tags(tags: tuple[str, ...], file_name: str, category: str | None, roots: Roots) -> tuple[str, ...]:
    """The tags as given, and for models the type that says which loaders take the file."""
    if category is None:
        return tags
    accepted = roots.suffixes(category)
    loads = not accepted or split_suffix(file_name)[1].lower() in accepted
    typed = (f"{MODEL_TYPE_PREFIX}{category}",) if loads else ()
    return (*(tag for tag in tags if not tag.startswith(MODEL_TYPE_PREFIX)), category, *typed)
