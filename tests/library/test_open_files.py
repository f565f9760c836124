"""Other programs can rename, replace and remove files while they are hashed, or sent to a client.

On Windows this depends on how a file was opened; on other systems these tests hold of themselves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


async def begin_hashing(library: Any) -> None:
    """Hash until some of the model has been read, then pause."""
    indexer = library.services.indexer
    indexer.start_scan()
    while not indexer.status().get("bytes_hashed"):
        await asyncio.sleep(0)
    indexer.pause()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.skipif(os.name == "nt", reason="a running replacement needs a file that nobody has open")
async def test_a_model_whose_hashing_is_paused(library: Any, model: Path, change: Callable[[Path], object]) -> None:
    await begin_hashing(library)
    change(model)
    library.services.indexer.resume()
    await library.services.indexer.finish()
    await library.scan()
    present = sorted(path.name for path in model.parent.iterdir())
    assert sorted(asset["name"] for asset in await library.assets(exclude_tags="missing")) == present


async def test_a_model_whose_hashing_is_paused_is_renamed_and_removed(library: Any, model: Path) -> None:
    await begin_hashing(library)
    rename(model)
    model.with_name("renamed.safetensors").unlink()
    library.services.indexer.resume()
    await library.services.indexer.finish()
    await library.scan()
    assert await library.assets(exclude_tags="missing") == []


async def test_a_file_that_is_being_sent(library: Any, model: Path) -> None:
    await library.scan()
    (asset,) = await library.assets()
    async with library.client.get(f"/api/assets/{asset['id']}/content") as response:
        await response.content.readexactly(1 << 20)
        rename(model)
        model.with_name("renamed.safetensors").unlink()
        assert len(await response.read()) == SIZE - (1 << 20)
