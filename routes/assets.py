"""The library: lists, content and changes of assets, tags, and scans of the folders."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.errors import (
    AssetNotFoundError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidHashError,
    UnknownAssetIdError,
)
from ..comfy_assets.models import (
    Asset,
    AssetEdit,
    AssetFilter,
    AssetSort,
    Page,
    PageRequest,
    TagOrder,
    TagRequest,
)
from ..comfy_assets.search import words
from .asset_body import AssetBody, asset_body, utc_time
from .context import Function, RequestContext, endpoint
from .file_response import content_response
from .params import (
    After,
    FilterText,
    Ids,
    Members,
    NoQuery,
    Offset,
    PageLimit,
    SearchText,
    SortDirection,
    TagLimit,
    Tags,
    Text,
    TextList,
    check_tags,
    check_user_metadata,
    decode_cursor,
    doc,
    encode_cursor,
    parse_body,
    parse_hash,
    parse_metadata_filter,
    parse_preview_id,
)
from .router import Route

_CURSOR_SORTS = ("created_at", "updated_at", "name", "size")
_ROOT_KINDS = {"models", "input", "output"}
_NO_CONTENT = b""  # the digest of no content


class AssetQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of listings and histograms. ``q``, a full-text search, is an extension."""

    include_tags: Annotated[TextList, doc("Only assets that have all of these tags.")] = ()
    exclude_tags: Annotated[TextList, doc("Only assets that have none of these tags.")] = ()
    name_contains: Annotated[Text, doc("Only assets whose name contains this text; case does not matter.")] = ""
    q: SearchText = ""
    metadata_filter: Annotated[
        FilterText | None,
        doc("A JSON object: members of the metadata, each with the value, or a list of values, that it may have."),
    ] = None
    include_public: Annotated[bool, doc("Whether to include assets that belong to no user.")] = True


class ListAssets(AssetQuery, frozen=True, kw_only=True):
    """Query of listAssets."""

    limit: PageLimit = 20
    offset: Offset = 0
    sort: Annotated[AssetSort, doc("The field to sort by.")] = "created_at"
    order: SortDirection = "desc"
    hash: Annotated[Text | None, doc("Only assets with this content. A malformed hash matches nothing.")] = None
    after: After | None = None


class TagHistogramQuery(AssetQuery, frozen=True, kw_only=True):
    """Query of getAssetTagHistogram."""

    limit: TagLimit = 100


class AssetContentQuery(msgspec.Struct, frozen=True):
    """Query of getAssetContent."""

    disposition: Annotated[
        Literal["attachment", "inline"],
        doc("Whether browsers save or display it. Content that can contain scripts is never displayed."),
    ] = "attachment"


class SeedAssetsRequest(msgspec.Struct, frozen=True):
    """Body of seedAssets: the folders to scan."""

    roots: Annotated[Ids | None, doc("`models`, `input`, `output`, or model categories; all folders if omitted.")] = (
        None
    )


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
    wanted = _filter(query, call.user, _digest(query.hash))
    await call.services.outputs_recorded()  # pages ask as soon as a prompt has run
    page = await call.services.assets.list(wanted, _page_request(query))
    return ListAssetsResponse(
        [asset_body(asset) for asset in page.items], page.total, page.has_more, _next_cursor(page, query)
    )


@endpoint(query=TagHistogramQuery)
async def tag_histogram(call: RequestContext[TagHistogramQuery]) -> dict[str, Any]:
    """Count the tags of the assets that match the filters (getAssetTagHistogram)."""
    counts = await call.services.assets.histogram(_filter(call.query, call.user), call.query.limit)
    return {"tag_counts": {tag.name: tag.count for tag in counts}}


@endpoint()
@by_any_id
async def get_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Return an asset with the large metadata that listings omit (getAssetById)."""
    asset = await call.services.assets.get(call.path["id"], call.user)
    return asset_body(asset, await call.services.assets.documents(asset))


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
    return web.Response(status=200 if exists else 404)


@endpoint()
async def seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Start a scan unless one is running (seedAssets)."""
    body = await parse_body(SeedAssetsRequest, call.request)
    task, started = call.services.indexer.start_scan(_scan_roots(call, body))
    return {"status": "started" if started else "already_running", "task_id": str(task.id)}


@endpoint()
async def seed_status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the progress of the latest scan (getAssetSeedStatus)."""
    return _status(call)


@endpoint()
async def pause_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Pause scans, hashing and watching; return their progress (pauseAssetSeed, an extension)."""
    call.services.indexer.pause()
    return _status(call)


@endpoint()
async def resume_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Resume scans, hashing and watching; return their progress (resumeAssetSeed, an extension)."""
    call.services.indexer.resume()
    return _status(call)


@endpoint()
async def cancel_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Cancel the running scan and hash run (cancelAssetSeed)."""
    return {"status": "cancelling" if call.services.indexer.cancel() else "idle"}


@endpoint()
async def prune(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Mark the assets whose files no longer exist (pruneAssets)."""
    return {"status": "completed", "marked": await call.services.indexer.prune()}


def _filter(query: AssetQuery, user: str, digest: bytes | None = None) -> AssetFilter:
    return AssetFilter(
        owner=user,
        include_public=query.include_public,
        include_tags=check_tags("include_tags", query.include_tags),
        exclude_tags=check_tags("exclude_tags", query.exclude_tags),
        name_contains=query.name_contains,
        words=words.parse_query(query.q),
        metadata=parse_metadata_filter(query.metadata_filter),
        hash=digest,
    )


def _digest(text: str | None) -> bytes | None:
    """Return the digest to filter by. The stock frontend also sends file names, which match no content."""
    try:
        return parse_hash(text) if text else None
    except InvalidHashError:
        return _NO_CONTENT


def _page_request(query: ListAssets) -> PageRequest:
    after = None
    if query.after is not None:
        if query.sort not in _CURSOR_SORTS:
            raise InvalidCursorError(f"sort={query.sort} has no cursors; use offset.", details={"field": "after"})
        after = decode_cursor(query.after, query.sort, query.order)
    return PageRequest(query.sort, query.order, query.limit, query.offset, after)


def _next_cursor(page: Page[Asset], query: ListAssets) -> str | None:
    if page.next_key is None or query.sort not in _CURSOR_SORTS:
        return None
    return encode_cursor(page.next_key, query.sort, query.order)


def _status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    status = call.services.indexer.status()
    if "started_at" in status:
        status["started_at"] = utc_time(status["started_at"])
    return status


def _scan_roots(call: RequestContext[NoQuery], body: SeedAssetsRequest) -> frozenset[str] | None:
    if body.roots is None:
        return None
    names = Roots(call.services.host.folders()).names()
    known = {name: name for name in names} | {f"models/{name}": name for name in names - _ROOT_KINDS}
    unknown = [root for root in body.roots if root.strip("/") not in known]
    if unknown or not body.roots:
        raise InvalidBodyError(
            "roots must name roots (models, input, output) or model categories.",
            details={"field": "roots", "unknown": unknown},
        )
    return frozenset(known[root.strip("/")] for root in body.roots)


class UpdateAssetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateAsset: the members to change, at least one."""

    name: Annotated[Text | UnsetType, doc("A new name. The file keeps its own.")] = UNSET
    mime_type: Annotated[Text | UnsetType, doc("Media type of the content, such as `image/png`.")] = UNSET
    preview_id: Annotated[Text | UnsetType, doc("The asset to use as the preview.", format="uuid")] = UNSET
    user_metadata: Annotated[
        Members | UnsetType, doc("Replaces the metadata of the user: up to 64 KiB, 32 levels deep.")
    ] = UNSET


@endpoint()
@by_any_id
async def update_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Change an asset's name, type, preview or metadata; return the whole asset (updateAsset)."""
    body = await parse_body(UpdateAssetRequest, call.request)
    change = AssetEdit(
        name=normalize_name(body.name) if body.name is not UNSET else None,
        mime_type=check_mime(body.mime_type) if body.mime_type is not UNSET else None,
        preview_id=parse_preview_id(body.preview_id) if body.preview_id is not UNSET else None,
        user_metadata=check_user_metadata(body.user_metadata) if body.user_metadata is not UNSET else None,
    )
    if change == AssetEdit():
        raise InvalidBodyError("Give at least one of name, mime_type, preview_id and user_metadata.")
    return asset_body(await call.services.assets.update(call.path["id"], change, call.user))


@endpoint()
@by_any_id
async def delete_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Move an asset to the trash (deleteAsset)."""
    await call.services.trash.delete(call.path["id"], call.user)
    return web.Response(status=204)


@endpoint()
@by_any_id
async def restore_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Restore a deleted asset and return it (restoreAsset, an extension)."""
    return asset_body(await call.services.trash.restore(call.path["id"], call.user))


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Query of listTags."""

    prefix: Annotated[Text, doc("Only tags that begin with this text.")] = ""
    limit: TagLimit = 100
    offset: Offset = 0
    order: Annotated[TagOrder, doc("By the number of assets, the highest first, or by name.")] = "count_desc"
    include_zero: Annotated[bool, doc("Whether to include tags that no asset has any more.")] = False
    include_public: Annotated[bool, doc("Whether to count assets that belong to no user.")] = True


@endpoint(query=ListTags)
async def list_tags(call: RequestContext[ListTags]) -> dict[str, Any]:
    """Return a page of tags with the number of assets of each (listTags)."""
    query = call.query
    page = await call.services.assets.list_tags(
        TagRequest(
            call.user,
            include_public=query.include_public,
            prefix=query.prefix,
            include_zero=query.include_zero,
            order=query.order,
            limit=query.limit,
            offset=query.offset,
        )
    )
    return {
        "tags": [{"name": tag.name, "count": tag.count} for tag in page.items],
        "total": page.total,
        "has_more": page.has_more,
    }


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


ROUTES = [
    Route("GET", "/api/assets", "listAssets", list_assets),
    Route("GET", "/api/assets/tags/refine", "getAssetTagHistogram", tag_histogram),
    Route("HEAD", "/api/assets/hash/{hash}", "checkAssetByHash", check_hash),
    Route("POST", "/api/assets/prune", "pruneAssets", prune),
    Route("POST", "/api/assets/seed", "seedAssets", seed),
    Route("POST", "/api/assets/seed/cancel", "cancelAssetSeed", cancel_seed),
    Route("POST", "/api/assets/seed/pause", "pauseAssetSeed", pause_seed),
    Route("POST", "/api/assets/seed/resume", "resumeAssetSeed", resume_seed),
    Route("GET", "/api/assets/seed/status", "getAssetSeedStatus", seed_status),
    Route("GET", "/api/assets/{id}", "getAssetById", get_asset, shared=(UnknownAssetIdError,)),
    Route("GET", "/api/assets/{id}/content", "getAssetContent", get_content, shared=(UnknownAssetIdError,)),
    Route("PUT", "/api/assets/{id}", "updateAsset", update_asset),
    Route("DELETE", "/api/assets/{id}", "deleteAsset", delete_asset),
    Route("POST", "/api/assets/{id}/restore", "restoreAsset", restore_asset),
    Route("POST", "/api/assets/{id}/tags", "addAssetTags", add_tags),
    Route("DELETE", "/api/assets/{id}/tags", "removeAssetTags", remove_tags),
    Route("GET", "/api/tags", "listTags", list_tags),
]
