"""Bodies and queries over a limit are refused with what the limit is, however they are sent, and change nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer
from comfy_assets_node.comfy_assets.config import Config
from support.files import picture

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}
ID = "00000000-0000-4000-8000-000000000001"


async def chunks(size: int) -> AsyncIterator[bytes]:
    """A body of spaces without a length."""
    for _ in range(size // 65536):
        yield b" " * 65536


SMALL = [
    ("POST", "/api/queue"),
    ("POST", "/api/history"),
    ("POST", "/api/interrupt"),
    ("POST", "/api/free"),
    ("POST", "/api/jobs/cancel"),
    ("POST", f"/api/assets/{ID}/tags"),
    ("DELETE", f"/api/assets/{ID}/tags"),
    ("PUT", f"/api/assets/{ID}"),
    ("POST", "/api/assets/from-hash"),
    ("POST", "/api/assets/import"),
    ("POST", "/api/feedback"),
    ("PATCH", f"/api/workflows/{ID}"),
    ("POST", f"/api/workflows/{ID}/fork"),
    ("POST", "/api/userdata/workflows%2Fa.json/publish"),
]


@pytest.mark.parametrize(("method", "path"), SMALL)
async def test_a_body_over_the_limit(api: Any, method: str, path: str) -> None:
    # The server closes a connection with an unread rest, perhaps while the next request is being sent on it.
    plain = {**JSON, "Connection": "close"}
    compressed = {**plain, "Content-Encoding": "gzip"}
    bodies: list[dict[str, Any]] = [
        {"data": b" " * (MIB + 1), "headers": plain},
        {"data": chunks(2 * MIB), "headers": plain},
        {"data": gzip.compress(b" " * (MIB + 1)), "headers": compressed},
        {"data": gzip.compress(b" " * (64 * MIB)), "headers": compressed},
        {"data": zlib.compress(b" " * (2 * MIB)), "headers": {**plain, "Content-Encoding": "deflate"}},
    ]
    for options in bodies:
        answer = await api.send(method, path, 413, **options)
        assert (answer.json["code"], answer.json["details"]) == ("BODY_TOO_LARGE", {"max_bytes": MIB})


async def test_a_small_compressed_body_is_read(api: Any) -> None:
    sent = gzip.compress(json.dumps({"delete": [ID]}).encode())
    answer = await api.send("POST", "/api/queue", 200, data=sent, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.json == {"deleted": []}


@pytest.mark.parametrize("path", ["/api/workflows", f"/api/workflows/{ID}/versions", "/api/assets"])
async def test_what_may_be_large_is_not_taken_compressed(api: Any, path: str) -> None:
    bomb = gzip.compress(b"[" * (32 * MIB))
    answer = await api.send("POST", path, 415, data=bomb, headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.json["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "path", ["/api/upload/image", "/api/upload/mask", "/upload/image", "/api/v2/assets", "/api/assets"]
)
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
async def test_a_form_that_is_not_what_its_encoding_says(library: Any, path: str, kind: str) -> None:
    app = web.Application(middlewares=[library.host.plugin.middleware])
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    async with TestClient(TestServer(app)) as client, client.post(path, data=b"no gzip", headers=headers) as response:
        assert response.status == 415, await response.text()
        assert "unsupported" in (await response.text()).lower()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/queue", {"delete": ["x"] * 1001}),
        ("/api/history", {"delete": ["x"] * 1001}),
        ("/api/jobs/cancel", {"job_ids": [ID] * 101}),
        (f"/api/assets/{ID}/tags", {"tags": ["x"] * 1001}),
        ("/api/assets/seed", {"roots": ["input"] * 1001}),
        ("/api/queue", {"delete": ["x" * 257]}),
        ("/api/feedback", {"type": "general", "metadata": {str(n): n for n in range(10_001)}}),
    ],
)
async def test_too_many_of_something(api: Any, path: str, body: Any) -> None:
    answer = await api.send("POST", path, 400, json=body)
    assert answer.json["code"] == "INVALID_BODY"


@pytest.mark.parametrize("others", [100, 101])
@pytest.mark.parametrize(
    ("path", "file", "fields", "made", "refused"),
    [
        ("/api/assets", "file", {}, 201, 400),
        ("/api/v2/assets", "file", {"content_type": "image/png", "file_path": "a.png"}, 201, 422),
        ("/api/upload/image", "image", {}, 404, 400),  # it has reached the host, which has no such operation here
    ],
)
async def test_a_form_has_a_hundred_fields_beside_its_file(
    library: Any, path: str, file: str, fields: dict[str, str], made: int, refused: int, others: int
) -> None:
    data = FormData(fields)
    for number in range(others - len(fields)):
        data.add_field(f"other{number}", "x")
    data.add_field(file, picture(), filename="a.png", content_type="image/png")
    async with library.client.post(path, data=data) as response:
        assert response.status == (made if others == 100 else refused)
        if others > 100:
            assert "100 fields" in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", "/api/assets/from-hash", {}, 400, "hash"),
        ("POST", "/api/collections", {}, 400, "name"),
        ("POST", "/api/saved-searches", {"name": "x"}, 400, "query"),
        ("POST", "/api/workflows", {"name": "x"}, 422, "workflow_json"),
        ("POST", "/api/assets/batch", {"action": "remove", "filter": {"tag": "x"}}, 400, "filter.tag"),
        ("POST", "/api/queue", {"delete": [], "other": 1}, 400, "other"),
    ],
)
async def test_a_member_that_is_missing_or_unknown_is_named(
    api: Any, method: str, path: str, body: Any, status: int, field: str
) -> None:
    answer = (await api.send(method, path, status, json=body)).json
    assert answer["details"]["field"] == field


async def test_json_of_too_many_values_or_too_deep(api: Any) -> None:
    answer = await api.send("POST", "/api/interrupt", 413, data=b'{"x":[' + b"0," * 60_000 + b"0]}", headers=JSON)
    assert answer.json["details"] == {"max_values": 50_000}
    await api.send("POST", "/api/interrupt", 400, data=b'{"x":' + b"[" * 100 + b"]" * 100 + b"}", headers=JSON)
    await api.send("POST", "/api/interrupt", 200, data=b'{"x":' + b"[" * 99 + b"]" * 99 + b"}", headers=JSON)


async def test_the_host_gets_no_body_over_a_limit_and_every_other(library: Any) -> None:
    received: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(text="taken")

    app = web.Application(middlewares=[library.host.plugin.middleware], client_max_size=100 * MIB)
    paths = ["/queue", "/interrupt", "/free", "/settings", "/settings/a", "/users", "/api/settings/a"]
    for path in paths:
        app.router.add_post(path, take)
    async with TestClient(TestServer(app)) as client:
        for path in paths:
            async with client.post(path, json={"a": "x" * MIB}) as response:
                assert response.status == 413, path
                assert (await response.json())["details"] == {"max_bytes": MIB}
            async with client.post(path, data=b'{"username": "a"}', headers=JSON) as response:
                assert (response.status, await response.text()) == (200, "taken"), path
        async with client.post("/queue", json={"delete": ["x"] * 1001}) as response:
            assert response.status == 400
    assert received == [b'{"username": "a"}'] * len(paths)


async def test_a_query_that_takes_too_long_is_503(make_library: Any, api_of: Any, monkeypatch: Any) -> None:
    library = await make_library(Config(scan_on_start=False, query_timeout=1))
    api = api_of(library)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    fetch_all = library.services.db.fetch_all

    async def slow(sql: str, parameters: Any = ()) -> Any:
        return await fetch_all(endless if "asset_count" in sql else sql, () if "asset_count" in sql else parameters)

    with monkeypatch.context() as patch:
        patch.setattr(library.services.db, "fetch_all", slow)
        answer = await api.send("GET", "/api/assets", 503)
        assert answer.json["code"] == "QUERY_TIMEOUT"
        # Clients that go away at once leave nothing behind that others wait for.
        for _ in range(12):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(api.send("GET", "/api/assets", None), 0.02)
    assert (await asyncio.wait_for(api.send("GET", "/api/assets?limit=1"), 20)).json["assets"] == []
