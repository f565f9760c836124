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
