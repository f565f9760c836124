"""Publishing workflows, and what is published, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.assets.media.thumbnail_service import Wanted
from ..comfy_assets.ids import hash_text
from ._share_body import PublishedBody, PublishInfo, library_asset, publish_info, published_body
from .context import Call, endpoint
from .file_response import content_response
from .files import thumbnail
from .params import Ids, NoQuery, Text, parse_body
from .router import Route


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
async def get_publish(call: Call[NoQuery]) -> PublishInfo:
    """What is published of a workflow (getUserdataFilePublish)."""
    return publish_info(await call.services.shares.info(call.path["file"], call.user))


@endpoint()
async def publish(call: Call[NoQuery]) -> PublishInfo:
    """Publish a workflow with assets (postUserdataFilePublish)."""
    body = await parse_body(PublishBody, call.request)
    return publish_info(await call.services.shares.publish(call.path["file"], body.asset_ids, call.user))


@endpoint()
async def withdraw(call: Call[NoQuery]) -> web.Response:
    """Take back what is published of a workflow (an extension)."""
    await call.services.shares.withdraw(call.path["file"], call.user)
    return web.Response(status=204)


@endpoint()
async def get_published(call: Call[NoQuery]) -> PublishedBody:
    """A published workflow (getPublishedWorkflow)."""
    limit = call.services.config.max_workflow_size
    return published_body(await call.services.shares.get(call.path["share_id"], call.user, limit))


@endpoint()
async def import_assets(call: Call[NoQuery]) -> dict[str, Any]:
    """Add assets of a share to the user's library (called by pages; beyond the contract)."""
    body = await parse_body(ImportBody, call.request)
    taken = await call.services.shares.add_to_library(body.share_id, body.published_asset_ids, call.user)
    return {"assets": [library_asset(asset) for asset in taken]}


@endpoint(query=SharedContent, is_for_anybody=True)
async def get_content(call: Call[SharedContent]) -> web.StreamResponse:
    """The bytes of a shared asset, or a thumbnail, for whoever knows the share id (an extension)."""
    share_id, asset_id, shares = call.path["share_id"], call.path["asset_id"], call.services.shares
    if call.query.res is not None:
        snapshot, asset = await shares.asset(share_id, asset_id)
        wanted = Wanted("input", "", hash_text(asset.hash), call.query.res, "flat")
        return await thumbnail(call, wanted, snapshot.owner)
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
