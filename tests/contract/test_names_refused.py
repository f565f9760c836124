"""Names that lead elsewhere, in every operation that takes one: refused, and nothing is read or written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from PIL import Image

LEADING_OUT = [
    "..", ".", "../x.png", "..\\x.png", "a/../../x.png", "a\\..\\..\\x.png", "a/..", "./x.png", "/etc/passwd", "/x.png",
    "\\x.png", "\\\\server\\share\\x.png", "//server/share/x.png", "C:\\x.png", "c:x.png", "C:/x.png",
    "\\\\?\\C:\\x.png", "\\\\.\\pipe\\x", "x\0.png", "\0", "a/ .. /x.png",
]  # fmt: skip
# Stored under another name that no system has trouble with.
MADE_SAFE = [
    ("a/b.png", "a_b.png"),
    ("a\\b.png", "a_b.png"),
    ("con.png", "_con.png"),
    ("NUL", "_NUL"),
    ("COM1.txt.png", "_COM1.txt.png"),
    ("x\x07\x1f.png", "x__.png"),
    ('<>:"|?*.png', "_______.png"),
    ("dots...", "dots"),
    (" space .png ", "space.png"),
    ("..hidden.png", "hidden.png"),
    (".hidden", "hidden"),
    ("cafe\u0301.png", "café.png"),
    ("🎉.png", "🎉.png"),
    ("...", "file"),
    ("x.tmp", "x.tmp_"),
    ("Thumbs.db", "Thumbs.db_"),
    ("e" * 300 + ".png", "e" * 251 + ".png"),
    ("é" * 200 + ".png", "é" * 125 + ".png"),
    ("lpt9", "_lpt9"),
    ("a%20b.png", "a%20b.png"),
    ("Gr%C3%B6%C3%9Fe.png", "Größe.png"),
]


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def upload(file_name: str, number: int, **fields: str) -> FormData:
    """A form whose file has this very name."""
    data = FormData(quote_fields=False)
    data.add_field("file", png(number), filename=file_name)
    for key, value in fields.items():
        data.add_field(key, value)
    return data


@pytest.fixture
async def shelf(library: Any) -> Any:
    library.write("output/there.png", png(250))
    library.write("secret.png", png(251))
    await library.scan()
    return library


def everything(base: Path) -> set[tuple[str, int]]:
    return {
        (str(path), path.stat().st_mtime_ns)
        for path in base.rglob("*")
        if path.is_file() and not path.name.startswith("library.db")
    }


async def test_a_name_for_an_asset_that_leads_out(shelf: Any) -> None:
    before, asset = everything(shelf.base.parent), await shelf.asset("there.png")
    for number, name in enumerate(LEADING_OUT):
        form = upload("fine.png", number, name=name)
        reference = {"hash": asset["hash"], "tags": ["x"], "name": name}
        for method, path, options in [
            ("POST", "/api/assets", {"data": form}),
            ("POST", "/api/assets/from-hash", {"json": reference}),
            ("PUT", f"/api/assets/{asset['id']}", {"json": {"name": name}}),
        ]:
            async with shelf.client.request(method, path, **options) as response:
                body = await response.json()
                assert (response.status, body["code"]) == (400, "INVALID_NAME"), (method, name, body)
                assert body["details"]["field"] == "name"
    assert everything(shelf.base.parent) == before
    assert await shelf.assets() == [asset]


async def test_a_file_that_is_called_so(shelf: Any) -> None:
    before = everything(shelf.base.parent)
    for number, name in enumerate(LEADING_OUT):
        if set(name) & set("\0\\") or name.startswith("/"):
            continue  # cannot be said in a header, or is no such name any more once the header has been read
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            body = await response.json()
            assert (response.status, body["code"]) == (400, "INVALID_NAME"), (name, body)
    assert everything(shelf.base.parent) == before


async def test_what_is_left_of_an_absolute_name_stays_in_its_folder(shelf: Any) -> None:
    for number, (name, stored) in enumerate(
        [("/etc/passwd", "etc_passwd"), ("//host/share/x.bin", "host_share_x.bin")]
    ):
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            assert (await response.json())["file_path"] == f"input/{stored}"
        assert (shelf.base / "input" / stored).read_bytes() == png(number)


async def test_names_that_are_made_safe(shelf: Any) -> None:
    for number, (name, stored) in enumerate(MADE_SAFE):
        if any(character < " " for character in name) or '"' in name or "\\" in name:
            continue
        async with shelf.client.post("/api/assets", data=upload(name, number)) as response:
            asset = await response.json()
            assert response.status == 201, (name, asset)
        assert asset["file_path"] == f"input/{stored}", name
        assert (shelf.base / "input" / stored).read_bytes() == png(number)


async def test_tags_name_no_path(shelf: Any) -> None:
    before = everything(shelf.base.parent)
    for name in ("../loras", "models/loras", "/etc", "C:\\"):
        async with shelf.client.post("/api/assets", data=upload("a.png", 1, tags=f'["models", "{name}"]')) as response:
            assert response.status == 400, name
    assert everything(shelf.base.parent) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
async def test_a_link_in_the_place_of_a_new_file_is_not_followed(shelf: Any) -> None:
    """Neither the file behind it nor one that could be made there is written."""
    (shelf.base / "input/link.png").symlink_to(shelf.base / "secret.png")
    (shelf.base / "input/dangling.png").symlink_to(shelf.base / "not-there.png")
    for name, stored in (("link.png", "link (1).png"), ("dangling.png", "dangling (1).png")):
        async with shelf.client.post("/api/assets", data=upload(name, len(name))) as response:
            assert (await response.json())["file_path"] == f"input/{stored}"
    assert (shelf.base / "secret.png").read_bytes() == png(251)
    assert not (shelf.base / "not-there.png").exists()
