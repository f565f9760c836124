"""What cannot be reached is not taken for gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from support.windows import symbolic_links


async def missing(library: Any) -> set[str]:
    return {a["name"] for a in await library.assets(include_tags="missing")}


async def test_a_root_that_is_away_freezes_its_rows(library: Any, snapshot: Callable[..., Any]) -> None:
    library.write("output/a.png", b"a")
    library.write("output/deep/er/b.png", b"b")
    library.write("input/c.png", b"c")
    await library.scan()
    before = await snapshot(library)
    away = (library.base / "output").rename(library.base / "unplugged")
    assert (await library.scan())["missing"] == 0
    assert await snapshot(library) == before
    away.rename(library.base / "output")
    (library.base / "output/a.png").unlink()
    await library.scan()
    assert await missing(library) == {"a.png"}


async def test_a_root_that_is_a_file_now(library: Any, snapshot: Callable[..., Any]) -> None:
    library.write("output/sub/a.png")
    await library.scan()
    before = await snapshot(library)
    (library.base / "output").rename(library.base / "unplugged")
    library.write("output")
    await library.scan()
    assert await library.services.indexer.prune() == 0
    assert await snapshot(library) == before


@symbolic_links
@pytest.mark.parametrize("pruned", [False, True])
async def test_a_category_folder_that_is_a_link_to_a_drive(library: Any, pruned: bool) -> None:
    drive = library.base / "drive"
    library.write("drive/a.safetensors", b"a")
    library.write("drive/sub/b.safetensors", b"b")
    (library.base / "models/loras").rmdir()
    (library.base / "models/loras").symlink_to(drive)
    await library.scan()
    assert (await library.asset("b.safetensors"))["loader_path"] == "sub/b.safetensors"
    away = drive.rename(library.base / "unplugged")
    status = await library.scan()
    assert status["missing"] == 0 and status["problems"] == 1
    if pruned:
        assert await library.services.indexer.prune() == 0
    assert await missing(library) == set()
    away.rename(drive)
    (drive / "a.safetensors").unlink()
    await library.scan()
    assert await missing(library) == {"a.safetensors"}
    # Without the link itself, nothing promises that the drive will come back.
    (library.base / "models/loras").unlink()
    await library.scan()
    assert await missing(library) == {"a.safetensors", "b.safetensors"}


@symbolic_links
async def test_a_linked_file_whose_target_is_away_is_missing(library: Any) -> None:
    library.write("drive/a.safetensors")
    link = library.base / "models/loras/a.safetensors"
    link.symlink_to(library.base / "drive/a.safetensors")
    await library.scan()
    before = await library.asset("a.safetensors")
    (library.base / "drive").rename(library.base / "unplugged")
    await library.scan()
    assert await missing(library) == {"a.safetensors"}
    (library.base / "unplugged").rename(library.base / "drive")
    await library.scan()
    assert await library.asset("a.safetensors") == before


class Refusing:
    """``os.scandir`` that refuses one folder, or gives its entries but refuses to look at one of them."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.path, self.error, self.real = str(path), error, os.scandir

    def __call__(self, path: str) -> Any:
        if path == self.path:
            raise self.error
        entries = self.real(path)
        return _Listing(self, entries) if os.path.dirname(self.path) == path else entries


class _Listing:
    def __init__(self, refusing: Refusing, entries: Any) -> None:
        self.refusing, self.entries = refusing, entries

    def __enter__(self) -> Any:
        with self.entries as entries:
            return iter([_Entry(self.refusing, entry) for entry in entries])

    def __exit__(self, *_: object) -> None:
        pass


class _Entry:
    def __init__(self, refusing: Refusing, entry: os.DirEntry[str]) -> None:
        self.refusing, self.entry, self.name = refusing, entry, entry.name

    def is_dir(self) -> bool:
        return self.entry.is_dir()

    def is_file(self) -> bool:
        return self.entry.is_file()

    def is_symlink(self) -> bool:
        return self.entry.is_symlink()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        # On Windows the listing itself has what is told without following links.
        if follow_symlinks and self.entry.path == self.refusing.path:
            raise self.refusing.error
        return self.entry.stat(follow_symlinks=follow_symlinks)


DENIED = PermissionError(13, "Permission denied")


async def test_a_folder_that_cannot_be_read_freezes_its_rows(
    library: Any, snapshot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write("output/locked/a.png", b"a")
    library.write("output/locked/deep/b.png", b"b")
    library.write("output/c.png", b"c")
    await library.scan()
    before = await snapshot(library)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Refusing(library.base / "output/locked", DENIED))
        status = await library.scan()
        assert await library.services.indexer.prune() == 0
    assert (status["missing"], status["problems"], status["status"]) == (0, 1, "completed")
    assert status["errors"] == [f"{library.base / 'output/locked'}: Permission denied"]
    assert status["errors"] == [problem["message"] for problem in status["problem_details"]]
    assert await snapshot(library) == before


async def test_a_file_that_cannot_be_looked_at_stays_as_it_was(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = library.write("output/a.png", b"a")
    library.write("output/b.png", b"b")
    await library.scan()
    before = await library.assets()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Refusing(path, DENIED))
        for _ in range(2):
            status = await library.scan()
            assert (status["missing"], status["problems"]) == (0, 1)
            assert await library.assets() == before
    path.unlink()
    await library.scan()
    assert await missing(library) == {"a.png"}


async def test_a_file_nobody_could_look_at_is_gone_later(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder lists the same files as before, yet the row must not stay."""
    path = library.write("output/a.png", b"a")
    await library.scan()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Refusing(path, DENIED))
        library.write("output/b.png", b"b")
        await library.scan()
    path.unlink()
    await library.scan()
    assert await missing(library) == {"a.png"}


async def test_a_hidden_category_folder_that_is_away(library: Any) -> None:
    hidden = library.base / "models/.shared/loras"
    usual = library.host.current_folders
    library.host.current_folders = HostFolders(
        (*usual.folders, LibraryFolder("models", hidden, "loras")), usual.excluded
    )
    library.write("models/.shared/loras/a.safetensors")
    await library.scan()
    assert (await library.asset("a.safetensors"))["loader_path"] == "a.safetensors"
    hidden.parent.rename(library.base / "unplugged")
    await library.scan()
    assert await library.services.indexer.prune() == 0
    assert await missing(library) == set()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
async def test_names_that_are_not_unicode_are_counted(library: Any) -> None:
    library.write("output/a.png")
    try:
        with open(os.path.join(os.fsencode(library.base), b"output/bad-\xff.png"), "wb"):
            pass
    except OSError:
        pytest.skip("the file system refuses such names")
    status = await library.scan()
    assert (status["status"], status["created"], status["problems"]) == ("completed", 1, 1)
    assert "not valid Unicode" in status["errors"][0]


async def test_a_drive_that_is_unplugged_while_its_files_are_read(library: Any) -> None:
    library.write("output/a.bin", b"a")
    emit = library.host.emit

    def unplug(event: str, data: Any) -> None:
        emit(event, data)
        if event == "assets.seed.fast_complete":
            library.host.emit = emit
            (library.base / "output").rename(library.base / "unplugged")

    library.host.emit = unplug
    assert (await library.scan())["status"] == "completed"
    assert await missing(library) == set()
    (library.base / "unplugged").rename(library.base / "output")
    await library.scan()
    assert (await library.asset("a.bin"))["hash"]


@symbolic_links
@pytest.mark.parametrize("target", ["user", "user/default", "temp", "far"])
async def test_links_do_not_lead_into_what_is_excluded(library: Any, target: str) -> None:
    """Not even by way of a folder that contains it."""
    usual = library.host.current_folders
    library.host.current_folders = HostFolders(usual.folders, (*usual.excluded, library.base / "far/user"))
    library.write("far/user/private.json")
    library.write("user/default/private.json")
    library.write("user/top.json")
    library.write("temp/preview.png")
    library.write("far/a.png")
    (library.base / "output/link").symlink_to(library.base / target)
    await library.scan()
    names = {a["name"] for a in await library.assets()}
    assert names.isdisjoint({"private.json", "top.json", "preview.png"})
    assert ("a.png" in names) is (target == "far")


async def upload(library: Any, name: str, tag: str) -> str:
    form = FormData({"tags": f'["{tag}"]'})
    form.add_field("file", name.encode(), filename=name)
    response = await library.client.post("/api/assets", data=form)
    assert response.status == 201, await response.text()
    return str((await response.json())["id"])


@pytest.mark.parametrize("command", ["scan", "prune"])
async def test_temporary_uploads_are_there_until_they_are_not(library: Any, command: str) -> None:
    """The temporary folder is not walked, and servers remove it as a whole."""

    async def look() -> None:
        if command == "scan":
            await library.scan()
        else:
            await library.services.indexer.prune()

    await upload(library, "a.txt", "temp")
    await upload(library, "b.txt", "temp")
    await look()
    assert await missing(library) == set()
    (library.base / "temp/a.txt").unlink()
    await look()
    assert await missing(library) == {"a.txt"}
    shutil.rmtree(library.base / "temp")
    await look()
    assert await missing(library) == {"a.txt", "b.txt"}


async def test_a_file_of_ours_that_goes_before_any_scan_has_seen_it(library: Any) -> None:
    """Its folder is then as it was when it was last listed, but the store says of one file more."""
    library.write("input/old.txt")
    await library.scan()
    await upload(library, "new.txt", "input")
    (library.base / "input/new.txt").unlink()
    await library.scan()
    assert await missing(library) == {"new.txt"}
