"""Which requests the project answers, which it passes on untouched, and how it answers its own failures."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.assets.service import AssetService
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.plugin import attach
from yarl import URL

SOME_ID = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def api(tmp_path: Any, aiohttp_client: Any, api_of: Any) -> Any:
    """Requests to a server that answers what the project leaves to it with 299 and the request."""
    host = MemoryHost(tmp_path / "data", HostFolders(()))
    services = attach(host, Config(scan_on_start=False))
    assert host.plugin is not None
    app = web.Application(middlewares=[host.plugin.middleware], client_max_size=2**30)
    app.router.add_route("*", "/{anything:.*}", _host_answer)
    await services.start()
    yield api_of(SimpleNamespace(client=await aiohttp_client(app)))
    await services.stop()


async def _host_answer(request: web.Request) -> web.Response:
    body = await request.text()
    return web.Response(status=299, text=f"{request.method} {request.rel_url.raw_path_qs} {body}")


NOT_OURS = [
    ("GET", "/"),
    ("GET", "/assets/"),
    ("GET", "/assets/index.js"),
    ("GET", "/tags"),
    ("GET", "/api"),
    ("GET", "/api/health"),
    ("GET", "/api/assets/"),
    ("GET", "/api//assets"),
    ("GET", "/API/assets"),
    ("GET", "/api/Assets"),
    ("GET", "/api/assetsx"),
    ("GET", "/api/assets%2F"),
    ("GET", "/api%2Fassets"),
    ("GET", f"/api/assets/{SOME_ID}/"),
    ("GET", f"/api/assets/{SOME_ID}/content/"),
    ("GET", f"/api/assets/{SOME_ID}/contents"),
    ("GET", f"/api/assets/{SOME_ID}/tags"),
    ("GET", f"/api/assets/{SOME_ID}/content/x"),
    ("GET", "/api/assets//content"),
    ("GET", "/api/tags/"),
    ("GET", "/api/tags/x"),
    ("GET", "/api/assets/hash/blake3:0"),
    ("GET", "/api/assets/seed/cancel"),
    ("GET", "/api/assets/seed/status/"),
    ("GET", "/health/"),
    ("POST", "/health"),
    ("PUT", "/api/assets"),
    ("DELETE", "/api/assets"),
    ("PATCH", "/api/assets"),
    ("POST", "/api/tags"),
    ("POST", f"/api/assets/{SOME_ID}"),
    ("POST", f"/api/assets/{SOME_ID}/content"),
    ("POST", "/api/assets/seed/status"),
    ("OPTIONS", "/api/assets"),
    ("OPTIONS", f"/api/assets/{SOME_ID}"),
    ("OPTIONS", "/api/assets/seed"),
    ("OPTIONS", "/health"),
    ("PROPFIND", "/api/assets"),
]


async def test_what_is_not_ours_is_passed_on_untouched(api: Any) -> None:
    query = "a=1&a=2&b=%2F%25&c"
    for method, path in NOT_OURS:
        body = "a body" if method not in ("GET", "OPTIONS") else ""
        answer = await api.send(method, URL(f"{path}?{query}", encoded=True), 299, data=body or None)
        assert answer.text == f"{method} {path}?{query} {body}"


OURS = [
    ("/api/assets", 200),
    ("/api/tags", 200),
    ("/api/assets/tags/refine", 200),
    ("/api/assets/seed/status", 200),
    ("/health", 200),
    ("/assets", 200),
    ("/api/assets/x", 404),
    ("/api/assets/x/content", 404),
    ("/api/assets?limit=0", 400),
]
# The host has operations of its own at these paths, and may know the id.
SHARED = [
    ("GET", f"/api/assets/{SOME_ID}"),
    ("GET", f"/api/assets/{SOME_ID}/content"),
    ("GET", f"/api/tasks/{SOME_ID}"),
    ("DELETE", f"/api/tasks/{SOME_ID}"),
]


async def test_an_id_that_is_not_ours_is_passed_on_untouched(api: Any) -> None:
    for method, path in SHARED:
        # Not by ``api``: what the host answers is no answer of ours.
        async with api.client.request(method, URL(f"{path}?a=%2F&b", encoded=True)) as response:
            assert (response.status, await response.text()) == (299, f"{method} {path}?a=%2F&b ")


async def test_a_head_is_a_get_without_the_body(api: Any) -> None:
    for path, status in OURS:
        get, head = await api.send("GET", path, status), await api.send("HEAD", path, status)
        assert head.body == b""
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == get.headers[name], path


async def test_a_path_parameter_is_one_segment_whatever_it_encodes(api: Any) -> None:
    for segment in ("a%2Fb", "%2e%2e%2f%2e%2e", "..%5C..", "x%3Fy", "x%23y", "%25", "+", "~", "a;b"):
        for suffix in ("", "/content"):
            answer = await api.send("GET", URL(f"/api/assets/{segment}{suffix}", encoded=True), 404)
            assert answer.json["code"] == "ASSET_NOT_FOUND"


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        (b"//api/assets", {299}),
        (b"/api/assets/\xff", {400, 404}),
        (b"/api/assets/\xed\xa0\x80/content", {400, 404}),
        (b"/api/assets?name_contains=\xff", {200, 400}),
    ],
)
async def test_a_target_as_no_client_sends_it(api: Any, target: bytes, statuses: set[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert int(answer.split(b" ")[1]) in statuses


SECRET = "a secret of the server"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(SECRET),
        ValueError(SECRET),
        OSError(5, SECRET),
        KeyError(SECRET),
        AssertionError(SECRET),
        asyncio.TimeoutError(SECRET),
        web.HTTPNotFound(text=SECRET),
        web.HTTPFound("/" + SECRET.replace(" ", "-")),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_is_answered_and_logged_once(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(AssetService, "list", fail)
    answer = await api.send("GET", "/api/assets", 500)
    assert set(answer.json) == {"code", "message"}
    assert answer.json["code"] == "INTERNAL_ERROR"
    assert "secret" not in answer.text and "Traceback" not in answer.text and "Error:" not in answer.text
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.name == "comfy_assets.http"
    assert record.exc_info is not None and record.exc_info[1] is error
    assert (await api.send("GET", "/api/tags")).json["tags"] == []


async def test_an_answer_that_cannot_be_encoded_is_a_failure_too(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from comfy_assets_node.comfy_assets.models import Page, TagCount

    async def surrogates(*_: Any, **__: Any) -> Page[TagCount]:
        return Page([TagCount("\ud800", 1)], 1, False)

    monkeypatch.setattr(AssetService, "list_tags", surrogates)
    assert (await api.send("GET", "/api/tags", 500)).json["code"] == "INTERNAL_ERROR"
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1


async def test_a_client_that_goes_away_is_no_failure(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(b"POST /api/assets/seed HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.05)
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []
    assert (await api.send("GET", "/api/assets/seed/status")).json["status"] == "idle"


async def test_every_error_has_the_same_shape(api: Any) -> None:
    for path, status in (("/api/assets/x", 404), ("/api/assets?order=x", 400)):
        answer = await api.send("GET", path, status)
        assert answer.headers["Content-Type"] == "application/json"
        body = msgspec.json.decode(answer.body)
        assert set(body) == {"code", "message", "details"}
        assert body["code"].isupper()
