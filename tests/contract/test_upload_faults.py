"""Uploads that are cut, that come fifty at once, that a full disk or a failing store ends: nothing stays behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets import draft as drafts
from comfy_assets_node.comfy_assets.assets import placing
from comfy_assets_node.comfy_assets.db import references

CONTENT = bytes(range(256)) * 40


def form(content: bytes = CONTENT, name: str = "a.bin", **fields: str) -> FormData:
    data = FormData()
    data.add_field("file", content, filename=name)
    for key, value in fields.items():
        data.add_field(key, value)
    return data


def files(base: Path) -> set[str]:
    """Every file outside the store."""
    return {
        path.relative_to(base).as_posix()
        for path in base.rglob("*")
        if path.is_file() and not path.name.startswith("library.db") and path.parent.name != "queue"
    }


async def settled(library: Any, wanted: set[str]) -> None:
    """Wait until the server has noticed and tidied up."""
    deadline = time.monotonic() + 10
    while files(library.base) != wanted:
        assert time.monotonic() < deadline, files(library.base)
        await asyncio.sleep(0.01)


async def test_fifty_uploads_of_the_same_bytes_leave_one_content(library: Any) -> None:
    async def send(number: int) -> tuple[int, dict[str, Any]]:
        async with library.client.post("/api/assets", data=form(name=f"copy{number}.bin")) as response:
            return response.status, await response.json()

    answers = await asyncio.gather(*(send(number) for number in range(50)))
    assert sorted(status for status, _ in answers) == [200] * 49 + [201]
    assert len({asset["id"] for _, asset in answers}) == 1
    assert [asset["created_new"] for _, asset in answers].count(True) == 1
    (asset,) = await library.assets()
    assert files(library.base) == {asset["file_path"]}
    assert (library.base / asset["file_path"]).read_bytes() == CONTENT


async def test_fifty_uploads_of_one_name_keep_every_content(library: Any) -> None:
    contents = [str(number).encode() * 100 for number in range(50)]

    async def send(content: bytes) -> dict[str, Any]:
        async with library.client.post("/api/assets", data=form(content, "image.bin")) as response:
            assert response.status == 201
            return dict(await response.json())

    answers = await asyncio.gather(*(send(content) for content in contents))
    kept = {(library.base / asset["file_path"]).read_bytes() for asset in answers}
    assert kept == set(contents)
    assert len(files(library.base)) == 50


BOUNDARY = b"0123456789"
HEAD = (
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="tags"\r\n\r\n["input", "cut"]\r\n'
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="cut.bin"\r\n\r\n'
)  # fmt: skip
BODY = HEAD + b"some content" * 20 + b"\r\n--" + BOUNDARY + b"--\r\n"


def request(length: int) -> bytes:
    return (
        f"POST /api/assets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n\r\n"
    ).encode()


async def test_a_connection_cut_at_any_byte_leaves_nothing(library: Any) -> None:
    async def cut(at: int) -> None:
        _, writer = await asyncio.open_connection(library.client.host, library.client.port)
        writer.write(request(len(BODY)) + BODY[:at])
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    for start in range(0, len(BODY), 40):
        await asyncio.gather(*(cut(at) for at in range(start, min(start + 40, len(BODY)))))
    await settled(library, set())
    assert await library.assets() == []
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 201


async def test_a_form_that_ends_at_any_byte_leaves_nothing(library: Any) -> None:
    """The length is right, but the form is not whole: an answer, and no file."""

    async def send(end: int) -> int:
        reader, writer = await asyncio.open_connection(library.client.host, library.client.port)
        writer.write(request(end) + BODY[:end])
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return int(line.split()[1])

    whole = len(BODY) - len(b"--\r\n")  # what follows the last boundary is optional
    for end in range(0, whole - 2, 7):
        assert await send(end) == 400, (end, BODY[:end][-40:])
    await settled(library, set())
    assert await library.assets() == []


async def test_a_disk_that_is_full(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Any, blocks: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drafts.Draft, "write", write)
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 500
        error = await response.json()
    assert error["code"] == "STORAGE_FAILED"
    assert "No space left" in error["message"] and str(library.base) not in json.dumps(error)
    assert files(library.base) == set()


async def test_a_store_that_fails_takes_the_file_back(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(tx: Any) -> None:
        raise RuntimeError("the store has failed")

    monkeypatch.setattr(references, "settle", settle)
    async with library.client.post("/api/assets", data=form()) as response:
        assert response.status == 500
    monkeypatch.undo()
    assert files(library.base) == set()
    assert await library.assets() == []


async def test_another_volume_is_copied_to(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes before the tags that say where it belongs."""
    monkeypatch.setattr(placing, "is_same_volume", lambda source, folder: source.parent == folder)
    async with library.client.post("/api/assets", data=form(tags='["output"]')) as response:
        assert response.status == 201
    assert files(library.base) == {"output/a.bin"}
    assert (library.base / "output/a.bin").read_bytes() == CONTENT


async def test_a_volume_without_hard_links(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    library.write("input/a.bin", b"older")
    async with library.client.post("/api/assets", data=form()) as response:
        assert (response.status, (await response.json())["file_path"]) == (201, "input/a (1).bin")
    assert (library.base / "input/a.bin").read_bytes() == b"older"
    assert (library.base / "input/a (1).bin").read_bytes() == CONTENT


async def test_what_a_killed_server_left_is_removed(make_library: Any) -> None:
    library = await make_library()
    leftover = library.write("input/.comfy-assets-0123.part", b"half")
    young = library.write("output/.comfy-assets-4567.part", b"of another server")
    others = library.write("input/.other.part", b"not ours")
    for path in (leftover, others):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    await library.services.stop()
    await make_library()
    assert not leftover.exists()
    assert young.exists() and others.exists()


async def test_a_scan_beside_uploads_makes_no_second_asset(library: Any) -> None:
    async def send(number: int) -> None:
        async with library.client.post("/api/assets", data=form(str(number).encode() * 50, f"n{number}.bin")) as answer:
            assert answer.status == 201

    await asyncio.gather(*(send(number) for number in range(30)), *(library.scan() for _ in range(3)))
    await library.scan()
    assets = await library.assets()
    assert len(assets) == 30
    assert {asset["name"] for asset in assets} == {f"n{number}.bin" for number in range(30)}
