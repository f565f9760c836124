"""What the stock page asks for when it starts: settings, packs' texts, templates, blueprints, model folders, logs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost, system
from PIL import Image
from support.files import picture

SETTINGS = "comfy.settings.json"


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


async def test_all_of_it_is_answered(server: Any) -> None:
    empty: list[tuple[str, Any]] = [
        ("/i18n", {}),
        ("/workflow_templates", {}),
        ("/global_subgraphs", {}),
        ("/node_replacements", {}),
        ("/settings", {}),
        ("/settings/Comfy.Any", None),
        ("/extensions", []),
        ("/embeddings", []),
        ("/users", {"storage": "server", "migrated": False}),
        ("/prompt", {"exec_info": {"queue_remaining": 0}}),
    ]
    for path, expected in empty:
        assert await server.json(path) == await server.json("/api" + path) == expected, path


async def test_what_packs_bring_along(server: Any) -> None:
    packs = server.base / "custom_nodes"
    put(packs / "a pack" / "example_workflows" / "One.json", {"nodes": []})
    put(packs / "a pack" / "workflows" / "Two.json", {})
    put(packs / "a pack" / "example_workflows" / "One.jpg", "picture")
    put(packs / "a pack" / "subgraphs" / "Blur.json", '{"x": 1}')
    put(packs / "a pack" / "locales" / "en" / "main.json", {"greeting": "hi", "deep": {"a": 1}})
    put(packs / "a pack" / "locales" / "en" / "nodeDefs.json", {"Node": {}})
    put(packs / "b" / "locales" / "en" / "main.json", {"deep": {"b": 2}})
    put(packs / "b" / "locales" / "de" / "main.json", "{ broken")
    put(packs / "b" / "locales" / "fr" / "main.json", "[]")
    put(packs / ".hidden" / "locales" / "en" / "main.json", {"hidden": 1})
    put(packs / "single.py", "")
    assert await server.json("/api/workflow_templates") == {"a pack": ["One", "Two"]}
    assert await server.json("/api/workflow_templates/a%20pack/One.json") == {"nodes": []}
    for path in ("/a%20pack/Three.json", "/none/One.json", "/a%20pack/..%2F..%2Fb%2Flocales%2Fde%2Fmain.json"):
        async with server.client.get(f"/api/workflow_templates{path}") as response:
            assert response.status in (400, 404) and (await response.json())["code"]
    texts = {"greeting": "hi", "deep": {"a": 1, "b": 2}, "nodeDefs": {"Node": {}}}
    assert await server.json("/api/i18n") == {"en": texts}
    ((subgraph_id, entry),) = (await server.json("/api/global_subgraphs")).items()
    assert entry == {"source": "custom_node", "name": "Blur", "info": {"node_pack": "custom_nodes.a pack"}}
    assert await server.json(f"/api/global_subgraphs/{subgraph_id}") == {**entry, "data": '{"x": 1}'}
    async with server.client.get("/api/global_subgraphs/none") as response:
        assert response.status == 404 and (await response.json()).keys() == {"code", "message", "error"}


async def test_model_folders(server: Any) -> None:
    put(server.base / "models" / "loras" / "sub" / "a.safetensors", "123")
    put(server.base / "models" / "loras" / "a.txt", "")
    put(server.base / "models" / "clip" / "b.safetensors", "1")
    folders = {each["name"]: each for each in await server.json("/api/experiment/models")}
    assert folders["loras"]["folders"] == [str(server.base / "models" / "loras")]
    assert ".safetensors" in folders["loras"]["extensions"]
    assert "configs" not in folders and "custom_nodes" not in folders
    (model,) = await server.json("/api/experiment/models/loras")
    assert (model["name"], model["pathIndex"], model["size"]) == ("sub/a.safetensors", 0, 3)
    assert [
        (each["name"], each["pathIndex"]) for each in await server.json("/api/experiment/models/text_encoders")
    ] == [("b.safetensors", 1)]
    async with server.client.get("/api/experiment/models/none") as response:
        assert response.status == 404 and (await response.json())["code"] == "NOT_FOUND"


def save(path: Path, color: str, size: tuple[int, int] = (4, 2)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


async def test_pictures_beside_models(server: Any) -> None:
    """The page replaces the suffix of the model's name."""
    loras, clip = server.base / "models" / "loras", server.base / "models" / "clip"
    for name in ("sub/a.safetensors", "b.v2.ckpt", "none.safetensors"):
        put(loras / name, "1")
    save(loras / "sub" / "a.png", "red", (2000, 1000))
    save(loras / "b.v2.jpg", "red")
    save(loras / "b.v2.preview.png", "blue")
    save(clip / "c.webp", "lime")
    save(server.base / "input" / "outside.png", "red")
    if os.name != "nt":
        (loras / "linked.png").symlink_to(server.base / "input" / "outside.png")
    put(loras / "broken.png", "no picture")
    path = "/api/experiment/models/preview"
    for query, size, color in (
        ("loras/0/sub/a.webp", (512, 256), (255, 0, 0)),
        ("loras/0/b.v2.webp", (4, 2), (0, 0, 255)),
        ("text_encoders/1/c.webp", (4, 2), (0, 255, 0)),
    ):
        async with server.client.get(f"{path}/{query}") as response:
            assert (response.status, response.content_type) == (200, "image/webp")
            with Image.open(BytesIO(await response.read())) as image:
                pixel = image.convert("RGB").getpixel((0, 0))
                assert image.size == size and max(abs(a - b) for a, b in zip(pixel, color, strict=True)) < 40
    for query, status in (
        ("loras/0/none.webp", 404),
        ("loras/0/linked.webp", 404),
        ("loras/0/broken.webp", 400),
        ("loras/1/sub/a.webp", 404),
        ("loras/x/sub/a.webp", 400),
        ("none/0/a.webp", 404),
        ("loras/0/..%2F..%2Finput%2Foutside.webp", 400),
    ):
        async with server.client.get(f"{path}/{query}") as response:
            assert response.status == status, query


async def test_settings_are_kept(server: Any) -> None:
    file = server.base / "user" / "default" / SETTINGS
    assert await server.post("/api/settings", {"a": 1, "b": {"c": [True]}}) == (200, {"a": 1, "b": {"c": [True]}})
    assert await server.post("/settings/a", "text") == (200, {"value": "text"})
    async with server.client.post("/settings/Comfy.null", data=b"null") as response:
        assert (response.status, await response.json()) == (200, {"value": None})
    expected = {"a": "text", "b": {"c": [True]}, "Comfy.null": None}
    assert await server.json("/settings") == expected == json.loads(file.read_text())
    assert await server.json("/api/settings/b") == {"c": [True]}
    for path, body in (("/settings", b"[]"), ("/settings", b"{"), ("/settings/a", b""), ("/settings/a", b"NaN")):
        async with server.client.post(path, data=body) as response:
            assert response.status == 400 and (await response.json())["code"] == "INVALID_REQUEST", (path, body)
    assert await server.json("/settings") == expected
    assert [path.name for path in file.parent.iterdir()] == [SETTINGS]


async def test_settings_changed_at_once_all_stay(server: Any) -> None:
    await asyncio.gather(*(server.post(f"/settings/s{each}", each) for each in range(30)))
    assert await server.json("/settings") == {f"s{each}": each for each in range(30)}


@pytest.mark.parametrize("broken", ['{"a": ', "[1]", "\udcff"])
async def test_broken_settings_are_set_aside(server: Any, broken: str) -> None:
    file = server.base / "user" / "default" / SETTINGS
    file.parent.mkdir(parents=True)
    raw = broken.encode(errors="surrogateescape")
    file.write_bytes(raw)
    assert await server.json("/settings") == {} and file.read_bytes() == raw
    assert await server.post("/settings/x", 5) == (200, {"value": 5})
    assert json.loads(file.read_text()) == {"x": 5}
    (kept,) = file.parent.glob(f"{SETTINGS}.broken-*")
    assert kept.read_bytes() == raw


async def test_users_have_settings_and_files_of_their_own(tmp_path: Path, aiohttp_client: Any) -> None:
    client = await aiohttp_client(StandaloneHost(tmp_path, multi_user=True).application())
    users = []
    for name in ("Ann", "Bob"):
        async with client.post("/users", json={"username": name}) as response:
            users.append({"comfy-user": await response.json()})
    await client.post("/settings/x", json=1, headers=users[0])
    await client.post("/userdata/a.json", data=b"1", headers=users[0])
    async with client.get("/settings", headers=users[0]) as response:
        assert await response.json() == {"x": 1}
    async with client.get("/settings", headers=users[1]) as response:
        assert await response.json() == {}
    async with client.get("/userdata/a.json", headers=users[1]) as response:
        assert response.status == 404
    for headers in ({}, {"comfy-user": "nobody"}, {"comfy-user": "__comfy_assets"}, {"comfy-user": "../x"}):
        for method, path, kind in (
            ("GET", "/settings", "application/json"),
            ("GET", "/settings/x", "application/json"),
            ("POST", "/settings", "application/json"),
            ("POST", "/settings/x", "application/json"),
            ("GET", "/userdata?dir=.", "text/plain"),
            ("GET", "/v2/userdata", "text/plain"),
            ("GET", "/userdata/a.json", "text/plain"),
            ("POST", "/userdata/a.json", "text/plain"),
            ("DELETE", "/userdata/a.json", "text/plain"),
            ("POST", "/userdata/a.json/move/b.json", "text/plain"),
        ):
            async with client.request(method, path, json={}, headers=headers) as response:
                assert (response.status, response.content_type) == (401, kind), (method, path, headers)


async def test_internal_files_and_folders(server: Any) -> None:
    for age, name in enumerate(("new.png", "old.png", ".hidden")):
        put(server.base / "input" / name, "x")
        os.utime(server.base / "input" / name, (1000 - age, 1000 - age))
    (server.base / "input" / "folder").mkdir()
    assert await server.json("/internal/files/input") == ["new.png [input]", "old.png [input]"]
    assert await server.json("/internal/files/temp") == []
    async with server.client.get("/internal/files/models") as response:
        assert response.status == 400 and (await response.json())["error"] == "Invalid directory type"
    folders = await server.json("/internal/folder_paths")
    assert folders["text_encoders"] == [str(server.base / "models" / name) for name in ("text_encoders", "clip")]
    assert folders["custom_nodes"] == [str(server.base / "custom_nodes")]


async def test_logs_are_read_and_followed(server: Any) -> None:
    page, other = await server.page("me"), await server.page("other")
    log = logging.getLogger("comfy_assets.test")

    async def subscribe(body: Any) -> int:
        async with server.client.patch("/internal/logs/subscribe", json=body) as response:
            return int(response.status)

    log.warning("before")
    assert await subscribe({"clientId": "me", "enabled": True}) == 200
    log.warning("during %s", 5)
    message = await page.receive_json(timeout=5)
    assert message["type"] == "logs" and [entry["m"] for entry in message["data"]["entries"]] == [
        "[WARNING] during 5\n"
    ]
    assert await subscribe({"clientId": "me", "enabled": False}) == 200
    log.warning("after")
    server.host.emit("end", {})
    assert (await page.receive_json(timeout=5))["type"] == (await other.receive_json(timeout=5))["type"] == "end"
    raw = await server.json("/internal/logs/raw")
    texts = [entry["m"] for entry in raw["entries"]]
    assert [f"[WARNING] {each}\n" for each in ("before", "during 5", "after")] == texts[-3:]
    assert raw["size"].keys() == {"cols", "rows"} and all(value > 0 for value in raw["size"].values())
    assert "[WARNING] during 5\n" in await server.json("/internal/logs")
    for body in ({}, {"clientId": "me"}, {"clientId": 5, "enabled": True}, {"clientId": "me", "enabled": "yes"}, []):
        assert await subscribe(body) == 400, body


async def test_the_log_is_left_alone_once_the_server_has_stopped(server: Any) -> None:
    before = list(logging.getLogger().handlers)
    await server.client.close()
    assert len(logging.getLogger().handlers) == len(before) - 1


async def upload_mask(server: Any, mask: bytes, reference: Any, **fields: str) -> tuple[int, Any]:
    form = FormData()
    form.add_field("image", mask, filename="masked.png")
    if reference is not None:
        form.add_field("original_ref", reference if isinstance(reference, str) else json.dumps(reference))
    for name, value in fields.items():
        form.add_field(name, value)
    async with server.client.post("/api/upload/mask", data=form) as response:
        return response.status, await response.json()


async def test_a_mask_gives_the_original_its_transparency(server: Any) -> None:
    (server.base / "input" / "o.png").write_bytes(picture((1, 2, 3), (4, 3), workflow="the graph"))
    mask = picture((9, 9, 9, 77), (4, 3))
    reference = {"filename": "o.png", "subfolder": "", "type": "input"}
    table = [
        (reference, {}, "masked.png", ""),
        (reference, {}, "masked.png", ""),
        ({"filename": "o.png [input]"}, {"subfolder": "clipspace"}, "masked.png", "clipspace"),
        (reference, {"overwrite": "true"}, "masked.png", ""),
    ]
    for given, fields, name, subfolder in table:
        status, body = await upload_mask(server, mask, given, **fields)
        assert (status, body) == (200, {"name": name, "subfolder": subfolder, "type": "input"})
        with Image.open(server.base / "input" / subfolder / name) as image:
            assert np.asarray(image)[0, 0].tolist() == [1, 2, 3, 77]
            assert image.text == {"workflow": "the graph"}  # type: ignore[attr-defined]
    status, body = await upload_mask(server, picture((9, 9, 9, 5), (4, 3)), reference)
    assert (status, body["name"]) == (200, "masked (1).png")


async def test_masks_that_cannot_be_applied(server: Any) -> None:
    (server.base / "input" / "o.png").write_bytes(picture((1, 2, 3), (4, 3)))
    (server.base / "input" / "text.png").write_bytes(b"text")
    (server.base / "secret.png").write_bytes(picture((1, 2, 3), (4, 3)))
    mask = picture((9, 9, 9, 77), (4, 3))
    good = {"filename": "o.png", "type": "input"}
    table = [
        (mask, None),
        (mask, "{"),
        (mask, "[]"),
        (mask, {}),
        (mask, {"filename": 5}),
        (mask, {"filename": "none.png", "type": "input"}),
        (mask, {"filename": "o.png", "type": "models"}),
        (mask, {"filename": "../secret.png", "type": "input"}),
        (mask, {"filename": "secret.png", "subfolder": "..", "type": "input"}),
        (mask, {"filename": "text.png", "type": "input"}),
        (b"no picture", good),
        (b"", good),
        (picture((9, 9, 9, 77), (5, 3)), good),
    ]
    for body, reference in table:
        status, answer = await upload_mask(server, body, reference)
        assert status == 400 and answer["code"] and answer["message"], reference
    assert {path.name for path in (server.base / "input").iterdir()} == {"o.png", "text.png"}


class Driver:
    """PyTorch's ``cuda``, as far as it is asked."""

    def __init__(self, error: bool) -> None:
        self._error = error

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 2

    def mem_get_info(self, index: int) -> tuple[int, int]:
        if self._error:
            raise RuntimeError("driver")
        return 70 + index, 80

    def memory_reserved(self, index: int) -> int:
        return 10

    def memory_allocated(self, index: int) -> int:
        return 4

    def get_device_name(self, index: int) -> str:
        return "Card"


async def test_devices_are_what_pytorch_has(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    stats = await server.json("/api/system_stats")
    assert stats["system"]["pytorch_version"] == "none" and [each["type"] for each in stats["devices"]] == ["cpu"]
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=Driver(False), __version__="9.9"))
    stats = await server.json("/api/system_stats")
    assert stats["system"]["pytorch_version"] == "9.9"
    assert [(each["index"], each["vram_free"], each["torch_vram_free"]) for each in stats["devices"]] == [
        (0, 70, 6),
        (1, 71, 6),
    ]
    assert system.graphics_devices(SimpleNamespace(cuda=Driver(True))) == []
