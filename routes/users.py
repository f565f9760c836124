"""The request's user, their settings and their feedback."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import hdrs, web

from ..comfy_assets.credentials import PromptRedaction
from ..comfy_assets.errors import InvalidBodyError
from ..comfy_assets.host.login_gate import IDENTITY
from .context import NoQuery, RequestContext, endpoint, json_response
from .interceptors import ErrorMapping, HostRequest, Interceptor, check_user
from .operations import (
    ERROR,
    JSON,
    UNKNOWN_USER,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    Route,
    boolean,
    mapping,
    object_with,
    string,
)
from .params import Members, doc, json_body, object_body, parse_body

SETTINGS_FILE = "comfy.settings.json"

# The type of the field bounds the number of its members, not their size.
_MAX_METADATA_BYTES = 64 << 10
# Clients of the hosted service send its credentials along. They mean nothing here and must not be stored.
_CREDENTIAL_HEADERS = ("X-API-Key", hdrs.AUTHORIZATION)


class FeedbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of submitFeedback: feedback of a user."""

    type: Annotated[Literal["missing_nodes", "general", "missing_models"], doc("Subject of the feedback.")]
    content: Annotated[str, msgspec.Meta(max_length=20_000), doc("The text.")] = ""
    rating: Annotated[Annotated[int, msgspec.Meta(ge=1, le=5)] | None, doc("One to five stars.")] = None
    metadata: Annotated[Members, doc("Additional data of the page: up to 64 KiB.")] = {}


@endpoint()
async def get_user(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the request's user (getUser); a host for one user names them itself."""
    return {"id": call.user, "status": "active"}


@endpoint()
async def submit_feedback(call: RequestContext[NoQuery]) -> web.Response:
    """Store feedback on this machine (submitFeedback)."""
    body = await parse_body(FeedbackRequest, call.request)
    entry = msgspec.to_builtins(body)
    if len(msgspec.json.encode(body.metadata)) > _MAX_METADATA_BYTES:
        message = f"metadata takes more than {_MAX_METADATA_BYTES} bytes."
        raise InvalidBodyError(message, details={"field": "metadata"})
    about = {"time": datetime.now(timezone.utc), "user": call.user}
    await asyncio.to_thread(call.services.feedback.append, {**about, **_without_credentials(call.request, entry)})
    return json_response({}, 201)


def _without_credentials(request: web.Request, value: Any) -> Any:
    """Return the value without the request's credentials, in whichever text they are."""
    redaction = PromptRedaction()
    redaction.add("", _credentials_of(request))
    return redaction.of("")(value)


def _credentials_of(request: web.Request) -> list[str]:
    headers = [text for name in _CREDENTIAL_HEADERS for text in request.headers.getall(name, [])]
    tokens = [text.partition(" ")[2].strip() for text in headers]  # after the scheme, such as Bearer
    return [text for text in (*headers, *tokens, *request.cookies.values()) if text]


async def _check_new_user(call: RequestContext[NoQuery]) -> None:
    if not isinstance((await object_body(call.request)).get("username"), str):
        raise InvalidBodyError("username must be a string.", details={"field": "username"})


async def _check_settings(call: RequestContext[NoQuery]) -> None:
    await check_user(call)
    await object_body(call.request)


async def _check_setting(call: RequestContext[NoQuery]) -> None:
    await check_user(call)
    await json_body(call.request)


async def change_settings(call: HostRequest) -> web.StreamResponse:
    """Change several settings; return all of them, as the contract requires, if the host returns nothing."""
    response = await ErrorMapping(_check_settings)(call)
    # ComfyUI returns 200 without a body.
    if not _is_empty(response):
        return response
    host = call.services.host
    file = host.user_directory(host.user_of(call.request)) / SETTINGS_FILE
    return json_response(await asyncio.to_thread(_read_settings, file))


async def change_setting(call: HostRequest) -> web.StreamResponse:
    """Change one setting; return its value if the host returns nothing."""
    response = await ErrorMapping(_check_setting)(call)
    return json_response({"value": await json_body(call.request)}) if _is_empty(response) else response


async def list_users(call: HostRequest) -> web.StreamResponse:
    """Leave out the other users while the login is on, unless an administrator asks."""
    response = await call.pass_on()
    identity = call.request.get(IDENTITY)
    if identity is None or identity.role == "admin" or response.status != 200 or not isinstance(response, web.Response):
        return response
    told = json.loads(response.text or "{}")
    if not isinstance(told, dict) or not isinstance(told.get("users"), dict):
        return response
    own = call.services.host.user_of(call.request)
    return json_response({**told, "users": {user: name for user, name in told["users"].items() if user == own}})


def _is_empty(response: web.StreamResponse) -> bool:
    return response.status == 200 and isinstance(response, web.Response) and not response.body


def _read_settings(file: Path) -> dict[str, Any]:
    """Return the settings that the host has just written, or {} if another program has removed them since."""
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


_USER = Record(
    "UserResponse", "The user of the request.", {"id": string("The user's id."), "status": string("`active`.")}
)
_THANKS = Record("FeedbackResponse", "An empty object.", {})
# ComfyUI itself sends no text with most of these.
_VALUE = {"description": "The value, of any type."}
_ALL = mapping(True, "Values by their ids.")
_MALFORMED = {400: "The body is malformed.", 413: "The body is too large."}
_SETTING = {"id": "The setting's id, such as `Comfy.ColorPalette`."}
_STORAGE = Record(
    "UsersInfo",
    "How the server distinguishes users.",
    {
        "storage": string("Where files of users are stored: `server`."),
        "migrated": boolean("On a server for one user: whether their folder exists."),
        "users": mapping({"type": "string"}, "On a server for several users: names by id."),
    },
    optional=("migrated", "users"),
)

ROUTES = [
    Route(
        "GET",
        "/api/user",
        get_user,
        Operation("getUser", "Users", "Get the user of the request", {200: Response("The user.", _USER)}),
    ),
    Route(
        "POST",
        "/api/feedback",
        submit_feedback,
        Operation(
            "submitFeedback",
            "Users",
            "Submit feedback",
            {201: Response("The feedback is stored on this machine.", _THANKS)},
            "It is sent nowhere.",
            body=RequestBody(FeedbackRequest, example={"type": "general", "content": "It works.", "rating": 5}),
        ),
    ),
]
_ERRORS = ErrorMapping(check_user)
INTERCEPTORS = [
    Interceptor("GET", "/api/users", list_users),
    Interceptor("POST", "/api/users", ErrorMapping(_check_new_user), media="json"),
    Interceptor("GET", "/api/settings", _ERRORS),
    Interceptor("POST", "/api/settings", change_settings),
    Interceptor("GET", "/api/settings/{id}", _ERRORS),
    Interceptor("POST", "/api/settings/{id}", change_setting),
]
HOST_OPERATIONS = [
    HostOperation(
        "GET",
        "/api/users",
        Operation(
            "getUsersInfo",
            "Users",
            "Get how the server distinguishes users",
            {200: Response("The users; while the login is on, only oneself, unless an administrator asks.", _STORAGE)},
        ),
        UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/users",
        Operation(
            "addUser",
            "Users",
            "Add a user, on a server for several users",
            {200: Response("The user's id.", {"type": "string"})},
            body=RequestBody(object_with({"username": string("The user's name.")}), example={"username": "Ada"}),
            error_schema={"anyOf": [ERROR, object_with({"error": string("A sentence for people.")})]},
        ),
        {400: "The name is missing or taken.", 413: "The body is too large."},
    ),
    HostOperation(
        "GET",
        "/api/settings",
        Operation("getAllSettings", "Settings", "Get all settings", {200: Response("The settings.", _ALL)}),
        UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/settings",
        Operation(
            "updateMultipleSettings",
            "Settings",
            "Change settings",
            {200: Response("All settings after the change.", _ALL)},
            body=RequestBody(_ALL, JSON, example={"Comfy.ColorPalette": "dark"}),
        ),
        _MALFORMED | UNKNOWN_USER,
    ),
    HostOperation(
        "GET",
        "/api/settings/{id}",
        Operation(
            "getSettingById",
            "Settings",
            "Get a setting",
            {200: Response("The value itself; null if it was never set.", _VALUE)},
            parameters=_SETTING,
        ),
        UNKNOWN_USER,
    ),
    HostOperation(
        "POST",
        "/api/settings/{id}",
        Operation(
            "updateSettingById",
            "Settings",
            "Change a setting",
            {200: Response("The stored value.", object_with({"value": _VALUE}))},
            parameters=_SETTING,
            body=RequestBody(_VALUE, JSON, example="dark"),
        ),
        _MALFORMED | UNKNOWN_USER,
    ),
]
