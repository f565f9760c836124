"""Collections of users: create, change, order and delete them. Each user has their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..db import assets, collections
from ..db.connection import Database, Transaction
from ..db.connection_pool import heavy
from ..db.listing.filters import count_visible
from ..errors import (
    AssetNotFoundError,
    CollectionExistsError,
    CollectionFullError,
    CollectionNotFoundError,
    InvalidBodyError,
    UnknownAssetsError,
    VersionConflictError,
)
from ..host.base import Host
from ..ids import canonical_id, new_ids, now_ms
from ..models import Asset, Collection, CollectionEdit, CollectionPage
from ..names import numbered
from .host_files import AssetAliases

MAX_COLLECTIONS = 10_000  # of a user
MAX_MEMBERS = 100_000  # of a collection
TRASH_DAYS = 30  # how long deleted collections can be restored
_DAY_MS = 86_400_000
_NAMED_IDS = 100  # in the details of an error


class ListedCollection(NamedTuple):
    """A collection with the number of its assets, as its owner sees them, and its cover."""

    collection: Collection
    asset_count: int
    cover: Asset | None


class MemberChange(NamedTuple):
    """The result of a change of members: how many were changed, and how many were as wanted already."""

    listed: ListedCollection
    changed: int
    unchanged: int


class CollectionService:
    """The collections of users. Another user's collection does not exist for them.

    A change may name the version that it is based on; it fails with VersionConflictError if that is not the latest.
    """

    def __init__(self, db: Database, host: Host, aliases: AssetAliases) -> None:
        self._db = db
        self._host = host
        self._aliases = aliases

    async def list(self, page: CollectionPage, owner: str) -> tuple[Sequence[ListedCollection], int]:
        """Return a page of a user's collections, and the number of all that match (listCollections)."""
        with heavy():
            found, total = await collections.list_page(self._db, owner, page)
            return await self._listed(found, owner), total

    async def get(self, collection_id: str, owner: str) -> ListedCollection:
        """Return a collection (getCollection). Raises CollectionNotFoundError."""
        [listed] = await self._listed([await require_collection(self._db, collection_id, owner)], owner)
        return listed

    async def _listed(self, found: Sequence[Collection], owner: str) -> Sequence[ListedCollection]:
        counts = await count_visible(self._db, [each.row_id for each in found], owner)
        covers = await assets.get_many(self._db, [each.cover_id for each in found if each.cover_id is not None])
        return [ListedCollection(each, counts.get(each.row_id, 0), covers.get(each.cover_id or "")) for each in found]

    async def asset_ids(self, collection_id: str, owner: str, limit: int) -> Sequence[str]:
        """Return the ids of the first assets of a collection that the user can see. Raises CollectionNotFoundError."""
        collection = await require_collection(self._db, collection_id, owner)
        return await collections.member_ids(self._db, collection.row_id, owner, limit)

    async def create(
        self, name: str, description: str | None, asset_ids: Sequence[str], owner: str
    ) -> ListedCollection:
        """Create a collection of these assets (createCollection).

        Raises CollectionExistsError, CollectionFullError, UnknownAssetsError.
        """
        await self._learn(asset_ids, owner)
        async with self._db.transaction() as tx:
            await _check_name(tx, name, owner)
            if await collections.count(tx, owner) >= MAX_COLLECTIONS:
                raise CollectionFullError(
                    f"A user can have at most {MAX_COLLECTIONS:,} collections.", details={"max": MAX_COLLECTIONS}
                )
            rows = await _visible(tx, asset_ids, owner)
            collection_id, now = new_ids(1)[0], now_ms()
            row_id = await collections.add(tx, collection_id, owner, name, description, now)
            if rows:
                await collections.put(tx, row_id, rows, None, now)
        self._host.emit("collections.changed", {"created": 1})
        return await self.get(collection_id, owner)

    async def update(
        self, collection_id: str, change: CollectionEdit, owner: str, base: int | None = None
    ) -> ListedCollection:
        """Change name, description or cover (updateCollection).

        Raises CollectionNotFoundError, VersionConflictError, CollectionExistsError, AssetNotFoundError for a cover.
        """
        async with self._db.transaction() as tx:
            collection = await _at_version(tx, collection_id, owner, base)
            if change.name is not None and change.name.casefold() != collection.name.casefold():
                await _check_name(tx, change.name, owner)
            if change.cover_id:
                cover = await assets.get(tx, change.cover_id, owner)
                if cover is None:
                    details = {"field": "cover_id", "id": change.cover_id}
                    raise AssetNotFoundError("There is no such asset.", details=details)
                change = CollectionEdit(change.name, change.description, cover.id)
            await collections.edit(tx, collection.row_id, change, now_ms())
        self._host.emit("collections.changed", {"changed": 1})
        return await self.get(collection_id, owner)

    async def delete(self, collection_id: str, owner: str) -> None:
        """Delete a collection so that it can be restored (deleteCollection). Its assets stay."""
        async with self._db.transaction() as tx:
            collection = await require_collection(tx, collection_id, owner)
            await collections.set_deleted(tx, collection.row_id, now_ms())
        self._host.emit("collections.changed", {"deleted": 1})

    async def restore(self, collection_id: str, owner: str) -> ListedCollection:
        """Restore a deleted collection (restoreCollection), under a numbered name if its own is in use."""
        async with self._db.transaction() as tx:
            collection = await require_collection(tx, collection_id, owner, deleted=True)
            name, number = collection.name, 1
            while await collections.by_name(tx, name, owner) is not None:
                number += 1
                name = numbered(collection.name, number)
            if name != collection.name:
                await collections.edit(tx, collection.row_id, CollectionEdit(name=name), now_ms())
            await collections.set_deleted(tx, collection.row_id, None)
        self._host.emit("collections.changed", {"returned": 1})
        return await self.get(collection_id, owner)

    async def add(
        self, collection_id: str, asset_ids: Sequence[str], owner: str, before: str | None = None
    ) -> MemberChange:
        """Add assets at the end, or before a member; those that are members already stay where they are.

        Raises CollectionNotFoundError, UnknownAssetsError, CollectionFullError.
        """
        await self._learn(asset_ids, owner)
        async with self._db.transaction() as tx:
            collection = await require_collection(tx, collection_id, owner)
            rows = await _visible(tx, asset_ids, owner)
            present = await collections.members_among(tx, collection.row_id, rows)
            new = [row for row in rows if row not in present]
            if new:
                at = await _member(tx, collection, before, owner)
                if await collections.size(tx, collection.row_id) + len(new) > MAX_MEMBERS:
                    message = f"A collection can have at most {MAX_MEMBERS:,} assets."
                    raise CollectionFullError(message, details={"max": MAX_MEMBERS})
                await collections.put(tx, collection.row_id, new, at, now_ms())
                await collections.touch(tx, collection.row_id, now_ms())
        return await self._changed(collection_id, owner, len(new), len(present))

    async def remove(self, collection_id: str, asset_ids: Sequence[str], owner: str) -> MemberChange:
        """Remove assets from a collection; those that are no members are skipped. Raises CollectionNotFoundError."""
        async with self._db.transaction() as tx:
            collection = await require_collection(tx, collection_id, owner)
            rows = await collections.visible_rows(tx, asset_ids, owner)
            removed = await collections.remove(tx, collection.row_id, set(rows.values()))
            if removed:
                await collections.touch(tx, collection.row_id, now_ms())
        return await self._changed(collection_id, owner, removed, len(set(asset_ids)) - removed)

    async def move(
        self, collection_id: str, asset_ids: Sequence[str], before: str | None, owner: str, base: int | None = None
    ) -> MemberChange:
        """Put members in this order before another one, or at the end (None).

        Raises CollectionNotFoundError, VersionConflictError, UnknownAssetsError for assets that are no members, and
        InvalidBodyError if the other one is among them.
        """
        async with self._db.transaction() as tx:
            collection = await _at_version(tx, collection_id, owner, base)
            rows = await _visible(tx, asset_ids, owner)
            present = await collections.members_among(tx, collection.row_id, rows)
            if len(present) < len(rows):
                found = await collections.visible_rows(tx, asset_ids, owner)
                raise _unknown([given for given in asset_ids if found[given] not in present], "in the collection")
            at = await _member(tx, collection, before, owner)
            if at in present:
                raise InvalidBodyError("before is one of the assets that are moved.", details={"field": "before"})
            await collections.put(tx, collection.row_id, rows, at, now_ms())
            await collections.touch(tx, collection.row_id, now_ms())
        return await self._changed(collection_id, owner, len(rows), 0)

    async def _changed(self, collection_id: str, owner: str, changed: int, unchanged: int) -> MemberChange:
        if changed:
            self._host.emit("collections.changed", {"changed": 1})
        return MemberChange(await self.get(collection_id, owner), changed, unchanged)

    async def _learn(self, asset_ids: Sequence[str], owner: str) -> None:
        """Look up ids that are not known here: the server may have given them to files."""
        found = await collections.visible_rows(self._db, asset_ids, owner)
        unknown = [asset_id for asset_id in asset_ids if asset_id not in found]
        if unknown:
            await self._aliases.learn(unknown)

    async def purge(self) -> None:
        """Remove the collections that were deleted more than ``TRASH_DAYS`` ago."""
        async with self._db.transaction() as tx:
            await collections.purge(tx, now_ms() - TRASH_DAYS * _DAY_MS)


async def require_collection(
    db: Database | Transaction, collection_id: str, owner: str, *, deleted: bool = False
) -> Collection:
    """Return a user's collection, or a deleted one. Raises CollectionNotFoundError."""
    found = await collections.get(db, canonical_id(collection_id) or "", owner, deleted=deleted)
    if found is None:
        raise CollectionNotFoundError("There is no such collection.", details={"id": collection_id})
    return found


async def add_contents(db: Database, name: str, description: str | None, digests: Sequence[bytes], owner: str) -> None:
    """Add the user's assets of these contents, in this order, to their collection of this name; create it if needed.

    Contents that no asset has are skipped, and so are those beyond the limits.
    """
    async with db.transaction() as tx:
        rows = await collections.of_digests(tx, digests, owner)
        wanted = list(dict.fromkeys(rows[digest] for digest in digests if digest in rows))
        found = await collections.by_name(tx, name, owner)
        if found is None and (not wanted or await collections.count(tx, owner) >= MAX_COLLECTIONS):
            return
        now = now_ms()
        row_id = found.row_id if found else await collections.add(tx, new_ids(1)[0], owner, name, description, now)
        present = await collections.members_among(tx, row_id, wanted)
        room = MAX_MEMBERS - await collections.size(tx, row_id)
        new = [row for row in wanted if row not in present][: max(0, room)]
        if new:
            await collections.put(tx, row_id, new, None, now)
            await collections.touch(tx, row_id, now)


async def _at_version(tx: Transaction, collection_id: str, owner: str, base: int | None) -> Collection:
    collection = await require_collection(tx, collection_id, owner)
    if base is not None and base != collection.version:
        raise VersionConflictError(
            f"The collection has been changed: its version is {collection.version}.",
            details={"base_version": base, "latest_version": collection.version},
        )
    return collection


async def _check_name(tx: Transaction, name: str, owner: str) -> None:
    if await collections.by_name(tx, name, owner) is not None:
        raise CollectionExistsError("There is a collection of this name.", details={"field": "name"})


async def _visible(tx: Transaction, asset_ids: Sequence[str], owner: str) -> list[int]:
    """Return the rows of assets in the order of the ids. Raises UnknownAssetsError."""
    found = await collections.visible_rows(tx, asset_ids, owner)
    unknown = [asset_id for asset_id in asset_ids if asset_id not in found]
    if unknown:
        raise _unknown(unknown, "that you can see")
    return list(dict.fromkeys(found[asset_id] for asset_id in asset_ids))


async def _member(tx: Transaction, collection: Collection, asset_id: str | None, owner: str) -> int | None:
    """Return the row of a member, or None for none. Raises UnknownAssetsError."""
    if asset_id is None:
        return None
    rows = list((await collections.visible_rows(tx, [asset_id], owner)).values())
    if not await collections.members_among(tx, collection.row_id, rows):
        raise _unknown([asset_id], "in the collection", "before")
    return rows[0]


def _unknown(ids: Sequence[str], place: str, field: str = "asset_ids") -> UnknownAssetsError:
    details = {"field": field, "ids": ids[:_NAMED_IDS], "count": len(ids)}
    return UnknownAssetsError(f"There is no such asset {place}: {ids[0]}.", details=details)
