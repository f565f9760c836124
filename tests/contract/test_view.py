"""viewFile with ``res``: thumbnails over HTTP, refused names, and requests left to the host."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest
from comfy_assets_node.comfy_assets.assets.media import view_path
from comfy_assets_node.comfy_assets.assets.media.thumbnails import Thumbnailer
from comfy_assets_node.comfy_assets.assets.roots import Roots
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import InvalidNameError
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.image_limits import map_reader_errors
from comfy_assets_node.comfy_assets.names import WINDOWS
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.routes import asset_body
from PIL import Image
from support.files import picture
from support.windows import symbolic_links
from yarl import URL

VIEW = "/api/view"


def png(colour: Any = "red") -> bytes:
    return picture(colour, (300, 200))


def opened(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    assert image.format == "JPEG"
    image.load()
    return image


def is_colour(body: bytes, *colour: int) -> bool:
    seen = opened(body).convert("RGB").getpixel((5, 5))
    assert isinstance(seen, tuple)
    return all(abs(int(a) - b) < 8 for a, b in zip(seen, colour, strict=True))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of the files that thumbnails are made of from now on."""
    names: list[str] = []
    real = Thumbnailer.make

    def make(thumbnailer: Thumbnailer, path: Path, *rest: Any) -> bytes:
        names.append(path.name)
        return real(thumbnailer, path, *rest)

    monkeypatch.setattr(Thumbnailer, "make", make)
    return names


@pytest.fixture
async def shelf(library: Any) -> Any:
    library.write("output/red.png", png((255, 0, 0)))
    library.write("output/2026/May/blue.png", png((0, 0, 255)))
    library.write("input/green.png", png((0, 255, 0)))
    library.write("temp/gray.png", png((99, 99, 99)))
    library.write("output/glass.png", png((0, 0, 255, 0)))
    library.write("output/note.txt", b"a note")
    library.write("secret.png", png((1, 2, 3)))
    library.write("user/secret.png", png((1, 2, 3)))
    return library


SHOWN = [
    ({"filename": "red.png"}, (255, 0, 0)),
    ({"filename": "red.png", "type": "output"}, (255, 0, 0)),
    ({"filename": "red.png", "subfolder": ""}, (255, 0, 0)),
    ({"filename": "blue.png", "subfolder": "2026/May"}, (0, 0, 255)),
    ({"filename": "blue.png", "subfolder": "2026/May/"}, (0, 0, 255)),
    ({"filename": "2026/May/blue.png"}, (0, 0, 255)),
    ({"filename": "May/blue.png", "subfolder": "2026"}, (0, 0, 255)),
    ({"filename": "green.png", "type": "input"}, (0, 255, 0)),
    ({"filename": "green.png [input]"}, (0, 255, 0)),
    ({"filename": "green.png [input]", "type": "output"}, (0, 255, 0)),
    ({"filename": "2026/May/blue.png [output]", "type": "input"}, (0, 0, 255)),
    ({"filename": "gray.png", "type": "temp"}, (99, 99, 99)),
    ({"filename": "gray.png [temp]"}, (99, 99, 99)),
    ({"filename": "glass.png"}, (255, 255, 255)),
    ({"filename": "glass.png", "channel": "rgb"}, (0, 0, 255)),
    ({"filename": "glass.png", "channel": "a"}, (0, 0, 0)),
    ({"filename": "glass.png", "channel": "alpha"}, (0, 0, 0)),
    ({"filename": "red.png", "channel": "alpha"}, (255, 255, 255)),
    ({"filename": "red.png", "preview": "webp;90", "format": "x", "frame_rate": "x", "fullpath": "/etc"}, (255, 0, 0)),
    ({"filename": "red.png", "timestamp": "1234567890", "workflow": "x", "rand": "0.1"}, (255, 0, 0)),
]


async def test_what_is_shown(shelf: Any, api: Any) -> None:
    for query, colour in SHOWN:
        answer = await api.send("GET", VIEW, params={**query, "res": "64"})
        assert is_colour(answer.body, *colour), query
        assert opened(answer.body).size == (64, 43)


async def test_the_size(shelf: Any, api: Any) -> None:
    for res, size in [(64, (64, 43)), (100, (100, 67)), (299, (299, 199)), (300, (300, 200)), (1024, (300, 200))]:
        answer = await api.send("GET", VIEW, params={"filename": "red.png", "res": str(res)})
        assert opened(answer.body).size == size


async def test_the_headers(shelf: Any, api: Any) -> None:
    shelf.write("output/Größe 1.png", png())
    answer = await api.send("GET", VIEW, params={"filename": "Größe 1.png", "res": "64"})
    headers = answer.headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Length"] == str(len(answer.body))
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    start, _, encoded = headers["Content-Disposition"].rpartition("''")
    assert start == 'inline; filename="Gr__e 1.jpg"; filename*=UTF-8' and unquote(encoded) == "Größe 1.jpg"
    assert headers["ETag"].startswith('"') and len(headers["ETag"]) > 30


async def test_a_head_is_a_get_without_the_body(shelf: Any, api: Any) -> None:
    query = {"filename": "red.png", "res": "64"}
    head, get = await api.send("HEAD", VIEW, params=query), await api.send("GET", VIEW, params=query)
    assert head.body == b""
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Content-Disposition"):
        assert head.headers[name] == get.headers[name]
    assert (await api.send("HEAD", VIEW, 404, params={"filename": "x.png", "res": "64"})).body == b""


async def test_what_the_client_has_is_not_sent_again(shelf: Any, api: Any, made: list[str]) -> None:
    query = {"filename": "red.png", "res": "64"}
    etag = (await api.send("GET", VIEW, params=query)).headers["ETag"]
    assert made == ["red.png"]
    for path in (shelf.host.data_directory() / "thumbnails").rglob("*.jpg"):
        path.unlink()
    for value in (etag, f"W/{etag}", f'"x", {etag}', f'W/"x",W/{etag} , "y"', "*", " * ", f'"a, b",{etag}', f"{etag},"):
        for method in ("GET", "HEAD"):
            answer = await api.send(method, VIEW, 304, params=query, headers={"If-None-Match": value})
            assert answer.body == b""
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, "private, no-cache")
    headers = [("If-None-Match", '"x"'), ("If-None-Match", etag)]
    async with shelf.client.get(VIEW, params=query, headers=headers) as response:
        assert response.status == 304
    assert made == ["red.png"]
    for value in ('"x"', etag[1:-1], f'"{etag}"', "", '"', 'W/"x"', f"{etag[:-1]}x{etag[-1:]}", '"*"'):
        assert (await api.send("GET", VIEW, 200, params=query, headers={"If-None-Match": value})).body, value


async def test_a_changed_picture_has_another_tag(shelf: Any, api: Any) -> None:
    query = {"filename": "red.png", "res": "64"}
    etag = (await api.send("GET", VIEW, params=query)).headers["ETag"]
    shelf.write("output/red.png", png((9, 9, 9)))
    answer = await api.send("GET", VIEW, 200, params=query, headers={"If-None-Match": etag})
    assert answer.headers["ETag"] != etag and is_colour(answer.body, 9, 9, 9)


async def test_each_size_and_channel_has_its_tag(shelf: Any, api: Any) -> None:
    tags = {
        (await api.send("GET", VIEW, params={"filename": "glass.png", **query})).headers["ETag"]
        for query in ({"res": "64"}, {"res": "65"}, {"res": "64", "channel": "rgb"}, {"res": "64", "channel": "a"})
    }
    assert len(tags) == 4
    alike = {"filename": "glass.png", "res": "64", "channel": "alpha"}
    assert (await api.send("GET", VIEW, params=alike)).headers["ETag"] in tags


MALFORMED = [
    ({"res": "63"}, "res"),
    ({"res": "1025"}, "res"),
    ({"res": "0"}, "res"),
    ({"res": "-64"}, "res"),
    ({"res": ""}, "res"),
    ({"res": "abc"}, "res"),
    ({"res": "64.5"}, "res"),
    ({"res": "64px"}, "res"),
    ({"res": "9" * 5000}, "res"),
    ({"res": "٦٤"}, "res"),
    ({"res": "true"}, "res"),
    ({"filename": ""}, "filename"),
    ({"type": "models"}, "type"),
    ({"type": ""}, "type"),
    ({"type": "OUTPUT"}, "type"),
    ({"type": "../output"}, "type"),
    ({"channel": "g"}, "channel"),
    ({"channel": ""}, "channel"),
    ({"channel": "rgba"}, "channel"),
]


async def test_malformed_queries(shelf: Any, api: Any, made: list[str]) -> None:
    for change, field in MALFORMED:
        body = await api.error(VIEW, 400, {"filename": "red.png", "res": "64", **change})
        assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": field}), change
    body = await api.error(VIEW, 400, {"res": "64"})
    assert (body["code"], body["details"]) == ("INVALID_QUERY", {"field": "filename"})
    assert made == []


LEADING_ELSEWHERE = [
    "..", ".", "../secret.png", "../../secret.png", "2026/../../secret.png", "2026/../red.png", "./red.png",
    "2026/./red.png", "2026//red.png", "/secret.png", "/etc/passwd", "//server/share/x.png", "\\\\server\\share\\x.png",
    "\\secret.png", "..\\secret.png", "2026\\..\\..\\secret.png", "C:\\secret.png", "C:/secret.png",
    "\\\\?\\C:\\x.png", "\\\\.\\pipe\\x", "red.png\0", "\0", "red.png\0.txt",
    "a" * 256 + ".png", "é" * 128 + ".png", "a/" * 600 + "x.png", "..;/secret.png/..", " ", "/", "../",
    "file:///etc/passwd/..", "../secret.png [output]", "[output]", " [input]",
]  # fmt: skip


UNKNOWN_TO_WINDOWS = [
    "c:drive.png", "a:b.png", "con.png", "CON .png", "nul.txt.png", "lpt1.foo.png", "back\\slash.png", "new\nline.png",
    "tab\there.png", "bell\x07.png", "del\x7f.png", "<tag>.png", "pipe|star*.png", "dots...",
]  # fmt: skip


async def test_names_that_windows_alone_refuses(shelf: Any, api: Any) -> None:
    """Other programs have stored them where the system lets them: they are listed, and shown."""
    status = 400 if WINDOWS else 404
    for name in UNKNOWN_TO_WINDOWS:
        await api.send("GET", VIEW, status, params={"filename": name, "res": "64"})
    if WINDOWS:
        return
    for name in UNKNOWN_TO_WINDOWS:
        shelf.write(f"output/{name}", png())
        shelf.write(f"output/{name}.d/red.png", png())
    await shelf.scan()
    urls = [
        each["preview_url"] for each in (await api.get("/api/assets", limit=500))["assets"] if "preview_url" in each
    ]
    assert len(urls) >= 2 * len(UNKNOWN_TO_WINDOWS)
    for url in urls:
        await api.send("GET", URL(url, encoded=True), 200)


async def test_names_that_lead_elsewhere(shelf: Any, api: Any, made: list[str]) -> None:
    for name in LEADING_ELSEWHERE:
        for query, field in (
            ({"filename": name}, "filename"),
            ({"filename": "red.png", "subfolder": name}, "subfolder"),
        ):
            if field == "subfolder" and name in ("[output]", " [input]", "../secret.png [output]"):
                continue  # a note of the type says something at the end of a file name alone
            for file_type in ("output", "input", "temp"):
                body = await api.error(VIEW, 400, {**query, "type": file_type, "res": "64"})
                assert body["code"] in ("INVALID_NAME", "INVALID_QUERY"), name
                assert body["details"] == {"field": field}, name
    assert made == []


ENCODED = [
    ("filename=..%2Fsecret.png", 400),
    ("filename=%2e%2e%2fsecret.png", 400),
    ("filename=..%5Csecret.png", 400),
    ("filename=red.png&subfolder=..%2F..", 400),
    ("filename=red.png%00", 400),
    ("filename=%ED%A0%80.png", 400),
    ("filename=%FF%FE.png", 400),
    ("filename=red.png&subfolder=%C3%28", 400),
    ("filename=..%252Fsecret.png", 404),
    ("filename=%C0%AE%C0%AE%C0%AFsecret.png", 400),
]


async def test_encoded_names_that_lead_elsewhere(shelf: Any, api: Any, made: list[str]) -> None:
    for query, status in ENCODED:
        answer = await api.send("GET", URL(f"{VIEW}?{query}&res=64", encoded=True), status)
        if status == 400:
            field = "subfolder" if "subfolder" in query else "filename"
            assert answer.json["details"] == {"field": field}, query
    assert made == []


@pytest.mark.parametrize("windows", [False, True])
def test_a_backslash_separates_subfolders_where_servers_tell_them_so(shelf: Any, windows: bool) -> None:
    def named(subfolder: str, filename: str = "blue.png") -> Path:
        return view_path.parse(Roots(shelf.host.folders()), "output", subfolder, filename, windows=windows).path

    if windows:
        assert named("2026\\May") == shelf.base / "output/2026/May/blue.png"
        with pytest.raises(InvalidNameError):
            named("", "2026\\May\\blue.png")
    else:
        assert named("2026\\May") == shelf.base / "output/2026\\May/blue.png"
        assert named("", "2026\\May\\blue.png") == shelf.base / "output/2026\\May\\blue.png"
    for subfolder in ("..\\..", "\\\\server\\share", "C:\\x", "2026\\..\\..", "\\", "\\x"):
        with pytest.raises(InvalidNameError):
            named(subfolder)


NOT_THERE = [
    {"filename": "x.png"},
    {"filename": "red.png", "type": "input"},
    {"filename": "red.png", "type": "temp"},
    {"filename": "red.png", "subfolder": "2026"},
    {"filename": "red.png", "subfolder": "nowhere"},
    {"filename": "red.png [input]"},
    {"filename": "2026"},
    {"filename": "red.png/x.png"},
    {"filename": "red.png", "subfolder": "red.png"},
    {"filename": "blake3:" + "0" * 64},
    # No name on Windows, where a colon leads to a stream of a file.
    *([] if WINDOWS else [{"filename": "blake3:xyz"}]),
]


async def test_what_is_not_there(shelf: Any, api: Any, made: list[str]) -> None:
    for query in NOT_THERE:
        body = await api.error(VIEW, 404, {**query, "res": "64"})
        assert body["code"] == "FILE_NOT_FOUND", query
    assert made == []


async def test_a_server_without_a_temporary_folder(shelf: Any, api: Any) -> None:
    current = shelf.host.current_folders
    shelf.host.current_folders = HostFolders(current.folders, current.excluded)
    assert (await api.error(VIEW, 404, {"filename": "gray.png", "type": "temp", "res": "64"}))["code"]


async def test_a_folder_that_is_no_part_of_the_library(shelf: Any, api: Any) -> None:
    """An output folder may hold others that are left out of the library."""
    shelf.write("output/private/red.png", png())
    await api.send("GET", VIEW, params={"filename": "red.png", "subfolder": "private", "res": "64"})
    current = shelf.host.current_folders
    barred = (*current.excluded, shelf.base / "output" / "private")
    shelf.host.current_folders = HostFolders(current.folders, barred, current.temp)
    await api.error(VIEW, 404, {"filename": "red.png", "subfolder": "private", "res": "64"})


async def test_what_no_thumbnail_is_made_of(shelf: Any, api: Any) -> None:
    shelf.write("output/cut.png", png()[:-60])
    shelf.write("output/bomb.png", png()[:16] + (50_000).to_bytes(4, "big") * 2 + png()[24:])
    shelf.write("output/cut.mp4", b"\0\0\0\x18ftypmp42")
    for name, codes in [
        ("note.txt", {"NO_THUMBNAIL"}),
        ("cut.png", {"IMAGE_UNREADABLE"}),
        ("bomb.png", {"IMAGE_UNREADABLE", "IMAGE_TOO_LARGE"}),
        ("cut.mp4", {"IMAGE_UNREADABLE", "NO_THUMBNAIL"}),
    ]:
        for _ in range(2):
            answer = await api.send("GET", VIEW, 400, params={"filename": name, "res": "64"})
            assert answer.json["code"] in codes, name
            assert str(shelf.base) not in answer.text and "Traceback" not in answer.text


@pytest.fixture
def linked(shelf: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shelf with links in its output folder, and a drive outside that they lead to."""
    outside = tmp_path_factory.mktemp("drive")
    (outside / "far.png").write_bytes(png((70, 70, 70)))
    (outside / "deep").mkdir()
    (outside / "deep/far.png").write_bytes(png((70, 70, 70)))
    output = shelf.base / "output"
    (output / "drive").symlink_to(outside, target_is_directory=True)
    (output / "far.png").symlink_to(outside / "far.png")
    (output / "user.png").symlink_to(shelf.base / "user/secret.png")
    (output / "base").symlink_to(shelf.base, target_is_directory=True)
    (output / "near.png").symlink_to(shelf.base / "input/green.png")
    (output / "near").symlink_to(shelf.base / "input", target_is_directory=True)
    (output / "same.png").symlink_to(output / "red.png")
    (output / "gone.png").symlink_to(outside / "nothing.png")
    (output / "round.png").symlink_to(output / "round.png")
    (outside / "back.png").symlink_to(output / "red.png")
    (outside / "on.png").symlink_to(outside / "far.png")
    return shelf


LINKS = [  # file, subfolder, status before a scan, and after it
    ("far.png", "", 404, 200),
    ("user.png", "", 404, 404),
    ("near.png", "", 200, 200),
    ("green.png", "near", 200, 200),
    ("same.png", "", 200, 200),
    ("gone.png", "", 404, 404),
    ("round.png", "", 404, 404),
    ("far.png", "drive", 404, 200),
    ("far.png", "drive/deep", 404, 200),
    ("back.png", "drive", 404, 200),
    ("on.png", "drive", 404, 200),
    ("secret.png", "base/user", 404, 404),
    ("red.png", "base/output", 200, 200),
]


@symbolic_links
async def test_links(linked: Any, api: Any, made: list[str]) -> None:
    for is_scanned in (False, True):
        for name, subfolder, before, after in LINKS:
            query = {"filename": name, "subfolder": subfolder, "res": "64"}
            answer = await api.send("GET", VIEW, after if is_scanned else before, params=query)
            if answer.status == 200:
                assert not is_colour(answer.body, 1, 2, 3)
        await linked.scan()
    assert "secret.png" not in made and "user.png" not in made


@symbolic_links
async def test_a_root_may_be_a_link(shelf: Any, api: Any) -> None:
    output = shelf.base / "output"
    output.rename(shelf.base.with_name(shelf.base.name + "-drive"))
    output.symlink_to(shelf.base.with_name(shelf.base.name + "-drive"), target_is_directory=True)
    await api.send("GET", VIEW, params={"filename": "blue.png", "subfolder": "2026/May", "res": "64"})
    (output / "out.png").symlink_to(shelf.base / "secret.png")
    await api.send("GET", VIEW, 404, params={"filename": "out.png", "res": "64"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders are of POSIX")
async def test_a_pipe_is_no_file(shelf: Any, api: Any) -> None:
    os.mkfifo(shelf.base / "output/pipe.png")
    await api.send("GET", VIEW, 404, params={"filename": "pipe.png", "res": "64"})


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="nothing is unreadable here")
async def test_a_file_that_may_not_be_read(shelf: Any, api: Any) -> None:
    (shelf.base / "output/red.png").chmod(0)
    await api.send("GET", VIEW, 404, params={"filename": "red.png", "res": "64"})


async def test_a_picture_by_its_hash(shelf: Any, api: Any) -> None:
    """As newer servers take it: wherever the content lies, whatever the type says."""
    shelf.write("models/loras/style.png", png((5, 99, 5)))
    await shelf.scan()
    query = {"filename": (await shelf.asset("style.png"))["hash"], "type": "input", "subfolder": "x", "res": "64"}
    answer = await api.send("GET", VIEW, params=query)
    assert is_colour(answer.body, 5, 99, 5)
    assert 'filename="style.jpg"' in answer.headers["Content-Disposition"]
    shelf.write("models/loras/style.png", png((9, 9, 9)))
    await api.send("GET", VIEW, 404, params=query)
    shelf.write("input/style-copy.png", png((5, 99, 5)))
    await shelf.scan()
    assert is_colour((await api.send("GET", VIEW, params=query)).body, 5, 99, 5)


async def test_a_hash_of_somebody_else(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"alice", "bob"}))
    library.write("input/mine.png", png())
    await library.scan()
    api = api_of(library)
    digest = (await api.as_user("alice").get("/api/assets"))["assets"][0]["hash"]
    await hand_of(library).belongs("mine.png", "alice", "input")
    query = {"filename": digest, "res": "64"}
    await api.as_user("alice").send("GET", VIEW, 200, params=query)
    await api.as_user("bob").send("GET", VIEW, 404, params=query)
    await api.send("GET", VIEW, 404, params=query)


async def test_pictures_in_a_page_need_no_user(make_library: Any, api_of: Any) -> None:
    """Browsers send no header of ours along for them, and the stock server asks for none."""
    library = await make_library(users=frozenset({"alice"}))
    library.write("output/red.png", png())
    await library.scan()
    query = {"filename": "red.png", "res": "64"}
    for user in (None, "alice", "nobody"):
        await api_of(library).as_user(user).send("GET", VIEW, 200, params=query)
    await api_of(library).send("GET", "/api/assets", 401)
    digest = (await api_of(library).as_user("alice").get("/api/assets"))["assets"][0]["hash"]
    await api_of(library).send("GET", VIEW, 200, params={"filename": digest, "res": "64"})


async def test_previews_in_listings(shelf: Any, api: Any, hand: Any) -> None:
    shelf.write("output/clip.mp4", b"\0\0\0\x18ftypmp42")
    shelf.write("output/song.mp3", b"ID3")
    shelf.write("output/drawing.svg", b"<svg/>")
    shelf.write("output/scan.tiff", b"II*\0")
    shelf.write("output/new.avif", b"\0\0\0\x18ftypavif")
    shelf.write("models/loras/alone.png", png((5, 99, 5)))
    shelf.write("models/loras/style.safetensors", b"x")
    shelf.write("output/light.exr", b"v/1\x01")
    await shelf.scan()
    assets = {asset["name"]: asset for asset in (await api.get("/api/assets", limit=500))["assets"]}
    alone = assets["alone.png"]["hash"].removeprefix("blake3:")
    expected = {
        "red.png": ("type=output&filename=red.png&res=512", True),
        "blue.png": ("type=output&filename=blue.png&subfolder=2026%2FMay&res=512", True),
        "green.png": ("type=input&filename=green.png&res=512", True),
        "scan.tiff": ("type=output&filename=scan.tiff&res=512", True),
        "new.avif": ("type=output&filename=new.avif&res=512", True),
        "clip.mp4": ("type=output&filename=clip.mp4&res=512", True),
        "song.mp3": ("type=output&filename=song.mp3&res=512", True),
        "drawing.svg": ("type=output&filename=drawing.svg&res=512", True),
        "light.exr": ("type=output&filename=light.exr&res=512", False),
        "note.txt": (None, False),
        "alone.png": (f"filename=blake3%3A{alone}&res=512", True),
        "style.safetensors": (None, False),
    }
    for name, (query, is_own) in expected.items():
        asset = assets[name]
        assert asset.get("preview_url") == (query and f"{VIEW}?{query}"), name
        assert asset.get("preview_id") == (asset["id"] if is_own else None), name
    for name in ("red.png", "blue.png", "green.png", "alone.png"):
        await api.send("GET", URL(assets[name]["preview_url"], encoded=True), 200)


async def test_a_file_without_a_thumbnail_is_remembered(
    shelf: Any, api: Any, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its content, until other decoders are there: pages would request it whenever it comes into sight."""
    shelf.write("output/clip.mp4", b"\0\0\0\x18ftypmp42")
    shelf.write("output/cut.png", png()[:-60])
    await shelf.scan()
    kept = {"clip.mp4": f"{VIEW}?type=output&filename=clip.mp4", "cut.png": None}  # browsers may play the former
    for name in kept:
        await api.send("GET", URL((await shelf.asset(name))["preview_url"], encoded=True), 400)
    (shelf.base / "output/copy of cut.png").write_bytes(png()[:-60])
    await shelf.scan()
    for name, url in {**kept, "copy of cut.png": None}.items():
        asset = await shelf.asset(name)
        assert asset.get("preview_url") == url, name
    assert (await shelf.asset("red.png"))["preview_url"].endswith("&res=512")
    monkeypatch.setattr(asset_body, "decoders_version", lambda: "another Pillow")
    for name in kept:
        assert (await shelf.asset(name))["preview_url"].endswith("&res=512"), name


async def test_a_disk_that_fails_is_not_the_fault_of_the_content(
    shelf: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bytes:
        with map_reader_errors():
            raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(Thumbnailer, "make", fail)
    await shelf.scan()
    await api.send("GET", VIEW, 400, params={"filename": "red.png", "res": "64"})
    assert (await shelf.asset("red.png"))["preview_url"].endswith("&res=512")


async def test_a_drawing_is_an_image_in_which_nothing_runs(shelf: Any, api: Any) -> None:
    drawing = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    shelf.write("output/drawing.svg", drawing)
    query = {"filename": "drawing.svg", "res": "512"}
    answer = await api.send("GET", VIEW, params=query)
    assert answer.body == drawing
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert 'filename="drawing.svg"' in answer.headers["Content-Disposition"]
    await api.send("GET", VIEW, 304, params=query, headers={"If-None-Match": answer.headers["ETag"]})
    await api.send("GET", VIEW, 400, params={**query, "channel": "alpha"})


async def test_a_preview_that_a_user_chose(shelf: Any, api: Any, hand: Any) -> None:
    shelf.write("models/loras/style.safetensors", b"x")
    shelf.write("output/clip.mp4", b"\0\0\0\x18ftypmp42")
    await shelf.scan()
    chosen = "UPDATE assets SET preview_id = (SELECT id FROM assets WHERE name = ?) WHERE name = ?"
    ids = {asset["name"]: asset["id"] for asset in (await api.get("/api/assets", limit=500))["assets"]}
    for name, preview, query in [
        ("style.safetensors", "blue.png", "type=output&filename=blue.png&subfolder=2026%2FMay&res=512"),
        ("style.safetensors", "clip.mp4", "type=output&filename=clip.mp4&res=512"),
        ("red.png", "green.png", "type=input&filename=green.png&res=512"),
        ("clip.mp4", "red.png", "type=output&filename=red.png&res=512"),
        ("green.png", "style.safetensors", "type=input&filename=green.png&res=512"),
    ]:
        await hand.execute(chosen, preview, name)
        for asset in (await shelf.asset(name), await api.get(f"/api/assets/{ids[name]}")):
            assert asset["preview_id"] == ids[preview]
            assert asset["preview_url"] == f"{VIEW}?{query}"
    (shelf.base / "output/red.png").unlink()
    await shelf.scan()
    clip = await shelf.asset("clip.mp4")
    assert (clip["preview_id"], clip["preview_url"]) == (
        ids["red.png"],
        f"{VIEW}?type=output&filename=clip.mp4&res=512",
    )


async def test_the_job_that_made_an_asset(shelf: Any, api: Any, hand: Any) -> None:
    await shelf.scan()
    job = "0b9f7f5c-8a4d-4b8e-9b51-6d3f0a2c7e11"
    for text, told in [(job, job), ("my-own-id", None), ("", None), (job + "0", None), (job.replace("-", ""), None)]:
        await hand.execute("UPDATE assets SET job_id = ? WHERE name = 'red.png'", text)
        assert (await shelf.asset("red.png")).get("job_id") == told
    assert "job_id" not in await shelf.asset("blue.png")


@pytest.fixture
async def beside_stock(tmp_path: Path, aiohttp_client: Any, api_of: Any) -> Any:
    """Requests to a standalone server with the project attached, and to one without."""
    for name in ("with", "without"):
        (tmp_path / name / "output").mkdir(parents=True)
        (tmp_path / name / "output/red.png").write_bytes(png())
        (tmp_path / name / "output/note.txt").write_bytes(b"a note")
        os.utime(tmp_path / name / "output/red.png", (1000, 1000))
        os.utime(tmp_path / name / "output/note.txt", (1000, 1000))
    ours = StandaloneHost(tmp_path / "with")
    attach(ours, Config(scan_on_start=False))
    hosts = (ours, StandaloneHost(tmp_path / "without"))
    return [api_of(SimpleNamespace(client=await aiohttp_client(host.application()))) for host in hosts]


LEFT_TO_THE_HOST = [
    ("GET", "/api/view?filename=red.png"),
    ("HEAD", "/api/view?filename=red.png"),
    ("GET", "/api/view?filename=red.png&type=output&channel=rgb"),
    ("GET", "/api/view?filename=red.png&channel=a"),
    ("GET", "/api/view?filename=red.png&preview=jpeg;50"),
    ("GET", "/api/view?filename=note.txt"),
    ("GET", "/api/view?filename=x.png"),
    ("GET", "/api/view"),
    ("GET", "/api/view?filename=..%2Fsecret.png"),
    ("GET", "/api/view?filename=red.png&RES=64"),
    ("GET", "/api/view?filename=red.png&resolution=64"),
    ("GET", "/view?filename=red.png"),
    ("GET", "/view?filename=red.png&res=64"),
    ("POST", "/api/view?filename=red.png&res=64"),
    ("OPTIONS", "/api/view?filename=red.png&res=64"),
    ("GET", "/api/view/?filename=red.png&res=64"),
]


async def test_everything_without_res_is_the_hosts_answer(beside_stock: Any) -> None:
    ours, stock = beside_stock
    for method, path in LEFT_TO_THE_HOST:
        answers = []
        for api in (ours, stock):
            async with api.client.request(method, URL(path, encoded=True)) as response:
                headers = {k: v for k, v in response.headers.items() if k not in ("Date", "Server")}
                answers.append((response.status, headers, await response.read()))
        assert answers[0] == answers[1], (method, path)
    assert opened((await ours.send("GET", "/api/view?filename=red.png&res=64")).body).size == (64, 43)


async def test_the_store_is_away(tmp_path: Path, aiohttp_client: Any) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user/__comfy_assets").write_text("a file where the folder should be")
    host = StandaloneHost(tmp_path)
    attach(host, Config(scan_on_start=False))
    client = await aiohttp_client(host.application())
    async with client.get("/api/view?filename=x.png&res=64") as response:
        assert response.status == 500
        assert json.loads(await response.read())["code"] == "STORE_UNAVAILABLE"


async def test_players_get_the_file_and_images_the_thumbnail(beside_stock: Any, tmp_path: Path) -> None:
    """ComfyUI's page has videos and sounds play from the address of their preview."""
    body = b"\0\0\0\x18ftypmp42" + bytes(200)
    (tmp_path / "with/output/clip.mp4").write_bytes(body)
    api, _ = beside_stock
    query = {"filename": "clip.mp4", "type": "output", "res": "512"}
    for headers, status in [
        ({"Sec-Fetch-Dest": "video"}, 200),
        ({"Sec-Fetch-Dest": "audio", "Range": "bytes=0-"}, 206),
        ({"Range": "bytes=0-"}, 206),  # of a player on an origin that is not secure
    ]:
        answer = await api.send("GET", VIEW, status, params=query, headers=headers)
        assert answer.body == body and answer.headers["Content-Type"] == "video/mp4"
        assert (answer.headers["Vary"], answer.headers["Cache-Control"]) == (
            "Sec-Fetch-Dest, Range",
            "private, no-cache",
        )
    for headers in ({}, {"Sec-Fetch-Dest": "image"}, {"Sec-Fetch-Dest": "image", "Range": "bytes=0-"}):
        assert (await api.send("GET", VIEW, 400, params=query, headers=headers)).json["code"] == "IMAGE_UNREADABLE"
    picture_query = {**query, "filename": "red.png"}
    answer = await api.send("GET", VIEW, 200, params=picture_query, headers={"Range": "bytes=0-"})
    assert opened(answer.body).size == (300, 200)
    assert answer.headers["Vary"] == "Sec-Fetch-Dest, Range"


async def test_the_standalone_host_shows_files_of_any_name(beside_stock: Any, tmp_path: Path) -> None:
    status = 400 if WINDOWS else 200
    for name in UNKNOWN_TO_WINDOWS:
        if not WINDOWS:
            (tmp_path / "without/output" / name).write_bytes(png())
        answer = await beside_stock[1].send("GET", VIEW, status, params={"filename": name})
        if not WINDOWS:
            assert answer.body == png()
    for name in ("..", "../with/output/red.png", "\\..\\x.png", "C:\\x.png", "x\0.png"):
        await beside_stock[1].send("GET", VIEW, 400, params={"filename": name})
