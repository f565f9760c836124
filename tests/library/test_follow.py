"""What happens on the disk shows in the library by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import follow, settling
from comfy_assets_node.comfy_assets.config import Config

posix = pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")

LORA = "models/loras/style.safetensors"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in less time."""
    for name, seconds in {"TICK_S": 0.02, "POLL_S": 0.2, "LONGEST_REST_S": 0.1}.items():
        monkeypatch.setattr(follow, name, seconds)
    monkeypatch.setattr(settling, "SETTLE_S", 0.2)
    monkeypatch.setattr(settling, "REMOVAL_S", 0.5)


@pytest.fixture(params=["watched", "polled"])
async def followed(
    request: pytest.FixtureRequest, make_library: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Awaitable[Any]]:
    """Open a library that is followed, with what has been written into it before; with and without watchfiles."""
    if request.param == "polled":
        monkeypatch.setattr(follow, "load_backend", lambda: None)
    else:
        pytest.importorskip("watchfiles")

    async def open_library() -> Any:
        library = await make_library(Config())
        await library.services.indexer.scanner.completed.wait()
        await library.services.indexer.finish()
        library.host.events.clear()
        return library

    return open_library


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10) -> Any:
    """Wait until the condition holds; answers what it answered."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "that did not come to pass"
        await asyncio.sleep(0.02)
    return found


async def listed(library: Any) -> dict[str, list[str]]:
    return {a["file_path"]: a["tags"] for a in await library.assets()}


def write(base: Path, relative: str, content: bytes = b"content") -> Path:
    path = base / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Steady:
    """Looks all the time whether anything is missing that must not be, or is there twice."""

    def __init__(self, library: Any, most: int) -> None:
        self._library, self._most = library, most
        self.seen: set[tuple[str, ...]] = set()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            assets = await self._library.assets()
            self.seen.add(tuple(sorted(a["id"] for a in assets)))
            assert not any("missing" in a["tags"] for a in assets)
            assert len(assets) <= self._most
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Raises AssertionError if that has been so at any time."""
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        if not self._looking.cancelled():
            self._looking.result()


async def test_a_new_file(followed: Any) -> None:
    library = await followed()
    library.write("output/a.png", b"a")
    library.write("models/loras/deep/er/b.safetensors", b"b")
    await until(lambda: _has(library, "output/a.png", "models/loras/deep/er/b.safetensors"))
    await until(lambda: _read(library, "b.safetensors"))
    [asset] = [a for a in await library.assets() if a["name"] == "b.safetensors"]
    assert asset["tags"] == ["models", "loras", "model_type:loras"]
    created = sum(e.data.get("created", 0) for e in library.host.events if e.type == "assets.changed")
    assert created == 2
    assert {e.type for e in library.host.events} == {"assets.changed"}


async def _has(library: Any, *paths: str) -> bool:
    return set(paths) <= set(await listed(library))


async def _read(library: Any, name: str) -> Any:
    return any(a["name"] == name and a.get("hash") for a in await library.assets())
