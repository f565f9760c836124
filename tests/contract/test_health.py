"""getHealth, and what everything answers while the store cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import StoreUnavailableError
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.plugin import attach

SOME_ID = "00000000-0000-7000-8000-000000000000"
OPERATIONS = [
    ("GET", "/api/assets"),
    ("GET", "/api/assets/tags/refine"),
    ("GET", f"/api/assets/{SOME_ID}"),
    ("GET", f"/api/assets/{SOME_ID}/content"),
    ("HEAD", "/api/assets/hash/blake3:" + "0" * 64),
    ("GET", "/api/tags"),
    ("POST", "/api/assets/seed"),
    ("GET", "/api/assets/seed/status"),
    ("POST", "/api/assets/seed/cancel"),
    ("POST", "/api/assets/prune"),
    ("GET", "/api/tasks"),
    ("GET", f"/api/tasks/{SOME_ID}"),
]


def a_file_in_its_place(data: Path) -> None:
    """The folder of the store is a file."""
    data.write_text("not a folder")


def a_folder_in_its_place(data: Path) -> None:
    """The store itself is a folder."""
    (data / "library.db").mkdir(parents=True)


def a_newer_version(data: Path) -> None:
    """The store was written by a later version."""
    data.mkdir(parents=True)
    connection = sqlite3.connect(data / "library.db")
    connection.execute("PRAGMA user_version = 999")
    connection.close()


TROUBLES = [a_file_in_its_place, a_folder_in_its_place, a_newer_version]


@pytest.fixture
async def host_app(tmp_path: Path, aiohttp_client: Any, api_of: Any) -> Any:
    """A server with a route of its own and the plugin in front; answers how to start it."""
    services: list[Any] = []

    async def start(*, on_serving: bool = True) -> Any:
        host = MemoryHost(tmp_path / "data", HostFolders(()), frozenset({"default"}))
        services.append(attach(host, Config(scan_on_start=False)))
        assert host.plugin is not None
        app = web.Application(middlewares=[host.plugin.middleware])
        app.router.add_get("/api/other", _other)
        if on_serving:
            await host.plugin.on_serving()

        return api_of(SimpleNamespace(client=await aiohttp_client(app))), services[-1]

    yield start
    for service in services:
        await service.stop()


async def _other(_: web.Request) -> web.Response:
    return web.json_response({"other": True})


async def test_a_healthy_server(host_app: Any) -> None:
    api, _ = await host_app()
    answer = await api.send("GET", "/health")
    assert answer.text == "OK"
    assert answer.headers["Content-Type"].startswith("text/plain")
    head = await api.send("HEAD", "/health")
    assert head.body == b""


async def test_a_probe_needs_no_user(host_app: Any) -> None:
    api, _ = await host_app()
    await api.as_user("nobody").send("GET", "/health")
    await api.send("GET", "/health", params={"any": "\0"})


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_without_a_store(
    tmp_path: Path, host_app: Any, trouble: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    trouble(tmp_path / "data")
    before = _files(tmp_path)
    api, services = await host_app()
    answer = await api.send("GET", "/health", 503)
    assert answer.text == "Service Unavailable"
    assert answer.headers["Content-Type"].startswith("text/plain")
    for method, path in OPERATIONS:
        answer = await api.send(method, path, 500)
        if method == "HEAD":
            continue
        assert answer.json["code"] == "STORE_UNAVAILABLE"
        assert services.problem is not None
        assert str(tmp_path) not in answer.json["message"], "a store's place is the log's business"
    assert (await api.send("GET", "/api/other")).json == {"other": True}
    assert [r.levelname for r in caplog.records if r.name.startswith("comfy_assets")] == ["ERROR"]
    assert _files(tmp_path) == before


def _files(base: Path) -> list[Path]:
    """Everything below the folder but the journal, which does not need the store."""
    return sorted(path for path in base.rglob("*") if "queue" not in path.parts)


async def test_errors_of_the_request_come_before_those_of_the_store(tmp_path: Path, host_app: Any) -> None:
    a_file_in_its_place(tmp_path / "data")
    api, _ = await host_app()
    assert (await api.get("/api/assets", 400, limit="0"))["code"] == "INVALID_QUERY"
    assert (await api.as_user("nobody").get("/api/assets", 401))["code"] == "UNAUTHORIZED"


async def test_a_store_that_is_closed_under_way(host_app: Any) -> None:
    api, services = await host_app()
    await services.stop()
    await api.send("GET", "/health", 503)
    for method, path in OPERATIONS:
        await api.send(method, path, 500)


async def test_a_store_that_fails_under_way(host_app: Any, caplog: pytest.LogCaptureFixture) -> None:
    api, services = await host_app()
    await services.db.close()
    assert (await api.send("GET", "/health", 503)).text == "Service Unavailable"
    assert (await api.get("/api/assets", 500))["code"] == "INTERNAL_ERROR"


async def test_requests_wait_for_a_store_that_is_still_opening(host_app: Any) -> None:
    api, services = await host_app(on_serving=False)
    requests = [asyncio.create_task(api.send("GET", path)) for path in ("/health", "/api/assets", "/api/tags")]
    await asyncio.sleep(0.05)
    assert not any(request.done() for request in requests)
    await services.start()
    for answer in await asyncio.gather(*requests):
        assert answer.status == 200


async def test_a_probe_does_not_wait_long(host_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfy_assets_node.routes import server

    monkeypatch.setattr(server, "_STORE_TIMEOUT_S", 0.05)
    api, _ = await host_app(on_serving=False)
    await api.send("GET", "/health", 503)


async def test_damage_found_after_opening_is_told_of(tmp_path: Path) -> None:
    """A table that is gone: the file opens, but the services cannot be put together over it."""
    services = Services(MemoryHost(tmp_path / "data", HostFolders(())), Config(scan_on_start=False))
    await services.start()
    await services.stop()
    with closing(sqlite3.connect(tmp_path / "data" / "library.db")) as conn:
        conn.execute("DROP TABLE tasks")
    services = Services(MemoryHost(tmp_path / "data", HostFolders(())), Config(scan_on_start=False))
    await services.start()
    assert services.problem is not None and "tasks" in services.problem
    with pytest.raises(StoreUnavailableError):
        await services.ready()
