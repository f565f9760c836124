"""A file that moved is the same asset: matched by inode, size and time, or by its content."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import scanner
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder

LORA = "models/loras/style.safetensors"


def move(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return source.rename(target)


async def only_scan(library: Any) -> dict[str, Any]:
    """Phase one alone."""
    library.services.indexer._hash_files = False
    return await library.scan()


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize(
    ("target", "tags", "loader_path"),
    [
        ("models/loras/renamed.safetensors", ["models", "loras", "model_type:loras"], "renamed.safetensors"),
        ("models/loras/a/b/style.safetensors", ["models", "loras", "model_type:loras"], "a/b/style.safetensors"),
        ("models/checkpoints/style.ckpt", ["models", "checkpoints", "model_type:checkpoints"], "style.ckpt"),
        ("models/loras/style.txt", ["models", "loras"], None),
        ("output/style.safetensors", ["output"], "style.safetensors"),
        ("models/loras/größe.safetensors", ["models", "loras", "model_type:loras"], "größe.safetensors"),
    ],
)  # fmt: skip
async def test_a_moved_file_is_the_same_asset(
    make_library: Callable[..., Any],
    annotate: Callable[..., Any],
    read_names: list[str],
    hashed: bool,
    target: str,
    tags: list[str],
    loader_path: str | None,
) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=hashed))
    path = library.write(LORA)
    await library.scan()
    asset_id = await annotate(library, path.name, "mine", metadata='{"note": 1}')
    before = await library.asset(path.name)
    read_names.clear()
    moved = move(path, library.base / target)
    status = await library.scan()
    assert status["moved"] == 1
    [after] = await library.assets()
    assert (after["id"], after["name"]) == (asset_id, moved.name)
    assert after["tags"] == [*tags, "mine"]
    assert (after["file_path"], after.get("loader_path")) == (target, loader_path)
    assert (after.get("hash"), after["user_metadata"]) == (before.get("hash"), {"note": 1})
    assert after["created_at"] == before["created_at"]
    assert read_names == []
    assert [a["name"] for a in await library.assets(name_contains=moved.name.upper())] == [moved.name]


async def test_a_name_that_a_user_gave_stays(library: Any) -> None:
    path = library.write(LORA)
    await library.scan()
    async with library.services.db.transaction() as tx:
        await tx.execute("UPDATE assets SET name = 'My style', name_key = 'my style'")
    move(path, library.base / "models/loras/other.safetensors")
    await library.scan()
    asset = await library.asset("My style")
    assert asset["file_path"] == "models/loras/other.safetensors"


async def test_a_moved_folder(library: Any, annotate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches end in the middle of it, so that what is gone and what is new meet only at the end."""
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 2)
    for number in range(30):
        library.write(f"output/old/{number % 5}/{number}.png", b"%d" % number)
    await library.scan()
    ids = {a["name"]: a["id"] for a in await library.assets()}
    await annotate(library, "7.png", "mine")
    move(library.base / "output/old", library.base / "input/new")
    status = await library.scan()
    assert (status["moved"], status["hashed"]) == (30, 0)
    found = await library.assets()
    assert {a["name"]: a["id"] for a in found} == ids
    assert {tuple(a["tags"]) for a in found} == {("input",), ("input", "mine")}
    assert all(a["file_path"].startswith("input/new/") for a in found)
    assert (await library.scan())["moved"] == 0


async def test_the_folder_moved_and_the_configuration_with_it(library: Any, annotate: Callable[..., Any]) -> None:
    """The old place is no part of the library any more, yet its tags must go."""
    usual = library.host.current_folders
    old, new = library.base / "drive1", library.base / "drive2"

    def configured(path: Path, category: str) -> HostFolders:
        return HostFolders((*usual.folders, LibraryFolder("models", path, category)), usual.excluded)

    library.host.current_folders = configured(old, "style_models")
    library.write("drive1/a.safetensors")
    await library.scan()
    asset_id = await annotate(library, "a.safetensors", "mine")
    move(old, new)
    library.host.current_folders = configured(new, "vae")
    await library.scan()
    asset = await library.asset("a.safetensors")
    assert (asset["id"], asset["tags"]) == (asset_id, ["models", "vae", "model_type:vae", "mine"])


async def copied_and_deleted(path: Path, target: Path) -> Path:
    """What a move between drives is: another inode, perhaps another time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    os.utime(target, ns=(1, 1_500_000_000_123_000_000))
    path.unlink()
    return target


async def test_a_copy_whose_original_was_deleted_is_matched_by_content(
    library: Any, annotate: Callable[..., Any]
) -> None:
    path = library.write(LORA)
    await library.scan()
    asset_id = await annotate(library, path.name, "mine", metadata='{"note": 1}')
    target = await copied_and_deleted(path, library.base / "models/checkpoints/other.ckpt")
    status = await library.scan()
    assert status["moved"] == 1
    [asset] = await library.assets()
    assert (asset["id"], asset["name"]) == (asset_id, target.name)
    assert asset["tags"] == ["models", "checkpoints", "model_type:checkpoints", "mine"]
    assert asset["hash"] and asset["user_metadata"] == {"note": 1}
    assert asset["mime_type"]
    [row] = await library.services.db.fetch_all("SELECT state, missing, mtime_ns FROM files")
    assert row == (1, 0, 1_500_000_000_123_000_000)


async def test_two_copies_of_one_missing_file(library: Any, annotate: Callable[..., Any]) -> None:
    """Either is right; the other is an asset of its own."""
    path = library.write(LORA)
    await library.scan()
    asset_id = await annotate(library, path.name, "mine")
    shutil.copyfile(path, library.base / "models/loras/b.safetensors")
    await copied_and_deleted(path, library.base / "models/loras/c.safetensors")
    await library.scan()
    found = await library.assets()
    assert len(found) == 2
    assert [a["id"] for a in found if "mine" in a["tags"]] == [asset_id]
    assert not any("missing" in a["tags"] for a in found)


async def test_a_copy_beside_its_original_is_an_asset_of_its_own(library: Any) -> None:
    path = library.write(LORA)
    await library.scan()
    shutil.copyfile(path, library.base / "models/loras/copy.safetensors")
    await library.scan()
    found = await library.assets()
    assert len({a["id"] for a in found}) == 2 and len({a["hash"] for a in found}) == 1
    path.unlink()
    await library.scan()
    assert "missing" in (await library.asset(path.name))["tags"]
    assert "missing" not in (await library.asset("copy.safetensors"))["tags"]


async def test_a_changed_copy_is_not_the_same_asset(library: Any) -> None:
    path = library.write(LORA, b"one")
    await library.scan()
    target = await copied_and_deleted(path, library.base / "models/loras/b.safetensors")
    target.write_bytes(b"two")
    await library.scan()
    assert "missing" in (await library.asset(path.name))["tags"]
    assert "missing" not in (await library.asset(target.name))["tags"]


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
@pytest.mark.parametrize(("olds", "news"), [(1, 2), (2, 1), (2, 2)])
async def test_ambiguous_matches_are_left_alone(library: Any, olds: int, news: int) -> None:
    """Hard links have one inode: which went where cannot be told, so the assets stay as they are."""
    first = library.write("output/old0.png")
    for number in range(1, olds):
        os.link(first, library.base / f"output/old{number}.png")
    await only_scan(library)
    before = {a["name"]: a["id"] for a in await library.assets()}
    for number in range(news):
        os.link(first, library.base / f"input/new{number}.png")
    for number in range(olds):
        (library.base / f"output/old{number}.png").unlink()
    status = await only_scan(library)
    assert (status["moved"], status["created"]) == (0, news)
    found = await library.assets()
    assert {a["name"]: a["id"] for a in found if "missing" in a["tags"]} == before


async def test_a_new_asset_that_somebody_has_touched_is_not_merged(library: Any, annotate: Callable[..., Any]) -> None:
    path = library.write(LORA)
    await library.scan()
    old_id = await annotate(library, path.name, "mine")
    target = await copied_and_deleted(path, library.base / "models/loras/b.safetensors")
    await only_scan(library)
    new_id = await annotate(library, target.name, "touched")
    library.services.indexer._hash_files = True
    status = await library.scan()
    assert status["moved"] == 0
    assert {a["id"] for a in await library.assets()} == {old_id, new_id}


async def test_moved_before_it_was_ever_read(library: Any, annotate: Callable[..., Any]) -> None:
    """The asset takes the place of a file whose hash is known already."""
    path = library.write(LORA)
    await only_scan(library)
    asset_id = await annotate(library, path.name, "mine")
    move(path, library.base / "models/loras/b.safetensors")
    library.services.indexer._hash_files = True
    await library.scan()
    [asset] = await library.assets()
    assert asset["id"] == asset_id and asset["hash"]


async def test_hashed_between_the_scan_and_the_move(
    library: Any, annotate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash run of the scan before may read the new file before the scan knows where it came from."""
    path = library.write(LORA)
    await only_scan(library)
    asset_id = await annotate(library, path.name, "mine")
    move(path, library.base / "models/loras/b.safetensors")
    real = scanner.Scanner._end

    async def late(self: Any, *arguments: Any, **options: Any) -> None:
        library.services.indexer._files_to_hash = True
        library.services.indexer._tasks.start("asset_hash", library.services.indexer._hash)
        hashing = library.services.indexer._tasks.latest("asset_hash")
        await hashing.done.wait()
        await real(self, *arguments, **options)

    monkeypatch.setattr(scanner.Scanner, "_end", late)
    await only_scan(library)
    [asset] = await library.assets()
    assert asset["id"] == asset_id
    [row] = await library.services.db.fetch_all(
        "SELECT f.state, c.hash FROM files f JOIN assets a ON a.id = f.id LEFT JOIN contents c ON c.id = a.content_id"
    )
    assert row[0] == 1 and row[1] is not None


async def test_the_new_file_is_gone_again_before_it_was_read(library: Any) -> None:
    path = library.write(LORA)
    await library.scan()
    target = await copied_and_deleted(path, library.base / "models/loras/b.safetensors")
    await only_scan(library)
    target.unlink()
    library.services.indexer._hash_files = True
    await library.scan()
    assert all("missing" in a["tags"] for a in await library.assets())


async def test_a_moved_file_is_not_seen_missing_while_a_scan_goes_on(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in one folder may be in another that is listed much later."""
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 1)
    for number in range(5):
        library.write(f"output/{number}/{number}.png", b"%d" % number)
    await library.scan()
    before = {a["id"] for a in await library.assets()}
    for number in range(5):
        move(library.base / f"output/{number}/{number}.png", library.base / f"output/{4 - number}/new {number}.png")
    missing: list[int] = []
    real = scanner.Scanner._end

    async def end(self: Any, *arguments: Any, **options: Any) -> None:
        missing.append(len(await library.assets(include_tags="missing")))
        await real(self, *arguments, **options)

    monkeypatch.setattr(scanner.Scanner, "_end", end)
    assert (await library.scan())["moved"] == 5
    assert missing == [0]
    assert {a["id"] for a in await library.assets()} == before
