"""Changes to assets over HTTP."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.upload_fields import checked_name
from ..comfy_assets.errors import InvalidBodyError
from ..comfy_assets.models import AssetEdit
from .asset_body import AssetBody, asset_body
from .context import Call, endpoint
from .params import Members, NoQuery, Text, check_user_metadata, parse_body, parse_preview_id
from .router import Route


class UpdateBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateAsset: at least one member."""

    name: Text | UnsetType = UNSET
    mime_type: Text | UnsetType = UNSET
    preview_id: Text | UnsetType = UNSET
    user_metadata: Members | UnsetType = UNSET


@endpoint()
async def update_asset(call: Call[NoQuery]) -> AssetBody:
    """Change an asset's name, type, preview or metadata (updateAsset); answers the whole asset."""
    body = await parse_body(UpdateBody, call.request)
    change = AssetEdit(
        name=checked_name(body.name) if body.name is not UNSET else None,
        mime_type=check_mime(body.mime_type) if body.mime_type is not UNSET else None,
        preview_id=parse_preview_id(body.preview_id) if body.preview_id is not UNSET else None,
        user_metadata=check_user_metadata(body.user_metadata) if body.user_metadata is not UNSET else None,
    )
    if change == AssetEdit():
        raise InvalidBodyError("Give at least one of name, mime_type, preview_id and user_metadata.")
    return asset_body(await call.services.assets.update(call.path["id"], change, call.user))


@endpoint()
async def delete_asset(call: Call[NoQuery]) -> web.Response:
    """Delete an asset, so that it can be restored (deleteAsset)."""
    await call.services.trash.delete(call.path["id"], call.user)
    return web.Response(status=204)


@endpoint()
async def restore_asset(call: Call[NoQuery]) -> AssetBody:
    """Bring back an asset that was deleted (an extension); answers it as it is then."""
    return asset_body(await call.services.trash.restore(call.path["id"], call.user))


ROUTES = [
    Route("PUT", "/api/assets/{id}", "updateAsset", update_asset),
    Route("DELETE", "/api/assets/{id}", "deleteAsset", delete_asset),
    Route("POST", "/api/assets/{id}/restore", "restoreAsset", restore_asset),
]
