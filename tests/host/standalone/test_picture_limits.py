"""Pictures of strangers that a request has the server decode: which formats, how many pixels, how many at a time."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets import image_limits
from comfy_assets_node.comfy_assets.errors import ImageTooLargeError, ImageUnreadableError
from comfy_assets_node.comfy_assets.host.standalone import files
from comfy_assets_node.comfy_assets.host.standalone.pixels import load_image
from comfy_assets_node.comfy_assets.image_limits import ImageMemory
from PIL import Image

EDGE = 13_300  # squared: more than is decoded


def encoded(size: tuple[int, int], mode: str = "1", kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def huge() -> bytes:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return encoded((EDGE, EDGE))
    finally:
        Image.MAX_IMAGE_PIXELS = limit


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
ICON = encoded((16, 16), "RGBA", "ICO")
TRUNCATED = encoded((200, 200), "RGB", "BMP")[:9000]
NO_PICTURES = [POSTSCRIPT, ICON, TRUNCATED, b"", b"\x89PNG\r\n\x1a\n broken", b"RIFF\0\0\0\0WEBPVP8 x"]


async def mask(server: Any, original: str, drawn: bytes) -> tuple[int, Any]:
    form = FormData()
    form.add_field("image", drawn, filename="mask.png")
    form.add_field("original_ref", json.dumps({"filename": original, "type": "input"}))
    async with server.client.post("/upload/mask", data=form) as response:
        return response.status, await response.json()


async def answers(server: Any, name: str) -> list[tuple[int, Any]]:
    """What is said to every request that has the file decoded."""
    found = []
    for path in ("/view", "/api/view"):
        for query in ({"preview": "webp;50"}, {"preview": "jpeg"}, {"channel": "rgb"}, {"channel": "a"}):
            async with server.client.get(path, params={"filename": name, "type": "input", **query}) as response:
                found.append((response.status, (await response.json())["code"]))
    small = encoded((200, 200), "RGBA")
    (server.base / "input" / "small.png").write_bytes(small)
    for original, drawn in ((name, small), ("small.png", (server.base / "input" / name).read_bytes())):
        status, body = await mask(server, original, drawn)
        found.append((status, body["code"]))
    return found


async def failure(server: Any, name: str) -> str:
    """What a prompt that loads the file ends with."""
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    entry = await server.run(graph)
    (error,) = [data for kind, data in entry["status"]["messages"] if kind == "execution_error"]
    return str(error["exception_type"]).rpartition(".")[2]


async def test_too_many_pixels(server: Any, huge: bytes) -> None:
    (server.base / "input" / "huge.png").write_bytes(huge)
    assert set(await answers(server, "huge.png")) == {(400, "IMAGE_TOO_LARGE")}
    assert await failure(server, "huge.png") == "ImageTooLargeError"


@pytest.mark.parametrize(
    "content", [POSTSCRIPT, ICON, TRUNCATED, b"", b"\x89PNG\r\n\x1a\n broken", b"RIFF\0\0\0\0WEBPVP8 x"]
)
@pytest.mark.parametrize("name", ["a.png", "a.eps", "a.webp"])
async def test_what_is_no_picture_of_ours(server: Any, content: bytes, name: str) -> None:
    (server.base / "input" / name).write_bytes(content)
    assert set(await answers(server, name)) == {(400, "IMAGE_UNREADABLE")}
    assert await failure(server, name) == "ImageUnreadableError"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
async def test_no_other_program_is_run(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow runs Ghostscript for PostScript, whatever the file is called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    ghostscript = programs / "gs"
    ghostscript.write_text(f"#!/bin/sh\necho called >> {programs}/log\nexit 0\n")
    ghostscript.chmod(ghostscript.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    (server.base / "input" / "a.png").write_bytes(POSTSCRIPT)
    await answers(server, "a.png")
    await failure(server, "a.png")
    assert not (programs / "log").exists()


async def test_pictures_wait_for_memory(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that have no room together are worked on one after the other."""
    monkeypatch.setattr(image_limits, "image_memory", ImageMemory(100 * 100 * 12))
    (server.base / "input" / "a.png").write_bytes(encoded((80, 80), "RGB"))
    at_work, most = 0, 0
    lock = threading.Lock()
    real = files._encode_file

    def slowly(*arguments: Any) -> Any:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.03)
        result = real(*arguments)
        with lock:
            at_work -= 1
        return result

    monkeypatch.setattr(files, "_encode_file", slowly)

    async def ask() -> int:
        async with server.client.get("/view?filename=a.png&type=input&channel=a") as response:
            return int(response.status)

    assert await asyncio.gather(*(ask() for _ in range(5))) == [200] * 5
    assert most == 1


async def test_nobody_waits_for_ever(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_limits, "image_memory", memory := ImageMemory(1000))
    monkeypatch.setattr(files, "MEMORY_WAIT_S", 0.1)
    (server.base / "input" / "a.png").write_bytes(encoded((80, 80), "RGB"))
    with memory.hold(1):
        async with server.client.get("/view?filename=a.png&type=input&channel=a") as response:
            assert (response.status, (await response.json())["code"]) == (503, "BUSY")
        async with server.client.get("/view?filename=a.png&type=input") as response:
            assert response.status == 200
    async with server.client.get("/view?filename=a.png&type=input&channel=a") as response:
        assert response.status == 200


async def test_memory_is_given_in_order() -> None:
    memory, order = ImageMemory(10), []

    async def take(name: str, amount: int) -> None:
        async with memory.reserve(amount, 5):
            order.append(name)
            await asyncio.sleep(0.05)

    await asyncio.gather(take("a", 6), take("larger than all", 99), take("b", 4), take("c", 4))
    assert order == ["a", "larger than all", "b", "c"]
    with memory.hold(10):
        with pytest.raises(TimeoutError):
            async with memory.reserve(1, 0.05):
                pass

        def give_up() -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError), memory.hold(1, give_up):
            pass
    with memory.hold(10):
        pass


def many_frames(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "many.gif"
    frames = [Image.new("L", (50, 50), number) for number in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_frames_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = many_frames(tmp_path, 8)
    assert load_image(path)[0].shape == (8, 50, 50, 3)
    original: Callable[..., None] = image_limits.check_size
    monkeypatch.setattr(image_limits, "check_size", lambda w, h, limit=0: original(w, h, 50 * 50 * 7))
    with pytest.raises(ImageTooLargeError):
        load_image(path)


def test_a_further_frame_of_another_size_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.new("L", (8, 8)).save(
        path, save_all=True, append_images=[Image.new("L", (4000, 4000)), Image.new("L", (8, 8))]
    )
    assert load_image(path)[0].shape == (2, 8, 8, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_bands_make_no_difference(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = (
        Image.linear_gradient("L").convert("RGB").convert(mode) if mode != "I;16" else Image.new(mode, (256, 256), 9)
    )
    wanted = picture.convert("RGBA")
    monkeypatch.setattr(image_limits, "BAND_PIXELS", 1000)
    made = image_limits.convert_in_bands(picture, "RGBA", lambda band: band.convert("RGBA"))
    assert (made.size, made.tobytes()) == (wanted.size, wanted.tobytes())


@pytest.mark.parametrize("kind", ["png", "webp", "webp-lossless", "gif", "jpeg", "tiff", "bmp"])
def test_sizes_of_all_formats_are_limited(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    name, _, lossless = kind.partition("-")
    path.write_bytes(encoded((64, 64), "RGB", name.upper(), **({"lossless": True} if lossless else {})))
    with image_limits.open_untrusted(path) as picture:
        assert picture.size == (64, 64)
    real = image_limits.check_size
    monkeypatch.setattr(image_limits, "check_size", lambda w, h, limit=0: real(w, h, 64 * 64 - 1))
    with pytest.raises(ImageTooLargeError), image_limits.open_untrusted(path):
        pass


def test_a_format_that_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(ICON)
    with pytest.raises(ImageUnreadableError), image_limits.open_untrusted(tmp_path / "x.png"):
        pass
