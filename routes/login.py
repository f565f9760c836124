"""Signing in and out, and who is signed in. While the login is off, these routes are left to the host."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import hdrs, web

from ..comfy_assets import login_page
from ..comfy_assets.app import Services
from ..comfy_assets.errors import (
    BusyError,
    InvalidBodyError,
    LoginConflictError,
    LoginUnavailableError,
    PasswordCheckUnavailableError,
    SignInFailedError,
    SignInRequiredError,
    TooManyAttemptsError,
)
from ..comfy_assets.host.login_gate import IDENTITY
from ..comfy_assets.host.login_requests import client_of, remove_session_cookie, root_of, session_cookie, set_cookies
from ..comfy_assets.login.passwords import MAX_PASSWORD, MIN_PASSWORD
from ..comfy_assets.login.service import Identity
from ..comfy_assets.login.store import UserRecord
from .context import NoQuery, RequestContext, endpoint, json_response
from .operations import Operation, RequestBody, Response, Route
from .params import doc, parse_body
from .request_body import BodyType

_Password = Annotated[str, msgspec.Meta(max_length=MAX_PASSWORD)]


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
    scopes: Annotated[list[Literal["read", "write", "run", "admin"]], doc("What the session or token permits.")]
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


_PAGE = {"type": "string"}
_WHO = Response("The user and what the session or token permits.", LoginResponse)
_FAILURES = (
    SignInFailedError,
    TooManyAttemptsError,
    BusyError,
    PasswordCheckUnavailableError,
    LoginUnavailableError,
)


def login_route(method: str, path: str, handler: Any, operation: Operation, media: BodyType = "json") -> Route:
    """Return a route that exists only while the login is on."""
    return Route(method, path, handler, operation, when=_is_on, media=media)


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
            errors=(InvalidBodyError, *_FAILURES),
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
            errors=(InvalidBodyError, SignInRequiredError, *_FAILURES),
        ),
    ),
]
