"""Names, volumes and events of macOS, emulated: composed and decomposed letters, case, resource forks, FSEvents."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from comfy_assets_node.comfy_assets.assets.index import watcher
from comfy_assets_node.comfy_assets.assets.index.scanner import ScanScope
from comfy_assets_node.comfy_assets.background.interruption import CancelToken
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.names import folded
from support.files import picture
from support.folding_volume import FoldingVolume

pytestmark = pytest.mark.skipif(
    os.name == "nt" or sys.version_info < (3, 11),
    reason="emulates volumes of macOS by functions of POSIX that pathlib of Python 3.10 has copies of",
)

CAFE, DECOMPOSED = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))


@pytest.fixture(params=["keeps", "decomposes"])
async def volume(request: pytest.FixtureRequest, library: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library on a volume that keeps names (APFS), and on one that decomposes them (HFS+)."""
    FoldingVolume(library.base, monkeypatch, decomposes=request.param == "decomposes")
    return library


async def upload(library: Any, name: str, content: bytes, *tags: str) -> dict[str, Any]:
    form = FormData()
    form.add_field("tags", '["input", "mine"]')
    form.add_field("file", content, filename=name, content_type="image/png")
    response = await library.client.post("/api/assets", data=form)
    assert response.status == 201, await response.text()
    return dict(await response.json())


def composed(assets: list[dict[str, Any]]) -> list[str]:
    return sorted(unicodedata.normalize("NFC", asset["file_path"]) for asset in assets)


async def rename(library: Any, asset: dict[str, Any], name: str) -> dict[str, Any]:
    response = await library.client.put(f"/api/assets/{asset['id']}", json={"name": name, "rename_file": True})
    assert response.status == 200, await response.text()
    return dict(await response.json())


async def test_decomposed_names_are_found_by_composed_ones(library: Any) -> None:
    """Files that were copied from a Mac keep their names, which loaders list; what people type finds them."""
    path = f"output/{DECOMPOSED}/{DECOMPOSED}.png"
    library.write(path, picture(1))
    await library.scan()
    (asset,) = await library.assets()
    assert asset["file_path"] == path
    for query in ({"folder": f"output/{CAFE}"}, {"name_contains": CAFE.upper()}, {"q": CAFE}):
        assert [each["id"] for each in await library.assets(**query)] == [asset["id"]], query
    assert (await library.client.get(f"/api/assets/{asset['id']}/content")).status == 200


@pytest.mark.parametrize("content", [b"", picture(1)], ids=["empty", "read"])
@pytest.mark.parametrize(("before", "after"), [(DECOMPOSED, CAFE), (CAFE, DECOMPOSED)])
async def test_a_copy_whose_names_are_composed_otherwise(
    library: Any, annotate: Any, before: str, after: str, content: bytes
) -> None:
    """A library that is copied from HFS+ to another disk, which changes inodes and the composition of names."""
    old = library.write(f"output/{before}/{before}.png", content)
    await library.scan()
    (former,) = await library.assets()
    await annotate(library, former["name"], "mine")
    shutil.copytree(old.parent, library.base / "output" / after, copy_function=_copy_composed(after))
    shutil.rmtree(old.parent)
    await library.scan()
    (found,) = await library.assets()
    assert (found["id"], found["file_path"]) == (former["id"], f"output/{after}/{after}.png")
    assert "mine" in found["tags"] and "missing" not in found["tags"]


def _copy_composed(name: str) -> Callable[[str, str], object]:
    def copy(source: str, target: str) -> object:
        return shutil.copy2(source, Path(target).with_name(f"{name}.png"))

    return copy


async def test_an_upload_is_one_asset_however_the_volume_spells_it(volume: Any) -> None:
    asset = await upload(volume, f"{CAFE}.png", picture(1))
    for _ in range(2):
        await volume.scan()
        (found,) = await volume.assets()
        assert (found["id"], composed([found])) == (asset["id"], [f"input/{CAFE}.png"])
        assert "mine" in found["tags"] and "missing" not in found["tags"]


async def test_an_upload_replaces_no_file_of_another_spelling(volume: Any) -> None:
    taken = volume.write(f"input/{DECOMPOSED}.png", picture(1))
    other = await upload(volume, f"{CAFE.upper()}.PNG", picture(2))
    assert other["name"] == f"{CAFE.upper()} (1).PNG"
    assert taken.read_bytes() == picture(1)
    await volume.scan()
    assert composed(await volume.assets()) == [f"input/{CAFE.upper()} (1).PNG", f"input/{CAFE}.png"]


@pytest.mark.parametrize("name", [f"{CAFE.upper()}.png", f"{CAFE}.png", "other.png"])
async def test_a_file_gets_a_name_of_another_spelling(volume: Any, name: str) -> None:
    volume.write(f"output/{DECOMPOSED}.png", picture(1))
    await volume.scan()
    (asset,) = await volume.assets()
    changed = await rename(volume, asset, name)
    assert (changed["id"], changed["name"]) == (asset["id"], name)
    await volume.scan()
    (found,) = await volume.assets()
    assert found["id"] == asset["id"] and composed([found]) == [f"output/{name}"]


async def test_what_is_restored_replaces_no_file_of_another_spelling(volume: Any) -> None:
    asset = await upload(volume, f"{CAFE}.png", picture(1))
    assert (await volume.client.delete(f"/api/assets/{asset['id']}")).status == 204
    there = volume.write(f"input/{DECOMPOSED}.png", picture(2))
    response = await volume.client.post(f"/api/trash/{asset['id']}/restore")
    assert response.status == 200, await response.text()
    assert there.read_bytes() == picture(2)
    await volume.scan()
    assert composed(await volume.assets()) == [f"input/{CAFE} (1).png", f"input/{CAFE}.png"]


async def test_a_base_directory_that_is_typed_in_other_case(make_library: Any, tmp_path: Path, annotate: Any) -> None:
    """Both spellings lead to the folder, as a link does."""
    real = tmp_path / "ComfyUI"
    (tmp_path / "comfyui").symlink_to(real)
    first = await make_library(base=real)
    first.write("output/a.png", picture(1))
    first.write("models/loras/b.safetensors", b"b")
    await first.scan()
    ids = {asset["name"]: asset["id"] for asset in await first.assets()}
    await annotate(first, "a.png", "mine")
    await first.services.stop()
    again = await make_library(base=tmp_path / "comfyui")
    await again.scan()
    found = await again.assets()
    assert {asset["name"]: asset["id"] for asset in found} == ids and len(found) == 2
    assert "mine" in next(asset["tags"] for asset in found if asset["name"] == "a.png")
    assert not any("missing" in asset["tags"] for asset in found)


def common_path_of_windows(paths: Sequence[str]) -> str:
    """Return the common path as ``ntpath.commonpath`` does: names are equal in any case."""
    first, second = (Path(path).parts for path in paths)
    pairs = itertools.takewhile(lambda pair: folded(pair[0]) == folded(pair[1]), zip(first, second, strict=False))
    return str(Path(*(name for name, _ in pairs)))


@pytest.mark.parametrize("how", ["told of", "told of on Windows", "told of a file in it", "polled", "scanned"])
@pytest.mark.parametrize("name", ["SUB DIR", CAFE.upper()])
async def test_a_folder_changes_in_case_alone(
    library: Any, monkeypatch: pytest.MonkeyPatch, annotate: Any, how: str, name: str
) -> None:
    """Its former spelling still leads to it, but it is no other folder, and what lay in that is not there twice."""
    FoldingVolume(library.base, monkeypatch)
    if how == "told of on Windows":
        monkeypatch.setattr(os.path, "commonpath", common_path_of_windows)
    scanner = library.services.indexer.scanner
    old, new = library.base / "output" / name.lower(), library.base / "output" / name
    for path in ("a.png", "deep/er/b.png"):
        library.write(f"output/{old.name}/{path}", path.encode())
    library.write("output/c.png", b"c")
    os.utime(library.base / "output", (1_600_000_000, 1_600_000_000))
    await library.scan()
    await annotate(library, "b.png", "mine")
    ids = {asset["name"]: asset["id"] for asset in await library.assets()}
    old.rename(new)
    scope = ScanScope()
    if how == "polled":
        changes = await scanner.directory_changes(CancelToken())
        scope.folders.update(dict.fromkeys(changes.folders))
    told_of = {"told of a file in it": (new / "a.png",), "polled": ()}
    for path in told_of.get(how, (old, new)):
        scope.add(str(path))
    if how == "scanned":
        await library.scan()
    else:
        progress = await scanner.scan_scope(scope, lambda *_: True, CancelToken())
        assert (progress.problems, progress.missing) == (0, 0)
    assert {asset["file_path"]: asset["id"] for asset in await library.assets()} == {
        f"output/{name}/a.png": ids["a.png"],
        f"output/{name}/deep/er/b.png": ids["b.png"],
        "output/c.png": ids["c.png"],
    }
    assert (await library.asset("b.png"))["tags"] == ["output", "mine"]
    assert scanner._cache.below(str(old)) == []


async def test_litter_of_macos_is_no_asset(library: Any) -> None:
    library.write("output/a.png", picture(1))
    for name in (
        *("output/._a.png", "output/.DS_Store", "output/Icon\r", "output/.localized", "models/loras/._x.safetensors"),
        *("output/.Spotlight-V100/store.db", "output/.Trashes/501/b.png", "output/.fseventsd/0001"),
        *("output/.TemporaryItems/c.png", "output/.DocumentRevisions-V100/d.png", "input/__MACOSX/._e.png"),
        *("input/.AppleDouble/f.png", "input/Network Trash Folder/g.png", "input/h.png.download/Info.plist"),
    ):
        library.write(name, b"\0\5\26\7\0\2\0\0Mac OS X        ")
    status = await library.scan()
    assert [asset["file_path"] for asset in await library.assets()] == ["output/a.png"]
    assert (status["errors"], status["problems"]) == ([], 0)


class Events:
    """A backend that reports what it is told to, as FSEvents may: to the watch of the folder, in whatever spelling."""

    def __init__(self) -> None:
        self.waiting: set[tuple[int, str]] = set()
        self._lock = threading.Lock()

    def __call__(self, places: Sequence[str], *_: Any) -> _Watch:
        return _Watch(self, folded(places[0]))

    def take(self, place: str) -> set[tuple[int, str]]:
        """Return the events of a folder, which is given folded, and forget them."""
        with self._lock:
            told = {event for event in self.waiting if folded(event[1]).startswith(place)}
            self.waiting = self.waiting - told
        return told


class _Watch:
    """The watch of one folder."""

    def __init__(self, events: Events, place: str) -> None:
        self._events = events
        self._place = place

    def watch(self, _longest: int, step_ms: int, _timeout: int, stop: Any) -> set[tuple[int, str]] | str:
        while not (told := self._events.take(self._place)):
            if stop.is_set():
                return "stop"
            time.sleep(step_ms / 1000)
        return told

    def close(self) -> None:
        """Nothing is open."""


ADDED, MODIFIED, REMOVED = 1, 2, 3


@pytest.fixture
async def fsevents(
    make_library: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> tuple[Any, Events]:
    """A library that is followed by events alone: nothing is polled. The test tells the events."""
    events = Events()
    for name, value in {"TICK_S": 0.02, "LONGEST_REST_S": 0.1, "STABLE_S": 0.2, "REMOVAL_S": 0.3}.items():
        monkeypatch.setattr(watcher, name, value)
    monkeypatch.setattr(watcher, "HAS_FSEVENTS", True)
    monkeypatch.setattr(watcher, "load_backend", lambda: events)
    library = await make_library(Config(idle_thumbnails=False))
    await library.services.indexer.scanner.completed.wait()
    await until(lambda: bool(library.services.tasks.latest(watcher.FOLLOW).result))

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(library.services.indexer.scanner, "directory_changes", nothing)
    return library, events


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if (await found) if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def _paths_are(library: Any, *expected: str) -> bool:
    return [asset["file_path"] for asset in await library.assets(sort="name", order="asc")] == list(expected)


async def test_an_event_of_a_folder_stands_for_all_in_it(fsevents: tuple[Any, Events]) -> None:
    library, events = fsevents
    library.write("output/sub/a.png", picture(1))
    events.waiting = {(ADDED, str(library.base / "output/sub"))}
    await until(lambda: _is_read(library, "a.png"))
    former = (await library.asset("a.png"))["hash"]
    library.write("output/sub/b.png", picture(2))
    (library.base / "output/sub/a.png").write_bytes(picture(3))
    events.waiting = {(MODIFIED, str(library.base / "output/sub"))}
    await until(lambda: _paths_are(library, "output/sub/a.png", "output/sub/b.png"))

    await until(lambda: _is_read(library, "a.png", former))


async def _is_read(library: Any, name: str, former: str | None = None) -> bool:
    hashes = [asset.get("hash") for asset in await library.assets() if asset["name"] == name]
    return len(hashes) == 1 and hashes[0] not in (None, former)


async def test_events_that_are_joined(fsevents: tuple[Any, Events]) -> None:
    """One path was created, changed and removed, and another one replaced: only the disk tells what is there."""
    library, events = fsevents
    gone, there = str(library.base / "output/gone.png"), library.write("output/there.png", picture(1))
    every = (ADDED, MODIFIED, REMOVED)
    events.waiting = {(kind, path) for kind in every for path in (gone, str(there))}
    await until(lambda: _paths_are(library, "output/there.png"))
    assert "missing" not in (await library.asset("there.png"))["tags"]


async def test_events_in_another_spelling(fsevents: tuple[Any, Events], monkeypatch: pytest.MonkeyPatch) -> None:
    library, events = fsevents
    FoldingVolume(library.base, monkeypatch)
    folder = library.base / "output" / CAFE
    library.write(f"output/{CAFE}/{CAFE}.png", picture(1))
    events.waiting = {(ADDED, str(folder))}
    await until(lambda: _paths_are(library, f"output/{CAFE}/{CAFE}.png"))
    former = (await library.asset(f"{CAFE}.png"))["id"]
    library.write(f"output/{CAFE}/{CAFE}.png", picture(2) + bytes(10))
    other = library.base.parent / library.base.name.upper() / "output" / DECOMPOSED / f"{DECOMPOSED}.png"
    events.waiting = {(MODIFIED, str(other))}

    async def is_read_again() -> bool:
        asset = await library.asset(f"{CAFE}.png")
        return "hash" in asset and asset["size"] == len(picture(2)) + 10

    await until(is_read_again)
    assert (await library.asset(f"{CAFE}.png"))["id"] == former
    assert await _paths_are(library, f"output/{CAFE}/{CAFE}.png")
