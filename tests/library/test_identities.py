"""Which asset a file is that has moved, where several have equal content: each keeps its id and what users gave it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets import follow, hashing, settling
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import files
from comfy_assets_node.comfy_assets.host.base import Folder, HostFolders

Marks = dict[str, tuple[str, str, dict[str, Any]]]  # by path below the roots: id, the user's tag, user metadata


def folders_of(base: Path) -> HostFolders:
    """Models, input and output below ``base``."""
    return HostFolders(
        (
            Folder("models", base / "models"),
            Folder("models", base / "models" / "loras", "loras", frozenset({".safetensors"})),
            Folder("input", base / "input"),
            Folder("output", base / "output"),
        )
    )


def write(path: Path, content: bytes, number: int) -> None:
    """Write a file with a time of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(1, 1_600_000_000_123_456_700 + number * 1_000_000_000))


def copy_over(source: Path, target: Path) -> None:
    """Copy a folder as downloads and plain copies do: with new times and inodes; then remove it."""
    shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
    shutil.rmtree(source)


async def mark(library: Any) -> Marks:
    """Give each asset a tag and metadata that tell where its file lay then."""
    db = library.services.db
    async with db.transaction() as tx:
        rows = await tx.fetch_all(
            "SELECT f.id, d.logical || '/' || f.name FROM files f JOIN folders d ON d.id = f.folder_id"
        )
        for row_id, path in rows:
            await files.retag(tx, [row_id], add=(f"from {path}",))
        await tx.execute_many(
            "UPDATE assets SET user_metadata = json_object('from', ?2) WHERE id = ?1",
            [(row[0], row[1]) for row in rows],
        )
    return await marks(library)


async def marks(library: Any) -> Marks:
    """What the assets have whose files are there."""
    found: Marks = {}
    for asset in await library.assets(exclude_tags="missing"):
        own = [tag for tag in asset["tags"] if tag.startswith("from ")]
        assert len(own) <= 1
        found[asset["file_path"]] = (asset["id"], own[0] if own else "", asset.get("user_metadata", {}))
    return found


async def opened(make_library: Callable[..., Any], base: Path, contents: Mapping[str, bytes]) -> tuple[Any, Marks]:
    """A library whose folders are below ``base``, with files that came one after another; read and marked."""
    library = await make_library(Config(scan_on_start=False))
    library.host.current_folders = folders_of(base)
    for kind in ("models/loras", "input", "output"):
        (base / kind).mkdir(parents=True)
    for number, (relative, content) in enumerate(contents.items()):
        write(base / relative, content, number)
        await library.scan()
    return library, await mark(library)


def moved_as(before: Marks, renames: Mapping[str, str]) -> Marks:
    """What is to be where, after these paths have been renamed."""
    return {renames.get(path, path): found for path, found in before.items()}


SAME = b"the same"
# Names are such that neither the order of ids nor that of names leads from the old paths to the new ones by itself.
EQUAL = {
    "equal content under different names": ["output/b.png", "output/a.png", "output/c.png"],
    "the same name in different folders": ["output/z/x.png", "output/a/x.png", "output/x.png", "output/a/z/x.png"],
    "one name in several roots": ["output/x.png", "input/x.png", "models/x.png", "models/loras/x.png"],
    "folders with equal names": ["output/a/b/x.png", "output/b/x.png", "output/b/a/x.png", "output/a/x.png"],
}


@pytest.mark.parametrize("paths", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("batch", [1, 2, 1024])
async def test_a_base_folder_elsewhere(
    make_library: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    paths: list[str],
    batch: int,
) -> None:
    """ComfyUI was copied to another place; files are read, and so known again, some at a time."""
    monkeypatch.setattr(hashing, "_SMALL_BATCH", batch)
    contents = {path: SAME for path in paths} | {"output/other.png": b"another!", "output/long.png": b"longer than it"}
    library, before = await opened(make_library, tmp_path / "one", contents)
    copy_over(tmp_path / "one", tmp_path / "two")
    library.host.current_folders = folders_of(tmp_path / "two")
    status = await library.scan()
    assert await marks(library) == before
    assert status["moved"] == len(contents)
    assert await library.assets(include_tags="missing") == []
    assert await library.services.db.fetch_all("SELECT * FROM newcomers") == []
