"""The standalone host with files beyond 260 characters, as Windows limits paths that are not in its long form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.fs.paths import extended_path
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from support import long_paths
from support.files import picture

LENGTH = 150  # of the base directory
NAME = "n" * 110 + ".png"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    padding = LENGTH - len(str(tmp_path)) - 1
    assert padding > 0
    with monkeypatch.context() as patch:
        if os.name != "nt":
            long_paths.emulate(patch)
        yield tmp_path / ("b" * padding)


@pytest.fixture
async def client(base: Path, aiohttp_client: Any) -> Any:
    return await aiohttp_client(StandaloneHost(base).application())


async def get(client: Any, path: str) -> bytes:
    async with client.get(path) as response:
        body: bytes = await response.read()
        assert response.status == 200, body
        return body


@pytest.mark.parametrize("overwrite", ["true", "false"])
async def test_a_picture_is_stored_and_shown(client: Any, base: Path, overwrite: str) -> None:
    for _ in range(2):
        form = FormData()
        form.add_field("image", picture(1), filename=NAME)
        form.add_field("overwrite", overwrite)
        async with client.post("/upload/image", data=form) as response:
            assert (response.status, (await response.json())["name"]) == (200, NAME)
    assert await get(client, f"/view?type=input&filename={NAME}") == picture(1)
    assert await get(client, f"/view?type=input&filename={NAME}&preview=webp;90")
    assert extended_path(base / "input", NAME).is_file()


async def test_a_user_s_files(client: Any) -> None:
    """Written, read, listed, moved and removed."""
    url = f"/userdata/workflows%2F{'d' * 60}%2F{'f' * 60}.json"
    async with client.post(url, data=b"{}") as response:
        assert response.status == 200, await response.text()
    assert await get(client, url) == b"{}"
    async with client.get("/userdata?dir=workflows&recurse=true&full_info=true") as response:
        (entry,) = await response.json()
    assert (entry["path"], entry["size"]) == (f"{'d' * 60}/{'f' * 60}.json", 2)
    async with client.get("/v2/userdata?path=workflows") as response:
        entries = await response.json()
    assert [each["type"] for each in entries] == ["directory", "file"] and entries[1]["size"] == 2
    async with client.post(f"{url}/move/workflows%2F{'g' * 110}.json") as response:
        assert response.status == 200, await response.text()
    async with client.delete(f"/userdata/workflows%2F{'g' * 110}.json") as response:
        assert response.status == 204


async def test_models_in_deep_folders_are_listed(client: Any, base: Path) -> None:
    folder = extended_path(base / "models/loras" / ("d" * 60) / ("e" * 60))
    folder.mkdir(parents=True)
    (folder / "m.safetensors").write_bytes(b"model")
    async with client.get("/experiment/models/loras") as response:
        (model,) = await response.json()
    assert (model["name"], model["size"]) == (f"{'d' * 60}/{'e' * 60}/m.safetensors", 5)


async def test_pictures_are_saved_in_deep_folders(client: Any, base: Path) -> None:
    form = FormData()
    form.add_field("image", picture(1), filename=NAME)
    async with client.post("/upload/image", data=form) as response:
        assert response.status == 200
    prefix = f"{'d' * 60}/{'e' * 60}/made"
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": NAME}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
    async with client.post("/prompt", json={"prompt": graph}) as response:
        assert response.status == 200, await response.text()
        prompt_id = (await response.json())["prompt_id"]
    while not (history := await (await client.get(f"/history/{prompt_id}")).json()):
        pass
    assert history[prompt_id]["status"]["status_str"] == "success", history
    assert extended_path(base / "output", f"{prefix}_00001_.png").is_file()
