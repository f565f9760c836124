"""The library: lists, content, changes and tags of assets."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.errors import (
    AssetContentMissingError,
    AssetInUseError,
    AssetNotFoundError,
    FileInUseError,
    FileNameTakenError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidHashError,
    InvalidNameError,
    InvalidPreviewError,
    InvalidQueryError,
    InvalidTagsError,
    ReservedTagError,
    StorageError,
    UnknownAssetIdError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import Asset, AssetEdit, AssetFilter, AssetSort, Page, PageRequest, categories_of
from .asset_body import AssetBody, asset_body, generation_body
from .asset_filters import FILTER_ERRORS, FolderQuery, asset_filter
from .context import Function, NoQuery, RequestContext, endpoint
from .file_response import content_response
from .operations import BINARY, BYTES, Operation, Record, RequestBody, Response, Route, array
from .params import (
    HASH,
    HASH_OR_DIGITS_PATTERN,
    After,
    Members,
    Offset,
    PageLimit,
    SortDirection,
    Tags,
    Text,
    check_user_metadata,
    decode_cursor,
    doc,
    encode_cursor,
    parse_body,
    parse_hash,
    parse_preview_id,
)

# Not the time of the last access: it changes while a client pages.
_CURSOR_SORTS = ("created_at", "updated_at", "name", "size", "rating", "kind", "collection")


class ListAssets(FolderQuery, frozen=True, kw_only=True):
    """Query of listAssets."""

    stack: Annotated[
        Literal["job"] | None,
        doc(
            "`job` lists the first of the matching assets of each job for all of them, with their number in `stack`; "
            "`job_id` lists the others. `total` counts stacks."
        ),
    ] = None

    limit: PageLimit = 20
    offset: Offset = 0
    sort: Annotated[AssetSort, doc("The field to sort by.")] = "created_at"
    order: SortDirection = "desc"
    hash: Annotated[
        Text | None,
        doc(
            "Only assets with this content. A text that is no hash is the path of a file below the inputs or outputs, "
            "as loader nodes have it (`sub/photo.png`)."
        ),
    ] = None
    after: After | None = None


class AssetContentQuery(msgspec.Struct, frozen=True):
    """Query of getAssetContent."""

    disposition: Annotated[
        Literal["attachment", "inline"],
        doc("Whether browsers save or display it. Content that can contain scripts is never displayed."),
    ] = "attachment"


class ListAssetsResponse(msgspec.Struct, omit_defaults=True):
    """A page of assets."""

    assets: Annotated[list[AssetBody], doc("The assets, in the requested order.")]
    total: Annotated[int, doc("Number of assets that match the filters.")]
    has_more: Annotated[bool, doc("Whether another page follows.")]
    next_cursor: Annotated[
        str | None, doc("The `after` of the next page; omitted on the last page and in orders without cursors.")
    ] = None


def by_any_id(function: Function) -> Function:
    """Let an operation on one asset accept the ids that the host's own asset feature gives to files.

    They are looked up only for assets that are not found otherwise. Raises UnknownAssetIdError for an id that nobody's
    asset has, if there is only one user: the host, which knows of no owners, may show what it has under the id.
    """

    @functools.wraps(function)
    async def wrapped(call: RequestContext[Any]) -> Any:
        try:
            return await function(call)
        except AssetNotFoundError as error:
            asset_id = str((error.details or {}).get("id", ""))
            aliases = call.services.aliases
            if await aliases.learn([asset_id]):
                return await wrapped(call)
            if call.services.host.is_multi_user() or not await aliases.is_unknown(asset_id):
                raise
            raise UnknownAssetIdError(error.message, details=error.details) from None

    return wrapped


@endpoint(query=ListAssets)
async def list_assets(call: RequestContext[ListAssets]) -> ListAssetsResponse:
    """Return a page of assets (listAssets)."""
    query = call.query
    wanted = list_filter(query, call.user)
    await call.services.outputs_recorded()  # pages ask as soon as a prompt has run
    page = await call.services.assets.list(wanted, page_request(query))
    category = _category(wanted.tags_all)
    return ListAssetsResponse(
        [asset_body(asset, category=category) for asset in page.items],
        page.total,
        page.has_more,
        _next_cursor(page, query),
    )


def list_filter(query: ListAssets, user: str) -> AssetFilter:
    """Return the filter of a list. Raise InvalidQueryError, InvalidTagFilterError."""
    wanted = asset_filter(query, user, *_content(query.hash))
    return wanted if query.stack is None else msgspec.structs.replace(wanted, is_stacked=True)


def _category(tags: Sequence[str]) -> str | None:
    """Return the category of models that a filter asks for by its type, if there is one."""
    found = categories_of(tags)
    return found[0] if len(found) == 1 else None


@endpoint()
@by_any_id
async def get_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Return an asset with the large metadata that listings omit (getAssetById)."""
    asset = await call.services.assets.get_with_copies(call.path["id"], call.user)
    documents = await call.services.assets.documents(asset)
    body = asset_body(asset, documents)
    body.generation = generation_body(await call.services.assets.generation(asset, documents))
    return body


@endpoint(query=AssetContentQuery)
@by_any_id
async def get_content(call: RequestContext[AssetContentQuery]) -> web.StreamResponse:
    """Return the asset's content, whole or a range of it (getAssetContent)."""
    asset, path = await call.services.assets.content(call.path["id"], call.user)
    return content_response(path, asset.name, asset.mime_type, is_inline=call.query.disposition == "inline")


@endpoint()
async def check_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Return whether the user can access content with this hash (checkAssetByHash)."""
    exists = await call.services.assets.hash_exists(parse_hash(call.path["hash"]), call.user)
    # A HEAD request has no body, not even of an error.
    return web.Response(status=200 if exists else 404)


def _content(text: str | None) -> tuple[bytes | None, str | None]:
    """Return the digest, or the path of the file, to filter by.

    ComfyUI's page asks this way for the file of a loader node, and reports it as missing if nothing is found.
    """
    if not text:
        return None, None
    try:
        return parse_hash(text), None
    except InvalidHashError:
        return None, text


def page_request(query: ListAssets) -> PageRequest:
    """Return the page of a list. Raise InvalidCursorError, InvalidQueryError."""
    after = None
    if query.after is not None:
        if query.sort not in _CURSOR_SORTS:
            raise InvalidCursorError(f"sort={query.sort} has no cursors; use offset.", details={"field": "after"})
        after = decode_cursor(query.after, query.sort, query.order)
    collection = canonical_id(query.collection)
    if query.sort == "collection" and collection is None:
        raise InvalidQueryError("sort=collection needs a collection to filter by.", details={"field": "sort"})
    return PageRequest(query.sort, query.order, query.limit, query.offset, after, collection)


def _next_cursor(page: Page[Asset], query: ListAssets) -> str | None:
    if page.next_key is None or query.sort not in _CURSOR_SORTS:
        return None
    return encode_cursor(page.next_key, query.sort, query.order)


class UpdateAssetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateAsset: the members to change, at least one."""

    name: Annotated[Text | UnsetType, doc("A new name. The file keeps its own, unless `rename_file` is true.")] = UNSET
    mime_type: Annotated[Text | UnsetType, doc("Media type of the content, such as `image/png`.")] = UNSET
    preview_id: Annotated[Text | UnsetType, doc("The asset to use as the preview.", format="uuid")] = UNSET
    user_metadata: Annotated[
        Members | UnsetType, doc("Replaces the metadata of the user: up to 64 KiB, 32 levels deep.")
    ] = UNSET
    rename_file: Annotated[
        bool,
        doc(
            "Whether the file, and the sidecars of a model, are renamed as well; with `name` alone. The file keeps its "
            "suffix. An extension."
        ),
    ] = False


@endpoint()
@by_any_id
async def update_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Change an asset's name, type, preview or metadata; return the whole asset (updateAsset)."""
    body = await parse_body(UpdateAssetRequest, call.request)
    if body.rename_file:
        return await _rename_file(call, body)
    change = AssetEdit(
        name=normalize_name(body.name) if body.name is not UNSET else None,
        mime_type=check_mime(body.mime_type) if body.mime_type is not UNSET else None,
        preview_id=parse_preview_id(body.preview_id) if body.preview_id is not UNSET else None,
        user_metadata=check_user_metadata(body.user_metadata) if body.user_metadata is not UNSET else None,
    )
    # An empty change would succeed and set the time of the last change.
    if change == AssetEdit():
        raise InvalidBodyError("Give at least one of name, mime_type, preview_id and user_metadata.")
    return asset_body(await call.services.assets.update(call.path["id"], change, call.user))


async def _rename_file(call: RequestContext[NoQuery], body: UpdateAssetRequest) -> AssetBody:
    others = (body.mime_type, body.preview_id, body.user_metadata)
    if body.name is UNSET or any(member is not UNSET for member in others):
        raise InvalidBodyError("rename_file needs name, and no other member.", details={"field": "rename_file"})
    name = normalize_name(body.name)
    return asset_body(await call.services.renamer.rename(call.path["id"], name, call.user))


class TagsRequest(msgspec.Struct, frozen=True):
    """Body of addAssetTags and removeAssetTags."""

    tags: Annotated[Tags, doc("At least one tag.")]


@endpoint()
@by_any_id
async def add_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Add tags to an asset (addAssetTags)."""
    body = await parse_body(TagsRequest, call.request)
    change = await call.services.assets.add_tags(call.path["id"], normalize_tags(body.tags), call.user)
    return {"added": change.changed, "already_present": change.unchanged, "total_tags": change.total}


@endpoint()
@by_any_id
async def remove_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Remove tags from an asset (removeAssetTags)."""
    body = await parse_body(TagsRequest, call.request)
    change = await call.services.assets.remove_tags(call.path["id"], normalize_tags(body.tags), call.user)
    return {"removed": change.changed, "not_present": change.unchanged, "total_tags": change.total}


ASSET_ID = {"id": {"description": "The asset's id.", "format": "uuid"}}
_TAG_CHANGE = Record(
    "TagsModificationResponse",
    "The result of a change of an asset's tags.",
    {
        "total_tags": array({"type": "string"}, "All tags of the asset after the change."),
        "added": array({"type": "string"}, "Added tags."),
        "already_present": array({"type": "string"}, "Tags that the asset already had."),
        "removed": array({"type": "string"}, "Removed tags."),
        "not_present": array({"type": "string"}, "Tags that the asset did not have."),
    },
    optional=("added", "already_present", "removed", "not_present"),
)

ROUTES = [
    Route(
        "GET",
        "/api/assets",
        list_assets,
        Operation(
            "listAssets",
            "Assets",
            "List assets",
            {200: Response("The page.", ListAssetsResponse)},
            errors=(InvalidCursorError, *FILTER_ERRORS),
        ),
    ),
    Route(
        "HEAD",
        "/api/assets/hash/{hash}",
        check_hash,
        Operation(
            "checkAssetByHash",
            "Assets",
            "Check whether content exists",
            {200: Response("It exists."), 404: Response("It does not exist.")},
            parameters={"hash": {"description": HASH, "pattern": HASH_OR_DIGITS_PATTERN}},
            errors=(InvalidHashError,),
        ),
    ),
    Route(
        "GET",
        "/api/assets/{id}",
        get_asset,
        Operation(
            "getAssetById",
            "Assets",
            "Get an asset",
            {200: Response("The asset, with all metadata.", AssetBody)},
            parameters=ASSET_ID,
            errors=(AssetNotFoundError,),
        ),
        shared=(UnknownAssetIdError,),
    ),
    Route(
        "GET",
        "/api/assets/{id}/content",
        get_content,
        Operation(
            "getAssetContent",
            "Assets",
            "Get an asset's content",
            {
                200: Response("The bytes.", BINARY, BYTES, {"Content-Disposition": "The name to save it under."}),
                206: Response(
                    "The part that the request's `Range` selects.",
                    BINARY,
                    BYTES,
                    {"Content-Range": "The returned range."},
                ),
                304: Response("The client's copy is up to date."),
                412: Response("A condition of the request is not met."),
                416: Response("The requested range does not exist."),
            },
            parameters=ASSET_ID,
            errors=(AssetNotFoundError, AssetContentMissingError, FileInUseError),
        ),
        shared=(UnknownAssetIdError,),
    ),
    Route(
        "PUT",
        "/api/assets/{id}",
        update_asset,
        Operation(
            "updateAsset",
            "Assets",
            "Change an asset's name, type, preview or metadata",
            {200: Response("The changed asset.", AssetBody)},
            parameters=ASSET_ID,
            body=RequestBody(UpdateAssetRequest, example={"name": "Portrait, second try.png"}),
            errors=(
                InvalidNameError,
                InvalidPreviewError,
                AssetNotFoundError,
                AssetContentMissingError,
                AssetInUseError,
                FileNameTakenError,
                StorageError,
            ),
        ),
    ),
    Route(
        "POST",
        "/api/assets/{id}/tags",
        add_tags,
        Operation(
            "addAssetTags",
            "Assets",
            "Add tags to an asset",
            {200: Response("The result.", _TAG_CHANGE)},
            parameters=ASSET_ID,
            body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
            errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
        ),
    ),
    Route(
        "DELETE",
        "/api/assets/{id}/tags",
        remove_tags,
        Operation(
            "removeAssetTags",
            "Assets",
            "Remove tags from an asset",
            {200: Response("The result.", _TAG_CHANGE)},
            parameters=ASSET_ID,
            body=RequestBody(TagsRequest, example={"tags": ["portrait"]}),
            errors=(InvalidTagsError, ReservedTagError, AssetNotFoundError),
        ),
    ),
]
