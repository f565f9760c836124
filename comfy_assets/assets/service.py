"""Asset operations of the API: list, read, edit and tag assets, and find their files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from ..db import assets, batches, contents, tags
from ..db.connection import Database, Transaction
from ..db.connection_pool import heavy
from ..db.listing import counts, facets, pages
from ..db.listing.filters import ids_of, is_search, select
from ..errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    InvalidPreviewError,
    InvalidTagsError,
    SelectionTooLargeError,
)
from ..fs.paths import extended
from ..host.base import Host
from ..ids import canonical_id, now_ms
from ..models import (
    MISSING_TAG,
    ZERO_ID,
    Asset,
    AssetEdit,
    AssetFilter,
    DayCount,
    DayRequest,
    FacetCounts,
    FolderCount,
    FolderTreeRequest,
    Generation,
    Page,
    PageRequest,
    TagCount,
    TagRequest,
)
from ..search.generation import READERS, generation_of
from ..search.index import SearchIndex
from ..store_guard import is_protected
from .collections import require_collection
from .fields import MAX_TAGS, check_not_reserved
from .media.mime import guess_mime
from .roots import Roots, absolute
from .uploads import adopt_preview

Filter = TypeVar("Filter", AssetFilter, TagRequest)

_ACCESS_FLUSH_S = 2.0  # access times are collected this long, so that viewing a page of images is one write
_IDS_AT_ONCE = 1000
_MAX_DOCUMENTS = 8 << 20  # bytes of all texts of one asset; a small image can contain far more, compressed


@dataclass(frozen=True)
class TagChange:
    """Result of adding or removing tags: ``total`` lists all tags of the asset afterwards."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    total: tuple[str, ...]


class AssetService:
    """Reads and edits assets. A user sees public assets and their own; any other asset does not exist for them."""

    def __init__(self, db: Database, host: Host, search: SearchIndex) -> None:
        self._db = db
        self._host = host
        self._search = search
        self._accessed: dict[int, int] = {}
        self._flushing: asyncio.Task[None] | None = None

    async def list(self, query: AssetFilter, page: PageRequest) -> Page[Asset]:
        """Return one page of the matching assets. Raises SearchUnavailableError, SearchNotReadyError."""
        await self._prepare(query)
        with heavy(_is_expensive(query)):
            return await assets.list_page(self._db, self._include_public(query), page)

    async def histogram(self, query: AssetFilter, limit: int) -> Sequence[TagCount]:
        """Return the tags of the matching assets with counts, most frequent first.

        Raises SearchUnavailableError, SearchNotReadyError.
        """
        await self._prepare(query)
        with heavy():
            return await counts.histogram(self._db, self._include_public(query), limit)

    async def folders(self, query: AssetFilter, request: FolderTreeRequest) -> tuple[Sequence[FolderCount], bool]:
        """Return a page of the tree of folders, and whether another follows. Assets that are missing do not count.

        Raises SearchUnavailableError, SearchNotReadyError.
        """
        await self._prepare(query)
        present = replace(self._include_public(query), tags_none=(*query.tags_none, MISSING_TAG))
        with heavy(_is_expensive(query)):
            return await facets.folder_tree(self._db, present, request)

    async def facets(self, queries: Mapping[str, AssetFilter]) -> FacetCounts:
        """Count the assets of each facet by its own filter; see ``db.listing.facets``.

        Workflows are left out while too much is not indexed for search. Raises SearchUnavailableError,
        SearchNotReadyError if the filter of the list needs the index.
        """
        await self._prepare(queries["total"])
        wanted = {name: self._include_public(each) for name, each in queries.items()}
        if not await self._search.is_nearly_complete():
            del wanted["with_workflow"]
        elif not _is_by_words(queries["total"]):
            await self._prepare(queries["with_workflow"])
        with heavy():
            return await facets.facets(self._db, wanted)

    async def days(self, query: AssetFilter, request: DayRequest) -> tuple[Sequence[DayCount], int, bool]:
        """Return a page of the days of the matching assets, the number of days, and whether another page follows.

        Raises SearchUnavailableError, SearchNotReadyError.
        """
        await self._prepare(query)
        with heavy(_is_expensive(query)):
            return await facets.days(self._db, self._include_public(query), request)

    async def row_ids(self, query: AssetFilter) -> Sequence[int]:
        """Return the rows of all matching assets. Raises SearchUnavailableError, SearchNotReadyError."""
        await self._prepare(query)
        with heavy():
            selection = await select(self._db, self._include_public(query))
            found = await ids_of(self._db, selection)
        return await asyncio.to_thread(lambda: found.ids.tolist())

    async def in_order(self, rows: Sequence[int], page: PageRequest) -> Sequence[int]:
        """Return rows of assets as a list in the order of ``page`` has them."""
        with heavy():
            return await pages.in_order(self._db, rows, page)

    async def ids(self, query: AssetFilter, most: int) -> Sequence[str]:
        """Return the ids of all matching assets, the oldest first.

        Raises SelectionTooLargeError if there are more than ``most``, SearchUnavailableError, SearchNotReadyError.
        """
        rows = await self.row_ids(query)
        if len(rows) > most:
            raise SelectionTooLargeError(
                f"{len(rows):,} assets match, but at most {most:,} can be selected.",
                details={"count": len(rows), "max": most},
            )
        found: dict[int, str] = {}
        for first in range(0, len(rows), _IDS_AT_ONCE):
            found |= await batches.ids_of(self._db, rows[first : first + _IDS_AT_ONCE])
        return [found[row] for row in rows if row in found]

    async def _prepare(self, query: AssetFilter) -> None:
        """Update the full-text index, so that a search finds assets that were just added or changed.

        Raises CollectionNotFoundError if the filter names a collection that the user does not have.
        """
        if query.collection is not None:
            await require_collection(self._db, query.collection, query.owner)
        if _is_by_words(query):
            await self._search.complete()

    async def list_tags(self, query: TagRequest) -> Page[TagCount]:
        """Return one page of the tags in use, with counts."""
        return await counts.list_tags(self._db, self._include_public(query))

    def _include_public(self, query: Filter) -> Filter:
        """Return the filter; on a server with one user, with public assets included."""
        # The frontend asks for models that are not public. A single user owns those and the public ones.
        return query if self._host.is_multi_user() else replace(query, include_public=True)

    async def get(self, asset_id: str, owner: str) -> Asset:
        """Return the asset. Raises AssetNotFoundError, also for an id that is not a UUID."""
        return await require_asset(self._db, asset_id, owner)

    async def get_with_copies(self, asset_id: str, owner: str) -> Asset:
        """Return the asset with the number of its copies. Raises AssetNotFoundError."""
        return await assets.with_copies(self._db, await self.get(asset_id, owner), owner)

    async def documents(self, asset: Asset) -> dict[str, bytes | None]:
        """Return the documents embedded in the asset's file by key, with None for texts over the size limit.

        A picture without a document of its own has that of the text beside it.
        """
        beside = await contents.text_beside(self._db, asset.row_id)
        own = await contents.documents_of(self._db, asset.hash, _MAX_DOCUMENTS) if asset.hash else {}
        return {**beside, **own}

    async def generation(self, asset: Asset, documents: Mapping[str, bytes | None]) -> Generation:
        """Return the generation data of an asset, from the documents in its file or else from the graph of its job."""
        known = {key: text for key, text in documents.items() if key in READERS and text is not None}
        graph = await contents.graph_of_asset(self._db, asset.row_id) if asset.job_id is not None else None
        if graph is not None:
            known["prompt"] = graph
        return await asyncio.to_thread(generation_of, known)

    async def hash_exists(self, digest: bytes, owner: str) -> bool:
        """Return whether the user can see an asset of this content."""
        return await contents.hash_exists(self._db, digest, owner)

    async def content(self, asset_id: str, owner: str) -> tuple[Asset, Path]:
        """Return the asset and the path of its file, or of another file with the same content.

        Raises AssetNotFoundError, and AssetContentMissingError if no such file exists inside the library.
        """
        asset = await self.get(asset_id, owner)
        for location in (asset.location, await contents.stand_in(self._db, asset.hash) if asset.hash else None):
            if location is None:
                continue
            path = Path(location.folder) / location.name
            if await asyncio.to_thread(self._is_servable, path):
                self._note_access(asset.row_id)
                return asset, Path(extended(str(path)))
        raise _content_missing(asset)

    async def path_of(self, asset_id: str, owner: str) -> Path:
        """Return the path of an asset's file. Raises AssetNotFoundError, AssetContentMissingError."""
        asset = await self.get(asset_id, owner)
        if asset.location is not None:
            path = Path(asset.location.folder) / asset.location.name
            if await asyncio.to_thread(self._is_servable, path):
                return path
        raise _content_missing(asset)

    async def file_of_hash(self, digest: bytes, owner: str) -> tuple[Path, str] | None:
        """Return a file with this content and its media type, or None if the owner sees no such asset or file."""
        if not await contents.hash_exists(self._db, digest, owner):
            return None
        location = await contents.stand_in(self._db, digest)
        path = Path(location.folder, location.name) if location is not None else None
        if path is None or not await asyncio.to_thread(self._is_servable, path):
            return None
        return path, guess_mime(path.name)

    def _is_servable(self, path: Path) -> bool:
        """Return whether the path is a readable file in a folder of the library as configured now."""
        # The folders may have been reconfigured since the file was recorded.
        if Roots(self._host.folders()).place(absolute(path.parent)) is None:
            return False
        found = Path(extended(str(path)))
        return found.is_file() and os.access(found, os.R_OK) and not is_protected(found)

    def _note_access(self, row_id: int) -> None:
        self._accessed[row_id] = now_ms()
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_later(), name="comfy-assets access times")

    async def _flush_later(self) -> None:
        await asyncio.sleep(_ACCESS_FLUSH_S)
        await self._flush()

    async def _flush(self) -> None:
        times, self._accessed = self._accessed, {}
        if times:
            async with self._db.transaction() as tx:
                await assets.record_access(tx, times)

    async def update(self, asset_id: str, change: AssetEdit, owner: str) -> Asset:
        """Change the given fields of an asset (updateAsset). Raises AssetNotFoundError, InvalidPreviewError.

        The file keeps its name and folder.
        """
        if change.preview_id == ZERO_ID:
            raise InvalidPreviewError("The zero UUID names no asset.", details={"field": "preview_id"})
        async with self._db.transaction() as tx:
            asset = await require_asset(tx, asset_id, owner)
            if change.preview_id is not None:
                preview = await assets.get(tx, change.preview_id, owner)
                if preview is None:
                    details = {"field": "preview_id", "id": change.preview_id}
                    raise AssetNotFoundError("There is no such preview asset.", details=details)
                change = replace(change, preview_id=preview.id)  # it may have been named by an alias
                await adopt_preview(tx, asset, preview)
            await assets.edit(tx, asset.row_id, change, now_ms())
            asset = await require_asset(tx, asset_id, owner)  # with the changes
        self._host.emit("assets.changed", {"changed": 1})
        return asset

    async def add_tags(self, asset_id: str, requested: tuple[str, ...], owner: str) -> TagChange:
        """Add normalized tags to an asset (addAssetTags).

        Raises AssetNotFoundError, ReservedTagError, InvalidTagsError.
        """
        async with self._db.transaction() as tx:
            asset = await require_asset(tx, asset_id, owner)
            check_not_reserved(requested, ())
            present = _tags(asset)
            new = tuple(tag for tag in requested if tag not in present)
            if new and len(present) + len(new) > MAX_TAGS:
                raise InvalidTagsError(f"An asset has at most {MAX_TAGS} tags.", details={"field": "tags"})
            return await self._retag(tx, asset, owner, new, requested, add=new)

    async def remove_tags(self, asset_id: str, requested: tuple[str, ...], owner: str) -> TagChange:
        """Remove tags from an asset (removeAssetTags). Raises AssetNotFoundError, ReservedTagError."""
        async with self._db.transaction() as tx:
            asset = await require_asset(tx, asset_id, owner)
            check_not_reserved(requested, await _place_tags(tx, asset))
            present = _tags(asset)
            gone = tuple(tag for tag in requested if tag in present)
            return await self._retag(tx, asset, owner, gone, requested, remove=gone)

    async def _retag(
        self,
        tx: Transaction,
        asset: Asset,
        owner: str,
        changed: tuple[str, ...],
        requested: tuple[str, ...],
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> TagChange:
        if changed:
            await tags.retag(tx, [asset.row_id], add=add, remove=remove)
            await assets.touch(tx, asset.row_id, now_ms())
            await tags.drop_unused_sets(tx)
            asset = await require_asset(tx, asset.id, owner)
            self._host.emit("assets.changed", {"changed": 1})
        return TagChange(changed, tuple(tag for tag in requested if tag not in changed), tuple(_tags(asset)))

    async def close(self) -> None:
        """Write the access times that are still in memory."""
        if self._flushing is not None:
            self._flushing.cancel()
        await self._flush()


def _is_by_words(query: AssetFilter) -> bool:
    """Return whether a filter needs the full-text index of words."""
    return bool(query.words or query.excluded)


def _is_expensive(query: AssetFilter) -> bool:
    """Return whether the filter scans assets or a full-text index instead of an ordinary index."""
    return bool(query.metadata or is_search(query) or query.name_contains or query.made_with)


def parse_id(text: str) -> str:
    """Return an asset id in canonical form. Raises AssetNotFoundError for a text that is not a UUID."""
    asset_id = canonical_id(text)
    if asset_id is None:
        raise not_found(text)
    return asset_id


async def require_asset(db: Database | Transaction, asset_id: str, owner: str) -> Asset:
    """Return the asset. Raises AssetNotFoundError, also for an id that is not a UUID."""
    asset = await assets.get(db, parse_id(asset_id), owner)
    if asset is None:
        raise not_found(asset_id)
    return asset


def not_found(asset_id: str) -> AssetNotFoundError:
    """Return the error for an asset that does not exist or that the user may not see."""
    return AssetNotFoundError("There is no such asset.", details={"id": asset_id})


def _content_missing(asset: Asset) -> AssetContentMissingError:
    return AssetContentMissingError("The asset's file is missing.", details={"id": asset.id})


def _tags(asset: Asset) -> list[str]:
    return msgspec.json.decode(asset.tags, type=list[str])


async def _place_tags(tx: Transaction, asset: Asset) -> set[str]:
    """Return the tags that the asset has because of its file's location."""
    file = await assets.file_of(tx, asset.row_id)
    former = msgspec.json.decode(file.categories, type=list[str]) if file else []
    return tags.place_tags(_tags(asset), former)
