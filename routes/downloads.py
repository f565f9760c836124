"""Downloads of files from other servers: facts about a link, and new assets from links."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import guess_mime
from ..comfy_assets.assets.references import CreatedAsset
from ..comfy_assets.downloads.service import DownloadRequest, RemoteMetadata
from ..comfy_assets.downloads.sources import SourceProblem
from ..comfy_assets.errors import (
    AddressNotAllowedError,
    ApiError,
    DownloadsDisabledError,
    InvalidLinkError,
    InvalidNameError,
    InvalidPreviewError,
    InvalidTagsError,
    NotEnoughSpaceError,
    SourceError,
    SourceForbiddenError,
    SourceInterruptedError,
    SourceKeyDeniedError,
    SourceKeyInvalidError,
    SourceKeyNeededError,
    SourceMetadataError,
    SourceNotFoundError,
    SourceRateLimitError,
    SourceServerError,
    SourceTimeoutError,
    SourceUnreachableError,
    StorageError,
    StorageQuotaError,
    TooManyDownloadsError,
    UnknownSourceHostError,
    UnsafePickleError,
    UnsafeVirusError,
    UnsupportedContentError,
)
from .asset_body import AssetCreated, created_response
from .context import NoQuery, RequestContext, endpoint, json_response
from .operations import Operation, RequestBody, Response, Route
from .params import Id, Members, OptionalTags, Text, check_user_metadata, doc, parse_body, parse_preview_id

# What can go wrong at the other server.
SOURCE_ERRORS: tuple[type[ApiError], ...] = (
    SourceError,
    UnknownSourceHostError,
    SourceKeyNeededError,
    SourceKeyInvalidError,
    SourceKeyDeniedError,
    SourceForbiddenError,
    SourceNotFoundError,
    SourceRateLimitError,
    SourceServerError,
    SourceTimeoutError,
    SourceUnreachableError,
    SourceInterruptedError,
    SourceMetadataError,
    UnsafePickleError,
    UnsafeVirusError,
)
LINK_ERRORS = (InvalidLinkError, AddressNotAllowedError, DownloadsDisabledError, StorageError)
_EXAMPLE = "https://huggingface.co/owner/repository/blob/main/model.safetensors"


class RemoteMetadataQuery(msgspec.Struct, frozen=True):
    """Query of getRemoteAssetMetadata."""

    url: Annotated[Text, doc("A page of a file at Hugging Face or Civitai, or the address of any file.")]


class LinkProblem(msgspec.Struct):
    """A reason why a file cannot or should not be downloaded."""

    code: Annotated[str, doc("A code for programs.")]
    message: Annotated[str, doc("A sentence for people.")]
    field: Annotated[str, doc("The member that it is about.")]


class LinkValidation(msgspec.Struct):
    """Whether the file can be downloaded."""

    is_valid: Annotated[bool, doc("False if there are errors.")]
    errors: Annotated[list[LinkProblem], doc("Reasons why the file cannot be downloaded.")]
    warnings: Annotated[list[LinkProblem], doc("Reasons to be careful.")]


class RemoteMetadataResponse(msgspec.Struct):
    """Facts about the file behind a link."""

    content_length: Annotated[int, doc("Its size in bytes, rounded for some providers; 0 if it is unknown.")]
    final_url: Annotated[str, doc("The address that will be downloaded, without its query.")]
    content_type: Annotated[str, doc("Its media type.")]
    filename: Annotated[str, doc("The name of the file.")]
    name: Annotated[str, doc("The name of the model, or of the file.")]
    tags: Annotated[list[str], doc("Tags of its likely location, such as `models` and `loras`.")]
    validation: Annotated[LinkValidation, doc("Whether it can be downloaded.")]
    preview_image: Annotated[str | UnsetType, doc("A picture of the provider, as a data URL.")] = UNSET


class DownloadAssetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createAssetDownload."""

    source_url: Annotated[Text, doc("The link, as for `GET /api/assets/remote-metadata`.")]
    tags: Annotated[OptionalTags, doc("Tags of the new asset; they choose its folder, as for uploads.")] = []
    user_metadata: Annotated[Members | UnsetType, doc("Metadata to add to it.")] = UNSET
    preview_id: Annotated[Id | UnsetType, doc("The asset to use as the preview.")] = UNSET


class CreateAssetFromLinkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """JSON body of createAsset: a link to the file, and the fields of the new asset."""

    url: Annotated[Text, doc("The link, as for `GET /api/assets/remote-metadata`.")]
    name: Annotated[Text | UnsetType, doc("Its name; the name of the file if omitted.")] = UNSET
    tags: Annotated[OptionalTags, doc("Tags of the new asset; they choose its folder.")] = []
    user_metadata: Annotated[Members | UnsetType, doc("Metadata to add to it.")] = UNSET
    preview_id: Annotated[Id | UnsetType, doc("The asset to use as the preview.")] = UNSET


class AssetDownloadResponse(msgspec.Struct):
    """A download that has been accepted."""

    task_id: Annotated[str, doc("The id of its task.", format="uuid")]
    status: Annotated[Literal["created", "running"], doc("Its state.")]
    message: Annotated[str, doc("A sentence for people.")]


@endpoint(query=RemoteMetadataQuery)
async def remote_metadata(call: RequestContext[RemoteMetadataQuery]) -> RemoteMetadataResponse:
    """Return the facts about the file behind a link (getRemoteAssetMetadata)."""
    return _metadata_body(await call.services.downloads.metadata(call.query.url, call.user))


@endpoint()
async def create_download(call: RequestContext[NoQuery]) -> web.Response:
    """Start a download, or return the asset if the library has the file (createAssetDownload)."""
    body = await parse_body(DownloadAssetRequest, call.request)
    started = await call.services.downloads.start(_request_of(body.source_url, body, None), call.user)
    if isinstance(started, CreatedAsset):
        return created_response(started)
    accepted = AssetDownloadResponse(str(started.task_id), "created", "The download has been accepted.")
    return json_response(accepted, 202)


async def create_from_link(call: RequestContext[NoQuery]) -> web.Response:
    """Download a file and return its asset, as the JSON form of createAsset."""
    body = await parse_body(CreateAssetFromLinkRequest, call.request)
    name = normalize_name(body.name) if body.name is not UNSET else None
    return created_response(await call.services.downloads.fetch(_request_of(body.url, body, name), call.user))


def _request_of(url: str, body: DownloadAssetRequest | CreateAssetFromLinkRequest, name: str | None) -> DownloadRequest:
    metadata: dict[str, Any] = {}
    if body.user_metadata is not UNSET:
        check_user_metadata(body.user_metadata)
        metadata = body.user_metadata
    return DownloadRequest(
        url=url.strip(),
        tags=normalize_tags(body.tags),
        name=name,
        user_metadata=metadata,
        preview_id=parse_preview_id(body.preview_id) if body.preview_id is not UNSET else None,
    )


def _metadata_body(found: RemoteMetadata) -> RemoteMetadataResponse:
    source = found.source
    errors = [_problem(each) for each in found.problems if each.is_fatal]
    warnings = [_problem(each) for each in found.problems if not each.is_fatal]
    return RemoteMetadataResponse(
        content_length=source.size or 0,
        final_url=source.url.partition("?")[0],
        content_type=source.content_type or guess_mime(source.name),
        filename=source.name,
        name=str(source.facts.get("name") or source.name),
        tags=list(found.tags),
        validation=LinkValidation(not errors, errors, warnings),
        preview_image=found.preview if found.preview is not None else UNSET,
    )


def _problem(problem: SourceProblem) -> LinkProblem:
    return LinkProblem(problem.code, problem.message, problem.field)


ROUTES = [
    Route(
        "GET",
        "/api/assets/remote-metadata",
        remote_metadata,
        Operation(
            "getRemoteAssetMetadata",
            "Assets",
            "Get the facts about the file behind a link",
            {200: Response("Name, size and likely location of the file.", RemoteMetadataResponse)},
            "Pages of files at Hugging Face and of models at Civitai lead to the file. Nothing is stored.",
            errors=(*LINK_ERRORS, *SOURCE_ERRORS),
        ),
    ),
    Route(
        "POST",
        "/api/assets/download",
        create_download,
        Operation(
            "createAssetDownload",
            "Assets",
            "Download a file from another server",
            {
                200: Response(
                    "The existing asset: the library has a file with the hash that the provider states.", AssetCreated
                ),
                202: Response("The download has been accepted; its task has the progress.", AssetDownloadResponse),
            },
            "The file becomes an asset when it is complete and has the hash that the provider states. One file at a"
            " time is downloaded from each host. A second request for the same file and folder meanwhile returns the"
            " same task.",
            body=RequestBody(DownloadAssetRequest, example={"source_url": _EXAMPLE, "tags": ["models", "checkpoints"]}),
            errors=(
                *LINK_ERRORS,
                InvalidTagsError,
                InvalidNameError,
                InvalidPreviewError,
                UnsupportedContentError,
                TooManyDownloadsError,
                NotEnoughSpaceError,
                StorageQuotaError,
                *SOURCE_ERRORS,
            ),
        ),
    ),
]
