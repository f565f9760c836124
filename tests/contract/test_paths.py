"""Every route and interceptor under every spelling of its path that leads aiohttp to the host's handler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.routes import INTERCEPTORS, ROUTES, router
from comfy_assets_node.routes.interceptors import HostRequest
from comfy_assets_node.routes.router import matched_path
from yarl import URL

ENTRIES: list[Any] = [*ROUTES, *INTERCEPTORS]


def spellings(path: str) -> Iterator[str]:
    """The path with values that an encoded slash, brace or percent sign is in, and with letters encoded."""
    plain = re.sub(r"\{\w+\}", "a%2Fb", path)
    yield plain
    yield plain.replace("%2F", "%2f")
    yield re.sub(r"\{\w+\}", "50%25%7e", path)
    letters = [i for i, letter in enumerate(plain) if letter.isalpha() and "%" not in plain[max(i - 2, 0) : i]]
    for at in {letters[0], letters[len(letters) // 2], letters[-1]}:
        yield f"{plain[:at]}%{ord(plain[at]):02x}{plain[at + 1 :]}"
    yield "".join(f"%{ord(c):02X}" if i in letters else c for i, c in enumerate(plain))


@pytest.fixture
async def world(aiohttp_client: Any, tmp_path: Path) -> Any:
    """A host with every path there is, behind the project's router with handlers that only note who was reached."""

    async def of_ours(request: web.Request, *_: Any) -> web.Response:
        return web.Response(headers={"reached": "ours"})

    async def through(call: HostRequest) -> web.StreamResponse:
        response = await call.pass_on()
        response.headers["reached"] = "interceptor"
        return response

    async def host(request: web.Request) -> web.Response:
        return web.Response(headers={"reached": "host"})

    routes = [replace(route, handler=of_ours, when=None) for route in ROUTES]
    interceptors = [replace(interceptor, handler=through, media="any") for interceptor in INTERCEPTORS]
    services = Services(MemoryHost(tmp_path, HostFolders(())), Config())
    app = web.Application(middlewares=[router.middleware(routes, interceptors, services)])
    for method, path in {(each.method, each.path) for each in ENTRIES}:
        app.router.add_route(method, path, host)
    return await aiohttp_client(app)


async def test_each_spelling_that_reaches_the_host_is_ours(world: Any) -> None:
    for entry in ENTRIES:
        is_route = isinstance(entry, router.Route)
        for spelling in spellings(entry.path):
            async with world.request(entry.method, URL(spelling, encoded=True)) as response:
                reached = response.headers.get("reached")
                if response.status == 404 and reached is None:
                    continue  # an aiohttp that compares paths as they were sent
                assert reached in ("ours", "interceptor"), (entry.method, spelling, response.status)
                assert reached == "ours" or not is_route, spelling
            assert matched_path(URL(spelling, encoded=True)).count("/") == entry.path.count("/")


def test_each_interceptor_holds_without_api_as_well() -> None:
    through = {(each.method, each.path) for each in INTERCEPTORS}
    own = {(each.method, each.path) for each in ROUTES}
    for method, path in through:
        if path.startswith("/api/"):
            assert (method, path.removeprefix("/api")) in through, path
    # Operations of ours that hosts have without /api, and that read JSON.
    for method, path in (("POST", "/queue"), ("POST", "/interrupt"), ("POST", "/history"), ("POST", "/free")):
        assert (method, path) in through and (method, f"/api{path}") in own


@pytest.mark.parametrize(
    "path",
    ["/a%2Fb%25c%7Bx%7D", "/a%2fb", "/%e4%bd%a0", "//api", "/a+b%20c", "/%70rompt", "/x;y=1", "/%2e%2e/x", "/"],
)
def test_paths_are_those_of_yarl(path: str) -> None:
    url = URL.build(path=path, encoded=True)
    if not hasattr(url, "path_safe"):
        pytest.skip("an older yarl")
    assert matched_path(url) == url.path_safe
