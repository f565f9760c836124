"""A server with the login, and what has reached it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from aiohttp.typedefs import Handler
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host import login_gate
from comfy_assets_node.comfy_assets.host.guard import protect
from comfy_assets_node.comfy_assets.host.login_requests import session_cookie
from comfy_assets_node.comfy_assets.login.passwords import PasswordHasher, ScryptCost
from comfy_assets_node.comfy_assets.login.service import Client, LoginService
from comfy_assets_node.comfy_assets.login.store import Role, Scope
from yarl import URL

PASSWORD = "correct horse"


@dataclass
class Gated:
    """A server with the login: the host's routes, those of another pack, and the requests that have reached them."""

    library: Any
    app: web.Application
    folder: Path
    reached: list[str] = field(default_factory=list)
    client: TestClient[Any, Any] = field(init=False)
    make_client: Callable[..., Awaitable[TestClient[Any, Any]]] = field(init=False)

    @property
    def login(self) -> LoginService:
        service: LoginService = self.library.services.login
        return service

    @property
    def gate(self) -> login_gate.LoginGate:
        gate: login_gate.LoginGate = self.library.host.plugin.gate
        return gate

    def token(self, *scopes: Scope, user: str = "Ada") -> dict[str, str]:
        """Headers with a new token."""
        return {"X-API-Key": self.login.accounts().create_token(user, "t", scopes)[1]}

    async def cookie(self, user: str = "Ada") -> dict[str, str]:
        """Headers with the cookie of a new session."""
        signed = await self.login.use_link(self.login.accounts().new_link(user), Client("192.0.2.1"))
        return {"Cookie": f"{session_cookie(self.login)}={signed.session}"}

    async def send(self, method: str, path: str, **options: Any) -> aiohttp.ClientResponse:
        """Send a request to a path as it is written; without its own cookies, and following no redirect."""
        self.client.session.cookie_jar.clear()
        url = URL(str(self.client.make_url("/")).removesuffix("/") + path, encoded=True)
        async with self.client.session.request(method, url, allow_redirects=False, **options) as response:
            await response.read()
        return response

    def command(self) -> LoginService:
        """The login as another process has it."""
        other = LoginService(self.folder, PasswordHasher(lambda: None, ScryptCost(4, 8, 1)))
        other.refresh_now()
        return other

    async def noticed(self) -> None:
        """Wait until the server must have noticed a change of another process."""
        await asyncio.sleep(0.3)


def make_app(library: Any, page: Path, reached: list[str]) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        name = f"{request.method} {request.rel_url.raw_path}"
        reached.append(name)
        told = {"reached": name, "user": request.headers.get("comfy-user"), "query": dict(request.query)}
        return web.json_response({**told, "named": request.headers.getall("X-Forwarded-User", [])})

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        reached.append("ws")
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def list_users(request: web.Request) -> web.Response:
        users = library.host.user_ids()
        return web.json_response({"storage": "server", "users": {user: user for user in users}})

    @web.middleware
    async def of_the_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        reached.append("middleware")
        return await handler(request)

    app = web.Application(middlewares=[of_the_host, library.host.plugin.middleware])
    internal = web.Application()
    internal.router.add_get("/logs", answer)
    internal.router.add_get("/files/{directory_type}", answer)
    app.add_subapp("/internal", internal)
    for path in ("/", "/view", "/api/view", "/queue", "/object_info", "/pack/list", "/manager/reboot", "/v2/manager/x"):
        app.router.add_get(path, answer)
    for path in ("/prompt", "/api/prompt", "/queue", "/upload/image", "/api/users", "/pack/do", "/free"):
        app.router.add_post(path, answer)
    app.router.add_get("/users", list_users)
    app.router.add_get("/ws", connect)
    app.router.add_static("/", page)
    return app


Make = Callable[..., Awaitable[Gated]]


@pytest.fixture
async def make_gated(make_library: Any, aiohttp_client: Any, tmp_path: Path) -> AsyncIterator[Make]:
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    for name in ("index.html", "script.js", "manifest.json", "assets/manifest-P9przInP.json"):
        (page / name).write_bytes(b"{}")
    hashers: list[PasswordHasher] = []

    async def make(
        *, start: bool = True, enabled: bool = True, users: frozenset[str] | None = None, **config: Any
    ) -> Gated:
        settings = Config(scan_on_start=False, idle_thumbnails=False, **config)
        library = await make_library(settings, users, tmp_path / "base")
        reached: list[str] = []
        app = make_app(library, page, reached)
        plugin = library.host.plugin
        protect(app, plugin.access, plugin.gate)
        plugin.gate.keep_first(app)
        gated = Gated(library, app, library.host.data_directory(), reached)
        gated.login.passwords.hasher = PasswordHasher(lambda: None, ScryptCost(4, 8, 1))
        hashers.append(gated.login.passwords.hasher)
        accounts = gated.login.accounts()
        encoded = gated.login.passwords.hasher.hash_now(PASSWORD)
        roles: dict[str, Role] = {"Root": "admin", "Ada": "member", "Guest": "guest"}
        for name, role in roles.items():
            accounts.add_user(name, role, encoded)
        accounts.set_enabled(enabled)
        gated.make_client = aiohttp_client
        if start:
            gated.client = await aiohttp_client(app)
        return gated

    yield make
    for hasher in hashers:
        hasher.close()


@pytest.fixture
async def gated(make_gated: Make) -> Gated:
    return await make_gated()
