"""A server with exports, tasks and assets of its own around the project: each receives the requests for its own ids."""

from __future__ import annotations

import asyncio
import io
import uuid
import zipfile
from typing import Any

import pytest
from aiohttp import web
from support.files import picture


class NewerServer:
    """The operations of a newer ComfyUI, which knows one task, one export and one asset; it notes what reaches it."""

    def __init__(self) -> None:
        self.task, self.asset = str(uuid.uuid4()), str(uuid.uuid4())
        self.export = "comfy-export-2026-11-28-0a1b2c3d.zip"
        self.requests: list[tuple[str, str]] = []
        self.is_off = False

    def add_to(self, app: web.Application) -> None:
        for prefix in ("", "/api"):  # ComfyUI has each route twice
            app.router.add_route("*", f"{prefix}/tasks/{{task_id}}", self.on_task)
            app.router.add_get(f"{prefix}/assets/exports/{{exportName}}", self.on_export)
            app.router.add_post(f"{prefix}/assets/export", self.on_start)
            app.router.add_get(f"{prefix}/assets/{{id}}", self.on_asset)
            app.router.add_get(f"{prefix}/assets/{{id}}/content", self.on_content)

    def _note(self, request: web.Request) -> None:
        self.requests.append((request.method, request.path))
        if self.is_off:
            raise web.HTTPServiceUnavailable(text='{"error": {"code": "SERVICE_DISABLED"}}')

    @staticmethod
    def _unknown(code: str) -> web.Response:
        return web.json_response({"error": {"code": code, "message": "no", "details": {}}}, status=404)

    async def on_task(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.match_info["task_id"] != self.task:
            return self._unknown("TASK_NOT_FOUND")
        if request.method == "DELETE":
            return web.json_response({"status": "cancelling"})
        return web.json_response({"id": self.task, "status": "running", "task_name": "task:export"})

    async def on_export(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.match_info["exportName"] != self.export:
            return self._unknown("EXPORT_NOT_FOUND")
        return web.json_response({"url": "/api/view?type=temp"})

    async def on_start(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"task_id": self.task, "status": "created"}, status=202)

    async def on_asset(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.match_info["id"] != self.asset:
            return self._unknown("ASSET_NOT_FOUND")
        return web.json_response({"id": self.asset, "name": "of the server"})

    async def on_content(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.Response(body=b"of the server") if request.match_info["id"] == self.asset else self._unknown("X")


@pytest.fixture
async def newer(make_library: Any, aiohttp_client: Any) -> Any:
    return await beside(await make_library(), aiohttp_client)


async def beside(library: Any, aiohttp_client: Any) -> Any:
    """The library with a newer server around it."""
    library.server = NewerServer()
    app = web.Application(middlewares=[library.host.plugin.middleware])
    library.server.add_to(app)
    library.client = await aiohttp_client(app)
    return library


async def ask(library: Any, method: str, path: str, status: int = 200, **options: Any) -> Any:
    """The JSON answer, or None without one."""
    async with library.client.request(method, path, **options) as response:
        assert response.status == status, (method, path, response.status, await response.text())
        is_json = response.content_type == "application/json"
        return await response.json() if is_json else await response.read()


async def test_each_receives_its_own(newer: Any) -> None:
    server = newer.server
    newer.write("output/a.png", picture(1))
    await newer.scan()
    asset = await newer.asset("a.png")
    task = await ask(newer, "POST", "/api/assets/export", 202, json={"asset_ids": [asset["id"]]})
    while (ours := await ask(newer, "GET", f"/api/tasks/{task['task_id']}"))["status"] == "running":
        await asyncio.sleep(0.005)
    name = ours["result"]["export_name"]
    place = await ask(newer, "GET", f"/api/assets/exports/{name}")
    content = await ask(newer, "GET", place["url"])
    assert zipfile.ZipFile(io.BytesIO(content)).namelist()[0].endswith("a.png")
    refused = await ask(newer, "DELETE", f"/api/tasks/{task['task_id']}", 409)
    assert refused["code"] == "TASK_NOT_CANCELLABLE"
    assert server.requests == []

    assert (await ask(newer, "GET", f"/api/tasks/{server.task}"))["task_name"] == "task:export"
    assert await ask(newer, "DELETE", f"/api/tasks/{server.task}") == {"status": "cancelling"}
    assert await ask(newer, "GET", f"/api/assets/exports/{server.export}") == {"url": "/api/view?type=temp"}
    assert (await ask(newer, "GET", f"/api/assets/{server.asset}"))["name"] == "of the server"
    assert await ask(newer, "GET", f"/api/assets/{server.asset}/content") == b"of the server"
    assert [path for _, path in server.requests] == [
        *[f"/api/tasks/{server.task}"] * 2,
        f"/api/assets/exports/{server.export}",
        f"/api/assets/{server.asset}",
        f"/api/assets/{server.asset}/content",
    ]


@pytest.mark.parametrize("is_off", [False, True])
async def test_what_nobody_knows(newer: Any, is_off: bool) -> None:
    """It gets our error, which has one form everywhere."""
    newer.server.is_off = is_off
    unknown = str(uuid.uuid4())
    for method, path, code in [
        ("GET", f"/api/tasks/{unknown}", "TASK_NOT_FOUND"),
        ("DELETE", f"/api/tasks/{unknown}", "TASK_NOT_FOUND"),
        ("GET", "/api/assets/exports/none.zip", "EXPORT_NOT_FOUND"),
        ("GET", "/api/assets/exports/none.zip/content", "EXPORT_NOT_FOUND"),
        ("GET", f"/api/assets/{unknown}", "ASSET_NOT_FOUND"),
        ("GET", f"/api/assets/{unknown}/content", "ASSET_NOT_FOUND"),
        ("PUT", f"/api/assets/{unknown}", "ASSET_NOT_FOUND"),
        ("DELETE", f"/api/assets/{unknown}", "ASSET_NOT_FOUND"),
    ]:
        body = {"json": {"name": "x"}} if method == "PUT" else {}
        assert (await ask(newer, method, path, 404, **body))["code"] == code


async def test_what_was_deleted_here_is_not_shown_by_the_server(newer: Any, prompts_of: Any) -> None:
    """The server still has it under its own id, which is known here."""
    server = newer.server
    newer.host.ids_of_files = {server.asset: newer.write("output/a.png", picture(1))}
    await newer.scan()
    url = f"/api/assets/{server.asset}"
    assert (await ask(newer, "GET", url))["name"] == "a.png"
    await ask(newer, "DELETE", url, 204)
    newer.host.ids_of_files = {}
    for path in (url, f"{url}/content"):
        assert (await ask(newer, "GET", path, 404))["code"] == "ASSET_NOT_FOUND"
    assert server.requests == []


async def test_the_servers_assets_have_no_owners(make_library: Any, aiohttp_client: Any) -> None:
    """So nothing of them is shown where there are several users; its tasks and exports know their owners."""
    newer = await beside(await make_library(users=frozenset({"ann", "bob"})), aiohttp_client)
    server, headers = newer.server, {"comfy-user": "ann"}
    await ask(newer, "GET", f"/api/assets/{server.asset}", 404, headers=headers)
    assert server.requests == []
    await ask(newer, "GET", f"/api/tasks/{server.task}", headers=headers)
    await ask(newer, "GET", f"/api/assets/exports/{server.export}", headers=headers)
    assert len(server.requests) == 2
    for path in (f"/api/tasks/{server.task}", f"/api/assets/exports/{server.export}"):
        await ask(newer, "GET", path, 401, headers={"comfy-user": "nobody"})
    assert len(server.requests) == 2
