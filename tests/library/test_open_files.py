"""Other programs can rename, replace and remove files while they are hashed, or sent to a client.

On Windows this depends on how a file was opened; on other systems these tests hold of themselves.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index import content_reader
from comfy_assets_node.comfy_assets.assets.index.content_reader import HashProgress

SIZE = 64 << 20


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed.safetensors"))


def replace(path: Path) -> None:
    other = path.with_name("other.part")
    other.write_bytes(b"another model")
    other.replace(path)


CHANGES: list[Callable[[Path], object]] = [rename, replace, os.remove]


@pytest.fixture
def model(library: Any) -> Path:
    path: Path = library.write("models/checkpoints/large.safetensors", b"")
    with path.open("r+b") as stream:
        stream.truncate(SIZE)
    os.utime(path, (1_600_000_000, 1_600_000_000))  # old files may be mapped into memory
    return path


async def begin_hashing(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash until some of the model has been read, and pause there."""
    indexer, real = library.services.indexer, HashProgress.add_bytes
    paused: list[HashProgress] = []

    def add_and_pause(self: HashProgress, count: int) -> None:
        real(self, count)
        if not paused:  # once: on Windows a renamed file is read in another run
            paused.append(self)
            indexer.pause()

    for steps in ("_SLICE", "_CHUNK"):
        monkeypatch.setattr(content_reader, steps, 1 << 20)
    monkeypatch.setattr(HashProgress, "add_bytes", add_and_pause)
    indexer.start_scan()
    deadline = time.monotonic() + 10
    while not (indexer.status()["on_hold"] and indexer.status().get("bytes_hashed")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert indexer.status()["bytes_hashed"] < SIZE


async def change_soon(change: Callable[[Path], object], path: Path) -> None:
    """Change the file. On Windows it cannot be replaced before the reader has closed it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            change(path)
        except PermissionError:
            assert time.monotonic() < deadline, "the file stays open while reading is paused"
            await asyncio.sleep(0.01)
        else:
            return


@pytest.mark.parametrize("change", CHANGES)
async def test_a_model_whose_hashing_is_paused(
    library: Any, model: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    await begin_hashing(library, monkeypatch)
    await change_soon(change, model)
    library.services.indexer.resume()
    await library.services.indexer.finish()
    await library.scan()
    present = sorted(path.name for path in model.parent.iterdir())
    assert sorted(asset["name"] for asset in await library.assets(exclude_tags="missing")) == present
    assert all(asset.get("hash") for asset in await library.assets(exclude_tags="missing"))


async def test_a_paused_file_is_read_to_its_end(library: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where it is closed during the pause."""
    monkeypatch.setattr(content_reader, "WINDOWS", True)
    await begin_hashing(library, monkeypatch)
    await asyncio.sleep(0.1)
    library.services.indexer.resume()
    await library.services.indexer.finish()
    (asset,) = await library.assets()
    assert asset["hash"] == f"blake3:{blake3(bytes(SIZE)).hexdigest()}"


async def test_a_file_that_changes_during_the_pause_is_read_again(
    library: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_reader, "WINDOWS", True)
    await begin_hashing(library, monkeypatch)
    await asyncio.sleep(0.1)
    replace(model)
    library.services.indexer.resume()
    await library.services.indexer.finish()
    (asset,) = await library.assets()
    assert asset["hash"] == f"blake3:{blake3(b'another model').hexdigest()}"


async def test_a_file_that_is_being_sent(library: Any, model: Path) -> None:
    await library.scan()
    (asset,) = await library.assets()
    async with library.client.get(f"/api/assets/{asset['id']}/content") as response:
        await response.content.readexactly(1 << 20)
        rename(model)
        model.with_name("renamed.safetensors").unlink()
        assert len(await response.read()) == SIZE - (1 << 20)
