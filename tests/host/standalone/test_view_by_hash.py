"""Files viewed by the hash of their content, as pages name them that got a hash from the library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from blake3 import blake3
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.routes import files
from support.files import picture

PICTURE = picture((1, 2, 3, 4), (20, 10))


def hash_of(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


@pytest.mark.parametrize("path", ["/view", "/api/view"])
async def test_by_hash(tmp_path: Path, aiohttp_client: Any, path: str) -> None:
    model, page = b"weights of a model", b"<script>alert(1)</script>"
    host = StandaloneHost(tmp_path)
    services = attach(host, Config(scan_on_start=False))
    written = {"input/sub/a b.png": PICTURE, "models/loras/m.safetensors": model, "output/p.html": page}
    for name, content in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    client = await aiohttp_client(host.application())
    await services.ready()
    task, _ = services.indexer.start_scan()
    await task.done.wait()
    await services.indexer.finish()

    async def view(content: bytes, folder: str = "", **query: str) -> tuple[int, bytes, Any]:
        async with client.get(path, params={"filename": hash_of(content) + folder, **query}) as response:
            return response.status, await response.read(), response.headers

    assert (await view(PICTURE))[:2] == (200, PICTURE)
    for kind in ("input", "output"):  # as pages name what was picked from another folder
        assert (await view(PICTURE, " [output]", type=kind))[:2] == (200, PICTURE)
    # That is the name of a file, which cannot have a colon on Windows.
    assert (await view(PICTURE, " [other]"))[0] == (400 if os.name == "nt" else 404)
    status, body, headers = await view(PICTURE, channel="a")
    assert (status, headers["Content-Type"]) == (200, "image/png") and body != PICTURE
    assert (await view(model))[:2] == (200, model)
    status, body, headers = await view(page)
    assert (status, body) == (200, page) and headers["Content-Disposition"].startswith("attachment")
    assert (await view(b"unknown"))[0] == 404
    (tmp_path / "input/sub/a b.png").unlink()
    assert (await view(PICTURE))[0] == 404
    await services.stop()


@pytest.mark.parametrize("path", ["/view", "/api/view"])
async def test_a_host_that_cannot_look(make_library: Any, path: str, aiohttp_client: Any) -> None:
    """Whose own database could not be opened, for one."""
    library = await make_library()
    library.write("input/a.txt", b"known")
    await library.scan()
    seen = []

    async def broken(request: web.Request) -> web.Response:
        seen.append(dict(request.query))
        if request.query["filename"].startswith("blake3:"):
            raise RuntimeError("Database not initialized")
        return web.Response(text="the host's")

    app = web.Application(middlewares=[library.host.plugin.middleware])
    app.router.add_get(path, broken)
    client = await aiohttp_client(app)
    async with client.get(path, params={"filename": hash_of(b"unknown")}) as response:
        assert (response.status, (await response.json())["code"]) == (404, "FILE_NOT_FOUND")
    async with client.get(path, params={"filename": hash_of(b"known")}) as response:
        assert await response.text() == "the host's"
    assert seen[-1] == {"filename": "a.txt", "subfolder": "", "type": "input"}


@pytest.mark.parametrize("raises", [True, False])
async def test_a_host_that_takes_a_hash_for_a_bad_name(
    make_library: Any, monkeypatch: pytest.MonkeyPatch, aiohttp_client: Any, raises: bool
) -> None:
    """As on Windows, where a name has no colon."""
    monkeypatch.setattr(files, "_REFUSES_COLONS", True)
    library = await make_library()

    async def refusing(_: web.Request) -> web.Response:
        if raises:
            raise web.HTTPBadRequest
        return web.Response(status=400)

    app = web.Application(middlewares=[library.host.plugin.middleware])
    app.router.add_get("/view", refusing)
    client = await aiohttp_client(app)
    for name, status in ((hash_of(b"unknown"), 404), ("a:b.txt", 400)):
        async with client.get("/view", params={"filename": name}) as response:
            assert response.status == status
