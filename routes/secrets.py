"""Keys for downloads from providers. Values are accepted and never returned."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.downloads.secrets import PROVIDER_LABELS, SecretRecord
from ..comfy_assets.errors import (
    DuplicateProviderError,
    DuplicateSecretNameError,
    InvalidBodyError,
    InvalidProviderError,
    SecretNotFoundError,
    StorageError,
)
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, Record, RequestBody, Response, Route, array
from .params import Text, doc, parse_body

_Name = Annotated[Text, doc("A name for people, 1 to 255 characters.")]
_Value = Annotated[Text, doc("The key. It is sent to its provider and never returned.", writeOnly=True)]


class CreateSecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createSecret."""

    name: _Name
    secret_value: _Value
    provider: Annotated[Text | None, doc("The provider that the key is for: `huggingface` or `civitai`.")] = None
    credential_type: Annotated[Literal["api_key"], doc("The kind of the key.")] = "api_key"

    def __repr__(self) -> str:
        return "CreateSecretRequest(…)"


class UpdateSecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateSecret: new values; omitted ones stay."""

    name: _Name | UnsetType = UNSET
    secret_value: _Value | UnsetType = UNSET

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
    return {"data": [_body(each) for each in await call.services.secrets.list(call.user)]}


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
    return json_response(_body(created), 201)


@endpoint()
async def get_secret(call: RequestContext[NoQuery]) -> SecretResponse:
    """Return a key without its value (getSecret)."""
    return _body(await call.services.secrets.get(call.path["id"], call.user))


@endpoint()
async def update_secret(call: RequestContext[NoQuery]) -> SecretResponse:
    """Change the name or the value of a key (updateSecret)."""
    body = await parse_body(UpdateSecretRequest, call.request)
    if body.name is UNSET and body.secret_value is UNSET:
        raise InvalidBodyError("Give name or secret_value.")
    name = None if body.name is UNSET else body.name
    value = None if body.secret_value is UNSET else body.secret_value
    return _body(await call.services.secrets.update(call.path["id"], call.user, name, value))


@endpoint()
async def delete_secret(call: RequestContext[NoQuery]) -> web.Response:
    """Remove a key (deleteSecret)."""
    await call.services.secrets.delete(call.path["id"], call.user)
    return web.Response(status=204)


def _body(record: SecretRecord) -> SecretResponse:
    return SecretResponse(
        id=record.id,
        name=record.name,
        provider=record.provider,
        credential_type="api_key",
        created_at=utc_time(record.created_at),
        updated_at=utc_time(record.updated_at),
        last_used_at=UNSET if record.last_used_at is None else utc_time(record.last_used_at),
    )


_LIST = Record("SecretListResponse", "The user's keys.", {"data": array(SecretResponse, "The keys, oldest first.")})
_PROVIDERS = Record(
    "SecretProvidersResponse", "The providers.", {"data": array(SecretProvider, "The providers of keys.")}
)
_ID = {"id": {"description": "The key's id.", "format": "uuid"}}
_BODY_ERRORS = (InvalidBodyError, DuplicateSecretNameError, StorageError)


def _update(method: str, operation_id: str, summary: str) -> Route:
    return Route(
        method,
        "/api/secrets/{id}",
        update_secret,
        Operation(
            operation_id,
            "Secrets",
            summary,
            {200: Response("The changed key.", SecretResponse)},
            parameters=_ID,
            body=RequestBody(UpdateSecretRequest, example={"name": "Hugging Face"}),
            errors=(*_BODY_ERRORS, SecretNotFoundError),
        ),
    )


ROUTES = [
    Route(
        "GET",
        "/api/secrets",
        list_secrets,
        Operation(
            "listSecrets",
            "Secrets",
            "List the user's keys without their values",
            {200: Response("The keys.", _LIST)},
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
            errors=(*_BODY_ERRORS, InvalidProviderError, DuplicateProviderError),
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
            parameters=_ID,
            errors=(SecretNotFoundError, StorageError),
        ),
    ),
    _update("PATCH", "updateSecret", "Change the name or the value of a key"),
    _update("PUT", "replaceSecret", "Change the name or the value of a key, like `PATCH`"),
    Route(
        "DELETE",
        "/api/secrets/{id}",
        delete_secret,
        Operation(
            "deleteSecret",
            "Secrets",
            "Remove a key",
            {204: Response("The key has been removed.")},
            parameters=_ID,
            errors=(SecretNotFoundError, StorageError),
        ),
    ),
]
