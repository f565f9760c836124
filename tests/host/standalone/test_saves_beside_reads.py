"""Settings and workflows that are saved while they are read, as two open pages do. Windows replaces no open file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs.shared_files import open_patiently
from comfy_assets_node.comfy_assets.host import shared_file_response
from comfy_assets_node.comfy_assets.host.shared_file_response import SharedFileResponse
from support.sharing import opened_alone

SAVES = 270
WORKFLOW = "/userdata/workflows%2Fhammer.json"


async def save_setting(client: Any, number: int) -> None:
    async with client.post("/settings/Comfy.H", json=number) as response:
        assert response.status == 200, await response.text()


async def read_settings(client: Any) -> int:
    async with client.get("/settings") as response:
        assert response.status == 200, await response.text()
        return int((await response.json()).get("Comfy.H", 0))


async def save_workflow(client: Any, number: int) -> None:
    async with client.post(f"{WORKFLOW}?overwrite=true", json={"number": number, "text": "x" * 5000}) as response:
        assert response.status == 200, await response.text()


async def read_workflow(client: Any) -> int:
    async with client.get(WORKFLOW) as response:
        assert response.status == 200, await response.text()
        return int((await response.json(content_type=None))["number"])


Save = Callable[[Any, int], Awaitable[None]]
Read = Callable[[Any], Awaitable[int]]


@pytest.mark.parametrize(
    ("save", "read"), [(save_setting, read_settings), (save_workflow, read_workflow)], ids=["settings", "workflow"]
)
async def test_no_save_is_refused(server: Any, save: Save, read: Read) -> None:
    await save(server.client, 0)
    is_over = False

    async def keep_reading() -> None:
        last = 0
        while not is_over:
            found = await read(server.client)
            assert found >= last, "a save has been lost"
            last = found

    readers = [asyncio.create_task(keep_reading()) for _ in range(2)]
    for number in range(1, SAVES + 1):
        await save(server.client, number)
    is_over = True
    await asyncio.gather(*readers)
    assert await read(server.client) == SAVES


def test_the_length_is_that_of_the_content(tmp_path: Path) -> None:
    """Also if the file is replaced after aiohttp asked for its stat, which older versions of aiohttp do not notice."""
    path, new = tmp_path / "a.json", tmp_path / "new"
    path.write_bytes(b"[1]")
    response = SharedFileResponse(path, {})
    found = response._path.stat()
    new.write_bytes(b"[1, 2]")
    os.replace(new, path)
    with response._path.open("rb") as content:
        assert (content.read(), found.st_size) == (b"[1]", 3)


async def test_a_response_without_a_body_leaves_no_file_open(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def opens(path: Path) -> Any:
        opened.append(open_patiently(path))
        return opened[-1]

    monkeypatch.setattr(shared_file_response, "open_patiently", opens)
    (server.base / "input" / "a.png").write_bytes(b"x" * (2 << 20))
    url = "/view?type=input&filename=a.png"
    async with server.client.get(url) as response:
        etag = response.headers["ETag"]
    for method, headers, status in (
        ("GET", {"If-None-Match": etag}, 304),
        ("GET", {"If-Match": '"other"'}, 412),
        ("GET", {"Range": "bytes=9999999-"}, 416),
        ("HEAD", {}, 200),
    ):
        async with server.client.request(method, url, headers=headers) as response:
            assert response.status == status
    for _ in range(100):  # aiohttp closes files in other threads
        if all(file.closed for file in opened):
            break
        await asyncio.sleep(0.05)
    assert len(opened) == 5 and all(file.closed for file in opened)


@contextlib.contextmanager
def read_by_another_program(path: Path) -> Iterator[None]:
    with path.open("rb"):
        yield


@pytest.mark.skipif(sys.platform != "win32", reason="other systems replace and remove open files")
@pytest.mark.parametrize("hold", [read_by_another_program, opened_alone])
async def test_a_workflow_that_another_program_has_open(server: Any, hold: Any) -> None:
    """Refused in words that say why; saved at once when it is free."""
    await save_workflow(server.client, 1)
    path = server.base / "user/default/workflows/hammer.json"
    with hold(path):
        for request in (
            server.client.post(f"{WORKFLOW}?overwrite=true", data=b"{}"),
            server.client.post(f"{WORKFLOW}/move/workflows%2Fother.json"),
            server.client.delete(WORKFLOW),
        ):
            async with request as response:
                assert response.status == 409
                assert "Another program has the file open" in await response.text()
    assert await read_workflow(server.client) == 1
    await save_workflow(server.client, 2)
    assert os.listdir(path.parent) == ["hammer.json"]


@pytest.mark.skipif(sys.platform != "win32", reason="other systems lock no files")
async def test_a_picture_that_another_program_has_locked(server: Any) -> None:
    path = server.base / "input" / "a.png"
    path.write_bytes(b"picture")
    with opened_alone(path):
        async with server.client.get("/view?type=input&filename=a.png") as response:
            assert (response.status, (await response.json())["code"]) == (409, "FILE_IN_USE")
    async with server.client.get("/view?type=input&filename=a.png") as response:
        assert await response.read() == b"picture"
