"""The library over HTTP: listing, looking at and reading assets, and keeping the index up to date."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets import cursor
from ..comfy_assets.assets.roots import Roots
from ..comfy_assets.errors import InvalidBodyError, InvalidCursorError, InvalidHashError
from ..comfy_assets.models import Asset, AssetFilter, AssetSort, Order, Page, PageRequest
from ..comfy_assets.search import words
from .asset_body import AssetBody, asset_body, utc_time
from .context import Call, endpoint
from .file_response import content_response
from .params import (
    FilterText,
    Ids,
    NoQuery,
    Offset,
    PageLimit,
    TagLimit,
    Text,
    Words,
    check_tags,
    parse_body,
    parse_hash,
    parse_metadata_filter,
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
async def list_assets(call: Call[ListAssets]) -> ListAssetsResponse:
    """A page of the library (listAssets)."""
    query = call.query
    wanted = _filter(query, call.user, _digest(query.hash))
    page = await call.services.assets.list(wanted, _page_request(query))
    return ListAssetsResponse(
        [asset_body(asset) for asset in page.items], page.total, page.has_more, _next_cursor(page, query)
    )


@endpoint(query=Histogram)
async def tag_histogram(call: Call[Histogram]) -> dict[str, Any]:
    """The tags of the assets that pass the filters, with counts (getAssetTagHistogram)."""
    counts = await call.services.assets.histogram(_filter(call.query, call.user), call.query.limit)
    return {"tag_counts": {tag.name: tag.count for tag in counts}}


@endpoint()
async def get_asset(call: Call[NoQuery]) -> AssetBody:
    """One asset, with the large metadata that listings leave out (getAssetById)."""
    asset = await call.services.assets.get(call.path["id"], call.user)
    return asset_body(asset, await call.services.assets.documents(asset))


@endpoint(query=Content)
async def get_content(call: Call[Content]) -> web.StreamResponse:
    """The asset's bytes, whole or in ranges (getAssetContent)."""
    asset, path = await call.services.assets.content(call.path["id"], call.user)
    return content_response(path, asset.name, asset.mime_type, is_inline=call.query.disposition == "inline")


@endpoint()
async def check_hash(call: Call[NoQuery]) -> web.Response:
    """Whether content with this hash can be reached (checkAssetByHash)."""
    exists = await call.services.assets.hash_exists(parse_hash(call.path["hash"]), call.user)
    return web.Response(status=200 if exists else 404)


@endpoint()
async def seed(call: Call[NoQuery]) -> dict[str, Any]:
    """Start a scan unless one runs (seedAssets)."""
    body = await parse_body(SeedBody, call.request)
    task, started = call.services.indexer.start_scan(_scan_roots(call, body))
    return {"status": "started" if started else "already_running", "task_id": str(task.id)}


@endpoint()
async def seed_status(call: Call[NoQuery]) -> dict[str, Any]:
    """How far the latest scan is (getAssetSeedStatus)."""
    return _status(call)


@endpoint()
async def pause_seed(call: Call[NoQuery]) -> dict[str, Any]:
    """Let scans, hashing and following rest (an extension); answers how far they are."""
    call.services.indexer.pause()
    return _status(call)


@endpoint()
async def resume_seed(call: Call[NoQuery]) -> dict[str, Any]:
    """Let them go on (an extension); answers how far they are."""
    call.services.indexer.resume()
    return _status(call)


@endpoint()
async def cancel_seed(call: Call[NoQuery]) -> dict[str, Any]:
    """Stop the scan and hash run under way (cancelAssetSeed)."""
    return {"status": "cancelling" if call.services.indexer.cancel() else "idle"}


@endpoint()
async def prune(call: Call[NoQuery]) -> dict[str, Any]:
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


def _status(call: Call[NoQuery]) -> dict[str, Any]:
    status = call.services.indexer.status()
    if "started_at" in status:
        status["started_at"] = utc_time(status["started_at"])
    return status


def _scan_roots(call: Call[NoQuery], body: SeedBody) -> frozenset[str] | None:
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
]
