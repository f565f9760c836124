"""The routes that say what the server has and is, who may use them, and what a site of others may not."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from comfy_assets_node.comfy_assets.host.base import UnknownUserError
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost

NODES = ["SaveImage", "PreviewImage", "LoadImage", "ImageScale", "ImageInvert", "ImageBatch", "EmptyImage"]
NODE_KEYS = {
    "input",
    "input_order",
    "is_input_list",
    "output",
    "output_is_list",
    "output_name",
    "name",
    "display_name",
    "description",
    "python_module",
    "category",
    "output_node",
    "has_intermediate_output",
    "search_aliases",
}


@pytest.mark.parametrize(
    "path",
    [
        "/prompt",
        "/queue",
        "/history",
        "/history/none",
        "/object_info",
        "/object_info/SaveImage",
        "/system_stats",
        "/features",
        "/embeddings",
        "/models",
        "/models/loras",
        "/users",
        "/extensions",
    ],
)
async def test_every_route_has_two_paths(server: Any, path: str) -> None:
    plain, prefixed = await server.json(path), await server.json("/api" + path)
    assert type(plain) is type(prefixed)


async def test_object_info(server: Any) -> None:
    server.input("b.png", [[1]])
    server.input("a.PNG", [[1]])
    (server.base / "input" / "notes.txt").touch()
    (server.base / "input" / "clip.mp4").touch()
    (server.base / "input" / "folder.png").mkdir()
    info = await server.json("/object_info")
    assert set(NODES) <= set(info)
    for name in NODES:
        assert info[name].keys() >= NODE_KEYS, name
        assert info[name]["name"] == name and info[name]["python_module"] == "nodes"
        assert len(info[name]["output"]) == len(info[name]["output_name"]) == len(info[name]["output_is_list"])
        assert await server.json(f"/object_info/{name}") == {name: info[name]}
    assert info["LoadImage"]["input"] == {"required": {"image": [["a.PNG", "b.png"], {"image_upload": True}]}}
    assert info["LoadImage"]["output"] == ["IMAGE", "MASK"]
    assert info["ImageScale"]["input_order"] == {"required": ["image", "upscale_method", "width", "height", "crop"]}
    assert info["SaveImage"]["output_node"] is True and info["SaveImage"]["output_name"] == ["images"]
    assert info["SaveImage"]["input"]["hidden"] == {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
    assert info["ImageBatch"]["deprecated"] is True
    assert info["ImageInvert"]["display_name"] == "Invert Image Colors"
    assert info["ImageScale"]["category"] == "image/upscaling"
    assert await server.json("/object_info/Unknown") == {}


async def test_system_stats_are_real(server: Any) -> None:
    stats = await server.json("/system_stats")
    system, (device,) = stats["system"], stats["devices"]
    for key in ("os", "python_version", "comfyui_version", "pytorch_version"):
        assert isinstance(system[key], str) and system[key], key
    assert system["embedded_python"] is False and isinstance(system["argv"], list)
    assert system["ram_total"] > system["ram_free"] > 1_000_000
    assert (device["name"], device["type"], device["vram_total"]) == ("cpu", "cpu", system["ram_total"])


async def test_models_and_embeddings(server: Any) -> None:
    models = server.base / "models"
    files = [
        "loras/b.safetensors",
        "loras/sub/a.PT",
        "loras/readme.txt",
        "loras/.git/x.pt",
        "embeddings/e.v1.pt",
        "clip/one.sft",
        "text_encoders/two.bin",
        "configs/c.yaml",
        "classifiers/any.thing",
    ]
    for name in files:
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).touch()
    if os.name != "nt":
        (models / "loras" / "loop").symlink_to(models / "loras", target_is_directory=True)
    table = {
        "loras": ["b.safetensors", "sub/a.PT"],
        "text_encoders": ["one.sft", "two.bin"],
        "configs": ["c.yaml"],
        "classifiers": ["any.thing"],
        "diffusers": [],
    }
    assert set(table) <= set(await server.json("/models"))
    for category, names in table.items():
        assert await server.json(f"/models/{category}") == names
    assert await server.json("/embeddings") == ["e.v1"]
    for category in ("nothing", "..%2Fuser", "custom_nodes", "unet"):
        async with server.client.get(f"/models/{category}") as response:
            assert response.status == 404


async def test_the_start_page_needs_nothing_of_other_sites(server: Any) -> None:
    async with server.client.get("/") as response:
        text = await response.text()
        assert response.status == 200 and response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    for link in ("api/assets", "api/docs", "system_stats"):  # relative: the server may be behind a prefix
        assert f'href="{link}"' in text
    assert "color-scheme: light dark" in text
    assert "http://" not in text and "https://" not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1", "Host": "127.0.0.1:2"}, 403),
        ({"Origin": "http://127.0.0.1:2", "Host": "127.0.0.1:2"}, 200),
        ({"Origin": "http://127.0.0.1", "Host": "127.0.0.1:2"}, 403),
        ({"Origin": "http://LOCALHOST:2", "Host": "localhost:2"}, 200),
        ({"Origin": "http://evil.example", "Host": "localhost:2"}, 403),
        ({"Origin": "http://evil.example", "Host": "[::1]:2"}, 403),
        ({"Origin": "http://[::1", "Host": "localhost"}, 403),
        ({"Origin": "null", "Host": "127.0.0.1:2"}, 403),
        ({"Origin": "http://evil.example", "Host": "203.0.113.5:8188"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/queue", "/api/queue"])
async def test_other_sites_are_refused(server: Any, headers: dict[str, str], status: int, path: str) -> None:
    async with server.client.post(path, data=b"{}", headers=headers) as response:
        assert response.status == status
    async with server.client.get("/ws", headers=headers) as response:
        assert (response.status == 403) == (status == 403)


async def test_preflight_requests_grant_nothing(server: Any) -> None:
    async with server.client.options("/prompt") as response:
        assert response.status == 200
        assert not any(name.startswith("Access-Control") for name in response.headers)


async def test_a_single_user(server: Any) -> None:
    assert await server.json("/users") == {"storage": "server", "migrated": False}
    (server.base / "user" / "default").mkdir()
    assert await server.json("/users") == {"storage": "server", "migrated": True}
    assert (await server.post("/users", {"username": "Ann"}))[0] == 400
    request = make_mocked_request("GET", "/", headers={"comfy-user": "anybody"})
    assert server.host.user_of(request) == "default"


async def test_several_users(tmp_path: Path, aiohttp_client: Any) -> None:
    host = StandaloneHost(tmp_path, multi_user=True)
    client = await aiohttp_client(host.application())

    async def add(body: Any) -> tuple[int, Any]:
        async with client.post("/api/users", json=body) as response:
            return response.status, await response.json()

    status, ann = await add({"username": " Ann Lee/1 "})
    assert status == 200 and ann.startswith("Ann-Lee-1_")
    refused: list[Any] = ["Ann Lee/1", "", "  ", "__system", None, 5, ["x"], "x" * 101]
    for name in refused:
        status, body = await add({"username": name})
        assert status == 400 and body["error"], name
    assert (await add({}))[0] == (await add([]))[0] == 400
    async with client.get("/users") as response:
        assert await response.json() == {"storage": "server", "users": {ann: "Ann Lee/1"}}
    assert json.loads((tmp_path / "user" / "users.json").read_text()) == {ann: "Ann Lee/1"}
    again = StandaloneHost(tmp_path, multi_user=True)
    for headers, expected in (
        ({"comfy-user": ann}, ann),
        ({"Comfy-User": ann}, ann),
        ({}, None),
        ({"comfy-user": "default"}, None),
        ({"comfy-user": ""}, None),
        ({"comfy-user": "__comfy_assets"}, None),
        ({"comfy-user": ".."}, None),
    ):
        request = make_mocked_request("GET", "/", headers=headers)
        if expected is None:
            with pytest.raises(UnknownUserError):
                again.user_of(request)
        else:
            assert again.user_of(request) == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_damaged_list_of_users_is_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "users.json").write_text(text)
    with pytest.raises(ValueError, match="users"):
        StandaloneHost(tmp_path, multi_user=True)
    assert (tmp_path / "user" / "users.json").read_text() == text


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
async def test_a_body_that_is_not_what_its_encoding_says(server: Any, kind: str) -> None:
    """On every route of the host with a body, also without a plugin in front of it."""
    routes = [route for route in server.client.app.router.routes() if route.method not in ("GET", "HEAD", "*")]
    taken = 0
    for route in routes:
        path = route.resource.canonical.format_map(defaultdict(lambda: "x"))
        headers = {"Content-Type": kind, "Content-Encoding": "gzip", "Connection": "close"}
        async with server.client.request(route.method, path, data=b"no gzip", headers=headers) as response:
            assert response.status < 500, (route.method, path, await response.text())
            taken += response.status == 400
    assert taken > 10
