"""New assets: uploaded files, and references to existing content."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import UploadFields, normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import check_mime
from ..comfy_assets.assets.uploads import CreatedAsset
from .asset_body import AssetBody, asset_body
from .context import RequestContext, endpoint, json_response
from .forms import receive_upload
from .params import HASH, HASH_PATTERN, Members, NoQuery, Tags, Text, check_user_metadata, doc, parse_body, parse_hash
from .request_body import STREAMED
from .router import Route


class CreateAssetFromHashRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createAssetFromHash: the content and the fields of the new asset."""

    hash: Annotated[Text, doc(HASH, pattern=HASH_PATTERN)]
    tags: Annotated[Tags, doc("Tags of the new asset.")]
    name: Annotated[Text | UnsetType, doc("Its name; the name of the content's file if omitted.")] = UNSET
    mime_type: Annotated[Text | UnsetType, doc("Media type of the content; determined from the file if omitted.")] = (
        UNSET
    )
    user_metadata: Annotated[Members | UnsetType, doc("Metadata to add to it.")] = UNSET


class AssetCreated(AssetBody, kw_only=True):
    """An asset, and whether it was created by this request."""

    created_new: Annotated[bool, doc("False if the user already had this content: the response is the existing asset.")]


@endpoint()
async def create_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset from an uploaded file (createAsset)."""
    uploads = call.services.uploads
    # 0 means that the host's own limit applies.
    limit = call.services.config.max_upload_size or call.request.client_max_size
    async with receive_upload(call.request, uploads, limit) as (draft, declared):
        return _created_response(await uploads.complete(draft, declared, call.user))


@endpoint()
async def create_from_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset from existing content (createAssetFromHash)."""
    body = await parse_body(CreateAssetFromHashRequest, call.request)
    declared = UploadFields(
        tags=normalize_tags(body.tags),
        name=normalize_name(body.name) if body.name is not UNSET else None,
        mime_type=check_mime(body.mime_type) if body.mime_type is not UNSET else None,
        user_metadata=check_user_metadata(body.user_metadata) if body.user_metadata is not UNSET else None,
    )
    return _created_response(await call.services.references.create(parse_hash(body.hash), declared, call.user))


def _created_response(created: CreatedAsset) -> web.Response:
    members = msgspec.structs.asdict(asset_body(created.asset))
    return json_response(AssetCreated(**members, created_new=created.is_new), 201 if created.is_new else 200)


ROUTES = [
    Route("POST", "/api/assets", "createAsset", create_asset, body=STREAMED, media="any"),
    Route("POST", "/api/assets/from-hash", "createAssetFromHash", create_from_hash),
]
