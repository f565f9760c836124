"""Publishing workflows, and what is published, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Raw

from ..comfy_assets.assets.media.mime import has_thumbnail, is_previewable, is_safe_inline
from ..comfy_assets.assets.media.thumbnail_service import ThumbnailRequest
from ..comfy_assets.ids import hash_text
from ..comfy_assets.models import Asset, SharedAsset
from ..comfy_assets.workflows.shares import Publication, VisibleShare
from .asset_body import asset_body, utc_time
from .context import RequestContext, endpoint
from .file_response import content_response
from .files import thumbnail_response
from .params import Ids, NoQuery, Text, parse_body
from .router import Route

_PREVIEW_RES = 512


class AssetInfo(msgspec.Struct, kw_only=True):
    """The contract's AssetInfo. Nothing here is provided by a platform: ``public`` is always false."""

    id: str
    name: str
    preview_url: str
    storage_url: str
    model: bool
    public: bool = False
    in_library: bool


class PublishInfo(msgspec.Struct, kw_only=True):
    """The contract's WorkflowPublishInfo. Never published: no assets, an empty share id, and null for the time."""

    workflow_id: str
    share_id: str = ""
    listed: bool = False
    publish_time: datetime | None = None
    assets: list[AssetInfo] = []


class PublishedBody(msgspec.Struct, kw_only=True):
    """The contract's PublishedWorkflowDetail."""

    share_id: str
    workflow_id: str
    name: str
    listed: bool = False
    publish_time: datetime
    workflow_json: Raw
    assets: list[AssetInfo]


def publish_info(publication: Publication) -> PublishInfo:
    """What is published of a workflow."""
    shared = publication.share
    if shared is None:
        return PublishInfo(workflow_id=publication.workflow_id)
    return PublishInfo(
        workflow_id=publication.workflow_id,
        share_id=shared.snapshot.share_id,
        publish_time=utc_time(shared.snapshot.published_at),
        assets=_assets(shared),
    )


def published_body(shared: VisibleShare) -> PublishedBody:
    """A share, with the workflow."""
    snapshot = shared.snapshot
    return PublishedBody(
        share_id=snapshot.share_id,
        workflow_id=snapshot.workflow_id,
        name=snapshot.name,
        publish_time=utc_time(snapshot.published_at),
        workflow_json=Raw(snapshot.text),
        assets=_assets(shared),
    )


def _assets(shared: VisibleShare) -> list[AssetInfo]:
    share_id = shared.snapshot.share_id
    return [_published(share_id, each, each.id in shared.in_library) for each in shared.snapshot.assets]


def _published(share_id: str, asset: SharedAsset, in_library: bool) -> AssetInfo:
    url = f"/api/workflows/published/{share_id}/assets/{asset.id}/content"
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        preview_url=_preview_url(url, asset.mime_type),
        storage_url=url,
        model=asset.kind == "models",
        in_library=in_library,
    )


def _preview_url(url: str, mime: str) -> str:
    """Where there is a thumbnail, or what a browser plays; nothing otherwise."""
    if has_thumbnail(mime):
        return f"{url}?res={_PREVIEW_RES}"
    return f"{url}?disposition=inline" if is_previewable(mime) and is_safe_inline(mime) else ""


def library_asset(asset: Asset) -> AssetInfo:
    """An asset of the user's library in the same form."""
    body = asset_body(asset)
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        preview_url=body.preview_url if isinstance(body.preview_url, str) else "",
        storage_url=f"/api/assets/{asset.id}/content",
        model="models" in msgspec.json.decode(asset.tags, type=list[str]),
        in_library=True,
    )


class PublishBody(msgspec.Struct, frozen=True):
    """Body of postUserdataFilePublish."""

    asset_ids: Ids


class ImportBody(msgspec.Struct, frozen=True):
    """Body of importPublishedAssets."""

    published_asset_ids: Ids
    share_id: Text


class SharedContent(msgspec.Struct, frozen=True):
    """Query of getPublishedAssetContent; ``res`` asks for a thumbnail of that size."""

    disposition: Literal["attachment", "inline"] = "attachment"
    res: Annotated[int, msgspec.Meta(ge=64, le=1024)] | None = None


@endpoint()
async def get_publish(call: RequestContext[NoQuery]) -> PublishInfo:
    """What is published of a workflow (getUserdataFilePublish)."""
    return publish_info(await call.services.shares.info(call.path["file"], call.user))


@endpoint()
async def publish(call: RequestContext[NoQuery]) -> PublishInfo:
    """Publish a workflow with assets (postUserdataFilePublish)."""
    body = await parse_body(PublishBody, call.request)
    return publish_info(await call.services.shares.publish(call.path["file"], body.asset_ids, call.user))


@endpoint()
async def withdraw(call: RequestContext[NoQuery]) -> web.Response:
    """Take back what is published of a workflow (an extension)."""
    await call.services.shares.withdraw(call.path["file"], call.user)
    return web.Response(status=204)


@endpoint()
async def get_published(call: RequestContext[NoQuery]) -> PublishedBody:
    """A published workflow (getPublishedWorkflow)."""
    limit = call.services.config.max_workflow_size
    return published_body(await call.services.shares.get(call.path["share_id"], call.user, limit))


@endpoint()
async def import_assets(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Add assets of a share to the user's library (called by pages; beyond the contract)."""
    body = await parse_body(ImportBody, call.request)
    taken = await call.services.shares.add_to_library(body.share_id, body.published_asset_ids, call.user)
    return {"assets": [library_asset(asset) for asset in taken]}


@endpoint(query=SharedContent, allow_anonymous=True)
async def get_content(call: RequestContext[SharedContent]) -> web.StreamResponse:
    """The bytes of a shared asset, or a thumbnail, for whoever knows the share id (an extension)."""
    share_id, asset_id, shares = call.path["share_id"], call.path["asset_id"], call.services.shares
    if call.query.res is not None:
        snapshot, asset = await shares.asset(share_id, asset_id)
        wanted = ThumbnailRequest("input", "", hash_text(asset.hash), call.query.res, "flat")
        return await thumbnail_response(call, wanted, snapshot.owner)
    asset, path = await shares.content(share_id, asset_id)
    return content_response(path, asset.name, asset.mime_type, is_inline=call.query.disposition == "inline")


_FILE = "/api/userdata/{file}/publish"
_SHARE = "/api/workflows/published/{share_id}"
ROUTES = [
    Route("GET", _FILE, "getUserdataFilePublish", get_publish),
    Route("POST", _FILE, "postUserdataFilePublish", publish),
    Route("DELETE", _FILE, "deleteUserdataFilePublish", withdraw),
    Route("GET", _SHARE, "getPublishedWorkflow", get_published),
    Route("GET", f"{_SHARE}/assets/{{asset_id}}/content", "getPublishedAssetContent", get_content),
    Route("POST", "/api/assets/import", "importPublishedAssets", import_assets),
]
