"""Pictures of videos, sounds, drawings and models: in the panel's grid, and in the cards of ComfyUI's page."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from support.files import picture

pytestmark = pytest.mark.slow


av = pytest.importorskip("av")

READS_THE_LIBRARY = (1, 53)  # versions of ComfyUI's page
SHOWN = ["clip.webm", "clip.mkv", "song.flac", "drawing.svg", "avatar.vrm", "style.safetensors"]
SHOWN += ["photo.avif"] if features.check("avif") else []
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><circle r="30" fill="red"/></svg>'


def video(container: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        track = output.add_stream("libvpx", rate=10)
        track.width, track.height, track.pix_fmt = 160, 96, "yuv420p"
        for number in range(10):
            frame = Image.new("RGB", (160, 96), (200, 20 * number, 40))
            output.mux(track.encode(av.VideoFrame.from_image(frame)))
        output.mux(track.encode())
    return buffer.getvalue()


def song() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as output:
        track = output.add_stream("flac", rate=8000, layout="mono")
        wave = np.sin(np.arange(8000) / 9).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, "flt", "mono")
        frame.sample_rate = 8000
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return buffer.getvalue()


def avatar() -> bytes:
    image = picture("teal", (64, 64))
    document = {
        "asset": {"version": "2.0"},
        "extensions": {"VRMC_vrm": {"meta": {"thumbnailImage": 0}}},
        "images": [{"bufferView": 0, "mimeType": "image/png"}],
        "bufferViews": [{"buffer": 0, "byteLength": len(image)}],
        "buffers": [{"byteLength": len(image)}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(image), 0x004E4942) + image
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def model() -> bytes:
    metadata = {"modelspec.thumbnail": "data:image/png;base64," + base64.b64encode(picture("navy", (64, 64))).decode()}
    header = json.dumps({"__metadata__": metadata, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"x"


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[Any]:
    """A server over one file of each kind, and a damaged one."""
    base = tmp_path_factory.mktemp("media")
    for folder in ("output", "input", "models/loras"):
        (base / folder).mkdir(parents=True)
    buffer = io.BytesIO()
    if features.check("avif"):
        Image.new("RGB", (90, 60), "orange").save(buffer, "AVIF")
    files = {
        "output/clip.webm": video("webm"),
        "output/clip.mkv": video("matroska"),
        "output/song.flac": song(),
        "output/drawing.svg": DRAWING.encode(),
        "output/avatar.vrm": avatar(),
        "output/photo.avif": buffer.getvalue(),
        "output/cut.mp4": b"\0\0\0\x18ftypmp42" + bytes(40),
        "models/loras/style.safetensors": model(),
    }
    for age, (name, body) in enumerate(files.items()):
        if body:
            (base / name).write_bytes(body)
            os.utime(base / name, (1_790_000_000 - age,) * 2)  # the page makes cards of the first ones alone
    with serve(base) as server:
        yield server


@pytest.fixture
def page(media: Any, browser: Any) -> Iterator[Any]:
    """ComfyUI's page on that server."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    shown = context.new_page()
    shown.requests, shown.errors = [], []
    shown.on("request", lambda request: shown.requests.append(request.url))
    shown.on("pageerror", lambda error: shown.errors.append(str(error)))
    shown.goto(media.url, wait_until="domcontentloaded")
    yield shown
    context.close()


def open_tab(page: Any, tab: str) -> None:
    page.wait_for_function(
        "tab => window.app?.extensionManager?.getSidebarTabs?.().some(each => each.id === tab)", arg=tab
    )
    # The page remembers the tab that was open.
    page.evaluate(
        "tab => { const tabs = app.extensionManager.sidebarTab;"
        " if (tabs.activeSidebarTabId !== tab) tabs.toggleSidebarTab(tab) }",
        tab,
    )


def test_the_grid_shows_a_picture_of_each(page: Any) -> None:
    open_tab(page, "comfy-assets")
    root = page.locator(".ca-root").first
    for name in SHOWN:
        image = root.locator(".ca-cell", has_text=name).locator("img.ca-loaded")
        image.wait_for()
        assert image.evaluate("image => image.naturalWidth") >= 60, name
    root.locator(".ca-cell", has_text="cut.mp4").locator(".ca-no-thumbnail").wait_for()
    assert page.errors == []


def test_the_details_give_units(page: Any) -> None:
    open_tab(page, "comfy-assets")
    root = page.locator(".ca-root").first
    root.locator(".ca-cell", has_text="song.flac").click()
    for label, value in (("Sample rate", "8 kHz"), ("Duration", "1.0 sec"), ("Channels", "1")):
        row = root.locator(".ca-detail").get_by_text(label, exact=True).locator("xpath=following-sibling::*[1]")
        assert row.inner_text() == value


def test_a_damaged_file_is_not_requested_again(page: Any, media: Any) -> None:
    """Neither when its cell comes into sight again, nor from a list that is loaded later."""
    open_tab(page, "comfy-assets")
    root = page.locator(".ca-root").first
    root.locator(".ca-cell", has_text="cut.mp4").locator(".ca-no-thumbnail").wait_for()
    for _ in range(2):
        root.get_by_label("Search the library").fill("clip")
        root.locator(".ca-cell", has_text="cut.mp4").wait_for(state="hidden")
        root.get_by_label("Search the library").fill("")
        root.locator(".ca-cell", has_text="cut.mp4").wait_for()
    assert sum("cut.mp4" in url and "res=" in url for url in page.requests) <= 1
    assert "res=" not in media.asset("cut.mp4").get("preview_url", "")


def test_the_page_plays_a_video_from_its_preview(page: Any, media: Any) -> None:
    """A card of the page has a player whose source is ``preview_url``, which is a picture for everything else."""
    open_tab(page, "assets")
    version = str(page.evaluate("window.__COMFYUI_FRONTEND_VERSION__"))
    if tuple(map(int, version.split("."))) < READS_THE_LIBRARY:
        pytest.skip(f"the page {version} shows its own history")
    player = page.locator(f"[data-asset-id='{media.asset('clip.webm')['id']}'] video")
    player.wait_for()
    page.wait_for_function("video => video.readyState >= 1", arg=player.element_handle())
    assert player.evaluate("video => [video.videoWidth, video.videoHeight, video.error]") == [160, 96, None]
    assert "res=" in media.asset("clip.webm")["preview_url"]
