"""The panel is served whatever the pack's folder is called: copies have names that aiohttp serves no files under."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.host import comfyui
from yarl import URL

NAMES = (
    "comfy-assets",
    "comfy-assets-main",
    "comfy-assets (1)",
    "comfy-assets – Kopie",
    "comfy-assets - 副本",
    "a[b]%20#",
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / name / "web"
    folder.mkdir(parents=True)
    (folder / "panel.js").write_text("// the panel")
    nodes = types.SimpleNamespace(EXTENSION_WEB_DIRS={})
    monkeypatch.setitem(sys.modules, "nodes", nodes)
    monkeypatch.setattr(comfyui, "_WEB", folder)
    if not comfyui.serve_panel():
        nodes.EXTENSION_WEB_DIRS[name] = str(folder)  # as ComfyUI does with WEB_DIRECTORY
    (served,) = nodes.EXTENSION_WEB_DIRS
    app = web.Application()
    app.add_routes([web.static(f"/extensions/{served}", folder)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port, *_ = runner.addresses[0]
        address = URL(f"http://{host}:{port}/extensions/{quote(served)}/panel.js", encoded=True)
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            assert (response.status, await response.text()) == (200, "// the panel")
    finally:
        await runner.cleanup()
