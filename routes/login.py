"""Signing in and out, who is signed in, and the sessions, tokens and sign-in links of the signed-in user.

While the login is off, these routes are left to the host.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import hdrs, web

from ..comfy_assets import login_page
from ..comfy_assets.app import Services
from ..comfy_assets.errors import (
    BusyError,
    InvalidBodyError,
    InvalidNameError,
    LoginConflictError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    PasswordCheckUnavailableError,
    SignInFailedError,
    SignInRequiredError,
    TooManyAttemptsError,
)
from ..comfy_assets.host.login_gate import IDENTITY
from ..comfy_assets.host.login_requests import client_of, remove_session_cookie, root_of, session_cookie, set_cookies
from ..comfy_assets.ids import now_ms
from ..comfy_assets.login.accounts import LINK_MS, Accounts
from ..comfy_assets.login.passwords import MAX_PASSWORD, MIN_PASSWORD
from ..comfy_assets.login.service import Identity
from ..comfy_assets.login.store import SessionRecord, TokenRecord, UserRecord
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
from .operations import Operation, Record, RequestBody, Response, Route, array
from .params import Text, doc, parse_body
from .request_body import BodyType

_Password = Annotated[str, msgspec.Meta(max_length=MAX_PASSWORD)]
_DAY_MS = 24 * 3_600_000
_ScopeName = Literal["read", "write", "run", "admin"]


class SignInRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of signIn."""

    name: Annotated[Annotated[str, msgspec.Meta(max_length=1000)], doc("The user's name, in any case.")]
    password: Annotated[_Password, doc("The password.", writeOnly=True)]

    def __repr__(self) -> str:
        return "SignInRequest(…)"


class PasswordRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of changePassword."""

    new_password: Annotated[
        Annotated[str, msgspec.Meta(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)],
        doc("The new password.", writeOnly=True),
    ]
    old_password: Annotated[_Password, doc("The current password, if there is one.", writeOnly=True)] = ""

    def __repr__(self) -> str:
        return "PasswordRequest(…)"


class LoginResponse(msgspec.Struct):
    """The user of a request, and the scopes of its session or token."""

    user: Annotated[str, doc("The user's name.")]
    role: Annotated[Literal["admin", "member", "guest"], doc("The user's role.")]
    scopes: Annotated[list[_ScopeName], doc("What the session or token permits.")]
    kind: Annotated[Literal["session", "token", "proxy"], doc("How the request was identified.")]
    has_password: Annotated[bool, doc("Whether the user can sign in with a password.")]


class SignedInResponse(msgspec.Struct):
    """The user who has signed in."""

    user: Annotated[str, doc("The user's name.")]


class PasswordChangedResponse(msgspec.Struct):
    """The result of changing a password."""

    ended_sessions: Annotated[int, doc("Number of other sessions that have ended.", minimum=0)]


def _is_on(_: web.Request, services: Services) -> bool:
    """Return whether the login is on (a condition for ``Route.when``)."""
    return services.login.is_enabled


def login_route(method: str, path: str, handler: Any, operation: Operation, media: BodyType = "json") -> Route:
    """Return a route that exists only while the login is on."""
    return Route(method, path, handler, operation, when=_is_on, media=media)


def make_page(request: web.Request, message: str) -> web.Response:
    """Return the page to sign in, for a request that nobody has signed in for. See ``LoginGate``."""
    return _page(request, 401, message, None, own=request.rel_url.raw_path == "/login")


def _page(
    request: web.Request, status: int, message: str, user: UserRecord | None, *, own: bool = False
) -> web.Response:
    page = login_page.markup(
        root=root_of(request),
        languages=request.headers.get(hdrs.ACCEPT_LANGUAGE, ""),
        message=message,
        user=None if user is None else user.name,
        has_password=user is not None and bool(user.password),
        own=own,
    )
    return page_response(page, status)


def page_response(page: login_page.LoginPage, status: int) -> web.Response:
    """Return a page of the login."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": page.policy,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Language, Cookie",
    }
    return web.Response(text=page.html, status=status, content_type="text/html", headers=headers)


@endpoint(requires_store=False, allow_anonymous=True)
async def get_login_page(call: RequestContext[NoQuery]) -> web.Response:
    """Return the page to sign in, or the page of the signed-in user (getLoginPage, an extension)."""
    login = call.services.login
    identity = login.by_session(call.request.cookies.get(session_cookie(login), ""))
    user = None if identity is None else login.state.users.get(identity.key)
    return _page(call.request, 200, "", user, own=True)


@endpoint(requires_store=False, allow_anonymous=True)
async def get_login(call: RequestContext[NoQuery]) -> LoginResponse:
    """Return who is signed in (getLogin, an extension)."""
    identity = signed_in(call)
    user = call.services.login.state.users.get(identity.key)
    return LoginResponse(
        identity.user, identity.role, sorted(identity.scopes), identity.kind, user is not None and bool(user.password)
    )


@endpoint(requires_store=False, allow_anonymous=True)
async def sign_in(call: RequestContext[NoQuery]) -> web.Response:
    """Start a session (signIn, an extension)."""
    body = await parse_body(SignInRequest, call.request)
    login = call.services.login
    signed = await login.sign_in(body.name, body.password, client_of(call.request, login, call.services.proxies))
    response = json_response(SignedInResponse(signed.user))
    response.headers["Cache-Control"] = "no-store"
    set_cookies(response, call.request, login, signed)
    return response


@endpoint(requires_store=False, allow_anonymous=True)
async def sign_out(call: RequestContext[NoQuery]) -> web.Response:
    """End the session of the request (signOut, an extension)."""
    identity, login = signed_in(call, with_session=True), call.services.login
    if identity.kind == "proxy":
        raise LoginConflictError("A proxy signs this user in for every request: sign out there.")
    await asyncio.to_thread(login.end_sessions, identity.key, identity.credential)
    response = web.Response(status=204)
    remove_session_cookie(response, login)
    return response


@endpoint(requires_store=False, allow_anonymous=True)
async def change_password(call: RequestContext[NoQuery]) -> PasswordChangedResponse:
    """Change the password of the signed-in user and end their other sessions (changePassword, an extension)."""
    identity = signed_in(call, with_session=True)
    body = await parse_body(PasswordRequest, call.request)
    login = call.services.login
    client = client_of(call.request, login, call.services.proxies)
    ended = await login.change_password(identity, body.old_password, body.new_password, client)
    return PasswordChangedResponse(ended)


def signed_in(call: RequestContext[NoQuery], *, with_session: bool = False) -> Identity:
    """Return who a request is from. ``with_session``: not from a token, which might make itself another one.

    Raises SignInRequiredError.
    """
    identity: Identity | None = call.request.get(IDENTITY)
    if identity is None or (with_session and identity.kind == "token"):
        raise SignInRequiredError("Sign in with a browser.")
    return identity


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


_PAGE = {"type": "string"}
_WHO = Response("The user and what the session or token permits.", LoginResponse)
_SIGN_IN_ERRORS = (
    SignInFailedError,
    TooManyAttemptsError,
    BusyError,
    PasswordCheckUnavailableError,
    LoginUnavailableError,
)


_SESSIONS = Record("SessionList", "Sessions, the latest used first.", {"sessions": array(SessionResponse, "Sessions.")})
_TOKENS = Record(
    "TokenList", "Tokens, the oldest first.", {"tokens": array(TokenResponse, "Tokens without their text.")}
)
_SIGNED_IN_ERRORS = (SignInRequiredError, LoginUnavailableError)

ROUTES = [
    login_route(
        "GET",
        "/login",
        get_login_page,
        Operation(
            "getLoginPage",
            "Login",
            "Get the page to sign in",
            {200: Response("The page, or that of the signed-in user.", _PAGE, "text/html")},
            "While the login is on, every other page shows this one without a session, with the status 401.",
            is_open=True,
        ),
    ),
    login_route("GET", "/api/login", get_login, Operation("getLogin", "Login", "Get who is signed in", {200: _WHO})),
    login_route(
        "POST",
        "/api/login",
        sign_in,
        Operation(
            "signIn",
            "Login",
            "Sign in with a name and a password",
            {200: Response("The cookie of the session is set.", SignedInResponse)},
            "Wrong passwords are delayed, per address and per user.",
            body=RequestBody(SignInRequest, example={"name": "Ada", "password": "correct horse"}),
            errors=(InvalidBodyError, *_SIGN_IN_ERRORS),
            is_open=True,
        ),
    ),
    login_route(
        "DELETE",
        "/api/login",
        sign_out,
        Operation(
            "signOut",
            "Login",
            "Sign out",
            {204: Response("The session has ended.")},
            "Users whom a proxy has signed in sign out there.",
            errors=(SignInRequiredError, LoginConflictError, LoginUnavailableError),
        ),
    ),
    login_route(
        "PUT",
        "/api/login/password",
        change_password,
        Operation(
            "changePassword",
            "Login",
            "Change the password of the signed-in user",
            {200: Response("The user's other sessions have ended.", PasswordChangedResponse)},
            body=RequestBody(
                PasswordRequest, example={"old_password": "correct horse", "new_password": "battery staple"}
            ),
            errors=(InvalidBodyError, SignInRequiredError, *_SIGN_IN_ERRORS),
        ),
    ),
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
            errors=_SIGNED_IN_ERRORS,
        ),
    ),
    login_route(
        "DELETE",
        "/api/login/sessions",
        end_sessions,
        Operation(
            "endSessions",
            "Login",
            "Sign out everywhere",
            {204: Response("No session is left.")},
            errors=_SIGNED_IN_ERRORS,
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
            errors=(LoginRecordNotFoundError, *_SIGNED_IN_ERRORS),
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
            errors=_SIGNED_IN_ERRORS,
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
            errors=(InvalidBodyError, InvalidNameError, LoginConflictError, *_SIGNED_IN_ERRORS),
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
            errors=(LoginRecordNotFoundError, *_SIGNED_IN_ERRORS),
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
            errors=_SIGNED_IN_ERRORS,
        ),
    ),
]
