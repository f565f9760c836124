"""Files beyond 260 characters, as Windows limits paths that are not written in its long form.

The base directory has a usual length and names are long, so that a path in one place is short enough, and in another
it is not.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets import uploads
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.fs.paths import extended_path, unlimited
from support import long_paths
from support.files import picture

LENGTH = 150  # of the base directory
NAME = "n" * 110 + ".png"  # too long in the input folder
SHORT_OF_IT = "m" * 90 + ".png"  # not too long in the input folder, but in the trash


def long_base(tmp_path: Path, letter: str = "b") -> Path:
    """A folder whose path has LENGTH characters."""
    padding = LENGTH - len(str(tmp_path)) - 1
    assert padding > 0
    return tmp_path / (letter * padding)


@pytest.fixture
def _limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        if os.name != "nt":
            long_paths.emulate(patch)
        yield


@pytest.fixture
async def long_library(tmp_path: Path, make_library: Any, _limited: None) -> AsyncIterator[Any]:
    library = await make_library(Config(scan_on_start=False, idle_thumbnails=False), base=long_base(tmp_path))
    yield library
    await library.services.stop()  # while the limit is still emulated


async def upload(library: Any, name: str, content: bytes, tags: str = "input") -> Any:
    form = FormData()
    form.add_field("tags", json.dumps([tags]))
    form.add_field("file", content, filename=name, content_type="image/png")
    async with library.client.post("/api/assets", data=form) as response:
        assert response.status == 201, await response.text()
        return await response.json()


async def read(library: Any, path: str, status: int = 200) -> bytes:
    async with library.client.get(path) as response:
        body: bytes = await response.read()
        assert response.status == status, body
        return body


def on_disk(library: Any, relative: str) -> Path:
    """Return the path of a file in the form in which it is found."""
    return extended_path(library.base / relative)


@pytest.mark.parametrize("name", [NAME, SHORT_OF_IT])
async def test_an_upload_and_its_whole_life(long_library: Any, name: str) -> None:
    """Uploaded, listed, sent, shown small, moved to the trash, restored, renamed, removed for good."""
    library, content = long_library, picture(1)
    asset = await upload(library, name, content)
    assert asset["file_path"] == f"input/{name}"
    assert on_disk(library, f"input/{name}").read_bytes() == content
    assert await read(library, f"/api/assets/{asset['id']}/content") == content
    made = await read(library, f"/api/view?type=input&filename={name}&res=256")
    cached = [path.name for path in unlimited(library.host.data_directory() / "thumbnails").glob("*/*.jpg")]
    assert len(cached) == 1
    assert await read(library, f"/api/view?type=input&filename={name}&res=256") == made
    await library.scan()
    assert [each["id"] for each in await library.assets()] == [asset["id"]]

    async with library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == 204
    assert not on_disk(library, f"input/{name}").exists()
    async with library.client.post(f"/api/assets/{asset['id']}/restore") as response:
        assert response.status == 200, await response.text()
    assert on_disk(library, f"input/{name}").read_bytes() == content

    new = "renamed-" + name[8:]
    body = {"name": new, "rename_file": True}
    async with library.client.put(f"/api/assets/{asset['id']}", json=body) as response:
        assert response.status == 200, await response.text()
    assert await asyncio.to_thread(os.listdir, library.base / "input") == [new]

    async with library.client.delete(f"/api/assets/{asset['id']}") as response:
        assert response.status == 204
    assert (await library.services.trash_purge.empty()).removed == 1
    assert not list(unlimited(library.host.data_directory() / "trash").glob("*/*"))


async def test_files_that_a_scan_finds(long_library: Any) -> None:
    """In a deep folder: hashed, measured, sent; the second scan finds nothing new, and a removal is noticed."""
    library = long_library
    relative = f"output/{'d' * 60}/{'e' * 60}/{NAME}"
    path = on_disk(library, relative)
    path.parent.mkdir(parents=True)
    path.write_bytes(picture(2))
    status = await library.scan()
    assert (status["status"], status["unreadable"]) == ("completed", 0)
    asset = await library.asset(NAME)
    assert asset["hash"] and asset["metadata"]["width"]
    assert await read(library, f"/api/assets/{asset['id']}/content") == path.read_bytes()
    await library.scan()
    assert [each["id"] for each in await library.assets()] == [asset["id"]]
    path.unlink()
    await library.scan()
    assert "missing" in (await library.asset(NAME))["tags"]


async def test_an_upload_that_fails_leaves_no_file(long_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(uploads, "_register", fail)
    form = FormData()
    form.add_field("tags", '["input"]')
    form.add_field("file", picture(5), filename=NAME, content_type="image/png")
    async with long_library.client.post("/api/assets", data=form) as response:
        assert response.status == 500
    assert await asyncio.to_thread(os.listdir, long_library.base / "input") == []


async def test_a_workflow_and_its_bundle(long_library: Any, make_library: Any, tmp_path: Path) -> None:
    """Saved, and exported with an asset, to be imported by another library."""
    library, title = long_library, "w" * 120
    await upload(library, NAME, picture(3))
    graph = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": [NAME, "image"]}]}
    async with library.client.post("/api/workflows", json={"name": title, "workflow_json": graph}) as response:
        assert response.status == 201, await response.text()
        workflow = (await response.json())["id"]
    folder = library.host.user_directory("default") / "workflows"
    assert await asyncio.to_thread(os.listdir, folder) == [f"{title}.json"]
    async with library.client.post(f"/api/workflows/{workflow}/export", json={}) as response:
        exported = await ended(library, (await response.json())["task_id"])
    assert (exported["included"], exported["problems"]) == (1, [])
    place = await library.get(f"/api/assets/exports/{exported['export_name']}")
    bundle = await read(library, place["url"])

    other = await make_library(base=long_base(tmp_path, "o"))
    headers = {"Content-Type": "application/zip"}
    async with other.client.post("/api/workflows/import", data=bundle, headers=headers) as response:
        imported = await ended(other, (await response.json())["task_id"])
    assert (imported["added"], imported["missing"]) == (1, 0)
    assert on_disk(other, f"input/{NAME}").read_bytes() == picture(3)
    await other.services.stop()


async def test_the_archive_of_an_export_has_the_file(long_library: Any) -> None:
    library, content = long_library, picture(4)
    asset = await upload(library, NAME, content)
    async with library.client.post("/api/assets/export", json={"asset_ids": [asset["id"]]}) as response:
        exported = await ended(library, (await response.json())["task_id"])
    place = await library.get(f"/api/assets/exports/{exported['export_name']}")
    with zipfile.ZipFile(io.BytesIO(await read(library, place["url"]))) as archive:
        assert [archive.read(each) for each in archive.namelist()] == [content]


async def ended(library: Any, task_id: str) -> Any:
    """Return the result of a task that has succeeded."""
    while (task := await library.get(f"/api/tasks/{task_id}"))["status"] in ("created", "running"):
        await asyncio.sleep(0.01)
    assert task["status"] == "completed", task
    return task["result"]
