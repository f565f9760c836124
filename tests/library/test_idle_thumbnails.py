"""Thumbnails that are made ahead of time, while the server is idle."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.media import thumbnail_service
from comfy_assets_node.comfy_assets.assets.media.thumbnails import Thumbnailer
from comfy_assets_node.comfy_assets.background import tasks
from comfy_assets_node.comfy_assets.config import Config
from PIL import Image
from support.files import picture

pytestmark = pytest.mark.slow
SIZE = (900, 600)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "WATCH_INTERVAL_S", 0.02)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, in order."""
    names: list[str] = []
    make = Thumbnailer.make

    def watched(self: Thumbnailer, path: Any, *rest: Any) -> bytes:
        names.append(path.name)
        return make(self, path, *rest)

    monkeypatch.setattr(Thumbnailer, "make", watched)
    return names


@pytest.fixture
async def open_library(make_library: Any) -> Callable[..., Any]:
    async def make(**options: Any) -> Any:
        return await make_library(Config(scan_on_start=False, **options))

    return make


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(condition)


async def thumbnail(library: Any, name: str, res: int) -> Image.Image:
    response = await library.client.get(f"/api/view?filename={name}&type=output&res={res}")
    assert (response.status, response.content_type) == (200, "image/jpeg")
    return Image.open(io.BytesIO(await response.read()))


def cached(library: Any) -> list[Path]:
    """Return the files of the thumbnails."""
    return list((library.base / "user/__comfy_assets/thumbnails").rglob("*.jpg"))


async def test_new_pictures_are_shown_without_decoding_them(open_library: Any, decoded: list[str]) -> None:
    library = await open_library()
    for number in range(3):
        library.write(f"output/{number}.png", picture(number, SIZE))
    library.write("output/text.txt", b"no picture")
    await library.scan()
    await until(lambda: len(cached(library)) == 6)
    for number in range(3):
        assert (await thumbnail(library, f"{number}.png", 512)).size == (512, 341)
        assert (await thumbnail(library, f"{number}.png", 256)).size == (256, 170)
    assert sorted(decoded) == ["0.png", "1.png", "2.png"], "once each"


async def test_two_are_made_at_once(open_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    make = Thumbnailer.make

    def met(self: Thumbnailer, *arguments: Any) -> bytes:
        both.wait(timeout=10)  # raises if no second one comes
        return make(self, *arguments)

    monkeypatch.setattr(Thumbnailer, "make", met)
    library = await open_library(idle_thumbnails=False)
    for number in range(4):
        library.write(f"output/{number}.png", picture(number, SIZE))
    await library.scan()
    await library.services.stop()
    library = await open_library()
    await until(lambda: len(cached(library)) == 8)


async def test_a_smaller_thumbnail_is_made_of_the_larger_one(open_library: Any, decoded: list[str]) -> None:
    library = await open_library(idle_thumbnails=False)
    library.write("output/a.png", picture((200, 30, 30), SIZE))
    await library.scan()
    await thumbnail(library, "a.png", 512)
    small = await thumbnail(library, "a.png", 256)
    assert decoded == ["a.png"]
    red, green, blue = small.convert("RGB").getpixel((100, 100))
    assert abs(red - 200) < 6 and abs(green - 30) < 6 and abs(blue - 30) < 6
    await thumbnail(library, "a.png", 300)
    assert decoded == ["a.png"] * 2, "of less than twice the size, it would be blurred"


async def test_the_newest_go_first_and_are_limited(
    open_library: Any, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnail_service, "NEWEST", 2)
    monkeypatch.setattr(thumbnail_service, "AT_ONCE", 1)  # so that the order is known
    library = await open_library(idle_thumbnails=False)
    for number in range(4):
        library.write(f"output/{number}.png", picture(number, SIZE))
        await library.scan()
    await library.services.stop()
    library = await open_library()
    await until(lambda: len(cached(library)) == 4)
    await asyncio.sleep(0.1)
    assert decoded == ["3.png", "2.png"]


async def test_prompts_go_first(open_library: Any, decoded: list[str]) -> None:
    library = await open_library()
    library.host.is_busy = True
    library.write("output/a.png", picture(1, SIZE))
    await library.services.outputs.drain()
    task, _ = library.services.indexer.start_scan()
    await task.done.wait()
    await asyncio.sleep(0.2)
    assert decoded == []
    library.host.is_busy = False
    await until(lambda: decoded == ["a.png"])


@pytest.mark.parametrize("options", [{"idle_thumbnails": False}, {"thumbnail_cache_size": 0}])
async def test_turned_off(open_library: Any, decoded: list[str], options: Any) -> None:
    library = await open_library(**options)
    library.write("output/a.png", picture(1, SIZE))
    await library.scan()
    await asyncio.sleep(0.2)
    assert decoded == []


async def test_a_damaged_file_is_tried_once(open_library: Any, decoded: list[str]) -> None:
    library = await open_library()
    library.write("output/broken.png", picture(1, SIZE)[:-400])
    await library.scan()
    await until(lambda: decoded == ["broken.png"])
    for number in range(2, 4):  # each change has it look again
        library.write(f"output/{number}.png", picture(number, SIZE))
        await library.scan()
        await until(lambda name=f"{number}.png": decoded[-1] == name)
    assert decoded == ["broken.png", "2.png", "3.png"]
    assert "preview_url" not in await library.asset("broken.png")
