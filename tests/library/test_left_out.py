"""What is left out of the library: found by no scan, and what was indexed before keeps what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.config import Config
from support.files import picture

LITTER = [
    "output/2026/@eaDir/pic.png/SYNOFILE_THUMB_M.png",
    "output/#recycle/gone.png",
    "output/$RECYCLE.BIN/S-1-5/$RABC.png",
    "output/__MACOSX/m.png",
    "output/lost+found/f.png",
    "input/System Volume Information/x.png",
    "input/.Trashes/501/t.png",
    "input/._a.png",
    "models/loras/x.safetensors.download",
    "models/loras/y.safetensors.downloading",
    "models/loras/z.safetensors.part",
    "models/loras/w.safetensors.!qB",
]


def excluding(*patterns: str) -> Config:
    return Config(scan_on_start=False, exclude=patterns)


async def names(library: Any, **parameters: str) -> set[str]:
    return {asset["file_path"] for asset in await library.assets(**parameters)}


async def test_litter_of_systems_is_no_asset(library: Any) -> None:
    for path in LITTER:
        library.write(path)
    library.write("output/2026/pic.png")
    library.write("models/loras/x.safetensors")
    await library.scan()
    assert await names(library) == {"output/2026/pic.png", "models/loras/x.safetensors"}


PATTERNS = [
    (["*.bak"], {"output/a.png", "output/drafts/c.png", "output/old/d.png", "models/loras/drafts/e.safetensors"}),
    (["drafts/"], {"output/a.png", "output/b.bak", "output/old/d.png", "input/drafts"}),
    (["output/old"], {"output/a.png", "output/b.bak", "output/drafts/c.png", "models/loras/drafts/e.safetensors"}),
    (["models/**/drafts"], {"output/a.png", "output/b.bak", "output/drafts/c.png", "output/old/d.png"}),
    (["output/*", "INPUT/**"], {"models/loras/drafts/e.safetensors"}),
]
FILES = ["output/a.png", "output/b.bak", "output/drafts/c.png", "output/old/d.png", "models/loras/drafts/e.safetensors"]


@pytest.mark.parametrize(("patterns", "kept"), PATTERNS, ids=[p[0] for p, _ in PATTERNS])
async def test_what_patterns_leave_out(make_library: Callable[..., Any], patterns: list[str], kept: set[str]) -> None:
    library = await make_library(excluding(*patterns))
    for path in [*FILES, "input/drafts"]:
        library.write(path, path.encode())
    await library.scan()
    assert await names(library) - {"input/drafts"} == kept - {"input/drafts"}


@pytest.mark.parametrize("pattern", ["*.png", "old/", "output/old", "output/**/a.*"])
@pytest.mark.parametrize("how", ["scan", "prune"])
async def test_what_was_indexed_before_keeps_all(
    make_library: Callable[..., Any], annotate: Callable[..., Any], read_names: list[str], pattern: str, how: str
) -> None:
    library = await make_library()
    library.write("output/old/a.png", picture(1))
    library.write("output/old.safetensors", b"other")
    await library.scan()
    await annotate(library, "a.png", "mine", metadata='{"note": 1}')
    before = await library.asset("a.png")
    await library.services.stop()
    missing = {key: value for key, value in before.items() if key != "preview_url"}

    library = await make_library(excluding(pattern))
    for _ in range(2):
        if how == "scan":
            status = await library.scan()
            assert status["changed"] == 0
        else:
            await library.services.indexer.prune()
    assert await library.asset("a.png") == {**missing, "tags": ["output", "mine", "missing"]}
    assert await names(library, exclude_tags="missing") == {"output/old.safetensors"}
    await library.services.stop()

    read_names.clear()
    library = await make_library()
    assert (await library.scan())["returned"] == 1
    assert await library.asset("a.png") == before
    assert read_names == []


async def test_a_download_that_is_complete_keeps_what_its_first_name_was_given(
    make_library: Callable[..., Any], annotate: Callable[..., Any]
) -> None:
    """Earlier versions listed it under the name of the unfinished file."""
    library = await make_library()
    path = library.write("models/loras/x.safetensors.loading", b"content")
    await library.scan()
    asset_id = await annotate(library, path.name, "mine")
    await library.services.stop()
    library = await make_library(excluding("*.loading"))
    await library.scan()
    path.rename(path.with_suffix(""))
    await library.scan()
    [asset] = await library.assets()
    assert (asset["id"], asset["name"]) == (asset_id, "x.safetensors")
    assert asset["tags"] == ["models", "loras", "model_type:loras", "mine"]


async def test_a_folder_of_the_library_is_entered_whatever_its_name(
    make_library: Callable[..., Any],
) -> None:
    library = await make_library(excluding("loras", "models/checkpoints", "output", "**/input"))
    for path in ("models/loras/a.safetensors", "models/checkpoints/b.safetensors", "output/c.png", "input/d.png"):
        library.write(path, path.encode())
    library.write("output/loras/e.png")
    await library.scan()
    assert await names(library) == {
        "models/loras/a.safetensors",
        "models/checkpoints/b.safetensors",
        "output/c.png",
        "input/d.png",
    }


async def test_an_upload_with_such_a_name_is_refused(make_library: Callable[..., Any]) -> None:
    library = await make_library(excluding("*.bak", "input/secret.*"))
    for name in ("a.bak", "secret.png"):
        form = FormData({"tags": '["input"]'})
        form.add_field("file", picture(1), filename=name)
        response = await library.client.post("/api/assets", data=form)
        body = await response.json()
        assert (response.status, body["code"]) == (400, "INVALID_NAME"), body
        assert "COMFY_ASSETS_EXCLUDE" in body["message"] and body["details"] == {"field": "name"}
    assert await library.assets() == []
    assert [path.name for path in Path(library.base / "input").iterdir()] == []


@pytest.mark.slow
async def test_what_is_left_out_is_not_followed(make_library: Callable[..., Any]) -> None:
    library = await make_library(Config(exclude=("*.bak", "output/old")))
    await library.services.indexer.scanner.completed.wait()
    for path in [*LITTER, "output/a.bak", "output/old/b.png", "output/deep/@eaDir/c.png", "output/deep/seen.png"]:
        library.write(path, path.encode())
    for _ in range(400):
        if await names(library):
            break
        await asyncio.sleep(0.05)
    (library.base / "output/deep/seen.png").rename(library.base / "output/deep/seen.png.bak")
    for _ in range(400):
        if await library.assets(include_tags="missing"):
            break
        await asyncio.sleep(0.05)
    await library.scan()
    assert {a["file_path"]: a["tags"] for a in await library.assets()} == {
        "output/deep/seen.png": ["output", "missing"]
    }
