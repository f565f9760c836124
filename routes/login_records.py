"""The sessions and tokens of the signed-in user, and links that sign them in elsewhere."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.errors import (
    InvalidBodyError,
    InvalidNameError,
    LoginConflictError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    SignInRequiredError,
)
from ..comfy_assets.host.login_requests import remove_session_cookie
from ..comfy_assets.ids import now_ms
from ..comfy_assets.login.accounts import LINK_MS, Accounts
from ..comfy_assets.login.store import SessionRecord, TokenRecord
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .login import login_route, signed_in
from .operations import Operation, Record, RequestBody, Response, array
from .params import Text, doc, parse_body

_DAY_MS = 24 * 3_600_000
_ScopeName = Literal["read", "write", "run", "admin"]


class CreateTokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createToken."""

    name: Annotated[Text, doc("A name to recognize the token by, 1 to 100 characters.")]
    scopes: Annotated[
        Annotated[list[_ScopeName], msgspec.Meta(min_length=1, max_length=4)],
        doc("What it permits, at most what the user's role permits."),
    ]
    expires_in_days: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=3650)] | None, doc("After how many days it expires; null: never.")
    ] = None


class TokenResponse(msgspec.Struct):
    """A token, without its text."""

    id: Annotated[str, doc("The token's id.")]
    name: Annotated[str, doc("Its name.")]
    scopes: Annotated[list[_ScopeName], doc("What it permits.")]
    created_at: Annotated[datetime, doc("Time of its creation.")]
    expires_at: Annotated[datetime | None, doc("Time from which it is refused; null: never.")]
    last_used_at: Annotated[datetime | None, doc("Time of its last use, up to five minutes old; null: never used.")]


class NewTokenResponse(msgspec.Struct):
    """A new token with its text."""

    token: Annotated[str, doc("The token, `comfyui-…`. It is not shown again.")]
    record: Annotated[TokenResponse, doc("The token without its text.")]


class SessionResponse(msgspec.Struct):
    """A session of the signed-in user."""

    id: Annotated[str, doc("The session's id.")]
    is_current: Annotated[bool, doc("Whether it is that of this request.")]
    created_at: Annotated[datetime, doc("Time of the sign-in.")]
    last_used_at: Annotated[datetime, doc("Time of its last use.")]
    expires_at: Annotated[datetime, doc("Time at which it ends in any case.")]
    browser: Annotated[str, doc("The browser, as it named itself.")]
    address: Annotated[str, doc("The address that the browser had.")]


class LoginLinkResponse(msgspec.Struct):
    """A link that signs the user in once."""

    path: Annotated[str, doc("The path and query of the link, to be put after the address of the server.")]
    expires_at: Annotated[datetime, doc("Time from which it is refused.")]


@endpoint(requires_store=False, allow_anonymous=True)
async def list_sessions(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the sessions of the signed-in user (listSessions, an extension)."""
    identity = signed_in(call, with_session=True)
    found = call.services.login.sessions_of(identity.key)
    return {"sessions": [_session(each, each.id == identity.credential) for each in found]}


@endpoint(requires_store=False, allow_anonymous=True)
async def end_session(call: RequestContext[NoQuery]) -> web.Response:
    """End a session of the signed-in user (endSession, an extension)."""
    identity = signed_in(call, with_session=True)
    await asyncio.to_thread(call.services.login.end_sessions, identity.key, call.path["session_id"])
    return web.Response(status=204)


@endpoint(requires_store=False, allow_anonymous=True)
async def end_sessions(call: RequestContext[NoQuery]) -> web.Response:
    """End all sessions of the signed-in user (endSessions, an extension)."""
    identity, login = signed_in(call, with_session=True), call.services.login
    await asyncio.to_thread(login.end_sessions, identity.key)
    response = web.Response(status=204)
    remove_session_cookie(response, login)
    return response


@endpoint(requires_store=False, allow_anonymous=True)
async def list_tokens(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return the tokens of the signed-in user (listTokens, an extension)."""
    identity = signed_in(call, with_session=True)
    tokens = call.services.login.state.file.tokens
    return {"tokens": [_token(each) for each in tokens if each.user == identity.key]}


@endpoint(requires_store=False, allow_anonymous=True)
async def create_token(call: RequestContext[NoQuery]) -> web.Response:
    """Create a token of the signed-in user (createToken, an extension)."""
    identity = signed_in(call, with_session=True)
    body = await parse_body(CreateTokenRequest, call.request)
    expires_at = None if body.expires_in_days is None else now_ms() + body.expires_in_days * _DAY_MS
    accounts = call.services.login.accounts(by=identity.user)
    record, text = await asyncio.to_thread(accounts.create_token, identity.user, body.name, body.scopes, expires_at)
    return _with_secret(NewTokenResponse(text, _token(record)))


@endpoint(requires_store=False, allow_anonymous=True)
async def revoke_token(call: RequestContext[NoQuery]) -> web.Response:
    """Revoke a token of the signed-in user (revokeToken, an extension)."""
    identity = signed_in(call, with_session=True)
    accounts = call.services.login.accounts(by=identity.user)
    await asyncio.to_thread(accounts.revoke_token, call.path["token_id"], identity.user)
    return web.Response(status=204)


@endpoint(requires_store=False, allow_anonymous=True)
async def create_link(call: RequestContext[NoQuery]) -> web.Response:
    """Create a link that signs the user in on another device (createLoginLink, an extension)."""
    identity = signed_in(call, with_session=True)
    accounts = call.services.login.accounts(by=identity.user)
    return await new_link(accounts, identity.user)


async def new_link(accounts: Accounts, user: str) -> web.Response:
    """Create a link that signs a user in once; return the response with it."""
    expires_at = now_ms() + LINK_MS
    link = await asyncio.to_thread(accounts.new_link, user)
    return _with_secret(LoginLinkResponse(f"/?token={link}", utc_time(expires_at)))


def _with_secret(body: msgspec.Struct) -> web.Response:
    response = json_response(body, 201)
    response.headers["Cache-Control"] = "no-store"
    return response


def _session(record: SessionRecord, is_current: bool) -> SessionResponse:
    return SessionResponse(
        record.id,
        is_current,
        utc_time(record.created_at),
        utc_time(record.used_at),
        utc_time(record.expires_at),
        record.client,
        record.address,
    )


def _token(record: TokenRecord) -> TokenResponse:
    return TokenResponse(
        record.id,
        record.name,
        list(record.scopes),
        utc_time(record.created_at),
        None if record.expires_at is None else utc_time(record.expires_at),
        None if record.used_at is None else utc_time(record.used_at),
    )


_SESSIONS = Record("SessionList", "Sessions, the latest used first.", {"sessions": array(SessionResponse, "Sessions.")})
_TOKENS = Record(
    "TokenList", "Tokens, the oldest first.", {"tokens": array(TokenResponse, "Tokens without their text.")}
)
_ERRORS = (SignInRequiredError, LoginUnavailableError)

ROUTES = [
    login_route(
        "GET",
        "/api/login/sessions",
        list_sessions,
        Operation(
            "listSessions",
            "Login",
            "List the sessions of the signed-in user",
            {200: Response("The sessions.", _SESSIONS)},
            "Like all operations below `/api/login` but `GET /api/login`, it needs a session: a token is refused.",
            errors=_ERRORS,
        ),
    ),
    login_route(
        "DELETE",
        "/api/login/sessions",
        end_sessions,
        Operation(
            "endSessions", "Login", "Sign out everywhere", {204: Response("No session is left.")}, errors=_ERRORS
        ),
    ),
    login_route(
        "DELETE",
        "/api/login/sessions/{session_id}",
        end_session,
        Operation(
            "endSession",
            "Login",
            "End a session of the signed-in user",
            {204: Response("The session has ended.")},
            parameters={"session_id": "The session's id."},
            errors=(LoginRecordNotFoundError, *_ERRORS),
        ),
    ),
    login_route(
        "GET",
        "/api/login/tokens",
        list_tokens,
        Operation(
            "listTokens",
            "Login",
            "List the tokens of the signed-in user",
            {200: Response("The tokens, without their text.", _TOKENS)},
            errors=_ERRORS,
        ),
    ),
    login_route(
        "POST",
        "/api/login/tokens",
        create_token,
        Operation(
            "createToken",
            "Login",
            "Create a token for a program",
            {201: Response("The token, which is not shown again.", NewTokenResponse)},
            body=RequestBody(CreateTokenRequest, example={"name": "backup", "scopes": ["read"], "expires_in_days": 90}),
            errors=(InvalidBodyError, InvalidNameError, LoginConflictError, *_ERRORS),
        ),
    ),
    login_route(
        "DELETE",
        "/api/login/tokens/{token_id}",
        revoke_token,
        Operation(
            "revokeToken",
            "Login",
            "Revoke a token of the signed-in user",
            {204: Response("The token is refused from now on.")},
            parameters={"token_id": "The token's id."},
            errors=(LoginRecordNotFoundError, *_ERRORS),
        ),
    ),
    login_route(
        "POST",
        "/api/login/links",
        create_link,
        Operation(
            "createLoginLink",
            "Login",
            "Create a link that signs the user in on another device",
            {201: Response("The link, which works once.", LoginLinkResponse)},
            errors=_ERRORS,
        ),
    ),
]
