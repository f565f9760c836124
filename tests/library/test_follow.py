"""What happens on the disk shows in the library by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from blake3 import blake3
from comfy_assets_node.comfy_assets import app
from comfy_assets_node.comfy_assets.assets.index import hash_run, watcher
from comfy_assets_node.comfy_assets.assets.index.walker import DirectoryCache, DirectoryChanges
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt
from support.windows import allowed_s, symbolic_links

LORA = "models/loras/style.safetensors"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in less time."""
    for name, seconds in {"TICK_S": 0.02, "POLL_S": 0.1, "LONGEST_REST_S": 0.1}.items():
        monkeypatch.setattr(watcher, name, seconds)
    monkeypatch.setattr(watcher, "STABLE_S", 0.2)
    monkeypatch.setattr(watcher, "REMOVAL_S", allowed_s(0.5))


@pytest.fixture(params=["watched", pytest.param("polled", marks=pytest.mark.slow)])
async def followed(
    request: pytest.FixtureRequest, make_library: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Awaitable[Any]]:
    """Open a library that is followed, with what has been written into it before; with and without watchfiles."""
    if request.param == "polled":
        monkeypatch.setattr(watcher, "load_backend", lambda: None)
    else:
        pytest.importorskip("watchfiles")

    async def open_library() -> Any:
        library = await make_library(Config(idle_thumbnails=False))
        library.polls = 0
        real = library.services.indexer.scanner.directory_changes

        async def differences(token: Any) -> Any:
            library.polls += 1
            return await real(token)

        monkeypatch.setattr(library.services.indexer.scanner, "directory_changes", differences)
        await library.services.indexer.scanner.completed.wait()
        await library.services.indexer.finish()
        library.host.events.clear()
        return library

    return open_library


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = allowed_s(30)) -> Any:
    """Wait until the condition holds; answers what it answered."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "that did not come to pass"
        await asyncio.sleep(0.02)
    return found


async def listed(library: Any) -> dict[str, list[str]]:
    return {a["file_path"]: a["tags"] for a in await library.assets()}


def write(base: Path, relative: str, content: bytes = b"content") -> Path:
    path = base / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Steady:
    """PathState all the time whether anything is missing that must not be, or is there twice."""

    def __init__(self, library: Any, most: int) -> None:
        self._library, self._most = library, most
        self.seen: set[tuple[str, ...]] = set()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            assets = await self._library.assets()
            self.seen.add(tuple(sorted(a["id"] for a in assets)))
            assert not any("missing" in a["tags"] for a in assets)
            assert len(assets) <= self._most
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Raises AssertionError if that has been so at any time."""
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        if not self._looking.cancelled():
            self._looking.result()


async def test_a_new_file(followed: Any) -> None:
    library = await followed()
    library.write("output/a.png", b"a")
    library.write("models/loras/deep/er/b.safetensors", b"b")
    await until(lambda: _has(library, "output/a.png", "models/loras/deep/er/b.safetensors"))
    await until(lambda: _read(library, "b.safetensors"))
    [asset] = [a for a in await library.assets() if a["name"] == "b.safetensors"]
    assert asset["tags"] == ["models", "loras", "model_type:loras"]
    assert await _created_are(library, 2)
    assert {e.type for e in library.host.events} == {"assets.changed"}


async def _has(library: Any, *paths: str) -> bool:
    return set(paths) <= set(await listed(library))


async def _read(library: Any, name: str) -> Any:
    return any(a["name"] == name and a.get("hash") for a in await library.assets())


async def test_a_changed_file(followed: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is written over in place shows in no folder's time: where nobody tells of it, a sweep finds it."""
    if "polled" in request.node.callspec.id:
        monkeypatch.setattr(watcher, "SWEEP_S", 0.5)
    library = await followed()
    write(library.base, "output/a.png", b"a")
    await until(lambda: _read(library, "a.png"))
    before = await library.asset("a.png")
    write(library.base, "output/a.png", b"other content")
    await until(lambda: _hash_other_than(library, before["hash"]))
    after = await library.asset("a.png")
    assert (after["id"], after["size"]) == (before["id"], 13)


async def _hash_other_than(library: Any, former: str) -> bool:
    return (await library.asset("a.png")).get("hash", former) != former


MOVES = {
    "renamed": ("models/loras/renamed.safetensors", ["models", "loras", "model_type:loras"]),
    "into a new folder": ("models/loras/a/b/style.safetensors", ["models", "loras", "model_type:loras"]),
    "into another root": ("output/style.safetensors", ["output"]),
    "to another category": ("models/checkpoints/x.ckpt", ["models", "checkpoints", "model_type:checkpoints"]),
}


@pytest.mark.parametrize("kind", MOVES)
async def test_a_move_is_never_seen_as_missing(followed: Any, annotate: Any, kind: str) -> None:
    target, tags = MOVES[kind]
    library = await opened_with(followed, LORA)
    asset_id = await annotate(library, "style.safetensors", "mine", metadata='{"note": 1}')
    before = await library.asset("style.safetensors")
    steady = Steady(library, most=1)
    path = library.base / target
    path.parent.mkdir(parents=True, exist_ok=True)
    (library.base / LORA).rename(path)
    await until(lambda: _has(library, target))
    await steady.end()
    [after] = await library.assets()
    assert (after["id"], after["tags"], after["user_metadata"]) == (asset_id, [*tags, "mine"], {"note": 1})
    assert (after["hash"], after["created_at"]) == (before["hash"], before["created_at"])
    assert steady.seen == {(asset_id,)}


async def opened_with(followed: Any, *paths: str) -> Any:
    library = await followed()
    for path in paths:
        write(library.base, path, path.encode())
    await until(lambda: _has(library, *paths))
    for path in paths:
        await until(lambda path=path: _read(library, path.rpartition("/")[2]))
    library.host.events.clear()
    return library


async def test_a_move_to_another_drive_is_a_move(followed: Any, annotate: Any) -> None:
    """There it is another file, of the same name, size and time; what it holds is read once more."""
    library = await opened_with(followed, LORA)
    asset_id = await annotate(library, "style.safetensors", "mine")
    steady = Steady(library, most=1)
    target = library.base / "models/checkpoints/style.safetensors"
    shutil.copy2(library.base / LORA, target)
    (library.base / LORA).unlink()
    await until(lambda: _has(library, "models/checkpoints/style.safetensors"))
    await steady.end()
    assert steady.seen == {(asset_id,)}


async def test_a_renamed_folder(followed: Any, annotate: Any) -> None:
    paths = [f"output/old/{number % 3}/{number}.png" for number in range(12)]
    library = await opened_with(followed, *paths)
    await annotate(library, "7.png", "mine")
    ids = {a["name"]: a["id"] for a in await library.assets()}
    steady = Steady(library, most=12)
    (library.base / "output/old").rename(library.base / "input/new")
    await until(lambda: _has(library, *(path.replace("output/old", "input/new") for path in paths)))
    await steady.end()
    assert {a["name"]: a["id"] for a in await library.assets()} == ids
    assert (await library.asset("7.png"))["tags"] == ["input", "mine"]
    assert steady.seen == {tuple(sorted(ids.values()))}


ONE_AFTER_THE_OTHER = {"output/3": "output/4", "output/2": "output/3", "output/1": "output/2"}
ROUND = {"output/1": "output/x", "output/2": "output/1", "output/x": "output/2"}


@pytest.mark.parametrize("moves", [ONE_AFTER_THE_OTHER, ROUND], ids=["one after the other", "exchanged"])
@pytest.mark.parametrize("what", ["folders", "files"])
async def test_files_that_take_the_places_of_others(followed: Any, moves: dict[str, str], what: str) -> None:
    """Names in folders that are numbered recur in each: none is taken for another."""
    name = "/a.png" if what == "folders" else ".png"
    library = await opened_with(followed, *(f"output/{number}{name}" for number in (1, 2, 3)))
    ids = {a["file_path"]: a["id"] for a in await library.assets()}
    for source, target in moves.items():
        suffix = "" if what == "folders" else ".png"
        (library.base / f"{source}{suffix}").rename(library.base / f"{target}{suffix}")
        ids[f"{target}{name}"] = ids.pop(f"{source}{name}")
    await until(lambda: _ids_are(library, ids))
    await until(lambda: _all_read(library))
    for asset in await library.assets():
        assert asset["hash"] == f"blake3:{blake3((library.base / asset['file_path']).read_bytes()).hexdigest()}"


@pytest.mark.slow
@pytest.mark.parametrize("with_times", [True, False])
async def test_equal_files_that_are_copied_and_removed(followed: Any, with_times: bool) -> None:
    """As a folder is brought to another drive: each is known again by where it lay."""
    library = await followed()
    paths = ["output/t/b/x.png", "output/t/a/x.png", "output/t/x.png", "output/t/a/y.png"]
    for path in paths:
        write(library.base, path, b"equal")
        await until(lambda path=path: _has(library, path))
    await until(lambda: _all_read(library))
    ids = {a["file_path"].replace("output/t", "input/deep/t"): a["id"] for a in await library.assets()}
    copy = shutil.copy2 if with_times else shutil.copyfile
    shutil.copytree(library.base / "output/t", library.base / "input/deep/t", copy_function=copy)
    shutil.rmtree(library.base / "output/t")
    await until(lambda: _ids_are(library, ids))


async def _ids_are(library: Any, ids: dict[str, str]) -> bool:
    assets = await library.assets()
    return {a["file_path"]: a["id"] for a in assets if "missing" not in a["tags"]} == ids and len(assets) == len(ids)


async def test_a_removed_file_and_its_return(followed: Any, annotate: Any) -> None:
    library = await opened_with(followed, "output/a.png", "output/sub/b.png")
    asset_id = await annotate(library, "a.png", "mine", metadata='{"note": 1}')
    before = await library.assets()
    (library.base / "output/a.png").rename(library.base / "a")
    (library.base / "output/sub").rename(library.base / "sub")
    await until(lambda: _missing_are(library, "a.png", "b.png"))
    (library.base / "a").rename(library.base / "output/a.png")
    (library.base / "sub").rename(library.base / "output/sub")
    await until(lambda: _missing_are(library))
    assert await library.assets() == before
    assert (await library.asset("a.png"))["id"] == asset_id


async def _missing_are(library: Any, *names: str) -> bool:
    return {a["name"] for a in await library.assets(include_tags="missing")} == set(names)


@pytest.mark.slow
async def test_one_of_two_identical_files_disappears(followed: Any, annotate: Any) -> None:
    """The asset of the one keeps what it has, and the other is as it was."""
    library = await opened_with(followed, "output/a.png")
    write(library.base, "output/b.png", b"output/a.png")
    await until(lambda: _read(library, "b.png"))
    asset_id = await annotate(library, "a.png", "mine", metadata='{"note": 1}')
    other_id = await annotate(library, "b.png", "other")
    (library.base / "output/a.png").unlink()
    await until(lambda: _missing_are(library, "a.png"))
    gone, other = await library.asset("a.png"), await library.asset("b.png")
    assert (gone["id"], gone["user_metadata"]) == (asset_id, {"note": 1})
    assert set(gone["tags"]) == {"output", "missing", "mine"}
    assert (other["id"], other["tags"], other["hash"]) == (other_id, ["output", "other"], gone["hash"])


@pytest.mark.slow
@pytest.mark.parametrize("leaves_mount_point", [True, False])
async def test_a_drive_that_is_unplugged_and_comes_back(followed: Any, annotate: Any, leaves_mount_point: bool) -> None:
    library = await opened_with(followed, "output/a.png", "output/deep/er/b.png", "input/c.png")
    for name in ("a.png", "b.png"):
        await annotate(library, name, "mine", metadata='{"note": 1}')
    before = await library.assets()
    output, away = library.base / "output", library.base / "away"
    output.rename(away)
    if leaves_mount_point:
        output.mkdir()
        await until(lambda: _missing_are(library, "a.png", "b.png"))
        assert {frozenset(a["tags"]) for a in await library.assets(include_tags="missing")} == {
            frozenset({"output", "missing", "mine"})
        }
        output.rename(library.base / "mount point")
    else:
        write(library.base, "input/meanwhile.png")
        await until(lambda: _has(library, "input/meanwhile.png"))
        await poll(library)
        assert await _missing_are(library)
        before = await library.assets()
    away.rename(output)
    write(library.base, "output/deep/er/new.png")
    await until(lambda: _has(library, "output/deep/er/new.png"))
    await until(lambda: _missing_are(library))
    assert without_copies(a for a in await library.assets() if a["name"] != "new.png") == without_copies(before)


def without_copies(assets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The assets without the number of files with their content, which another file changes."""
    return [{key: value for key, value in asset.items() if key != "copies"} for asset in assets]


async def poll(library: Any) -> None:
    """Wait until the folders have been looked at from now on, and what was found then has settled and been taken in."""
    for _ in range(5):
        before = library.polls
        await until(lambda before=before: _polled_after(library, before))


async def _polled_after(library: Any, before: int) -> bool:
    return library.polls > before


async def test_a_root_that_appears_later(followed: Any, tmp_path: Path) -> None:
    library = await followed()
    (library.base / "input").rmdir()
    await poll(library)
    write(library.base, "input/sub/a.png")
    await until(lambda: _has(library, "input/sub/a.png"))
    write(library.base, "input/sub/b.png")
    await until(lambda: _has(library, "input/sub/b.png"))


@pytest.mark.slow
@symbolic_links
async def test_a_linked_folder(followed: Any, tmp_path: Path) -> None:
    """Changes are told of under either path; scans list a folder under one of them."""
    write(tmp_path, "drive/a.safetensors")
    library = await followed()
    (library.base / "models/loras/link").symlink_to(tmp_path / "drive")
    await until(lambda: _has(library, "models/loras/link/a.safetensors"))
    await poll(library)
    write(tmp_path, "drive/b.safetensors", b"b")
    write(tmp_path, "drive/sub/c.safetensors", b"c")
    await until(lambda: _has(library, *(f"models/loras/link/{name}.safetensors" for name in ("b", "sub/c"))))
    (library.base / "models/loras/again").symlink_to(library.base / "models/loras/link")
    (library.base / "models/loras/link/d.safetensors").write_bytes(b"d")
    await until(lambda: _has(library, "models/loras/link/d.safetensors"))
    await poll(library)
    assert len(await library.assets()) == 4
    (tmp_path / "drive").rename(tmp_path / "away")
    await poll(library)
    assert await _missing_are(library)
    (tmp_path / "away").rename(tmp_path / "drive")
    write(tmp_path, "drive/sub/e.safetensors", b"e")
    await until(lambda: _has(library, "models/loras/link/sub/e.safetensors"))
    assert len(await library.assets()) == 5


async def test_a_file_that_is_still_written_is_left_alone(followed: Any) -> None:
    library = await followed()
    path = write(library.base, "output/big.bin", b"")
    with path.open("ab", buffering=0) as stream:
        for _ in range(40):
            stream.write(b"x" * 1000)
            assert await library.assets() == []
            await asyncio.sleep(0.02)
    [asset] = await until(library.assets)
    assert asset["size"] == 40_000
    await until(lambda: _read(library, "big.bin"))
    assert library.host.events[0].data == {"created": 1}


async def test_what_is_no_part_of_the_library(followed: Any) -> None:
    library = await followed()
    for path in ("output/.hidden/a.png", "output/b.png.part", "user/c.png", "temp/d.png", "output/.e.png"):
        write(library.base, path)
    write(library.base, "output/f.png")
    await until(lambda: _has(library, "output/f.png"))
    await poll(library)
    assert list(await listed(library)) == ["output/f.png"]


async def test_a_burst_is_taken_in_together(followed: Any) -> None:
    library = await followed()
    (library.base / "output/many").mkdir()
    for number in range(1500):
        (library.base / f"output/many/{number}.png").write_bytes(b"%d" % number)
    await until(lambda: _created_are(library, 1500))
    assert (await library.get("/api/assets", params={"limit": "1"}))["total"] == 1500
    assert len([e for e in library.host.events if "created" in e.data]) <= 4
    await library.services.indexer.finish()


async def _created_are(library: Any, count: int) -> bool:
    return sum(e.data.get("created", 0) for e in library.host.events) == count


async def test_uploads_and_outputs_are_entered_once(followed: Any) -> None:
    """They are in the store with what is known of them before anybody tells of them."""
    library = await followed()
    for number in range(20):
        form = FormData({"tags": '["input"]'})
        form.add_field("file", b"%d" % number, filename=f"{number}.txt")
        response = await library.client.post("/api/assets", data=form)
        assert response.status == 201, await response.text()
    outputs = {"1": {"images": [{"filename": f"{n}.png", "subfolder": "", "type": "output"} for n in range(20)]}}
    for number in range(20):
        write(library.base, f"output/{number}.png", b"output %d" % number)
    library.services.outputs.record(FinishedPrompt("job", outputs))
    await library.services.outputs.drain()
    before = await library.assets()
    assert len(before) == 40
    library.host.events.clear()
    write(library.base, "output/last.png")
    await until(lambda: _read(library, "last.png"))
    await poll(library)
    assert [a for a in await library.assets() if a["name"] != "last.png"] == before
    assert [e.data for e in library.host.events] == [{"created": 1}, {"hashed": 1}]


async def test_nothing_is_done_while_a_prompt_executes(followed: Any) -> None:
    library = await followed()
    library.host.is_busy = True
    write(library.base, "output/a.png")
    await asyncio.sleep(1)
    assert await library.assets() == []
    library.host.is_busy = False
    await until(lambda: _has(library, "output/a.png"))


@pytest.mark.parametrize("config", [Config(follow=False), Config(scan_on_start=False)])
async def test_following_can_be_turned_off(make_library: Any, config: Config) -> None:
    library = await make_library(config)
    assert library.services.tasks.latest(watcher.FOLLOW) is None


async def test_no_thread_stays_behind(followed: Any) -> None:
    library = await followed()
    await poll(library)
    began = time.monotonic()
    await library.services.stop()
    assert time.monotonic() - began < 5  # less than what it waits for by itself
    assert [t.name for t in threading.enumerate() if "comfy-assets-watch" in t.name] == []


async def test_what_fails_is_tried_again(followed: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(watcher, "RETRY_S", 0.3)
    library = await followed()
    scanner = library.services.indexer.scanner
    real = scanner.scan_scope
    failures = iter([sqlite3.OperationalError("database is locked")] * 2)

    async def look(*arguments: Any) -> Any:
        for failure in failures:
            raise failure
        return await real(*arguments)

    monkeypatch.setattr(scanner, "scan_scope", look)
    write(library.base, "output/a.png")
    await until(lambda: _has(library, "output/a.png"))
    assert "database is locked" in caplog.text


async def test_what_could_not_be_heard_is_found_by_looking_at_everything(
    make_library: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storm of events: more has happened than could be told, and the folders' times do not show it."""
    monkeypatch.setattr(DirectoryCache, "changes", lambda *_: DirectoryChanges())
    missed: list[bool] = []
    monkeypatch.setattr(watcher.WatchSet, "drain", lambda self: ({}, bool(missed and missed.pop())))
    library = await make_library(Config())
    await until(lambda: _has_polled(library))
    write(library.base, "output/a.png")
    await asyncio.sleep(0.5)
    assert await library.assets() == []
    missed.append(True)
    await until(lambda: _has(library, "output/a.png"))


async def _has_polled(library: Any) -> bool:
    return bool(library.services.tasks.latest(watcher.FOLLOW).result)


async def test_the_log_says_when_folders_are_looked_at_instead(
    make_library: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(watcher, "load_backend", lambda: None)
    library = await make_library(Config())
    await until(lambda: _is_logged(caplog))
    write(library.base, "output/a.png")
    await until(lambda: _has(library, "output/a.png"))
    assert len([r for r in caplog.records if "watchfiles" in r.getMessage()]) == 1


async def _is_logged(caplog: pytest.LogCaptureFixture) -> bool:
    return "The watchfiles package is not installed" in caplog.text


async def test_a_file_that_is_renamed_while_it_is_read(followed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library = await followed()
    real = hash_run.read_file

    def read_file(file: Any, *rest: Any) -> Any:
        """The first time, the file gets another name meanwhile."""
        if file.name == "a.bin":
            (library.base / "output/a.bin").rename(library.base / "output/b.bin")
        return real(file, *rest)

    monkeypatch.setattr(hash_run, "read_file", read_file)
    steady = Steady(library, most=1)
    write(library.base, "output/a.bin")
    await until(lambda: _read(library, "b.bin"))
    await steady.end()
    assert steady.seen == {(), ((await library.asset("b.bin"))["id"],)}


@symbolic_links
async def test_what_happens_behind_links_into_excluded_folders_is_nobodys_business(followed: Any) -> None:
    library = await followed()
    write(library.base, "user/default/old.json")
    (library.base / "output/link").symlink_to(library.base / "user")
    await poll(library)
    write(library.base, "user/default/new.json")
    write(library.base, "user/top.json")
    write(library.base, "output/a.png")
    await until(lambda: _has(library, "output/a.png"))
    await poll(library)
    assert list(await listed(library)) == ["output/a.png"]


@symbolic_links
async def test_a_new_folder_that_is_come_by_on_two_ways(followed: Any) -> None:
    library = await followed()
    (library.base / "output/real").mkdir()
    (library.base / "output/a link").symlink_to(library.base / "output/real")
    await poll(library)
    write(library.base, "output/real/new/deep/a.png")
    await until(lambda: _has(library, "output/real/new/deep/a.png"))
    await poll(library)
    assert list(await listed(library)) == ["output/real/new/deep/a.png"]


@pytest.mark.slow
async def test_a_copy_of_what_lies_on_an_unplugged_drive_is_not_taken_for_it(followed: Any, annotate: Any) -> None:
    library = await opened_with(followed, "output/a.png")
    await annotate(library, "a.png", "mine")
    before = await library.assets()
    away = (library.base / "output").rename(library.base / "away")
    await poll(library)
    shutil.copy2(away / "a.png", library.base / "input/a.png")
    await until(lambda: _has(library, "input/a.png"))
    away.rename(library.base / "output")
    await poll(library)
    found = without_copies(a for a in await library.assets() if a["file_path"] == "output/a.png")
    assert found == without_copies(before)
    assert len(await library.assets()) == 2


async def test_one_of_several_that_look_alike_is_only_told_by_what_it_holds(followed: Any, annotate: Any) -> None:
    """Here by its name; of two that it can have been, none is taken before it has been read."""
    library = await followed()
    paths = [write(library.base, f"models/loras/{folder}/x.safetensors", folder.encode()) for folder in "ab"]
    for path in paths:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    await until(lambda: _has(library, "models/loras/a/x.safetensors", "models/loras/b/x.safetensors"))
    await until(lambda: _all_read(library))
    ids = {a["file_path"]: a["id"] for a in await library.assets()}
    shutil.copy2(paths[1], library.base / "models/checkpoints/x.safetensors")
    for path in paths:
        path.unlink()
    await until(lambda: _missing_are(library, "x.safetensors"))
    await until(lambda: _has(library, "models/checkpoints/x.safetensors"))
    await until(lambda: _id_is(library, "models/checkpoints/x.safetensors", ids["models/loras/b/x.safetensors"]))


async def test_a_copy_of_which_the_original_goes_is_the_original(followed: Any, annotate: Any) -> None:
    """Also when the copy has another name and time, and has been read before the original goes."""
    library = await opened_with(followed, "output/a.png")
    asset_id = await annotate(library, "a.png", "mine")
    shutil.copyfile(library.base / "output/a.png", library.base / "input/b.png")
    await until(lambda: _read(library, "b.png"))
    (library.base / "output/a.png").unlink()
    await until(lambda: _id_is(library, "input/b.png", asset_id))
    [asset] = await library.assets()
    assert asset["tags"] == ["input", "mine"]


async def _all_read(library: Any) -> bool:
    return all(a.get("hash") for a in await library.assets())


async def _id_is(library: Any, path: str, asset_id: str) -> bool:
    return [a["id"] for a in await library.assets() if a["file_path"] == path] == [asset_id]


async def test_a_store_that_is_locked_at_the_start_is_scanned_and_followed_later(
    make_library: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = await make_library(Config(scan_on_start=False))
    monkeypatch.setattr(app, "_TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(library.services.db, "patience_s", 0.05)
    monkeypatch.setattr(library.services, "config", Config())
    library.write("output/a.bin", b"a")
    store = library.host.data_directory() / "library.db"
    with closing(sqlite3.connect(store, isolation_level=None, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        await library.services.start_indexing()
        await asyncio.sleep(0.5)
        other.execute("ROLLBACK")

    async def is_listed(name: str) -> None:
        while not (await library.get(f"/api/assets?name_contains={name}"))["assets"]:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(is_listed("a.bin"), 20)
    library.write("output/b.bin", b"b")
    await asyncio.wait_for(is_listed("b.bin"), 20)
