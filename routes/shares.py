"""Publication of workflows with their assets, and access to published ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Raw

from ..comfy_assets.assets.media.decoders import has_thumbnail
from ..comfy_assets.assets.media.mime import is_previewable, is_safe_inline
from ..comfy_assets.assets.media.thumbnail_service import ThumbnailRequest
from ..comfy_assets.errors import (
    AssetContentMissingError,
    AssetNotFoundError,
    ImageTooLargeError,
    ImageUnreadableError,
    NoThumbnailError,
    PublishedTooLargeError,
    ShareNotFoundError,
    UnauthorizedError,
    UnknownAssetsError,
    UnshareableAssetsError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
)
from ..comfy_assets.ids import hash_text
from ..comfy_assets.json_limits import LARGE
from ..comfy_assets.models import Asset, SharedAsset
from ..comfy_assets.workflows.shares import MAX_ASSETS, Publication, VisibleShare
from .asset_body import asset_body
from .context import NoQuery, RequestContext, endpoint, is_outsider, utc_time
from .file_response import content_response
from .files import thumbnail_response
from .operations import BINARY, Operation, Record, RequestBody, Response, Route, array
from .params import ANY_OBJECT, Id, Text, doc, parse_body
from .request_body import MIB, BodyLimit

_PREVIEW_RES = 512  # longer side in pixels
_AssetIds = Annotated[list[Id], msgspec.Meta(max_length=MAX_ASSETS)]
_WORKFLOW_ID = doc("The workflow's id.")
_SHARE_ID = doc("The id that it is published under; empty if it is not published.")
# Always false: a server of one's own has no public list of workflows.
_LISTED = doc("Whether others can find it without its id.")
_PUBLISH_TIME = doc("Time of its last publication; null if it is not published.")
_OPEN = doc("Whether everybody who knows the id can read it without signing in, while the login is on.")
_ASSETS = doc("The assets published with it, with `in_library` for the requesting user.")


class AssetInfo(msgspec.Struct, kw_only=True):
    """An asset of a published workflow, or its counterpart in the library."""

    id: Annotated[str, doc("Its id in the share, or in the library.")]
    name: Annotated[str, doc("Its name.")]
    preview_url: Annotated[str, doc("URL of a preview, relative to the server's root; empty if there is none.")]
    storage_url: Annotated[str, doc("URL of its content, relative to the server's root.")]
    model: Annotated[bool, doc("Whether it is a model.")]
    public: Annotated[bool, doc("Whether a platform provides it: always false here.")] = False
    in_library: Annotated[bool, doc("Whether the user has its content.")]


class WorkflowPublishInfo(msgspec.Struct, kw_only=True):
    """The publication of a workflow."""

    workflow_id: Annotated[str, _WORKFLOW_ID]
    share_id: Annotated[str, _SHARE_ID] = ""
    listed: Annotated[bool, _LISTED] = False
    publish_time: Annotated[datetime | None, _PUBLISH_TIME] = None
    open: Annotated[bool, _OPEN] = False
    assets: Annotated[list[AssetInfo], _ASSETS] = []


class PublishedWorkflowDetail(msgspec.Struct, kw_only=True):
    """A published workflow."""

    share_id: Annotated[str, _SHARE_ID]
    workflow_id: Annotated[str, _WORKFLOW_ID]
    name: Annotated[str, doc("Its name.")]
    listed: Annotated[bool, _LISTED] = False
    publish_time: Annotated[datetime, _PUBLISH_TIME]
    workflow_json: Annotated[Raw, doc("The workflow at the time it was published.", **ANY_OBJECT)]
    assets: Annotated[list[AssetInfo], _ASSETS]


def publish_info(publication: Publication) -> WorkflowPublishInfo:
    """Make the body of a workflow's publication."""
    shared = publication.share
    if shared is None:
        return WorkflowPublishInfo(workflow_id=publication.workflow_id)
    return WorkflowPublishInfo(
        workflow_id=publication.workflow_id,
        share_id=shared.snapshot.share_id,
        publish_time=utc_time(shared.snapshot.published_at),
        open=shared.snapshot.is_open,
        assets=_assets(shared),
    )


def published_body(shared: VisibleShare) -> PublishedWorkflowDetail:
    """Make the body of a share with its workflow."""
    snapshot = shared.snapshot
    return PublishedWorkflowDetail(
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
    """Return the URL of a thumbnail, or of a file that browsers play; "" if there is neither."""
    if has_thumbnail(mime):
        return f"{url}?res={_PREVIEW_RES}"
    return f"{url}?disposition=inline" if is_previewable(mime) and is_safe_inline(mime) else ""


def library_asset(asset: Asset) -> AssetInfo:
    """Make the AssetInfo of an asset of the user's library."""
    body = asset_body(asset)
    return AssetInfo(
        id=asset.id,
        name=asset.name,
        preview_url=body.preview_url if isinstance(body.preview_url, str) else "",
        storage_url=f"/api/assets/{asset.id}/content",
        model="models" in msgspec.json.decode(asset.tags, type=list[str]),
        in_library=True,
    )


class PublishWorkflowAssetsRequest(msgspec.Struct, frozen=True):
    """Body of postUserdataFilePublish: the assets to publish with the workflow."""

    asset_ids: Annotated[_AssetIds, doc("Assets of the library.")]
    open: Annotated[
        bool | None,
        doc(
            "Whether everybody who knows the id can read it without signing in. If omitted, this stays as it was; at"
            " first, it is false."
        ),
    ] = None


class ImportPublishedAssetsRequest(msgspec.Struct, frozen=True):
    """Body of importPublishedAssets: the assets to import."""

    published_asset_ids: Annotated[_AssetIds, doc("Ids of assets in the share.")]
    share_id: Annotated[Text, doc("The share.")]


class WorkflowApiAssetsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of postAssetsFromWorkflow: a workflow."""

    workflow_api_json: Annotated[Raw, doc("The graph, in the format of prompts or as the page saves it.", **ANY_OBJECT)]
    owned: Annotated[bool | None, doc("Only assets of the user (true), or only public ones (false).")] = None


class SharedContentQuery(msgspec.Struct, frozen=True):
    """Query of getPublishedAssetContent; ``res`` requests a thumbnail."""

    disposition: Annotated[
        Literal["attachment", "inline"],
        doc("Whether browsers save or display it. Content that can contain scripts is never displayed."),
    ] = "attachment"
    res: Annotated[
        Annotated[int, msgspec.Meta(ge=64, le=1024)] | None, doc("Longer side of a thumbnail, in pixels.")
    ] = None


@endpoint()
async def get_publish(call: RequestContext[NoQuery]) -> WorkflowPublishInfo:
    """Return the publication of a workflow (getUserdataFilePublish)."""
    return publish_info(await call.services.shares.info(call.path["file"], call.user))


@endpoint()
async def publish(call: RequestContext[NoQuery]) -> WorkflowPublishInfo:
    """Publish a workflow with assets (postUserdataFilePublish)."""
    body = await parse_body(PublishWorkflowAssetsRequest, call.request)
    shares = call.services.shares
    return publish_info(await shares.publish(call.path["file"], body.asset_ids, call.user, is_open=body.open))


@endpoint()
async def withdraw(call: RequestContext[NoQuery]) -> web.Response:
    """Withdraw the publication of a workflow (deleteUserdataFilePublish, an extension)."""
    await call.services.shares.withdraw(call.path["file"], call.user)
    return web.Response(status=204)


@endpoint(allow_anonymous=True)
async def get_published(call: RequestContext[NoQuery]) -> PublishedWorkflowDetail:
    """Return a published workflow (getPublishedWorkflow); without signing in if it is open."""
    if not call.user and not is_outsider(call.request):
        raise UnauthorizedError("The server does not know this user.")
    # Checked again, as it may have been lowered since the publication.
    limit = call.services.config.max_workflow_size
    shared = await call.services.shares.get(call.path["share_id"], call.user, limit)
    if is_outsider(call.request):  # who learns nothing of the library, not even of what is public in it
        shared = replace(shared, in_library=frozenset())
    return published_body(shared)


@endpoint()
async def import_assets(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Add assets of a share to the user's library (importPublishedAssets, an extension that pages call)."""
    body = await parse_body(ImportPublishedAssetsRequest, call.request)
    taken = await call.services.shares.add_to_library(body.share_id, body.published_asset_ids, call.user)
    return {"assets": [library_asset(asset) for asset in taken]}


@endpoint()
async def find_assets(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the assets that a workflow needs (postAssetsFromWorkflow)."""
    body = await parse_body(WorkflowApiAssetsRequest, call.request)
    needed = await call.services.shares.assets_needed(bytes(body.workflow_api_json), call.user, owned=body.owned)
    return {"assets": [library_asset(asset) for asset in needed]}


@endpoint(query=SharedContentQuery, allow_anonymous=True)
async def get_content(call: RequestContext[SharedContentQuery]) -> web.StreamResponse:
    """Return the content or a thumbnail of a published asset (getPublishedAssetContent, an extension).

    Knowledge of the share id is enough: no user is needed.
    """
    share_id, asset_id, shares = call.path["share_id"], call.path["asset_id"], call.services.shares
    if call.query.res is not None:
        snapshot, asset = await shares.asset(share_id, asset_id)
        # By its hash, as its file may have moved since the publication.
        wanted = ThumbnailRequest("input", "", hash_text(asset.hash), call.query.res, "flat")
        return await thumbnail_response(call, wanted, snapshot.owner)
    asset, path = await shares.content(share_id, asset_id)
    return content_response(path, asset.name, asset.mime_type, is_inline=call.query.disposition == "inline")


_IMPORTED = Record(
    "ImportPublishedAssetsResponse", "The imported assets.", {"assets": array(AssetInfo, "The assets of the library.")}
)
_FILE_PARAMETER = {"file": "The workflow's path among the user's files, such as `workflows%2Fportrait.json`."}
_SHARE_PARAMETER = {"share_id": "The id that it is published under."}
_WORKFLOW_ERRORS = (WorkflowNotFoundError, WorkflowForbiddenError)

_GRAPH = BodyLimit(lambda config: config.max_workflow_size + MIB, LARGE)
_FILE = "/api/userdata/{file}/publish"
_SHARE = "/api/workflows/published/{share_id}"
ROUTES = [
    Route(
        "GET",
        _FILE,
        get_publish,
        Operation(
            "getUserdataFilePublish",
            "Sharing",
            "Get the publication of a workflow",
            {200: Response("The publication.", WorkflowPublishInfo)},
            parameters=_FILE_PARAMETER,
            errors=_WORKFLOW_ERRORS,
        ),
    ),
    Route(
        "POST",
        _FILE,
        publish,
        Operation(
            "postUserdataFilePublish",
            "Sharing",
            "Publish a workflow",
            {200: Response("The publication.", WorkflowPublishInfo)},
            "A publication never changes; publishing again replaces it under the same id.",
            parameters=_FILE_PARAMETER,
            body=RequestBody(PublishWorkflowAssetsRequest, example={"asset_ids": []}),
            errors=(*_WORKFLOW_ERRORS, UnknownAssetsError, UnshareableAssetsError),
        ),
    ),
    Route(
        "DELETE",
        _FILE,
        withdraw,
        Operation(
            "deleteUserdataFilePublish",
            "Sharing",
            "Withdraw the publication of a workflow",
            {204: Response("It is no longer published.")},
            parameters=_FILE_PARAMETER,
            errors=(*_WORKFLOW_ERRORS, ShareNotFoundError),
        ),
    ),
    Route(
        "GET",
        _SHARE,
        get_published,
        Operation(
            "getPublishedWorkflow",
            "Sharing",
            "Get a published workflow",
            {200: Response("The workflow and its assets.", PublishedWorkflowDetail)},
            parameters=_SHARE_PARAMETER,
            errors=(ShareNotFoundError, PublishedTooLargeError),
        ),
        shared=(ShareNotFoundError,),
    ),
    Route(
        "GET",
        f"{_SHARE}/assets/{{asset_id}}/content",
        get_content,
        Operation(
            "getPublishedAssetContent",
            "Sharing",
            "Get the content of a published asset, or a thumbnail",
            {
                200: Response("The content; with `res` a JPEG.", BINARY, "*/*"),
                206: Response("The part that the request's `Range` selects.", BINARY, "*/*"),
                304: Response("The client's copy is up to date."),
                412: Response("A condition of the request is not met."),
                416: Response("The requested range does not exist."),
            },
            "Knowledge of the share's id is enough: no user is needed.",
            parameters={
                **_SHARE_PARAMETER,
                "asset_id": "The asset's id in the share.",
            },
            errors=(
                ShareNotFoundError,
                AssetNotFoundError,
                AssetContentMissingError,
                NoThumbnailError,
                ImageTooLargeError,
                ImageUnreadableError,
            ),
            is_open=True,
        ),
        shared=(ShareNotFoundError,),
    ),
    Route(
        "POST",
        "/api/assets/from-workflow",
        find_assets,
        Operation(
            "postAssetsFromWorkflow",
            "Sharing",
            "List the assets that a workflow needs",
            {200: Response("The assets of the library.", _IMPORTED)},
            "Pages ask before they publish a workflow.",
            body=RequestBody(WorkflowApiAssetsRequest),
        ),
        body=_GRAPH,
    ),
    Route(
        "POST",
        "/api/assets/import",
        import_assets,
        Operation(
            "importPublishedAssets",
            "Sharing",
            "Import the assets of a published workflow",
            {200: Response("The assets of the library.", _IMPORTED)},
            "Content that the user already has is not stored twice.",
            body=RequestBody(ImportPublishedAssetsRequest),
            errors=(ShareNotFoundError, UnknownAssetsError, AssetContentMissingError),
        ),
    ),
]
