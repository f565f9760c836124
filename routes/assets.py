"""The library over HTTP: listing, looking at and reading assets, and keeping the index up to date."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets import cursor
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.assets.tag_rules import normalize_tags
from ..comfy_assets.assets.upload_fields import normalize_name
from ..comfy_assets.errors import InvalidBodyError, InvalidCursorError, InvalidHashError
from ..comfy_assets.models import (
    Asset,
    AssetEdit,
    AssetFilter,
    AssetSort,
    Order,
    Page,
    PageRequest,
    TagOrder,
    TagRequest,
)
from ..comfy_assets.search import words
from .asset_body import AssetBody, asset_body, utc_time
from .context import RequestContext, endpoint
from .file_response import content_response
from .params import (
    FilterText,
    Ids,
    Members,
    NoQuery,
    Offset,
    PageLimit,
    TagLimit,
    Tags,
    Text,
    Words,
    check_tags,
    check_user_metadata,
    parse_body,
    parse_hash,
    parse_metadata_filter,
    parse_preview_id,
)
from .router import Route

_CURSOR_SORTS = ("created_at", "updated_at", "name", "size")
_ROOT_KINDS = {"models", "input", "output"}
_NO_CONTENT = b""  # a digest that no content has


class AssetQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The filters that listings and histograms share. ``q`` is ours, beyond the contract: words to be found."""

    include_tags: Words = ()
    exclude_tags: Words = ()
    name_contains: Text = ""
    q: Text = ""
    metadata_filter: FilterText | None = None
    include_public: bool = True


class ListAssets(AssetQuery, frozen=True, kw_only=True):
    """Parameters of listAssets."""

    limit: PageLimit = 20
    offset: Offset = 0
    sort: AssetSort = "created_at"
    order: Order = "desc"
    hash: Text | None = None
    after: Text | None = None


class Histogram(AssetQuery, frozen=True, kw_only=True):
    """Parameters of getAssetTagHistogram."""

    limit: TagLimit = 100


class Content(msgspec.Struct, frozen=True):
    """Parameters of getAssetContent."""

    disposition: Literal["attachment", "inline"] = "attachment"


class SeedBody(msgspec.Struct, frozen=True):
    """Body of seedAssets: the roots or categories to scan, all when left out."""

    roots: Ids | None = None


class ListAssetsResponse(msgspec.Struct, omit_defaults=True):
    """The contract's page of assets."""

    assets: list[AssetBody]
    total: int
    has_more: bool
    next_cursor: str | None = None


@endpoint(query=ListAssets)
async def list_assets(call: RequestContext[ListAssets]) -> ListAssetsResponse:
    """A page of the library (listAssets)."""
    query = call.query
    wanted = _filter(query, call.user, _digest(query.hash))
    page = await call.services.assets.list(wanted, _page_request(query))
    return ListAssetsResponse(
        [asset_body(asset) for asset in page.items], page.total, page.has_more, _next_cursor(page, query)
    )


@endpoint(query=Histogram)
async def tag_histogram(call: RequestContext[Histogram]) -> dict[str, Any]:
    """The tags of the assets that pass the filters, with counts (getAssetTagHistogram)."""
    counts = await call.services.assets.histogram(_filter(call.query, call.user), call.query.limit)
    return {"tag_counts": {tag.name: tag.count for tag in counts}}


@endpoint()
async def get_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """One asset, with the large metadata that listings leave out (getAssetById)."""
    asset = await call.services.assets.get(call.path["id"], call.user)
    return asset_body(asset, await call.services.assets.documents(asset))


@endpoint(query=Content)
async def get_content(call: RequestContext[Content]) -> web.StreamResponse:
    """The asset's bytes, whole or in ranges (getAssetContent)."""
    asset, path = await call.services.assets.content(call.path["id"], call.user)
    return content_response(path, asset.name, asset.mime_type, is_inline=call.query.disposition == "inline")


@endpoint()
async def check_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Whether content with this hash can be reached (checkAssetByHash)."""
    exists = await call.services.assets.hash_exists(parse_hash(call.path["hash"]), call.user)
    return web.Response(status=200 if exists else 404)


@endpoint()
async def seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Start a scan unless one runs (seedAssets)."""
    body = await parse_body(SeedBody, call.request)
    task, started = call.services.indexer.start_scan(_scan_roots(call, body))
    return {"status": "started" if started else "already_running", "task_id": str(task.id)}


@endpoint()
async def seed_status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """How far the latest scan is (getAssetSeedStatus)."""
    return _status(call)


@endpoint()
async def pause_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Let scans, hashing and following rest (an extension); answers how far they are."""
    call.services.indexer.pause()
    return _status(call)


@endpoint()
async def resume_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Let them go on (an extension); answers how far they are."""
    call.services.indexer.resume()
    return _status(call)


@endpoint()
async def cancel_seed(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Stop the scan and hash run under way (cancelAssetSeed)."""
    return {"status": "cancelling" if call.services.indexer.cancel() else "idle"}


@endpoint()
async def prune(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Mark the assets whose files are no longer there (pruneAssets)."""
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
    """The digest to filter by. The stock frontend also sends file names here: no content has those."""
    try:
        return parse_hash(text) if text else None
    except InvalidHashError:
        return _NO_CONTENT


def _page_request(query: ListAssets) -> PageRequest:
    after = None
    if query.after is not None:
        if query.sort not in _CURSOR_SORTS:
            raise InvalidCursorError(f"sort={query.sort} has no cursors; use offset.", details={"field": "after"})
        after = cursor.decode(query.after, query.sort, query.order)
    return PageRequest(query.sort, query.order, query.limit, query.offset, after)


def _next_cursor(page: Page[Asset], query: ListAssets) -> str | None:
    if page.next_key is None or query.sort not in _CURSOR_SORTS:
        return None
    return cursor.encode(page.next_key, query.sort, query.order)


def _status(call: RequestContext[NoQuery]) -> dict[str, Any]:
    status = call.services.indexer.status()
    if "started_at" in status:
        status["started_at"] = utc_time(status["started_at"])
    return status


def _scan_roots(call: RequestContext[NoQuery], body: SeedBody) -> frozenset[str] | None:
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


class UpdateAssetBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateAsset: at least one member."""

    name: Text | UnsetType = UNSET
    mime_type: Text | UnsetType = UNSET
    preview_id: Text | UnsetType = UNSET
    user_metadata: Members | UnsetType = UNSET


@endpoint()
async def update_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Change an asset's name, type, preview or metadata (updateAsset); answers the whole asset."""
    body = await parse_body(UpdateAssetBody, call.request)
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
async def delete_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Delete an asset, so that it can be restored (deleteAsset)."""
    await call.services.trash.delete(call.path["id"], call.user)
    return web.Response(status=204)


@endpoint()
async def restore_asset(call: RequestContext[NoQuery]) -> AssetBody:
    """Bring back an asset that was deleted (an extension); answers it as it is then."""
    return asset_body(await call.services.trash.restore(call.path["id"], call.user))


class ListTags(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of listTags."""

    prefix: Text = ""
    limit: TagLimit = 100
    offset: Offset = 0
    order: TagOrder = "count_desc"
    include_zero: bool = False
    include_public: bool = True


@endpoint(query=ListTags)
async def list_tags(call: RequestContext[ListTags]) -> dict[str, Any]:
    """The tags in use, with the number of assets that carry each (listTags)."""
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


class TagsBody(msgspec.Struct, frozen=True):
    """Body of addAssetTags and removeAssetTags."""

    tags: Tags


@endpoint()
async def add_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Give an asset tags (addAssetTags)."""
    body = await parse_body(TagsBody, call.request)
    change = await call.services.assets.add_tags(call.path["id"], normalize_tags(body.tags), call.user)
    return {"added": change.changed, "already_present": change.unchanged, "total_tags": change.total}


@endpoint()
async def remove_tags(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Take tags from an asset (removeAssetTags)."""
    body = await parse_body(TagsBody, call.request)
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
    Route("GET", "/api/assets/{id}", "getAssetById", get_asset),
    Route("GET", "/api/assets/{id}/content", "getAssetContent", get_content),
    Route("PUT", "/api/assets/{id}", "updateAsset", update_asset),
    Route("DELETE", "/api/assets/{id}", "deleteAsset", delete_asset),
    Route("POST", "/api/assets/{id}/restore", "restoreAsset", restore_asset),
    Route("POST", "/api/assets/{id}/tags", "addAssetTags", add_tags),
    Route("DELETE", "/api/assets/{id}/tags", "removeAssetTags", remove_tags),
    Route("GET", "/api/tags", "listTags", list_tags),
]
