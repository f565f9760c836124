"""getMaskLayers and getVhsQueryVideo: results and refused parameters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.assets.media import video
from support.windows import symbolic_links

STAMP = "1718000000000"
LAYERS = {
    "mask": f"clipspace-mask-{STAMP}.png",
    "paint": f"clipspace-paint-{STAMP}.png",
    "painted": f"clipspace-painted-{STAMP}.png",
    "painted_masked": f"clipspace-painted-masked-{STAMP}.png",
}
MASK_LAYERS = "/api/files/mask-layers"
QUERY_VIDEO = "/api/vhs/queryvideo"


async def test_layers_by_any_of_them(library: Any, api: Any) -> None:
    for name in LAYERS.values():
        library.write(f"input/clipspace/{name}")
    for name in LAYERS.values():
        for spelling in (name, f"clipspace/{name}", f"clipspace/{name} [input]", f"clipspace\\{name}"):
            assert await api.get(MASK_LAYERS, filename=spelling) == LAYERS, spelling


async def test_layers_of_an_older_editor(library: Any, api: Any) -> None:
    """It saved the mask only, with fractions in its time stamps."""
    library.write("input/clipspace/clipspace-mask-12345.7.png")
    library.write(f"input/clipspace/{LAYERS['paint']}")
    assert await api.get(MASK_LAYERS, filename="clipspace-mask-12345.7.png") == {"mask": "clipspace-mask-12345.7.png"}
    await api.get(MASK_LAYERS, 404, filename="clipspace-paint-12345.7.png")


NO_LAYERS = [
    "", "a.png", LAYERS["mask"], "clipspace-mask-.png", "clipspace-mask-1.png.png", "clipspace-other-1.png",
    "clipspace-mask-2.png [output]", "sub/clipspace-mask-2.png", "../clipspace/clipspace-mask-2.png",
    "clipspace-mask-\u0662.png", "clipspace-mask-2.PNG",
]  # fmt: skip


async def test_what_is_no_layer(library: Any, api: Any) -> None:
    library.write("input/clipspace/clipspace-mask-2.png")
    library.write("input/a.png")
    library.write("output/clipspace/clipspace-mask-1.png")
    for name in NO_LAYERS:
        assert (await api.get(MASK_LAYERS, 404, filename=name))["code"] == "FILE_NOT_FOUND", name
    await api.get(MASK_LAYERS, 404)
    assert await api.get(MASK_LAYERS, filename="clipspace-mask-2.png") == {"mask": "clipspace-mask-2.png"}


@symbolic_links
async def test_a_layer_that_leads_out_of_the_library(library: Any, api: Any) -> None:
    secret = library.write("secret/clipspace-mask-2.png")
    (library.base / "input/clipspace").mkdir()
    (library.base / "input/clipspace/clipspace-mask-2.png").symlink_to(secret)
    await api.get(MASK_LAYERS, 404, filename="clipspace-mask-2.png")


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.mov", "a.avi"])
async def test_figures_of_a_video(library: Any, api: Any, write_video: Any, name: str) -> None:
    write_video(library.base / "input" / name)
    source = (await api.get(QUERY_VIDEO, filename=name))["source"]
    assert (source["size"], source["frames"]) == ([64, 48], 36)
    assert source["fps"] == pytest.approx(24, rel=0.01)
    assert source["duration"] == pytest.approx(1.5, abs=0.05)


async def test_frames_of_a_long_video_are_reckoned(
    library: Any, api: Any, write_video: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(library.base / "input/a.webm")
    monkeypatch.setattr(video, "_MAX_COUNTED", 10)
    monkeypatch.setattr(video, "_count", None)
    assert (await api.get(QUERY_VIDEO, filename="a.webm"))["source"]["frames"] == pytest.approx(36, abs=1)


async def test_where_a_video_is_looked_for(library: Any, api: Any, write_video: Any) -> None:
    write_video(library.base / "input/sub/a.mp4", frames=5)
    write_video(library.base / "output/sub/a.mp4", frames=7)
    write_video(library.base / "output/only.mp4", frames=9)
    found = [
        ({"filename": "a.mp4", "subfolder": "sub"}, 5),
        ({"filename": "sub/a.mp4"}, 5),
        ({"filename": "a.mp4", "subfolder": "sub", "type": "output"}, 7),
        ({"filename": "sub/a.mp4 [output]"}, 7),
        ({"filename": "only.mp4"}, 9),
    ]
    for parameters, frames in found:
        assert (await api.get(QUERY_VIDEO, **parameters))["source"]["frames"] == frames, parameters


REFUSED = [
    ({}, "INVALID_QUERY"),
    ({"filename": ""}, "INVALID_QUERY"),
    ({"filename": "a.mp4", "type": "path"}, "INVALID_QUERY"),
    ({"filename": "none.mp4"}, "FILE_NOT_FOUND"),
    ({"filename": "none.mp4", "type": "temp"}, "FILE_NOT_FOUND"),
    ({"filename": "text.mp4"}, "VIDEO_UNREADABLE"),
    ({"filename": "empty.mp4"}, "VIDEO_UNREADABLE"),
    ({"filename": "damaged.mp4"}, "VIDEO_UNREADABLE"),
    ({"filename": "list.m3u8"}, "VIDEO_UNREADABLE"),
    ({"filename": "http://localhost/a.mp4"}, "INVALID_NAME"),
]


async def test_videos_that_are_refused(library: Any, api: Any) -> None:
    pytest.importorskip("av")
    library.write("input/text.mp4", b"text")
    library.write("input/empty.mp4", b"")
    library.write("input/damaged.mp4", b"\0\0\0\x18ftypisom" + bytes(500))
    library.write("input/list.m3u8", b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n")
    for parameters, code in REFUSED:
        assert (await api.get(QUERY_VIDEO, 400, **parameters))["code"] in (code, "INVALID_QUERY"), parameters
        if code != "INVALID_QUERY":
            assert (await api.get(QUERY_VIDEO, 400, **parameters))["code"] == code, parameters


async def test_a_server_without_pyav(library: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "pyav", lambda: None)
    library.write("input/a.mp4", b"\0\0\0\x18ftypisom")
    body = await api.get(QUERY_VIDEO, 400, filename="a.mp4")
    assert body["code"] == "VIDEO_UNREADABLE" and "PyAV" in body["message"]


async def _another_packs(_: web.Request) -> web.Response:
    return web.json_response({"source": {"size": [1, 2], "fps": 3, "frames": 4, "duration": 5}, "loaded": {}})


@pytest.mark.parametrize("has_route", [True, False])
async def test_another_pack_that_answers_is_left_to(
    make_library: Any, aiohttp_client: Any, api_of: Any, tmp_path: Path, has_route: bool
) -> None:
    """The page that ComfyUI serves for every unknown path does not count as a response."""
    library = await make_library()
    app = web.Application(middlewares=[library.host.plugin.middleware])
    if has_route:
        app.router.add_get("/api/vhs/queryvideo", _another_packs)
    app.router.add_static("/", tmp_path)
    api = api_of(SimpleNamespace(client=await aiohttp_client(app)))
    if has_route:
        assert (await api.get(QUERY_VIDEO))["loaded"] == {}
    else:
        assert (await api.get(QUERY_VIDEO, 400))["code"] == "INVALID_QUERY"
