"""The gate of the login as a middleware of an aiohttp application: only a few named pages are open without signing in.

It runs before every other middleware and route, also those of other packs, on every path and method. Exceptions are
compared with the path as it was sent, so that another spelling of it is no exception.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from msgspec.structs import replace
from multidict import CIMultiDictProxy

from ..errors import (
    ApiError,
    LoginRecordNotFoundError,
    LoginUnavailableError,
    NotPermittedError,
    OriginNotAllowedError,
    SignInFailedError,
    SignInRequiredError,
)
from ..login.service import Identity, LoginService
from ..login.store import MAX_NAME, Role, Scope, name_key
from .access import AccessRules, TrustedProxies, judge
from .client_ids import namespace_of, own_id, speaking_for
from .login_requests import (
    access_request,
    address_of,
    client_of,
    is_led_here,
    link_of,
    redirect,
    referrer,
    root_of,
    session_cookie,
    set_cookies,
    tokens_of,
    wants_page,
    without_link,
)
from .request_copies import with_headers

log = logging.getLogger("comfy_assets.login")


def _request_key(name: str, kind: type) -> Any:
    """Return a key of requests. Newer versions of aiohttp warn of keys that are texts, older ones have no others."""
    return web.RequestKey(name, kind) if hasattr(web, "RequestKey") else name


IDENTITY = _request_key("comfy_assets_identity", Identity)
"""The key of a request's ``Identity``; a request has none while the login is off, and on the pages without it."""
NAMED_USER = _request_key("comfy_assets_named_user", bool)
"""The key of whether a request named a user itself, before the gate replaced that name."""
OUTSIDER = _request_key("comfy_assets_outsider", bool)
"""The key of whether nobody has signed in for a request, which is let through to an open share."""
USER_HEADER = "comfy-user"
CHOSEN_USER = "user"
"""The query parameter by which an administrator acts in the place of another user."""

# What is reached without signing in, by the method and the path as it was sent.
OPEN = frozenset(
    {
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("GET", "/login"),
        ("HEAD", "/login"),
        ("POST", "/api/login"),
        # A program exchanges a code that a signed-in user has agreed to.
        ("POST", "/oauth/token"),
        ("GET", "/.well-known/oauth-authorization-server"),
    }
)
# Browsers request the manifest of a page without cookies. It is one of the page's own files.
_MANIFEST = re.compile(r"/(?:assets/)?(?:manifest(?:-[A-Za-z0-9_-]{1,40})?\.json|site\.webmanifest)", re.ASCII)
# A share and its contents, as sent: the id in it has 144 random bits.
_SHARE = re.compile(r"/api/workflows/published/([0-9a-f]{36})(?:/assets/[0-9a-f-]{36}/content)?", re.ASCII)
_WATCH_S = 1.0  # how late an open websocket of an ended session is closed
_WEBSOCKETS = frozenset({"/ws", "/api/ws"})  # the server's own
_CLIENT_ID = "clientId"
_DELETIONS = frozenset({"/api/assets/prune", "/api/history", "/api/trash/empty", "/history"})  # other than by DELETE

# Makes the sign-in page for a request; the text is the name of a message on it, or "".
IsOpenShare = Callable[[str], Awaitable[bool]]
MakePage = Callable[[web.Request, str], web.Response]


class Permissions(Protocol):
    """The permissions that requests need, by the route that aiohttp matched."""

    def needed(self, request: web.Request) -> frozenset[Scope]:
        """Return the scopes of a request, all of which it needs."""

    def is_public(self, request: web.Request) -> bool:
        """Return whether a request shows nothing of any user but what is shared."""

    def is_known(self, request: web.Request) -> bool:
        """Return whether a request is for an operation of the project or of the server, and for none of a pack."""


class UsersOfHost(Protocol):
    """The users of a host for several users."""

    async def id_of(self, name: str) -> str:
        """Return the host's id of a user, and make the host know them. Raises LoginUnavailableError."""

    def has_id(self, user: str) -> bool:
        """Return whether the host has a user of this id."""


class LoginGate:
    """Lets requests pass that a session or a token permits.

    ``page`` makes the page to sign in. ``users`` is None for a host with one user. ``proxies`` name the users of their
    requests, of whom those that are not known yet get the role ``new_users``, or are refused without one.
    ``is_open_share`` returns whether a share is open to those who have not signed in.
    """

    def __init__(
        self,
        login: LoginService,
        rules: AccessRules,
        permissions: Permissions,
        page: MakePage,
        users: UsersOfHost | None = None,
        proxies: TrustedProxies | None = None,
        new_users: Role | None = None,
        is_open_share: IsOpenShare | None = None,
    ) -> None:
        self._login = login
        self._proxies = proxies or TrustedProxies()
        self._new_users = new_users
        self._is_open_share = is_open_share
        self._rules = rules
        # Cookies are only safe with the checks of the origin, even where those are turned off for everything else.
        self._cookie_rules = replace(rules, is_checked=True, origins=frozenset(rules.origins) - {"*"})
        self._permissions = permissions
        self._page = page
        self._users = users
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
        if (link := link_of(request)) is not None:
            return await self._exchange(request, link)
        if _is_open(request):
            return await handler(request)
        try:
            identity = await self._identify(request)
        except NotPermittedError as error:
            return refusal(error)
        if identity is None:
            if await self._is_for_outsiders(request):
                return await self._pass_outsider_on(request, handler)
            return self._ask_to_sign_in(request, "")
        try:
            self._check(request, identity)
            chosen = self._chosen_user(request, identity)
        except ApiError as error:
            return refusal(error)
        response = await self._pass_on(request, handler, identity, chosen)
        if _is_deletion(request) and response.status < 400:
            self._login.note("deleted", user=identity.user, path=request.rel_url.raw_path, method=request.method)
        return response

    async def _is_for_outsiders(self, request: web.Request) -> bool:
        """Return whether a request reads a share that its owner has opened to everybody who knows its id."""
        found = _SHARE.fullmatch(request.rel_url.raw_path)
        if found is None or self._is_open_share is None or request.method not in ("GET", "HEAD"):
            return False
        return await self._is_open_share(found[1])

    async def _pass_outsider_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass a request on as nobody's, without anything that names a user."""
        headers = _without(_without(request.headers, USER_HEADER), self._proxies.header)
        request[OUTSIDER] = True
        return await handler(with_headers(request, headers))

    async def _identify(self, request: web.Request) -> Identity | None:
        """Return who a request is from: by a token, by the header of a trusted proxy, or by the cookie of a session.

        Raises NotPermittedError for a user of a proxy who may not use the server.
        """
        if (identity := self._by_token(request)) is not None:
            return identity
        if (name := self._named_by_proxy(request)) is not None:
            return await self._login.by_proxy(name, address_of(request, self._proxies), self._new_users)
        return self._by_cookie(request)

    def _by_token(self, request: web.Request) -> Identity | None:
        address = address_of(request, self._proxies)
        return next(filter(None, (self._login.by_token(text, address) for text in tokens_of(request))), None)

    def _named_by_proxy(self, request: web.Request) -> str | None:
        """Return the user that a trusted proxy names. Raises NotPermittedError if it names several."""
        names = [name for name in request.headers.getall(self._proxies.header, ()) if name.strip()]
        if not names or not self._proxies.is_trusted(request.remote or ""):
            return None
        if len(names) > 1:
            raise NotPermittedError(f"The proxy sends {self._proxies.header} twice: it must replace that of clients.")
        return names[0]

    def _by_cookie(self, request: web.Request) -> Identity | None:
        secret = request.cookies.get(session_cookie(self._login))
        return None if secret is None else self._login.by_session(secret)

    def _check(self, request: web.Request, identity: Identity) -> None:
        """Raise NotPermittedError, or another refusal of the request."""
        needed = self._permissions.needed(request)
        if not needed <= identity.scopes:
            raise NotPermittedError(
                "The token or the role of the user does not permit this.", details={"scopes": sorted(needed)}
            )
        if identity.role == "guest" and self._users is None and not self._permissions.is_public(request):
            raise NotPermittedError("A guest of a server for one user sees only what is shared.")
        if identity.kind == "token":  # pages of other origins cannot make a browser send one
            return
        if self._rules.is_open:
            verdict = judge(self._cookie_rules, access_request(request))
            if isinstance(verdict, ApiError):
                raise verdict
        if not needed <= {"read"} and is_led_here(request):
            raise OriginNotAllowedError("A link of another page leads here.", details={"origin": referrer(request)})

    def _chosen_user(self, request: web.Request, identity: Identity) -> str | None:
        """Return the user in whose place an administrator wants to act, None for themselves.

        Raises NotPermittedError, LoginRecordNotFoundError.
        """
        if self._users is None or CHOSEN_USER not in request.query_string or not self._permissions.is_known(request):
            return None
        names = request.query.getall(CHOSEN_USER, [])
        if not names:
            return None
        user = self._login.state.users.get(name_key(names[0][:MAX_NAME]))
        if user is not None and user.key == identity.key:
            return user.name
        if len(names) > 1 or "admin" not in identity.scopes:
            raise NotPermittedError(
                "Only an administrator can act in the place of one other user.", details={"scopes": ["admin"]}
            )
        if user is None and not self._users.has_id(names[0]):
            raise LoginRecordNotFoundError("There is no such user.", details={"field": CHOSEN_USER})
        name = names[0] if user is None else user.name
        is_change = request.method not in ("GET", "HEAD")
        facts = {"user": identity.user, "acted_as": name, "path": request.rel_url.raw_path, "method": request.method}
        self._login.note("acted_as", once="" if is_change else f"{identity.key} as {name}", **facts)
        return name

    async def _pass_on(
        self, request: web.Request, handler: Handler, identity: Identity, chosen: str | None
    ) -> web.StreamResponse:
        request[IDENTITY] = identity
        request[NAMED_USER] = USER_HEADER in request.headers
        namespace = namespace_of(identity.key)
        passed = await self._as_passed_on(request, identity, namespace, chosen)
        with speaking_for(namespace):
            return await self._watched(passed, handler, identity)

    async def _as_passed_on(
        self, request: web.Request, identity: Identity, namespace: str, chosen: str | None
    ) -> web.Request:
        """Return the request as handlers get it: with the user and the websocket client of the identity alone."""
        headers, url = request.headers, request.rel_url
        if self._proxies.header in headers and not self._proxies.is_trusted(request.remote or ""):
            headers = _without(headers, self._proxies.header)
        if self._users is not None:
            named = headers.copy()
            named[USER_HEADER] = await self._host_id(self._users, chosen or identity.user)
            headers = CIMultiDictProxy(named)
        if chosen is not None:
            url = url.with_query([(name, value) for name, value in url.query.items() if name != CHOSEN_USER])
        if _is_websocket_of_server(request):
            query = [(name, value) for name, value in url.query.items() if name not in (_CLIENT_ID, "token")]
            url = url.with_query([*query, (_CLIENT_ID, own_id(namespace, url.query.get(_CLIENT_ID)))])
        if headers is request.headers and url is request.rel_url:
            return request
        return with_headers(request, headers, url)

    async def _host_id(self, users: UsersOfHost, name: str) -> str:
        """Return the host's id of a user of the login, or of one whom the login does not know (any more)."""
        is_known = name_key(name) in self._login.state.users
        return await users.id_of(name) if is_known or not users.has_id(name) else name

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
            signed = await self._login.use_link(link, client_of(request, self._login, self._proxies))
        except SignInFailedError:
            if (
                self._by_token(request) or self._by_cookie(request)
            ) is not None:  # the link was opened again by the same browser
                return redirect(without_link(request))
            return self._ask_to_sign_in(request, "link")
        user = self._login.state.users.get(signed.key)
        # A user without a password is led to where one can be set.
        has_password = user is not None and bool(user.password)
        response = redirect(without_link(request) if has_password else f"{root_of(request)}login")
        set_cookies(response, request, self._login, signed)
        return response

    def _ask_to_sign_in(self, request: web.Request, message: str) -> web.StreamResponse:
        if wants_page(request):
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


def _is_deletion(request: web.Request) -> bool:
    return request.method == "DELETE" or (request.method == "POST" and request.rel_url.path in _DELETIONS)


def _without(headers: CIMultiDictProxy[str], name: str) -> CIMultiDictProxy[str]:
    left = headers.copy()
    left.popall(name, None)
    return CIMultiDictProxy(left)


def _is_websocket_of_server(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in _WEBSOCKETS


def _is_open(request: web.Request) -> bool:
    path = request.rel_url.raw_path
    if (request.method, path) in OPEN:
        return True
    is_file = isinstance(request.match_info.route.resource, web.StaticResource)
    return is_file and request.method in ("GET", "HEAD") and _MANIFEST.fullmatch(path) is not None
