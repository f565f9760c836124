"""The guard in front of an application: what it refuses, says in the log, and adds to every response."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.host.access import AccessRules
from comfy_assets_node.comfy_assets.host.guard import names_of_this_machine, protect

EXISTING = "default-src 'self'; script-src 'self' 'unsafe-inline';"


async def served(aiohttp_client: Any, rules: AccessRules, tmp_path: Path) -> Any:
    (tmp_path / "a.txt").write_text("a")

    @web.middleware
    async def of_the_host(request: web.Request, handler: Any) -> web.StreamResponse:
        response = await handler(request)
        if policy := request.query.get("policy"):
            response.headers["Content-Security-Policy"] = policy
        return response

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<p>", content_type="text/html")

    async def missing(_: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        return response

    async def file(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(tmp_path / "a.txt")

    app = web.Application(middlewares=[of_the_host])
    app.add_routes([web.get(f"/{each.__name__}", each) for each in (page, missing, stream, file)])
    protect(app, rules)
    return await aiohttp_client(app)


async def headers_of(client: Any, path: str, **headers: str) -> Any:
    async with client.get(path, headers=headers) as response:
        return response.headers


async def test_every_response_has_the_headers(aiohttp_client: Any, tmp_path: Path) -> None:
    client = await served(aiohttp_client, AccessRules(), tmp_path)
    for path in ("/page", "/missing", "/stream", "/file", "/nothing"):
        found = await headers_of(client, path)
        assert found["Cross-Origin-Resource-Policy"] == "same-origin", path
        assert found["Content-Security-Policy"] == "frame-ancestors 'self'", path
        assert found["X-Frame-Options"] == "SAMEORIGIN", path
    refused = await headers_of(client, "/page", Origin="http://evil.example")
    assert refused["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("rules", "policy", "expected", "option"),
    [
        (AccessRules(), EXISTING, f"{EXISTING} frame-ancestors 'self'", "SAMEORIGIN"),
        (AccessRules(), "frame-ancestors https://a.example", "frame-ancestors https://a.example", None),
        (AccessRules(frame_ancestors=["https://b.example"]), "", "frame-ancestors 'self' https://b.example", None),
        (AccessRules(origins={"https://c.example"}), "", "frame-ancestors 'self' https://c.example", None),
        (AccessRules(frame_ancestors=["*"]), EXISTING, EXISTING, None),
        (AccessRules(origins={"*"}), "", None, None),
        (AccessRules(is_checked=False), EXISTING, EXISTING, None),
    ],
)  # fmt: skip
async def test_a_policy_that_is_there_is_only_made_stricter(
    aiohttp_client: Any, tmp_path: Path, rules: AccessRules, policy: str, expected: str | None, option: str | None
) -> None:
    client = await served(aiohttp_client, rules, tmp_path)
    found = await headers_of(client, f"/page?policy={policy.replace(';', '%3B')}")
    assert found.get("Content-Security-Policy") == expected
    assert found.get("X-Frame-Options") == option
    is_kept = rules.is_checked and not rules.origins
    assert found.get("Cross-Origin-Resource-Policy") == ("same-origin" if is_kept else None)


async def test_refusals_are_logged_by_their_raw_path_and_not_without_end(
    aiohttp_client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = await served(aiohttp_client, AccessRules(), tmp_path)
    for _ in range(50):
        async with client.get("/x%0aFORGED%1b[31m", headers={"Sec-Fetch-Site": "cross-site"}) as response:
            assert response.status == 403
            assert (await response.json())["code"] == "ORIGIN_NOT_ALLOWED"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "comfy_assets.access"]
    assert "/x%0aforged%1b" in line.lower() and line.isprintable()


def test_names_of_this_machine() -> None:
    import socket

    names = names_of_this_machine(["192.168.1.5", " Box.House.example "])
    assert {"localhost", socket.gethostname().lower(), "box.house.example"} <= names
