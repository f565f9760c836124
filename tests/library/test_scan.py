"""The index follows the disk: what is new, changed, gone, back, and claimed by others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index import apply, scanner
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db import files
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from support.windows import IS_WINE

LORA = "models/loras/style.safetensors"


def digest(content: bytes) -> str:
    return "blake3:" + blake3(content).hexdigest()


async def test_the_first_scan(library: Any) -> None:
    library.write(LORA, b"lora")
    library.write("models/loras/deep/notes.txt", b"notes")
    library.write("models/unclaimed/x.bin", b"x")
    library.write("output/2026/größe.png", b"png")
    status = await library.scan()
    found = {a["file_path"]: a for a in await library.assets()}
    assert {path: a["tags"] for path, a in found.items()} == {
        "models/loras/style.safetensors": ["models", "loras", "model_type:loras"],
        "models/loras/deep/notes.txt": ["models", "loras"],
        "models/unclaimed/x.bin": ["models"],
        "output/2026/größe.png": ["output"],
    }
    assert found[LORA]["hash"] == digest(b"lora")
    assert found[LORA]["size"] == 4
    assert (status["status"], status["phase"], status["errors"]) == ("completed", "idle", [])
    assert (status["created"], status["scanned"], status["hashed"]) == (4, 4, 4)


async def test_an_unchanged_rescan_writes_nothing(
    library: Any, snapshot: Callable[..., Any], read_names: list[str]
) -> None:
    library.write(LORA)
    library.write("output/a.png")
    (library.base / "models/empty").mkdir()
    await library.scan()
    before = await snapshot(library)
    read_names.clear()
    status = await library.scan()
    assert await snapshot(library) == before
    assert read_names == []
    counts = ("created", "changed", "missing", "returned", "moved", "hashed")
    assert {key: status[key] for key in counts} == dict.fromkeys(counts, 0)
    assert status["scanned"] == 2


async def test_an_unchanged_rescan_after_everything_has_happened(library: Any, snapshot: Callable[..., Any]) -> None:
    """What a scan changes it does not change again: also after files went, came back and moved."""
    library.write(LORA)
    library.write("output/a/1.png", b"1")
    library.write("output/a/2.png", b"2")
    library.write("output/b/3.png", b"3")
    await library.scan()
    (library.base / "output/a/1.png").unlink()
    (library.base / "output/a/2.png").rename(library.base / "output/b/2.png")
    shutil.rmtree(library.base / "models/loras")
    await library.scan()
    await library.scan()  # which finds the folders that changed as it left them
    before = await snapshot(library)
    await library.scan()
    assert await snapshot(library) == before


@pytest.mark.parametrize("content", [b"longer than before", b"CONTENT"])
async def test_a_changed_file_keeps_its_id_and_loses_its_hash(
    library: Any, annotate: Callable[..., Any], content: bytes
) -> None:
    path = library.write(LORA, b"content")
    await library.scan()
    asset_id = await annotate(library, path.name, "mine", metadata='{"note": 1}')
    path.write_bytes(content)
    task, _ = library.services.indexer.start_scan()
    library.services.indexer._hash_files = False
    await task.done.wait()
    asset = await library.asset(path.name)
    assert asset["id"] == asset_id
    assert asset.get("hash") is None
    assert asset["size"] == len(content)
    library.services.indexer._hash_files = True
    await library.scan()
    asset = await library.asset(path.name)
    assert (asset["id"], asset["hash"]) == (asset_id, digest(content))
    assert asset["tags"] == ["models", "loras", "model_type:loras", "mine"]
    assert asset["user_metadata"] == {"note": 1}


async def test_a_touched_file_is_read_again(library: Any, read_names: list[str]) -> None:
    path = library.write(LORA)
    await library.scan()
    before = await library.asset(path.name)
    os.utime(path, ns=(1, 1_000_000_000_123_456_789))
    await library.scan()
    after = await library.asset(path.name)
    assert read_names == [path.name] * 2
    assert (after["id"], after["hash"]) == (before["id"], before["hash"])


async def test_a_removed_file_is_marked_and_comes_back(
    library: Any, annotate: Callable[..., Any], read_names: list[str]
) -> None:
    path = library.write(LORA, b"content")
    other = library.write("models/loras/other.safetensors", b"other")
    await library.scan()
    asset_id = await annotate(library, path.name, "mine", metadata='{"note": 1}')
    before = await library.asset(path.name)
    away = path.rename(library.base / "away")
    status = await library.scan()
    assert status["missing"] == 1
    gone = await library.asset(path.name)
    assert gone["tags"] == [*before["tags"], "missing"]
    assert {k: v for k, v in gone.items() if k != "tags"} == {k: v for k, v in before.items() if k != "tags"}
    assert (await library.asset(other.name))["tags"] == ["models", "loras", "model_type:loras"]
    assert (await library.scan())["missing"] == 0
    read_names.clear()
    away.rename(path)
    status = await library.scan()
    assert (status["returned"], status["created"]) == (1, 0)
    assert await library.asset(path.name) == before
    assert before["id"] == asset_id
    assert read_names == []


async def test_a_removed_folder(library: Any) -> None:
    library.write("output/2026/01/a.png")
    library.write("output/2026/b.png")
    library.write("output/c.png")
    await library.scan()
    shutil.rmtree(library.base / "output/2026")
    assert (await library.scan())["missing"] == 2
    missing = {a["name"] for a in await library.assets(include_tags="missing")}
    assert missing == {"a.png", "b.png"}


async def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(library: Any) -> None:
    library.write("output/x/a.png", b"1")
    library.write("output/y", b"2")
    await library.scan()
    shutil.rmtree(library.base / "output/x")
    (library.base / "output/y").unlink()
    library.write("output/x", b"3")
    library.write("output/y/b.png", b"4")
    await library.scan()
    tags = {a["file_path"]: a["tags"] for a in await library.assets()}
    assert tags == {
        "output/x/a.png": ["output", "missing"],
        "output/y": ["output", "missing"],
        "output/x": ["output"],
        "output/y/b.png": ["output"],
    }


async def test_a_partial_scan_looks_at_nothing_else(library: Any, snapshot: Callable[..., Any]) -> None:
    library.write(LORA)
    library.write("output/a.png", b"a")
    library.write("input/b.png", b"b")
    await library.scan()
    (library.base / LORA).unlink()
    (library.base / "output/a.png").unlink()
    library.write("input/new.png", b"new")
    task, _ = library.services.indexer.start_scan(frozenset({"models"}))
    await task.done.wait()
    await library.services.indexer.finish()
    assert {a["name"]: "missing" in a["tags"] for a in await library.assets()} == {
        "style.safetensors": True,
        "a.png": False,
        "b.png": False,
    }
    task, _ = library.services.indexer.start_scan(frozenset({"checkpoints", "output"}))
    await task.done.wait()
    assert "missing" in (await library.asset("a.png"))["tags"]
    await library.scan()
    assert {a["name"] for a in await library.assets(include_tags="input")} == {"b.png", "new.png"}


def with_folder(library: Any, *extra: LibraryFolder) -> HostFolders:
    now = library.host.current_folders
    return HostFolders((*now.folders, *extra), now.excluded)


async def test_a_folder_that_another_category_claims_later(library: Any, annotate: Callable[..., Any]) -> None:
    library.write("models/style/a.safetensors", b"a")
    library.write("models/style/notes.txt", b"t")
    await library.scan()
    asset_id = await annotate(library, "a.safetensors", "mine", "loras-i-like")
    extensions = frozenset({".safetensors"})
    usual = library.host.current_folders
    library.host.current_folders = with_folder(
        library, LibraryFolder("models", library.base / "models/style", "style_models", extensions)
    )
    await library.scan()
    asset = await library.asset("a.safetensors")
    assert asset["id"] == asset_id
    assert asset["tags"] == [
        "models", "style_models", "model_type:style_models", "loras-i-like", "mine",
    ]  # fmt: skip
    assert asset["loader_path"] == "a.safetensors"
    assert (await library.asset("notes.txt"))["tags"] == ["models", "style_models"]
    library.host.current_folders = usual
    await library.scan()
    asset = await library.asset("a.safetensors")
    assert (asset["id"], asset["tags"]) == (asset_id, ["models", "loras-i-like", "mine"])


async def test_a_category_that_accepts_other_suffixes_than_before(library: Any) -> None:
    library.write("models/loras/a.gguf")
    await library.scan()
    library.host.current_folders = HostFolders(
        tuple(
            LibraryFolder(f.kind, f.path, f.category, f.extensions | {".gguf"} if f.category else f.extensions)
            for f in library.host.current_folders.folders
        )
    )
    await library.scan()
    assert (await library.asset("a.gguf"))["tags"] == ["models", "loras", "model_type:loras"]


async def test_a_missing_file_is_tagged_anew_too(library: Any) -> None:
    library.write("models/style/a.safetensors")
    library.write("models/style/b.safetensors", b"b")
    await library.scan()
    (library.base / "models/style/a.safetensors").unlink()
    library.host.current_folders = with_folder(
        library, LibraryFolder("models", library.base / "models/style", "style_models")
    )
    await library.scan()
    assert (await library.asset("a.safetensors"))["tags"] == [
        "models", "style_models", "model_type:style_models", "missing",
    ]  # fmt: skip


async def test_a_folder_that_leaves_the_configuration(
    library: Any, annotate: Callable[..., Any], read_names: list[str]
) -> None:
    extra = library.base / "elsewhere"
    library.write("elsewhere/sub/a.safetensors")
    usual = library.host.current_folders
    more = with_folder(library, LibraryFolder("models", extra, "loras"))
    library.host.current_folders = more
    await library.scan()
    assert (await library.asset("a.safetensors"))["file_path"] == "models/loras/sub/a.safetensors"
    asset_id = await annotate(library, "a.safetensors", "mine")
    library.host.current_folders = usual
    task, _ = library.services.indexer.start_scan(frozenset({"models"}))
    await task.done.wait()
    assert "missing" not in (await library.asset("a.safetensors"))["tags"]  # a partial scan cannot know
    await library.scan()
    assert "missing" in (await library.asset("a.safetensors"))["tags"]
    library.host.current_folders = more
    await library.scan()
    asset = await library.asset("a.safetensors")
    assert (asset["id"], asset["tags"]) == (asset_id, ["models", "loras", "model_type:loras", "mine"])
    assert read_names == ["a.safetensors"]


async def test_a_folder_that_is_excluded_later(library: Any) -> None:
    library.write("output/private/a.png")
    await library.scan()
    now = library.host.current_folders
    library.host.current_folders = HostFolders(now.folders, (*now.excluded, library.base / "output/private"))
    await library.scan()
    assert (await library.asset("a.png"))["tags"] == ["output", "missing"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    "name", ["it's.png", 'say "hi".png', "new\nline.png", "50%_[x]*?.png", "ÄÖÜ ß 🎨.png", "\x01.png", "$[0].png"]
)
async def test_odd_names(library: Any, name: str) -> None:
    library.write(f"output/{name}", b"x")
    await library.scan()
    [asset] = await library.assets()
    assert (asset["name"], asset["hash"]) == (name, digest(b"x"))
    assert [a["name"] for a in await library.assets(name_contains=name.upper())] == [name]


async def test_names_that_differ_in_case_alone(library: Any) -> None:
    library.write("output/A.png", b"1")
    library.write("output/a.png", b"2")
    await library.scan()
    on_disk = sorted(p.name for p in (library.base / "output").iterdir())
    assert sorted(a["name"] for a in await library.assets()) == on_disk


@pytest.mark.parametrize("seconds", [-(10**9), 0, 4 * 10**9, 9 * 10**9, 15 * 10**9])
async def test_files_from_the_past_and_the_future(
    make_library: Callable[..., Any], snapshot: Callable[..., Any], seconds: int
) -> None:
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    path = library.write("output/a.png")
    try:
        os.utime(path, (seconds, seconds))
    except OSError:
        pytest.skip("the file system cannot store this time")
    assert (await library.scan())["status"] == "completed"
    before = await snapshot(library)
    status = await library.scan()
    assert (status["status"], status["changed"]) == ("completed", 0)
    assert await snapshot(library) == before
    asset = await library.asset("a.png")
    assert "1970" <= asset["created_at"][:4] <= "2100"


async def test_many_folders_go_in_batches(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 3)
    monkeypatch.setattr(scanner, "_BATCH_FILES", 4)
    for number in range(20):
        for name in "abc"[: number % 4]:
            library.write(f"output/{number}/{name}{number}.png", b"%d %s" % (number, name.encode()))
    expected = sum(number % 4 for number in range(20))
    status = await library.scan()
    assert (status["created"], status["hashed"]) == (expected, expected)
    assert len(await library.assets()) == expected


async def test_folders_that_get_rows_while_they_are_walked(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("output/a.png", "output/b.png", "input/a.png", LORA)
    for name in names:
        library.write(name)
    await library.scan()
    before = {a["file_path"]: a["id"] for a in await library.assets()}
    library.write("output/c.png")
    library.write("output/new/d.PNG")

    async def none_yet(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(files, "known_folders", none_yet)
    status = await library.scan()
    assert (status["status"], status["created"]) == ("completed", 2)
    after = {a["file_path"]: a["id"] for a in await library.assets()}
    assert after.keys() == {*names, "output/c.png", "output/new/d.PNG"}
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [(0.0, [1000, 2000, 4000, 4000]), (0.08, [1000, 1000, 1000, 1000]), (1.0, [1000, 1000, 1000, 1000])],
)
async def test_batches_take_as_long_as_others_may_wait(
    library: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, sizes: list[int]
) -> None:
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 1)
    found: list[int] = []

    async def write(_tx: Any, *_: Any, **__: Any) -> None:
        nonlocal now
        now += seconds

    def next_batch(listings: Any, files_at_most: int, *rest: Any) -> Any:
        found.append(files_at_most)
        return real(listings, files_at_most, *rest)

    now, real = 0.0, scanner._next_batch
    monkeypatch.setattr(scanner, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(scanner, "write", write)
    monkeypatch.setattr(scanner, "_next_batch", next_batch)
    for number in range(5):
        library.write(f"output/{number}/a.png")
    await library.scan()
    # The second batch is walked while the first is written.
    assert found[1:5] == sizes


async def test_prune_marks_what_is_surely_gone(library: Any) -> None:
    library.write("output/a.png", b"a")
    library.write("output/sub/b.png", b"b")
    library.write("output/kept.png", b"k")
    library.write("input/c.png", b"c")
    await library.scan()
    (library.base / "output/a.png").unlink()
    shutil.rmtree(library.base / "output/sub")
    if not IS_WINE:  # where listing a file fails as listing a name does that can have no file
        library.write("output/sub")  # a file where the folder was
    (library.base / "input").rename(library.base / "unplugged")
    assert await library.services.indexer.prune() == 2
    assert await library.services.indexer.prune() == 0
    missing = {a["name"] for a in await library.assets(include_tags="missing")}
    assert missing == {"a.png", "b.png"}
    (library.base / "unplugged").rename(library.base / "input")
    await library.scan()
    assert "missing" not in (await library.asset("c.png"))["tags"]


async def test_a_prune_that_fails_says_so(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> HostFolders:
        raise OSError("no folders today")

    monkeypatch.setattr(library.host, "folders", broken)
    with pytest.raises(RuntimeError, match="no folders today"):
        await library.services.indexer.prune()


async def test_a_scan_that_fails_says_so(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library.write(LORA)

    def broken(*_: Any) -> None:
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(apply, "_new_files", broken)
        status = await library.scan()
    assert (status["status"], status["error_message"]) == ("failed", "ValueError: broken")
    assert await library.assets() == []
    assert (await library.scan())["status"] == "completed"
    assert len(await library.assets()) == 1


async def test_pages_are_told(library: Any) -> None:
    library.write(LORA)
    await library.scan()
    types = [event.type for event in library.host.events if event.type != "assets.seed.progress"]
    assert types == ["assets.seed.started", "assets.seed.fast_complete", "assets.seed.completed"]


async def test_categories_share_a_folder_and_folders_nest(library: Any) -> None:
    library.host.current_folders = with_folder(
        library,
        LibraryFolder("models", library.base / "models/loras", "lora_models", frozenset({".bin"})),
        LibraryFolder("models", library.base / "models/loras/inner", "inner"),
        LibraryFolder("output", library.base / "models/loras/results"),
    )
    library.write("models/loras/a.safetensors", b"1")
    library.write("models/loras/b.bin", b"2")
    library.write("models/loras/inner/c.bin", b"3")
    library.write("models/loras/results/d.png", b"4")
    await library.scan()
    found = {a["name"]: (sorted(a["tags"]), a.get("loader_path")) for a in await library.assets()}
    both = ["lora_models", "loras"]
    assert found == {
        "a.safetensors": ([*both, "model_type:loras", "models"], "a.safetensors"),
        "b.bin": ([*both, "model_type:lora_models", "models"], "b.bin"),
        "c.bin": (
            ["inner", *both, "model_type:inner", "model_type:lora_models", "models"],
            "c.bin",
        ),
        "d.png": (["output"], "d.png"),
    }


def test_a_sample_is_tagged_like_its_name() -> None:
    for name in ("a.b.safetensors", "a", "a.", "a.TXT", "x..y", "größe.ckpt"):
        assert os.path.splitext(f"x{apply._suffix(name)}")[1] == os.path.splitext(Path(name).name)[1]
