"""The gate of the login as a middleware of an aiohttp application: nothing but a few named pages is reached without it.

It stands before every other middleware and route, whoever has added them, on every path and method. Exceptions are
compared with the path as it was sent, so that another spelling of it is no exception.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from msgspec.structs import replace

from ..errors import (
    ApiError,
    LoginUnavailableError,
    NotPermittedError,
    OriginNotAllowedError,
    SignInFailedError,
    SignInRequiredError,
)
from ..login.keys import LINK_PREFIX, TOKEN_PREFIX
from ..login.records import Scope
from ..login.service import Client, Identity, LoginService, SignedIn
from .access import AccessRequest, AccessRules, judge

log = logging.getLogger("comfy_assets.login")


def _request_key(name: str, kind: type) -> Any:
    """Return a key of requests. Newer versions of aiohttp warn of keys that are texts, older ones have no others."""
    return web.RequestKey(name, kind) if hasattr(web, "RequestKey") else name


IDENTITY = _request_key("comfy_assets_identity", Identity)
"""The key of a request's ``Identity``; a request has none while the login is off, and on the pages without it."""
NAMED_USER = _request_key("comfy_assets_named_user", bool)
"""The key of whether a request named a user itself, before the gate replaced that name."""
USER_HEADER = "comfy-user"

# What is reached without signing in, by the method and the path as it was sent.
OPEN = frozenset(
    {
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("GET", "/login"),
        ("HEAD", "/login"),
        ("POST", "/api/login"),
    }
)
# Browsers request the manifest of a page without cookies. It is one of the page's own files.
_MANIFEST = re.compile(r"/(?:assets/)?(?:manifest(?:-[A-Za-z0-9_-]{1,40})?\.json|site\.webmanifest)", re.ASCII)
_DEVICE_LASTS_S = 365 * 24 * 3600
_WATCH_S = 1.0  # how late an open websocket of an ended session is closed
_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

NeededScopes = Callable[[web.Request], frozenset[Scope]]
# Makes the sign-in page for a request; the text is the name of a message on it, or "".
MakePage = Callable[[web.Request, str], web.Response]
HostUser = Callable[[str], Awaitable[str]]


class LoginGate:
    """Lets requests pass that a session or a token permits.

    ``needed`` returns the scopes of a request, ``page`` makes the page to sign in. ``host_user`` returns the host's id
    of a user by name, and makes the host know them; None for a host with one user.
    """

    def __init__(
        self,
        login: LoginService,
        rules: AccessRules,
        needed: NeededScopes,
        page: MakePage,
        host_user: HostUser | None = None,
    ) -> None:
        self._login = login
        self._rules = rules
        # Cookies are only safe with the checks of the origin, even where those are turned off for everything else.
        self._cookie_rules = replace(rules, is_checked=True, origins=frozenset(rules.origins) - {"*"})
        self._needed = needed
        self._page = page
        self._host_user = host_user
        self._app: web.Application | None = None
        self._first: tuple[Middleware, ...] = ()
        self._sockets: dict[int, tuple[Identity | None, asyncio.Transport]] = {}
        self._watching: asyncio.Task[None] | None = None

        @web.middleware
        async def comfy_assets_login(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._respond(request, handler)

        self.middleware: Middleware = comfy_assets_login

    # The place of the gate

    def keep_first(self, app: web.Application) -> None:
        """Remember the middlewares up to the gate as the first ones, and put them back when the server starts."""
        every = tuple(app.middlewares)
        self._app, self._first = app, every[: every.index(self.middleware) + 1]

        async def put_back(_: web.Application) -> None:
            self._put_back(app)

        async def end(_: web.Application) -> None:
            if self._watching is not None:
                self._watching.cancel()

        app.on_startup.append(put_back)
        app.on_shutdown.append(end)

    def _put_back(self, app: web.Application) -> None:
        if self._is_first():
            return
        if app.middlewares.frozen:
            return  # the next request is refused, and the log says why
        for each in self._first:
            while each in app.middlewares:
                app.middlewares.remove(each)
        for position, each in enumerate(self._first):
            app.middlewares.insert(position, each)
        log.info("Another node pack had put its middleware before the login, which is first again.")

    def _is_first(self) -> bool:
        app = self._app
        if app is None:
            return False
        every = app.middlewares
        return len(every) >= len(self._first) and all(every[at] is each for at, each in enumerate(self._first))

    # A request

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await self._login.refresh()
            if not self._login.is_enabled:
                return await self._watched(request, handler, None)
            self._check_place()
            return await self._respond_with_login(request, handler)
        except LoginUnavailableError as error:
            log.error("Nobody is let in: %s", error.message)
            return refusal(error)

    def _check_place(self) -> None:
        """Raise LoginUnavailableError if a middleware of another pack stands before the gate, which it may bypass."""
        if self._is_first():
            return
        if self._app is not None and not self._app.middlewares.frozen:
            self._put_back(self._app)
            return
        raise LoginUnavailableError(
            "A node pack has put its middleware before the login, which cannot protect the server any more."
        )

    async def _respond_with_login(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if (link := _link_of(request)) is not None:
            return await self._exchange(request, link)
        if _is_open(request):
            return await handler(request)
        identity = self.identify(request)
        if identity is None:
            return self._ask_to_sign_in(request, "")
        if (refused := self._refuse(request, identity)) is not None:
            return refusal(refused)
        return await self._pass_on(request, handler, identity)

    def identify(self, request: web.Request) -> Identity | None:
        """Return who a request is from: by the token in its headers, or by the cookie of a session."""
        for text in _tokens_of(request):
            if (identity := self._login.by_token(text, _address_of(request))) is not None:
                return identity
        secret = request.cookies.get(session_cookie(self._login))
        return None if secret is None else self._login.by_session(secret)

    def _refuse(self, request: web.Request, identity: Identity) -> ApiError | None:
        needed = self._needed(request)
        if not needed <= identity.scopes:
            return NotPermittedError(
                "The token or the role of the user does not permit this.", details={"scopes": sorted(needed)}
            )
        if identity.kind == "token":  # pages of other origins cannot make a browser send one
            return None
        if self._rules.is_open:
            verdict = judge(self._cookie_rules, access_request(request))
            if isinstance(verdict, ApiError):
                return verdict
        if not needed <= {"read"} and _is_led_here(request):
            return OriginNotAllowedError("A link of another page leads here.", details={"origin": _referrer(request)})
        return None

    async def _pass_on(self, request: web.Request, handler: Handler, identity: Identity) -> web.StreamResponse:
        request[IDENTITY] = identity
        request[NAMED_USER] = USER_HEADER in request.headers
        if self._host_user is not None:
            headers = request.headers.copy()
            headers[USER_HEADER] = await self._host_user(identity.user)
            request = request.clone(headers=headers)
        return await self._watched(request, handler, identity)

    async def _watched(self, request: web.Request, handler: Handler, identity: Identity | None) -> web.StreamResponse:
        """Handle a request. If it is a websocket, it is closed when its session or token ends.

        One without an identity, from a time when the login was off, is closed when that is turned on.
        """
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket" or request.transport is None:
            return await handler(request)
        number = id(request)
        self._sockets[number] = identity, request.transport
        watching = self._watching
        if watching is None or watching.done():
            watching = asyncio.create_task(self._watch(), name="comfy-assets sessions of websockets")
            self._watching = watching
        try:
            return await handler(request)
        finally:
            self._sockets.pop(number, None)
            if not self._sockets:
                watching.cancel()

    async def _watch(self) -> None:
        """Close open websockets of sessions and tokens that have ended, as long as there are websockets."""
        while self._sockets:
            await asyncio.sleep(_WATCH_S)
            with suppress(LoginUnavailableError):  # every request is refused and logged meanwhile
                await self._login.refresh()
            if not self._login.is_enabled:
                continue
            for identity, transport in list(self._sockets.values()):
                if identity is not None and self._login.is_valid(identity):
                    self._login.touch(identity)  # an open page is in use
                else:
                    transport.abort()

    # Links and the page to sign in

    async def _exchange(self, request: web.Request, link: str) -> web.StreamResponse:
        """Sign a browser in by a link, and lead it to the same address without the link."""
        try:
            signed = await self._login.use_link(link, client_of(request, self._login))
        except SignInFailedError:
            if self.identify(request) is not None:  # the link was opened again by the same browser
                return _redirect(_without_link(request))
            return self._ask_to_sign_in(request, "link")
        user = self._login.state.users.get(signed.key)
        # A user without a password is led to where one can be set.
        has_password = user is not None and bool(user.password)
        response = _redirect(_without_link(request) if has_password else f"{root_of(request)}login")
        set_cookies(response, request, self._login, signed)
        return response

    def _ask_to_sign_in(self, request: web.Request, message: str) -> web.StreamResponse:
        if _wants_page(request):
            return self._page(request, message)
        return refusal(SignInRequiredError("Sign in, or send a token in the header X-API-Key."))


def refusal(error: ApiError) -> web.Response:
    """Return the contract's error body; ComfyUI's own clients read ``error``."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "error": error.message}
    if error.details:
        body["details"] = error.details
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="comfy-assets"'
    return web.json_response(body, status=error.status, headers=headers)


def access_request(request: web.Request) -> AccessRequest:
    """Return what the access rules look at."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return AccessRequest(request.method, request.scheme, headers)


def session_cookie(login: LoginService) -> str:
    """Return the name of the cookie of a session. Browsers send cookies to all ports of a machine."""
    return f"comfy_assets_session_{login.state.file.instance}"


def _device_cookie(login: LoginService) -> str:
    return f"comfy_assets_device_{login.state.file.instance}"


def client_of(request: web.Request, login: LoginService) -> Client:
    """Return the other end of a sign-in."""
    return Client(
        _address_of(request),
        request.headers.get(hdrs.USER_AGENT, ""),
        request.cookies.get(_device_cookie(login), ""),
        request.cookies.get(session_cookie(login), ""),
    )


def _address_of(request: web.Request) -> str:
    """Return the address of a client: the one that a proxy on this machine has seen, or the connection's."""
    remote = request.remote or ""
    forwarded = request.headers.getall("X-Forwarded-For", [])
    # The last entry is the proxy's own; those before it may be the client's invention.
    return forwarded[-1].rpartition(",")[2].strip() if remote in _LOOPBACK and forwarded else remote


def set_cookies(response: web.Response, request: web.Request, login: LoginService, signed: SignedIn) -> None:
    """Set the cookies of a new session."""
    secure = access_request(request).is_secure
    for name, value, lasts in (
        (session_cookie(login), signed.session, signed.lasts_s),
        (_device_cookie(login), signed.device, _DEVICE_LASTS_S),
    ):
        response.set_cookie(name, value, max_age=lasts, path="/", secure=secure, httponly=True, samesite="Lax")


def remove_session_cookie(response: web.Response, login: LoginService) -> None:
    """Let the browser forget its session."""
    response.del_cookie(session_cookie(login), path="/", httponly=True, samesite="Lax")


def root_of(request: web.Request) -> str:
    """Return the relative path from a page to the root of the server, whatever a proxy has put before it."""
    return "../" * (request.rel_url.raw_path.count("/") - 1) or "./"


def _is_open(request: web.Request) -> bool:
    path = request.rel_url.raw_path
    if (request.method, path) in OPEN:
        return True
    is_file = isinstance(request.match_info.route.resource, web.StaticResource)
    return is_file and request.method in ("GET", "HEAD") and _MANIFEST.fullmatch(path) is not None


def _link_of(request: web.Request) -> str | None:
    """Return the link in an address, unless a browser only loads it in advance."""
    if request.method != "GET" or "token=" not in request.query_string:
        return None
    purpose = request.headers.get("Sec-Purpose") or request.headers.get("Purpose") or ""
    link = request.query.get("token", "")
    return link if link.startswith(LINK_PREFIX) and "prefetch" not in purpose.lower() else None


def _tokens_of(request: web.Request) -> list[str]:
    """Return what may be tokens in a request. Websockets of browsers cannot have headers, so their address may."""
    headers = request.headers
    found = [*headers.getall("X-API-Key", ()), *_bearer(headers)]
    if headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        found += request.query.getall("token", [])
    return [text for text in found if text.startswith(TOKEN_PREFIX)]


def _bearer(headers: Mapping[str, str]) -> list[str]:
    scheme, _, text = headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return [text.strip()] if scheme.lower() == "bearer" else []


def _wants_page(request: web.Request) -> bool:
    """Return whether a browser opens a page, in place of a program or a script of a page."""
    if request.method != "GET" or request.rel_url.raw_path.startswith(("/api/", "/internal/")):
        return False
    mode = request.headers.get("Sec-Fetch-Mode")
    return mode in (None, "navigate") and "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()


def _is_led_here(request: web.Request) -> bool:
    """Return whether a page of another origin leads a browser here, by a link or an image."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Browsers send it over plain http too, unless the page that leads here forbids it.
    referrer = _referrer(request)
    return bool(referrer) and urlsplit(referrer).netloc.lower() != request.headers.get(hdrs.HOST, "").lower()


def _referrer(request: web.Request) -> str:
    return request.headers.get(hdrs.REFERER, "")[:200]


def _without_link(request: web.Request) -> str:
    """Return the address of a request relative to itself, without the link."""
    url = request.rel_url
    rest = "&".join(part for part in url.raw_query_string.split("&") if not part.startswith("token="))
    return f"./{url.raw_path.rpartition('/')[2]}{f'?{rest}' if rest else ''}"


def _redirect(location: str) -> web.Response:
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)
