"""Collections: assets that a user puts together, in an order of their own. Extensions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.collections import MAX_MEMBERS, ListedCollection, MemberChange
from ..comfy_assets.assets.fields import MAX_NAME_LENGTH, normalize_title
from ..comfy_assets.errors import (
    AssetNotFoundError,
    CollectionExistsError,
    CollectionFullError,
    CollectionNotFoundError,
    InvalidBodyError,
    InvalidNameError,
    InvalidQueryError,
    UnknownAssetsError,
    VersionConflictError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import CollectionEdit, CollectionPage
from .asset_body import asset_body
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, RequestBody, Response, Route
from .params import Id, Offset, PageLimit, SortDirection, Text, doc, parse_body

MAX_IDS = 10_000  # of one request
_EXAMPLE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"

AssetIds = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_IDS)]
_BASE_VERSION = doc("The version that is changed: if it is not the latest, the request fails with VERSION_CONFLICT.")
BaseVersion = Annotated[Annotated[int, msgspec.Meta(ge=1, le=2**53)] | UnsetType, _BASE_VERSION]


class CollectionBody(msgspec.Struct, omit_defaults=True):
    """A collection of a user."""

    id: Annotated[str, doc("A UUID.", format="uuid")]
    name: Annotated[str, doc("The name, which no other collection of the user has.")]
    asset_count: Annotated[int, doc("Number of its assets; deleted ones do not count.")]
    version: Annotated[int, doc("A number that grows with every change.")]
    created_at: Annotated[datetime, doc("Time of its creation.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]
    description: Annotated[str | UnsetType, doc("A text of the user.")] = UNSET
    cover_id: Annotated[
        str | UnsetType, doc("The asset whose picture stands for it: the chosen one, or the first.", format="uuid")
    ] = UNSET
    cover_url: Annotated[
        str | UnsetType, doc("URL of that picture, relative to the server's root.", format="uri-reference")
    ] = UNSET


class ListCollectionsResponse(msgspec.Struct):
    """A page of collections."""

    collections: Annotated[list[CollectionBody], doc("The collections, in the requested order.")]
    total: Annotated[int, doc("Number of all that match.")]
    has_more: Annotated[bool, doc("Whether another page follows.")]


class ListCollections(msgspec.Struct, frozen=True, kw_only=True):
    """Query of listCollections."""

    name_contains: Annotated[Text, doc("Only collections whose name contains this text; case does not matter.")] = ""
    asset_id: Annotated[Id, doc("Only collections that have this asset.")] = ""
    sort: Annotated[Literal["name", "created_at", "updated_at"], doc("The field to sort by.")] = "name"
    order: SortDirection = "asc"
    limit: PageLimit = 100
    offset: Offset = 0


class CreateCollectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createCollection."""

    name: Annotated[Text, doc(f"A name of up to {MAX_NAME_LENGTH} characters.")]
    description: Annotated[Text | UnsetType, doc("Any text.")] = UNSET
    asset_ids: Annotated[
        list[Id], msgspec.Meta(max_length=MAX_IDS), doc(f"Up to {MAX_IDS:,} assets, in the order that they shall have.")
    ] = []


class UpdateCollectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateCollection: the members to change, at least one."""

    name: Annotated[Text | UnsetType, doc("A new name.")] = UNSET
    description: Annotated[Text | UnsetType, doc("A new text; an empty one removes it.")] = UNSET
    cover_id: Annotated[
        Id | UnsetType, doc("The asset whose picture stands for the collection; an empty text chooses the first.")
    ] = UNSET
    base_version: BaseVersion = UNSET


class AddToCollectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of addCollectionAssets."""

    asset_ids: Annotated[AssetIds, doc(f"Up to {MAX_IDS:,} assets, in the order that they shall have.")]
    before: Annotated[Id | UnsetType, doc("The member before which they are put; at the end if omitted.")] = UNSET


class RemoveFromCollectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of removeCollectionAssets."""

    asset_ids: Annotated[AssetIds, doc(f"Up to {MAX_IDS:,} assets. Those that are no members are skipped.")]


class MoveInCollectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of moveCollectionAssets."""

    asset_ids: Annotated[AssetIds, doc(f"Up to {MAX_IDS:,} members, in the order that they shall have.")]
    before: Annotated[
        Id | UnsetType, doc("The member before which they are put, none of them; at the end if omitted.")
    ] = UNSET
    base_version: BaseVersion = UNSET


class AddedBody(msgspec.Struct):
    """The result of adding assets to a collection."""

    added: Annotated[int, doc("Number of new members.")]
    already_present: Annotated[int, doc("Number of assets that were members before; they stay where they are.")]
    collection: Annotated[CollectionBody, doc("The collection after the change.")]


class RemovedBody(msgspec.Struct):
    """The result of removing assets from a collection."""

    removed: Annotated[int, doc("Number of assets that were members.")]
    not_present: Annotated[int, doc("Number of assets that were not.")]
    collection: Annotated[CollectionBody, doc("The collection after the change.")]


@endpoint(query=ListCollections)
async def list_collections(call: RequestContext[ListCollections]) -> ListCollectionsResponse:
    """Return a page of the user's collections (listCollections)."""
    query = call.query
    asset_id = canonical_id(query.asset_id) if query.asset_id else None
    if query.asset_id and asset_id is None:
        raise InvalidQueryError("asset_id must be a UUID.", details={"field": "asset_id"})
    page = CollectionPage(query.name_contains, asset_id, query.sort, query.order, query.limit, query.offset)
    found, total = await call.services.collections.list(page, call.user)
    return ListCollectionsResponse([_body(each) for each in found], total, query.offset + len(found) < total)


@endpoint()
async def create_collection(call: RequestContext[NoQuery]) -> web.Response:
    """Create a collection (createCollection)."""
    body = await parse_body(CreateCollectionRequest, call.request)
    ids = await _checked(body.asset_ids)
    description = body.description if body.description is not UNSET else None
    created = await call.services.collections.create(normalize_title(body.name), description or None, ids, call.user)
    return json_response(_body(created), 201)


@endpoint()
async def get_collection(call: RequestContext[NoQuery]) -> CollectionBody:
    """Return a collection (getCollection)."""
    return _body(await call.services.collections.get(call.path["id"], call.user))


@endpoint()
async def update_collection(call: RequestContext[NoQuery]) -> CollectionBody:
    """Change a collection's name, description or cover (updateCollection)."""
    body = await parse_body(UpdateCollectionRequest, call.request)
    change = CollectionEdit(
        name=normalize_title(body.name) if body.name is not UNSET else None,
        description=body.description if body.description is not UNSET else None,
        cover_id=_asset_id(body.cover_id, "cover_id") if body.cover_id is not UNSET else None,
    )
    if change == CollectionEdit():
        raise InvalidBodyError("Give at least one of name, description and cover_id.")
    base = _base(body.base_version)
    return _body(await call.services.collections.update(call.path["id"], change, call.user, base))


@endpoint()
async def delete_collection(call: RequestContext[NoQuery]) -> web.Response:
    """Delete a collection; its assets stay (deleteCollection)."""
    await call.services.collections.delete(call.path["id"], call.user)
    return web.Response(status=204)


@endpoint()
async def restore_collection(call: RequestContext[NoQuery]) -> CollectionBody:
    """Restore a deleted collection (restoreCollection)."""
    return _body(await call.services.collections.restore(call.path["id"], call.user))


@endpoint()
async def add_assets(call: RequestContext[NoQuery]) -> AddedBody:
    """Add assets to a collection (addCollectionAssets)."""
    body = await parse_body(AddToCollectionRequest, call.request)
    ids = await _checked(body.asset_ids)
    before = _asset_id(body.before, "before") if body.before is not UNSET else None
    change = await call.services.collections.add(call.path["id"], ids, call.user, before or None)
    return AddedBody(change.changed, change.unchanged, _body(change.listed))


@endpoint()
async def remove_assets(call: RequestContext[NoQuery]) -> RemovedBody:
    """Remove assets from a collection (removeCollectionAssets)."""
    body = await parse_body(RemoveFromCollectionRequest, call.request)
    change = await call.services.collections.remove(call.path["id"], await _checked(body.asset_ids), call.user)
    return _removed_body(change)


def _removed_body(change: MemberChange) -> RemovedBody:
    return RemovedBody(change.changed, change.unchanged, _body(change.listed))


@endpoint()
async def move_assets(call: RequestContext[NoQuery]) -> CollectionBody:
    """Change the order of a collection (moveCollectionAssets)."""
    body = await parse_body(MoveInCollectionRequest, call.request)
    ids = await _checked(body.asset_ids)
    before = _asset_id(body.before, "before") if body.before is not UNSET else None
    base = _base(body.base_version)
    change = await call.services.collections.move(call.path["id"], ids, before or None, call.user, base)
    return _body(change.listed)


async def _checked(asset_ids: Sequence[str]) -> list[str]:
    """Return distinct ids in canonical form, in their order. Raise InvalidBodyError."""

    def work() -> list[str]:
        found = {asset_id: canonical_id(asset_id) for asset_id in asset_ids}
        wrong = [asset_id for asset_id, canonical in found.items() if canonical is None]
        if wrong:
            details = {"field": "asset_ids", "ids": wrong[:100]}
            raise InvalidBodyError("asset_ids must be UUIDs.", details=details)
        return list(dict.fromkeys(canonical for canonical in found.values() if canonical is not None))

    return await asyncio.to_thread(work)


def _asset_id(text: str, field: str) -> str:
    """Return an id in canonical form, or an empty text. Raise InvalidBodyError."""
    canonical = canonical_id(text) if text else ""
    if canonical is None:
        raise InvalidBodyError(f"{field} must be a UUID.", details={"field": field})
    return canonical


def _base(version: int | UnsetType) -> int | None:
    return version if version is not UNSET else None


def _body(listed: ListedCollection) -> CollectionBody:
    collection = listed.collection
    body = CollectionBody(
        id=collection.id,
        name=collection.name,
        asset_count=listed.asset_count,
        version=collection.version,
        created_at=utc_time(collection.created_at),
        updated_at=utc_time(collection.updated_at),
    )
    if collection.description:
        body.description = collection.description
    if listed.cover is not None:
        shown = asset_body(listed.cover)
        body.cover_id, body.cover_url = shown.id, shown.preview_url
    return body


_ID = {"id": {"description": "The collection's id.", "format": "uuid"}}
_FOUND = {200: Response("The collection.", CollectionBody)}
_CHANGED = {200: Response("The changed collection.", CollectionBody)}

ROUTES = [
    Route(
        "GET",
        "/api/collections",
        list_collections,
        Operation(
            "listCollections", "Collections", "List collections", {200: Response("The page.", ListCollectionsResponse)}
        ),
    ),
    Route(
        "POST",
        "/api/collections",
        create_collection,
        Operation(
            "createCollection",
            "Collections",
            "Create a collection",
            {201: Response("The new collection.", CollectionBody)},
            body=RequestBody(CreateCollectionRequest, example={"name": "Portraits"}),
            errors=(InvalidNameError, UnknownAssetsError, CollectionExistsError, CollectionFullError),
        ),
    ),
    Route(
        "GET",
        "/api/collections/{id}",
        get_collection,
        Operation(
            "getCollection",
            "Collections",
            "Get a collection",
            _FOUND,
            "listAssets with `collection` and `sort=collection` lists its assets.",
            parameters=_ID,
            errors=(CollectionNotFoundError,),
        ),
    ),
    Route(
        "PATCH",
        "/api/collections/{id}",
        update_collection,
        Operation(
            "updateCollection",
            "Collections",
            "Change a collection's name, description or cover",
            _CHANGED,
            parameters=_ID,
            body=RequestBody(UpdateCollectionRequest, example={"name": "Best portraits"}),
            errors=(
                InvalidNameError,
                CollectionNotFoundError,
                AssetNotFoundError,
                CollectionExistsError,
                VersionConflictError,
            ),
        ),
    ),
    Route(
        "DELETE",
        "/api/collections/{id}",
        delete_collection,
        Operation(
            "deleteCollection",
            "Collections",
            "Delete a collection",
            {204: Response("It can be restored for 30 days. Its assets stay.")},
            parameters=_ID,
            errors=(CollectionNotFoundError,),
        ),
    ),
    Route(
        "POST",
        "/api/collections/{id}/restore",
        restore_collection,
        Operation(
            "restoreCollection",
            "Collections",
            "Restore a deleted collection",
            {200: Response("The collection, with a numbered name if another one has its name now.", CollectionBody)},
            parameters=_ID,
            errors=(CollectionNotFoundError,),
        ),
    ),
    Route(
        "POST",
        "/api/collections/{id}/assets",
        add_assets,
        Operation(
            "addCollectionAssets",
            "Collections",
            "Add assets to a collection",
            {200: Response("The result.", AddedBody)},
            f"A collection can have {MAX_MEMBERS:,} assets.",
            parameters=_ID,
            body=RequestBody(AddToCollectionRequest, example={"asset_ids": [_EXAMPLE_ID]}),
            errors=(UnknownAssetsError, CollectionNotFoundError, CollectionFullError),
        ),
    ),
    Route(
        "DELETE",
        "/api/collections/{id}/assets",
        remove_assets,
        Operation(
            "removeCollectionAssets",
            "Collections",
            "Remove assets from a collection",
            {200: Response("The result.", RemovedBody)},
            "The assets themselves stay.",
            parameters=_ID,
            body=RequestBody(RemoveFromCollectionRequest, example={"asset_ids": [_EXAMPLE_ID]}),
            errors=(CollectionNotFoundError,),
        ),
    ),
    Route(
        "POST",
        "/api/collections/{id}/order",
        move_assets,
        Operation(
            "moveCollectionAssets",
            "Collections",
            "Change the order of a collection",
            _CHANGED,
            parameters=_ID,
            body=RequestBody(MoveInCollectionRequest, example={"asset_ids": [_EXAMPLE_ID]}),
            errors=(UnknownAssetsError, CollectionNotFoundError, VersionConflictError),
        ),
    ),
]
