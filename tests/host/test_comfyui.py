"""The pack in a real ComfyUI: ``COMFYUI_PATH`` names a checkout, ``COMFYUI_PYTHON`` the Python that runs it."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.routes.server import page_flags
from support.servers import PACK

COMFYUI = os.environ.get("COMFYUI_PATH")

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]


def model_bytes() -> bytes:
    """A safetensors file of one tensor."""
    text = json.dumps({"w": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def fill(base: Path, files: int) -> Path:
    """Put a model, an input and some outputs into a base directory."""
    for name in ("models/loras/style", "input", "output/old"):
        (base / name).mkdir(parents=True)
    (base / "models/loras/style/ink.safetensors").write_bytes(model_bytes())
    (base / "input/photo.jpg").write_bytes(b"not really a picture")
    for number in range(files):
        (base / f"output/old/{number:05d}.txt").write_text(str(number))
    return base


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_comfyui: Any) -> Iterator[Any]:
    """A server with the pack, whose first scan has ended."""
    with start_comfyui(fill(tmp_path_factory.mktemp("comfyui"), 20)) as server:
        server.wait_until_read()
        yield server


@pytest.fixture(scope="module")
def seconds_to_stop(tmp_path_factory: pytest.TempPathFactory, start_plain_comfyui: Any) -> float:
    """How long a ComfyUI without the pack takes to end, on this machine as busy as it is."""
    with start_plain_comfyui(tmp_path_factory.mktemp("plain")) as server:
        server.wait_until_up()
        return float(server.interrupt())


def test_the_library_is_listed(server: Any) -> None:
    page = server.get("/api/assets?limit=500").json
    names = {asset["name"] for asset in page["assets"]}
    assert {"ink.safetensors", "photo.jpg", "00000.txt"} <= names
    (model,) = [asset for asset in page["assets"] if asset["name"] == "ink.safetensors"]
    assert model["tags"] == ["models", "loras", "model_type:loras"]
    assert model["loader_path"] == "style/ink.safetensors"
    assert model["hash"].startswith("blake3:")
    assert not any("custom_nodes" in asset.get("file_path", "") for asset in page["assets"])


def test_the_stock_page_finds_models_for_its_library(server: Any) -> None:
    page = server.get("/api/assets?include_tags=models&limit=500&exclude_tags=missing&include_public=false").json
    assert [asset["loader_path"] for asset in page["assets"]] == ["style/ink.safetensors"]


def test_browsers_ask_for_new_versions_of_the_panel(tmp_path: Path, copied_pack: Any, start_plain_comfyui: Any) -> None:
    """Otherwise old modules, which browsers have kept, run with the new ones of an update."""
    copied_pack(fill(tmp_path, 1) / "custom_nodes" / "comfy-assets")
    with start_plain_comfyui(tmp_path) as server:
        server.wait_until_up()
        for name in ("panel/panel.mjs", "panel/shared/client.mjs"):
            path = f"/extensions/comfy-assets/{name}"
            answer = server.get(path)
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
            same = server.get(path, **{"If-None-Match": answer.headers["ETag"]})
            assert (same.status, same.headers["Cache-Control"]) == (304, "no-cache")


@pytest.mark.parametrize("name", ["comfy-assets", PACK, "comfy-assets – Kopie"])
def test_the_panel_is_served_once(tmp_path: Path, copied_pack: Any, start_plain_comfyui: Any, name: str) -> None:
    """Whatever the pack's folder is called."""
    copied_pack(fill(tmp_path, 1) / "custom_nodes" / name)
    with start_plain_comfyui(tmp_path) as server:
        server.wait_until_up()
        paths = [path for path in server.get("/api/extensions").json if "comfy" in path and "assets" in path]
        assert len(paths) == len({path.rpartition("/")[2] for path in paths}) > 0
        assert {server.get(path).status for path in paths} == {200}


async def test_pages_are_told_to_read_the_library(server: Any) -> None:
    """When they connect, and in the list of features."""
    async with ClientSession() as session, session.ws_connect(server.url + "/ws?clientId=flags") as socket:
        await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        message = await socket.receive_json(timeout=30)
        while message["type"] != "feature_flags":
            message = await socket.receive_json(timeout=30)
    assert message["data"].items() >= page_flags(Config()).items()
    assert server.get("/api/features").json.items() >= page_flags(Config()).items()


def test_the_stock_page_and_routes_are_there(server: Any) -> None:
    page = server.get("/")
    assert page.status == 200
    assert b"<html" in page.body.lower()
    assert "EmptyImage" in server.get("/object_info/EmptyImage").json
    health = server.get("/health")
    assert (health.status, health.body) == (200, b"OK")


def test_the_store_is_below_the_user_directory(server: Any) -> None:
    assert (server.base / "user" / "__comfy_assets" / "library.db").exists()
    assert server.get("/api/userdata/__comfy_assets%2Flibrary.db").status in (400, 403, 404)


def test_an_unknown_path_is_the_stock_servers(server: Any) -> None:
    answer = server.get("/api/assets-of-another-kind")
    assert answer.status == 404
    assert b'"code"' not in answer.body


def test_cross_site_requests_are_refused(server: Any) -> None:
    assert server.post("/api/assets/prune", {}, Origin="http://evil.example").status == 403


def test_a_prompt_runs_beside_it_and_its_output_is_found(server: Any) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made/blue"}},
    }
    answer = server.post("/prompt", {"prompt": graph})
    assert answer.status == 200, answer
    prompt_id = answer.json["prompt_id"]
    server.wait_for(f"/history/{prompt_id}", lambda history: prompt_id in history)
    assert server.post("/api/assets/seed", {"roots": ["output"]}).status == 200
    page = server.wait_for("/api/assets?name_contains=blue_0", lambda p: p["assets"] and "hash" in p["assets"][0])
    metadata = server.get(f"/api/assets/{page['assets'][0]['id']}").json["metadata"]
    assert (metadata["width"], metadata["height"]) == (32, 16)
    assert metadata["prompt"]["2"]["class_type"] == "SaveImage"
    assert [asset["name"] for asset in server.get("/api/assets?q=blue%20output").json["assets"]] == [
        page["assets"][0]["name"]
    ]
    assert server.get("/api/assets?q=made").json["total"] == 1  # the prefix, which only the graph tells


def test_the_disk_is_followed(server: Any) -> None:
    places = {"models/loras/style": ".safetensors", "input": ".jpg", "output/new folder": ".txt"}
    for folder, suffix in places.items():
        path = server.base / folder / f"followed{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{folder} of its own".encode())
    page = server.wait_for("/api/assets?name_contains=followed", lambda p: len(p["assets"]) == 3, timeout_s=10)
    ids = {asset["file_path"]: asset["id"] for asset in page["assets"]}
    (server.base / "input/followed.jpg").rename(server.base / "output/moved.jpg")
    page = server.wait_for("/api/assets?name_contains=moved.jpg", lambda p: p["assets"], timeout_s=10)
    assert page["assets"][0]["id"] == ids["input/followed.jpg"]
    assert "missing" not in page["assets"][0]["tags"]
    (server.base / "output/moved.jpg").unlink()
    server.wait_for("/api/assets?name_contains=moved.jpg", lambda p: "missing" in p["assets"][0]["tags"], timeout_s=10)
    assert len(server.get("/api/assets?name_contains=followed").json["assets"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal of POSIX")
@pytest.mark.parametrize("moment", ["while it scans", "at rest"])
def test_ctrl_c_ends_the_server(tmp_path: Path, start_comfyui: Any, seconds_to_stop: float, moment: str) -> None:
    with start_comfyui(fill(tmp_path / "base", 3000 if moment == "while it scans" else 3)) as server:
        server.wait_until_up()
        if moment == "at rest":
            server.wait_until_read()
        assert server.interrupt() < 2 * seconds_to_stop + 2
        assert "never retrieved" not in server.log
        assert "was destroyed but it is pending" not in server.log


def test_a_second_copy_of_the_pack_stays_idle(tmp_path: Path, start_comfyui: Any, copied_pack: Any) -> None:
    base = fill(tmp_path / "base", 1)
    copied_pack(base / "custom_nodes" / "comfy_assets_again")
    with start_comfyui(base) as server:
        server.wait_for("/api/assets", lambda page: page["total"] == 3)
        assert "installed twice" in server.log


def test_the_server_starts_when_the_store_cannot(tmp_path: Path, start_comfyui: Any) -> None:
    base = fill(tmp_path / "base", 1)
    (base / "user").mkdir()
    (base / "user" / "__comfy_assets").write_text("a file where the folder should be")
    with start_comfyui(base) as server:
        server.wait_until_up()
        assert server.get("/health").status == 503
        assert server.get("/api/assets").status == 500
        assert server.get("/").status == 200
        assert "library is unavailable" in server.log


def test_an_unknown_user_is_refused(tmp_path: Path, start_comfyui: Any) -> None:
    with start_comfyui(fill(tmp_path / "base", 1), "--multi-user") as server:
        server.wait_until_up()
        assert server.get("/api/assets", **{"comfy-user": "nobody"}).status == 401
        alice = server.post("/users", {"username": "alice"}).json
        answer = server.get("/api/assets", **{"comfy-user": alice})
        assert answer.status == 200
        assert answer.json["assets"] is not None
