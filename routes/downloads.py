"""Downloads of files from other servers: facts about a link, new assets from links, and keys for providers.

The values of keys are accepted and never returned.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.assets.fields import normalize_name, normalize_tags
from ..comfy_assets.assets.media.mime import guess_mime
from ..comfy_assets.assets.references import CreatedAsset
from ..comfy_assets.downloads.secrets import PROVIDER_LABELS, SecretRecord
from ..comfy_assets.downloads.service import DownloadRequest, RemoteMetadata
from ..comfy_assets.downloads.sources import SourceProblem
from ..comfy_assets.errors import (
    AddressNotAllowedError,
    ApiError,
    DownloadsDisabledError,
    DuplicateProviderError,
    DuplicateSecretNameError,
    InvalidBodyError,
    InvalidLinkError,
    InvalidNameError,
    InvalidPreviewError,
    InvalidProviderError,
    InvalidTagsError,
    NotEnoughSpaceError,
    SecretNotFoundError,
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
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, Record, RequestBody, Response, Route, array
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
_KeyName = Annotated[Text, doc("A name for people, 1 to 255 characters.")]
_KeyValue = Annotated[Text, doc("The key. It is sent to its provider and never returned.", writeOnly=True)]


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


class CreateSecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createSecret."""

    name: _KeyName
    secret_value: _KeyValue
    provider: Annotated[Text | None, doc("The provider that the key is for: `huggingface` or `civitai`.")] = None
    credential_type: Annotated[Literal["api_key"], doc("The kind of the key.")] = "api_key"

    def __repr__(self) -> str:
        return "CreateSecretRequest(…)"


class UpdateSecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateSecret: new values; omitted ones stay."""

    name: _KeyName | UnsetType = UNSET
    secret_value: _KeyValue | UnsetType = UNSET

    def __repr__(self) -> str:
        return "UpdateSecretRequest(…)"


class SecretResponse(msgspec.Struct):
    """A stored key, without its value."""

    id: Annotated[str, doc("The key's id.", format="uuid")]
    name: Annotated[str, doc("A name for people.")]
    provider: Annotated[str, doc("The provider that the key is for.")]
    credential_type: Annotated[Literal["api_key"], doc("The kind of the key.")]
    created_at: Annotated[datetime, doc("Time of its creation.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]
    last_used_at: Annotated[datetime | UnsetType, doc("Time of its last use, up to an hour old.")] = UNSET


class CredentialOption(msgspec.Struct):
    """A way to enter a key."""

    credential_type: Annotated[Literal["api_key"], doc("The kind of the key.")]
    input_type: Annotated[Literal["text"], doc("How it is entered.")]
    label: Annotated[str, doc("A label for people.")]


class SecretProvider(msgspec.Struct):
    """A provider for which a key can be stored."""

    id: Annotated[str, doc("The provider's id.")]
    label: Annotated[str, doc("Its name.")]
    credential_options: Annotated[list[CredentialOption], doc("How its keys are entered.")]


@endpoint()
async def list_secrets(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the user's keys without their values (listSecrets)."""
    return {"data": [_secret_body(each) for each in await call.services.secrets.list(call.user)]}


@endpoint()
async def list_providers(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the providers for which keys can be stored (listSecretProviders)."""
    return {
        "data": [
            SecretProvider(provider, label, [CredentialOption("api_key", "text", "API key")])
            for provider, label in PROVIDER_LABELS.items()
        ]
    }


@endpoint()
async def create_secret(call: RequestContext[NoQuery]) -> web.Response:
    """Store a key (createSecret)."""
    body = await parse_body(CreateSecretRequest, call.request)
    created = await call.services.secrets.create(call.user, body.name, body.provider, body.secret_value)
    return json_response(_secret_body(created), 201)


@endpoint()
async def get_secret(call: RequestContext[NoQuery]) -> SecretResponse:
    """Return a key without its value (getSecret)."""
    return _secret_body(await call.services.secrets.get(call.path["id"], call.user))


@endpoint()
async def update_secret(call: RequestContext[NoQuery]) -> SecretResponse:
    """Change the name or the value of a key (updateSecret)."""
    body = await parse_body(UpdateSecretRequest, call.request)
    if body.name is UNSET and body.secret_value is UNSET:
        raise InvalidBodyError("Give name or secret_value.")
    name = None if body.name is UNSET else body.name
    value = None if body.secret_value is UNSET else body.secret_value
    return _secret_body(await call.services.secrets.update(call.path["id"], call.user, name, value))


@endpoint()
async def delete_secret(call: RequestContext[NoQuery]) -> web.Response:
    """Remove a key (deleteSecret)."""
    await call.services.secrets.delete(call.path["id"], call.user)
    return web.Response(status=204)


def _secret_body(record: SecretRecord) -> SecretResponse:
    return SecretResponse(
        id=record.id,
        name=record.name,
        provider=record.provider,
        credential_type="api_key",
        created_at=utc_time(record.created_at),
        updated_at=utc_time(record.updated_at),
        last_used_at=UNSET if record.last_used_at is None else utc_time(record.last_used_at),
    )


_SECRETS = Record("SecretListResponse", "The user's keys.", {"data": array(SecretResponse, "The keys, oldest first.")})
_PROVIDERS = Record(
    "SecretProvidersResponse", "The providers.", {"data": array(SecretProvider, "The providers of keys.")}
)
_SECRET_ID = {"id": {"description": "The key's id.", "format": "uuid"}}
_SECRET_ERRORS = (InvalidBodyError, DuplicateSecretNameError, StorageError)


def _update_route(method: str, operation_id: str, summary: str) -> Route:
    return Route(
        method,
        "/api/secrets/{id}",
        update_secret,
        Operation(
            operation_id,
            "Secrets",
            summary,
            {200: Response("The changed key.", SecretResponse)},
            parameters=_SECRET_ID,
            body=RequestBody(UpdateSecretRequest, example={"name": "Hugging Face"}),
            errors=(*_SECRET_ERRORS, SecretNotFoundError),
        ),
    )


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
    Route(
        "GET",
        "/api/secrets",
        list_secrets,
        Operation(
            "listSecrets",
            "Secrets",
            "List the user's keys without their values",
            {200: Response("The keys.", _SECRETS)},
            errors=(StorageError,),
        ),
    ),
    Route(
        "POST",
        "/api/secrets",
        create_secret,
        Operation(
            "createSecret",
            "Secrets",
            "Store a key for downloads from a provider",
            {201: Response("The new key.", SecretResponse)},
            "A user has at most one key for each provider.",
            body=RequestBody(
                CreateSecretRequest, example={"name": "Hugging Face", "provider": "huggingface", "secret_value": "hf_…"}
            ),
            errors=(*_SECRET_ERRORS, InvalidProviderError, DuplicateProviderError),
        ),
    ),
    Route(
        "GET",
        "/api/secrets/providers",
        list_providers,
        Operation(
            "listSecretProviders",
            "Secrets",
            "List the providers for which keys can be stored",
            {200: Response("The providers.", _PROVIDERS)},
        ),
    ),
    Route(
        "GET",
        "/api/secrets/{id}",
        get_secret,
        Operation(
            "getSecret",
            "Secrets",
            "Get a key without its value",
            {200: Response("The key.", SecretResponse)},
            parameters=_SECRET_ID,
            errors=(SecretNotFoundError, StorageError),
        ),
    ),
    _update_route("PATCH", "updateSecret", "Change the name or the value of a key"),
    _update_route("PUT", "replaceSecret", "Change the name or the value of a key, like `PATCH`"),
    Route(
        "DELETE",
        "/api/secrets/{id}",
        delete_secret,
        Operation(
            "deleteSecret",
            "Secrets",
            "Remove a key",
            {204: Response("The key has been removed.")},
            parameters=_SECRET_ID,
            errors=(SecretNotFoundError, StorageError),
        ),
    ),
]
