"""A server that stores user files like ComfyUI, with the project in front of it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.plugin import attach

URL = "/api/workflows"


def userdata_routes(host: MemoryHost) -> web.RouteTableDef:
    """Return the routes of the stock server for user files."""
    routes = web.RouteTableDef()

    def place(request: web.Request, part: str = "file") -> Path:
        root = host.user_directory(host.user_of(request))
        path = Path(os.path.abspath(root / unquote(request.match_info[part])))
        if not path.is_relative_to(root):
            raise web.HTTPForbidden
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    for prefix in ("", "/api"):

        @routes.post(f"{prefix}/userdata/{{file}}")
        async def save(request: web.Request) -> web.Response:
            path = place(request)
            if request.query.get("overwrite") == "false" and path.exists():
                return web.Response(status=409)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(await request.read())
            Path(temporary).replace(path)
            return web.json_response(path.name)

        @routes.delete(f"{prefix}/userdata/{{file}}")
        async def delete(request: web.Request) -> web.Response:
            path = place(request)
            if not path.exists():
                return web.Response(status=404)
            path.unlink()
            return web.Response(status=204)

        @routes.post(f"{prefix}/userdata/{{file}}/move/{{dest}}")
        async def move(request: web.Request) -> web.Response:
            source, target = place(request), place(request, "dest")
            if not source.exists():
                return web.Response(status=404)
            if request.query.get("overwrite") == "false" and target.exists():
                return web.Response(status=409)
            shutil.move(source, target)
            return web.json_response(target.name)

    return routes


def graph(text: str = "", **members: Any) -> dict[str, Any]:
    """Return a workflow as the page saves it."""
    return {"nodes": [{"id": 1, "type": "Note", "mode": 0, "widgets_values": [text]}], "links": [], **members}


class Desk:
    """A user with the page, an API client and a file manager."""

    def __init__(self, host: MemoryHost, services: Any, client: Any, user: str = "default") -> None:
        self.host, self.services, self.client, self.user = host, services, client, user

    @property
    def folder(self) -> Path:
        return self.host.user_directory(self.user) / "workflows"

    def as_user(self, user: str) -> Desk:
        return Desk(self.host, self.services, self.client, user)

    async def send(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        async with self.client.request(method, path, headers={"comfy-user": self.user}, **options) as response:
            body = await response.read()
            assert response.status == status, (response.status, body)
            return _value(body) if body else None

    # The page.

    async def page_saves(self, path: str, value: Any, status: int = 200, **options: Any) -> None:
        await self.send("POST", _userdata(path), status, data=_text(value), **options)

    async def page_deletes(self, path: str) -> None:
        await self.send("DELETE", _userdata(path), 204)

    async def page_moves(self, path: str, new: str, status: int = 200, overwrite: str = "true") -> None:
        url = f"{_userdata(path)}/move/{quote(f'workflows/{new}', safe='')}"
        await self.send("POST", url, status, params={"overwrite": overwrite})

    # A file manager or an editor.

    def writes(self, path: str, value: Any) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_text(value))
        return file

    async def look(self) -> None:
        """Synchronize until nothing is left to do. Twice, because a file must be missing twice to count as deleted."""
        for _ in range(2):
            await self.services.workflow_sync.sync_all(self.user)

    # The API.

    async def create(self, value: Any, **members: Any) -> str:
        return (await self.send("POST", URL, 201, json={"workflow_json": value, **members}))["id"]

    async def save(self, workflow_id: str, base: int, value: Any, status: int = 201) -> Any:
        body = {"base_version": base, "workflow_json": value}
        return await self.send("POST", f"{URL}/{workflow_id}/versions", status, json=body)

    async def get(self, workflow_id: str, status: int = 200) -> Any:
        return await self.send("GET", f"{URL}/{workflow_id}", status)

    async def versions(self, workflow_id: str) -> list[Any]:
        """Return the workflow's versions, the oldest first."""
        count = (await self.get(workflow_id))["latest_version"]
        url = f"{URL}/{workflow_id}/versions"
        return [(await self.send("GET", f"{url}/{n}"))["workflow_json"] for n in range(1, count + 1)]

    async def listed(self) -> dict[str, str]:
        """Return the ids of the listed workflows by name."""
        found = (await self.send("GET", URL, params={"limit": "100"}))["data"]
        assert len({each["name"] for each in found}) == len(found)
        return {each["name"]: each["id"] for each in found}

    async def only(self) -> str:
        """Return the id of the only workflow."""
        found = (await self.send("GET", URL))["data"]
        assert len(found) == 1, found
        return str(found[0]["id"])

    def files(self) -> dict[str, Any]:
        """Return the contents of all files in the folder, including hidden ones."""
        found = {}
        for path in self.folder.rglob("*"):
            if path.is_file():
                found[path.relative_to(self.folder).as_posix()] = _value(path.read_bytes())
        return found


def _userdata(path: str) -> str:
    return f"/api/userdata/{quote(f'workflows/{path}', safe='')}"


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _value(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.fixture
async def open_desk(tmp_path: Path, aiohttp_client: Any) -> AsyncIterator[Callable[..., Any]]:
    """Open desks over one folder; call it again after ``services.stop()`` to reopen the folder."""
    opened = []

    async def open_one(users: frozenset[str] | None = None, **settings: Any) -> Desk:
        host = MemoryHost(tmp_path / "user" / "__comfy_assets", HostFolders((), (), tmp_path), users)
        services = attach(host, Config(scan_on_start=False, **settings))
        assert host.plugin is not None
        app = web.Application(middlewares=[host.plugin.middleware], client_max_size=64 << 20)
        app.add_routes(userdata_routes(host))
        await services.start()
        opened.append(services)
        return Desk(host, services, await aiohttp_client(app))

    yield open_one
    for services in opened:
        await services.stop()


@pytest.fixture
async def desk(open_desk: Callable[..., Any]) -> Desk:
    """The desk of one user. The server synchronizes the folder only on request."""
    return await open_desk()
