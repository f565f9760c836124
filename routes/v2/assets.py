"""Comfy API v2: assets. The SDKs upload, deduplicate by hash, refer to assets in workflows, and download results.

Unlike in the other API, unknown members are null, and outputs of jobs that are no assets of the library are assets too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, UnsetType

from ...comfy_assets.assets.fields import Placement, UploadFields, normalize_tags, parse_placement
from ...comfy_assets.assets.references import CreatedAsset
from ...comfy_assets.errors import (
    ApiError,
    AssetContentMissingError,
    AssetInUseError,
    AssetNotFoundError,
    BlobNotFoundError,
    BodyTooLargeError,
    FileInUseError,
    FileTooLargeError,
    HashMismatchError,
    IdempotencyKeyReuseError,
    InvalidBodyError,
    InvalidHashError,
    InvalidNameError,
    InvalidTagsError,
    NotEnoughSpaceError,
    RangeNotSatisfiableError,
    ReservedTagError,
    StorageError,
    UnsupportedContentError,
)
from ...comfy_assets.ids import hash_text
from ...comfy_assets.jobs.values import JobValue
from ...comfy_assets.models import REFERENCE, Asset
from ..context import NoQuery, RequestContext, endpoint, error_of, json_response, utc_time
from ..file_response import ContentResponse, content_response, disposition, first_byte, is_one_range
from ..operations import (
    BINARY,
    BYTES,
    FORM,
    STORAGE_ERRORS,
    Operation,
    RequestBody,
    Response,
    Route,
    array,
    integer,
    object_with,
    string,
)
from ..params import HASH, HASH_OR_DIGITS_PATTERN, HASH_PATTERN, OptionalTags, Text, doc, parse_body, parse_hash
from ..request_body import STREAMED
from .protocol import IDEMPOTENCY, asset_url, error_members, idempotency_key, is_served, translated, url_expires_at
from .upload_form import LONGEST_S, SHORTEST_S, receive_form

_TAG = "Assets"
_ID = {"id": "The asset's id, a UUID."}
_POST_ASSETS = "postAssets"
_INPUTS = "input/"
_VALUE_HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}


class AssetV2Body(msgspec.Struct):
    """A record of a content: a file of the library, or a reference to content that it has."""

    id: Annotated[str, doc("A UUID.", format="uuid")]
    hash: Annotated[str | None, doc(f"{HASH} Null until the file has been read.", pattern=HASH_PATTERN)]
    size_bytes: Annotated[int, doc("Size of the content in bytes.", format="int64")]
    content_type: Annotated[str, doc("Media type of the content, such as `image/png`.")]
    file_path: Annotated[
        str | None,
        doc(
            "Its path: of an input below the input folder, of all others with the kind of their folder, as in "
            "`models/loras/a.safetensors`."
        ),
    ]
    created_at: Annotated[datetime, doc("Time at which it was added to the library.")]
    url: Annotated[str, doc("Absolute URL of the content.", format="uri")]
    url_expires_at: Annotated[datetime, doc("Time until which the URL is promised to work.")]
    expires_at: Annotated[datetime | None, doc("Time at which it will be deleted; null if it is kept.")]
    job_id: Annotated[str | None, doc("The job that created it.")]
    created_new: Annotated[
        bool | UnsetType, doc("In responses that create it: false if the library had the content already.")
    ] = UNSET


def _asset_body(
    asset: Asset, request: web.Request, expires_at: int | None = None, *, created_new: bool | UnsetType = UNSET
) -> AssetV2Body:
    """Make the body of an asset in the response to a request; ``expires_at`` is in ms since 1970."""
    return AssetV2Body(
        id=asset.id,
        hash=hash_text(asset.hash) if asset.hash is not None else None,
        size_bytes=asset.size,
        content_type=asset.mime_type,
        file_path=_file_path_of(asset),
        created_at=utc_time(asset.created_at),
        url=asset_url(request, asset.id),
        url_expires_at=url_expires_at(),
        expires_at=utc_time(expires_at) if expires_at is not None else None,
        job_id=asset.job_id,
        created_new=created_new,
    )


def _file_path_of(asset: Asset) -> str:
    """Return the path of an asset in the form in which uploads name one. A reference has its own name there."""
    location = asset.location
    if location is None:
        return asset.name
    name = asset.name if asset.origin == REFERENCE else location.name
    return f"{location.logical}/{name}".removeprefix(_INPUTS)


async def _find_value(call: RequestContext[Any], error: AssetNotFoundError) -> JobValue:
    """Return the output with the id of a request for an asset that the library lacks. Raises ``error``."""
    value = await call.services.job_values.find(call.path["id"], call.user)
    if value is None:
        raise error
    return value


def _value_body(value: JobValue, request: web.Request) -> AssetV2Body:
    """Make the body of an output that is no asset of the library."""
    return AssetV2Body(
        id=value.id,
        hash=None,
        size_bytes=value.size,
        content_type=value.mime_type,
        file_path=value.name,
        created_at=utc_time(value.created_at),
        url=asset_url(request, value.id),
        url_expires_at=url_expires_at(),
        expires_at=None,
        job_id=value.job_id,
    )


def _value_content(value: JobValue, request: web.Request) -> web.StreamResponse:
    """Make the response with the content, whole or a range of it."""
    if value.path is not None:
        return content_response(value.path, value.name, value.mime_type, is_inline=True)
    text = value.text or b""
    headers = {
        **_VALUE_HEADERS,
        "Content-Type": f"{value.mime_type}; charset=utf-8",
        "Content-Disposition": disposition("inline", value.name),
    }
    if not is_one_range(request.headers.get(hdrs.RANGE, "")):
        return web.Response(body=text, headers=headers)
    start, stop, _ = request.http_range.indices(len(text))
    if start >= stop:
        refusal = error_of(RangeNotSatisfiableError(f"The content has {len(text)} bytes.", details={"size": len(text)}))
        refusal.headers[hdrs.CONTENT_RANGE] = f"bytes */{len(text)}"
        return refusal
    headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{len(text)}"
    return web.Response(body=text[start:stop], status=206, headers=headers)


class AssetFromHashV2Request(msgspec.Struct, frozen=True, kw_only=True):
    """Body of assetFromHash: the content and the fields of the new asset."""

    hash: Annotated[Text, doc(f"{HASH} The digits alone will do.", pattern=HASH_OR_DIGITS_PATTERN)]
    file_path: Annotated[Text | None, doc("Its path, as in uploads; the name of the content's file if omitted.")] = None
    tags: Annotated[OptionalTags | None, doc("Its tags.")] = None
    expires_in: Annotated[
        Annotated[int, msgspec.Meta(ge=SHORTEST_S, le=LONGEST_S)] | None,
        doc("Number of seconds after which it is deleted; it is kept if omitted."),
    ] = None


@endpoint()
async def post_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset from an uploaded file (postAssets)."""
    services = call.services
    key = idempotency_key(call.request)
    # 0 means that the host's own limit applies.
    limit = services.config.max_upload_size or call.request.client_max_size
    async with (
        services.idempotency.claimed(_POST_ASSETS, key, call.user) as claim,
        receive_form(call.request, services.uploads, limit) as (file, fields),
    ):
        claim.begin()
        created = await services.uploads.complete_handle(file, fields, call.user)
        return await _created(call, created, 201 if created.is_new_content and created.is_new else 200)


@endpoint()
async def asset_from_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Create an asset of content that the library has (assetFromHash)."""
    body = await parse_body(AssetFromHashV2Request, call.request)
    placement = Placement((), (), "")
    if body.file_path is not None:
        placement = parse_placement(body.file_path, "file_path")
    fields = UploadFields(
        tags=normalize_tags((*placement.tags, *(body.tags or ()))),
        file_name=placement.name,
        expires_in=body.expires_in,
    )
    created = await call.services.references.mint(parse_hash(body.hash), fields, call.user)
    return await _created(call, created, 201 if created.is_new else 200)


async def _created(call: RequestContext[NoQuery], created: CreatedAsset, status: int) -> web.Response:
    is_new = created.is_new and created.is_new_content
    return json_response(await _body(call, created.asset, created_new=is_new), status)


async def _body(call: RequestContext[NoQuery], asset: Asset, *, created_new: bool | UnsetType = UNSET) -> AssetV2Body:
    deadline = await call.services.expiry.deadline(asset)
    return _asset_body(asset, call.request, deadline, created_new=created_new)


@endpoint()
async def head_asset_by_hash(call: RequestContext[NoQuery]) -> web.Response:
    """Return whether the user can create an asset of the content with this hash (headAssetByHash)."""
    try:
        digest = parse_hash(call.path["hash"])
    except InvalidHashError:
        return web.Response(status=404)
    found = await call.services.assets.file_of_hash(digest, call.user)
    return web.Response(status=200 if found is not None else 404)


@endpoint()
async def get_asset(call: RequestContext[NoQuery]) -> AssetV2Body:
    """Return an asset (getAsset)."""
    try:
        return await _body(call, await call.services.assets.get(call.path["id"], call.user))
    except AssetNotFoundError as error:
        return _value_body(await _find_value(call, error), call.request)


@endpoint()
async def delete_asset(call: RequestContext[NoQuery]) -> web.Response:
    """Delete an asset, so that it can be restored from the trash (deleteAsset)."""
    await call.services.trash.delete(call.path["id"], call.user, held_by_jobs=True)
    return web.Response(status=204)


@endpoint()
async def get_content(call: RequestContext[NoQuery]) -> web.StreamResponse:
    """Return the asset's content, whole or a range of it (getAssetContent)."""
    try:
        asset, path = await call.services.assets.content(call.path["id"], call.user)
    except AssetNotFoundError as error:
        return _value_content(await _find_value(call, error), call.request)
    first = first_byte(call.request)
    if first is not None and (size := await asyncio.to_thread(_size_of, path)) is not None and first >= size:
        refusal = error_of(RangeNotSatisfiableError(f"The content has {size} bytes.", details={"size": size}))
        refusal.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        return refusal
    return content_response(path, asset.name, asset.mime_type, is_inline=True, kind=_V2ContentResponse)


class _V2ContentResponse(ContentResponse):
    """The content of a file; the refusal of one that another program holds has the form of this API."""

    def refusal_body(self, error: ApiError) -> Mapping[str, Any]:
        return error_members(translated(type(error))[1], error.message)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # removed a moment ago, which the response will find
        return None


_UPLOAD_FORM = object_with(
    {
        "content_type": string("Media type of the content. What the content shows counts more."),
        "file_path": string(
            "Its path: a name for an input, or `models/loras/a.safetensors`, `input/sub/a.png`, `output/a.png`."
        ),
        "file": {**BINARY, "description": "The file, which may be empty. It comes last."},
    },
    expected_hash=string("The blake3 hash that the content must have.", pattern=HASH_OR_DIGITS_PATTERN),
    tags=array({"type": "string"}, "Tags, one field each."),
    expires_in=integer(
        "Number of seconds after which it is deleted; it is kept if omitted.", minimum=SHORTEST_S, maximum=LONGEST_S
    ),
)
_PLACING = (InvalidNameError, InvalidTagsError, InvalidHashError)

ROUTES = [
    Route(
        "POST",
        "/api/v2/assets",
        post_asset,
        Operation(
            _POST_ASSETS,
            _TAG,
            "Upload a file",
            {
                200: Response("An asset of content that the library has already.", AssetV2Body),
                201: Response("The new asset.", AssetV2Body),
            },
            "The file is hashed while it is received. Assets of the same content are deleted apart from each other.",
            headers=IDEMPOTENCY,
            body=RequestBody(_UPLOAD_FORM, FORM),
            errors=(
                *_PLACING,
                InvalidBodyError,
                HashMismatchError,
                IdempotencyKeyReuseError,
                FileTooLargeError,
                BodyTooLargeError,
                UnsupportedContentError,
                NotEnoughSpaceError,
                StorageError,
                *STORAGE_ERRORS,
            ),
        ),
        when=is_served,
        body=STREAMED,
        media="any",
        stores=True,
    ),
    Route(
        "POST",
        "/api/v2/assets/from-hash",
        asset_from_hash,
        Operation(
            "assetFromHash",
            _TAG,
            "Create an asset of existing content",
            {
                200: Response("The equal asset that the user has already.", AssetV2Body),
                201: Response("The new asset.", AssetV2Body),
            },
            body=RequestBody(AssetFromHashV2Request, example={"hash": "blake3:" + "0" * 64, "file_path": "photo.png"}),
            errors=(*_PLACING, ReservedTagError, BlobNotFoundError),
        ),
        when=is_served,
    ),
    Route(
        "HEAD",
        "/api/v2/assets/by-hash/{hash}",
        head_asset_by_hash,
        Operation(
            "headAssetByHash",
            _TAG,
            "Check whether content can be used",
            {
                200: Response("The user can create an asset of it."),
                404: Response("There is no such content for the user."),
            },
            parameters={"hash": {"description": HASH, "pattern": HASH_OR_DIGITS_PATTERN}},
        ),
        when=is_served,
    ),
    Route(
        "GET",
        "/api/v2/assets/{id}",
        get_asset,
        Operation(
            "getAsset",
            _TAG,
            "Get an asset",
            {200: Response("The asset.", AssetV2Body)},
            parameters=_ID,
            errors=(AssetNotFoundError,),
        ),
        when=is_served,
    ),
    Route(
        "DELETE",
        "/api/v2/assets/{id}",
        delete_asset,
        Operation(
            "deleteAsset",
            _TAG,
            "Delete an asset",
            {204: Response("It is deleted.")},
            "The content stays as long as another asset has it. The asset can be restored from the trash.",
            parameters=_ID,
            errors=(AssetNotFoundError, AssetInUseError, StorageError),
        ),
        when=is_served,
    ),
    Route(
        "GET",
        "/api/v2/assets/{id}/content",
        get_content,
        Operation(
            "getAssetContent",
            _TAG,
            "Get the content of an asset",
            {
                200: Response("The content.", BINARY, BYTES, {"ETag": "Entity tag of the file."}),
                206: Response("The range.", BINARY, BYTES, {"Content-Range": "The range, and the size of all."}),
                304: Response("The client's copy is up to date."),
            },
            parameters=_ID,
            headers={"Range": string("One range of bytes: `bytes=0-1023`, `bytes=1024-`, `bytes=-1024`.")},
            errors=(AssetNotFoundError, AssetContentMissingError, RangeNotSatisfiableError, FileInUseError),
        ),
        when=is_served,
    ),
]
