"""Uploads and downloads, with ordinary and with hostile names."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from aiohttp import FormData
from PIL import Image
from pytest import MonkeyPatch

UNSAFE = [
    "../x.png",
    "a/../../x.png",
    "/etc/passwd",
    "C:\\x.png",
    "C:/x.png",
    "c:x.png",
    "..\\x.png",
    "\\\\host\\share\\x.png",
    "a\\b.png",
    "nul",
    "CON.png",
    "com1.txt",
    "x\0.png",
    "x\n.png",
    "x" * 300,
    "/" * 5,
    ".",
    "..",
    " ",
]


# Names that only Windows refuses, where they are devices, drives or folders; elsewhere files can have them.
PLAIN_ELSEWHERE = frozenset({"c:x.png", "a\\b.png", "nul", "CON.png", "com1.txt", "x\n.png"})


def everything_below(base: Path) -> set[str]:
    return {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}


async def upload(server: Any, content: bytes, name: str | None, **fields: str) -> tuple[int, Any]:
    form = FormData(quote_fields=False)
    form.add_field("image", content, filename=name)
    for key, value in fields.items():
        form.add_field(key, value)
    async with server.client.post("/upload/image", data=form) as response:
        return response.status, await response.json()


async def test_uploads_take_free_names(server: Any) -> None:
    table = [
        (b"one", "a.png", {}, "a.png"),
        (b"one", "a.png", {}, "a.png"),
        (b"two", "a.png", {}, "a (1).png"),
        (b"two", "a.png", {}, "a (1).png"),
        (b"three", "a.png", {"overwrite": "false"}, "a (2).png"),
        (b"four", "a.png", {"overwrite": "true"}, "a.png"),
        (b"five", "a.png", {"overwrite": "1", "subfolder": ""}, "a.png"),
        (b"six", "héé 猫 'a'.tar.gz", {}, "héé 猫 'a'.tar.gz"),
        (b"", "empty", {}, "empty"),
    ]
    for content, name, fields, expected in table:
        status, body = await upload(server, content, name, **fields)
        assert status == 200
        assert body["subfolder"] == "" and body["type"] == "input"
        assert expected is None or body["name"] == expected
        assert (server.base / "input" / body["name"]).read_bytes() == content
    assert sum(name.startswith("a") for name in everything_below(server.base / "input")) == 3


async def test_uploads_go_where_they_are_told(server: Any) -> None:
    table = [
        ({"type": "input", "subfolder": "deep/er"}, "input/deep/er/x.png"),
        ({"type": "temp"}, "temp/x.png"),
        ({"type": "output", "subfolder": "sub/"}, "output/sub/x.png"),
    ]
    for fields, path in table:
        status, body = await upload(server, b"x", "x.png", **fields)
        assert (status, body["name"], body["type"]) == (200, "x.png", fields["type"])
        assert body["subfolder"] == fields.get("subfolder", "")
        assert (server.base / path).read_bytes() == b"x"


@pytest.mark.parametrize("name", [*UNSAFE, "sub/x.png", "a/b"])
async def test_unsafe_file_names_are_refused(server: Any, name: str) -> None:
    before = everything_below(server.base)
    disposition = f"form-data; name=\"image\"; filename*=UTF-8''{quote(name, safe='')}"
    data = f"--b\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with server.client.post("/upload/image", data=data, headers=headers) as response:
        body = await response.json()
    assert response.status == 400 and body["error"]
    assert everything_below(server.base) == before


@pytest.mark.parametrize("subfolder", [name for name in UNSAFE if name != " "] + ["/", "a//b", "./a"])
async def test_unsafe_subfolders_are_refused(server: Any, subfolder: str) -> None:
    before = everything_below(server.base)
    status, body = await upload(server, b"x", "x.png", subfolder=subfolder)
    assert status == 400 and body["error"]
    assert everything_below(server.base) == before


async def test_bad_uploads_are_told_why(server: Any) -> None:
    (server.base / "input" / "file").touch()
    (server.base / "input" / "folder.png").mkdir()
    assert (await upload(server, b"x", "x.png", type="models"))[0] == 400
    assert (await upload(server, b"x", "x.png", subfolder="file"))[0] == 400
    assert (await upload(server, b"x", "folder.png", overwrite="1"))[0] == 400
    assert await upload(server, b"x", "folder.png") == (
        200,
        {"name": "folder (1).png", "subfolder": "", "type": "input"},
    )
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"image=text", {"Content-Type": "application/x-www-form-urlencoded"}),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", boundary),
        (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--b--\r\n', boundary),
        (b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\nunfinished', boundary),
        (b"--b\r\n\r\nno name\r\n--b--\r\n", boundary),
    ]
    for data, headers in bodies:
        async with server.client.post("/upload/image", data=data, headers=headers) as response:
            assert response.status == 400, (data, await response.text())
            assert (await response.json())["error"]


async def test_an_upload_over_the_limit_is_413(server: Any, monkeypatch: MonkeyPatch) -> None:
    server.client.app._client_max_size = 1000
    form = FormData()
    form.add_field("image", b"x" * 2000, filename="x.png")
    async with server.client.post("/upload/image", data=form) as response:
        assert response.status == 413
    assert everything_below(server.base / "input") == set()


async def view(server: Any, **query: str) -> tuple[int, Any, bytes]:
    async with server.client.get("/api/view", params=query) as response:
        return response.status, response.headers, await response.read()


async def test_files_are_shown_or_downloaded(server: Any) -> None:
    table = [
        ("a.png", "image/png", "inline"),
        ("a.webp", "image/webp", "inline"),
        ("a.mp4", "video/mp4", "inline"),
        ("a.txt", "text/plain", "inline"),
        ("a.html", "application/octet-stream", "attachment"),
        ("a.HTM", "application/octet-stream", "attachment"),
        ("a.xhtml", "application/octet-stream", "attachment"),
        ("a.js", "application/octet-stream", "attachment"),
        ("a.mjs", "application/octet-stream", "attachment"),
        ("a.css", "application/octet-stream", "attachment"),
        ("a.svg", "application/octet-stream", "attachment"),
        ("a.svgz", "application/octet-stream", "attachment"),
        ("a.xml", "application/octet-stream", "attachment"),
        ("a.pdf", "application/octet-stream", "attachment"),
        ("a.safetensors", "application/octet-stream", "attachment"),
        ("noextension", "application/octet-stream", "attachment"),
        ("a..b.png", "image/png", "inline"),
        ("猫.png", "image/png", "inline"),
    ]
    if os.name != "nt":
        table.append(('q"q.png', "image/png", "inline"))
    for name, content_type, kind in table:
        (server.base / "output" / name).write_bytes(name.encode())
        status, headers, body = await view(server, filename=name)
        assert (status, body) == (200, name.encode()), name
        assert headers["Content-Type"] == content_type, name
        assert headers["Content-Disposition"].startswith(kind + "; filename="), name
        assert headers["X-Content-Type-Options"] == "nosniff"


async def test_view_finds_the_place(server: Any) -> None:
    for folder in ("input", "output/sub", "temp"):
        (server.base / folder).mkdir(exist_ok=True)
        (server.base / folder / "x.txt").write_text(folder)
    table: list[tuple[dict[str, str], int, str]] = [
        ({"filename": "x.txt", "type": "input"}, 200, "input"),
        ({"filename": "x.txt [input]"}, 200, "input"),
        ({"filename": "x.txt [temp]", "type": "output"}, 200, "temp"),
        ({"filename": "x.txt", "subfolder": "sub"}, 200, "output/sub"),
        ({"filename": "sub/x.txt"}, 200, "output/sub"),
        ({"filename": "x.txt"}, 404, ""),
        ({"filename": "sub"}, 404, ""),
        ({"filename": ""}, 404, ""),
        ({}, 404, ""),
        ({"filename": "x.txt", "type": "models"}, 400, ""),
        ({"filename": "x.txt", "type": ""}, 400, ""),
    ]
    for query, expected, text in table:
        status, _, body = await view(server, **query)
        assert status == expected, query
        assert not text or body.decode() == text


@pytest.mark.parametrize("name", UNSAFE)
async def test_view_leads_nowhere_else(server: Any, name: str) -> None:
    (server.base / "x.png").write_bytes(b"secret")
    for query, refused in (({"filename": name}, 400), ({"filename": "x.png", "subfolder": name}, 403)):
        status, _, body = await view(server, type="input", **query)
        assert status in (refused, 404) and b"secret" not in body
        is_plain = name == "a\\b.png" if os.name == "nt" else name in PLAIN_ELSEWHERE
        assert status == refused or is_plain or name in ("", " ")


async def test_view_answers_ranges_and_head(server: Any) -> None:
    (server.base / "output" / "x.txt").write_bytes(b"0123456789")
    async with server.client.get("/view?filename=x.txt", headers={"Range": "bytes=2-4"}) as response:
        assert (response.status, await response.read()) == (206, b"234")
    async with server.client.head("/view?filename=x.txt") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "10")


def opened(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


async def test_previews_and_channels(server: Any) -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 100
    server.input("x.png", pixels)
    server.input("grey.png", np.full((4, 6), 7))
    table = [
        ({"preview": "webp;90"}, "webp", "RGBA"),
        ({"preview": "jpeg;50"}, "jpeg", "RGB"),
        ({"preview": "jpeg;50", "channel": "a"}, "webp", "RGBA"),
        ({"preview": "webp", "channel": "rgb"}, "webp", "RGB"),
        ({"preview": "nonsense;9999999"}, "webp", "RGBA"),
        ({"preview": ""}, "webp", "RGBA"),
        ({"channel": "rgb"}, "png", "RGB"),
        ({"channel": "a"}, "png", "RGBA"),
        ({"channel": "rgba"}, "png", "RGBA"),
        ({"channel": "other"}, "png", "RGBA"),
    ]
    for query, kind, mode in table:
        status, headers, body = await view(server, filename="x.png", type="input", **query)
        assert status == 200, query
        image = opened(body)
        assert (headers["Content-Type"], image.mode, image.size) == (f"image/{kind}", mode, (6, 4)), query
    _, _, alpha = await view(server, filename="x.png", type="input", channel="a")
    assert opened(alpha).getpixel((0, 0)) == (0, 0, 0, 100)
    _, _, opaque = await view(server, filename="grey.png", type="input", channel="a")
    assert opened(opaque).getpixel((0, 0)) == (0, 0, 0, 255)
    status, _, _ = await view(server, filename="grey.png", type="input", preview="jpeg;0")
    assert status == 200


async def test_a_preview_of_no_picture_is_refused(server: Any) -> None:
    (server.base / "input" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for query in ({"preview": "webp"}, {"channel": "a"}, {"channel": "rgb"}):
        status, _, _ = await view(server, filename="x.png", type="input", **query)
        assert status == 400
