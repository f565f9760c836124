"""Phase two: every file is read once it has changed, never recorded wrongly, and work can stop at any point."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index import content_reader, hash_run, indexer, scanner
from comfy_assets_node.comfy_assets.db import files as file_rows
from comfy_assets_node.comfy_assets.fs.shared_files import FileHeldError
from comfy_assets_node.comfy_assets.models import Pending
from support.sharing import SharingViolation

OLD_NS = 1_600_000_000_123_456_789


def digest(content: bytes) -> str:
    return "blake3:" + blake3(content).hexdigest()


def at_hashing(library: Any, action: Callable[[], None]) -> None:
    """Do something once, at the moment when a scan has ended and hashing begins."""
    real = library.host.emit

    def emit(event: str, data: Any) -> None:
        real(event, data)
        if event == "assets.seed.fast_complete":
            library.host.emit = real
            action()

    library.host.emit = emit


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def rows_are_true(library: Any) -> None:
    """Every recorded hash is that of the file as it was when its row's size and time were noted."""
    rows = await library.services.db.fetch_all(
        "SELECT d.path, f.name, f.size, f.mtime_ns, f.state, c.hash FROM files f JOIN folders d ON d.id = f.folder_id"
        " JOIN assets a ON a.id = f.id LEFT JOIN contents c ON c.id = a.content_id"
    )
    for folder, name, size, mtime_ns, state, recorded in rows:
        assert (state == file_rows.HASHED) == (recorded is not None)
        path = Path(folder) / name
        if recorded is not None and path.exists() and path.stat().st_mtime_ns == mtime_ns:
            assert path.stat().st_size == size
            assert recorded == blake3(path.read_bytes()).digest(), name


SMALL, LARGE = b"s" * 1000, b"L" * (9 << 20)


@pytest.mark.parametrize(
    ("content", "step"), [(SMALL, 1), (LARGE, 1), (LARGE, 2)], ids=["small", "large", "large, half read"]
)
@pytest.mark.parametrize("age_s", [10, 1000], ids=["recent", "old"])  # recent files are not mapped into memory
def test_a_file_that_changed_while_it_was_read_gives_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, age_s: int, step: int
) -> None:
    """Its size stays the same, so that its time alone shows that parts of two contents were read."""
    monkeypatch.setattr(content_reader, "_SLICE", 4 << 20)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    mtime_ns = time.time_ns() // 1_000_000_000 * 1_000_000_000 - age_s * 1_000_000_000 + 123_456_700
    os.utime(path, ns=(mtime_ns, mtime_ns))
    file = Pending(1, str(tmp_path), path.name, len(content), path.stat().st_mtime_ns, file_rows.NEW)
    steps = iter(range(1, 100))

    def pause() -> None:
        if next(steps) == step:
            with path.open("r+b") as stream:
                stream.seek(-7, os.SEEK_END)
                stream.write(b"changed")

    assert content_reader.read_file(file, pause, lambda _: None) is None
    assert next(steps) > step and path.read_bytes() == content[:-7] + b"changed"


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("age", ["new", "old"])
@pytest.mark.parametrize("how", ["written", "appended", "cut short", "replaced"])
async def test_a_file_that_changes_while_it_is_read(
    library: Any, before_step: list[Any], content: bytes, age: str, how: str
) -> None:
    """It ends with the hash of what it holds at last, whichever chunk was being read."""
    path = library.write("output/a.bin", content)
    if age == "old":
        os.utime(path, ns=(OLD_NS, OLD_NS))
    changes = iter(range(2))

    def change() -> None:
        if next(changes, None) is None:
            return
        if how == "replaced":
            other = path.with_name(".other")
            other.write_bytes(b"R" * len(content))
            other.replace(path)
            return
        with path.open("r+b") as file:
            if how == "cut short":
                file.truncate(path.stat().st_size // 2)
                return
            file.seek(0, os.SEEK_END if how == "appended" else os.SEEK_SET)
            file.write(b"changed")

    at_hashing(library, lambda: before_step.append(change))
    await library.scan()
    await rows_are_true(library)
    before_step.clear()
    await library.scan()
    await rows_are_true(library)
    asset = await library.asset("a.bin")
    assert (asset["hash"], asset["size"]) == (digest(path.read_bytes()), path.stat().st_size)


async def test_a_file_that_never_rests_is_left_to_the_next_run(library: Any, before_step: list[Any]) -> None:
    path = library.write("output/log.bin", b"0")
    library.write("output/calm.bin", b"calm")

    def change() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    at_hashing(library, lambda: before_step.append(change))
    status = await library.scan()
    assert status["status"] == "completed"
    assert (await library.asset("calm.bin"))["hash"] == digest(b"calm")
    assert (await library.asset("log.bin")).get("hash") is None
    before_step.clear()
    await library.scan()
    assert (await library.asset("log.bin"))["hash"] == digest(path.read_bytes())


async def test_a_file_that_goes_before_it_is_read(library: Any) -> None:
    path = library.write("output/a.bin", b"a")
    library.write("output/b.bin", b"b")
    at_hashing(library, path.unlink)
    assert (await library.scan())["hashed"] == 1
    assert "missing" in (await library.asset("a.bin"))["tags"]
    assert (await library.asset("b.bin"))["hash"] == digest(b"b")


async def test_an_unreadable_file_is_counted_and_tried_again(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that root meets too: the file is locked, or its disk is failing."""
    library.write("output/bad.bin", b"bad")
    library.write("output/good.bin", b"good")
    real = content_reader.read_at_once

    def read_file(path: str, size: int) -> Any:
        if path.endswith("bad.bin"):
            raise PermissionError(13, "Permission denied")
        return real(path, size)

    with monkeypatch.context() as patch:
        patch.setattr(content_reader, "read_at_once", read_file)
        for _ in range(2):
            status = await library.scan()
            assert (status["status"], status["unreadable"]) == ("completed", 1)
            row = await library.services.db.fetch_one("SELECT state, error FROM files WHERE name = 'bad.bin'")
            assert row == (file_rows.UNREADABLE, "Permission denied")
    assert (await library.asset("good.bin"))["hash"] == digest(b"good")
    assert (await library.asset("bad.bin")).get("hash") is None
    assert (await library.scan())["unreadable"] == 0
    assert (await library.asset("bad.bin"))["hash"] == digest(b"bad")
    row = await library.services.db.fetch_one("SELECT state, error FROM files WHERE name = 'bad.bin'")
    assert row == (file_rows.HASHED, None)


async def test_a_locked_file_is_read_soon_after_it_is_free(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another scan: on Windows copying programs and virus scanners lock new files for seconds."""
    monkeypatch.setattr(indexer, "RETRIES_S", (0.01,) * 5)
    real, attempts = content_reader.read_at_once, 0

    def read_locked(path: str, size: int) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts > 3:
            return real(path, size)
        raise SharingViolation

    monkeypatch.setattr(content_reader, "read_at_once", read_locked)
    library.write("input/a.png", b"content")
    await library.scan()
    await until(lambda: attempts == 4)
    await library.services.indexer.finish()
    (asset,) = await library.assets()
    assert asset["hash"] == digest(b"content")
    assert library.services.indexer.status()["unreadable"] == 0


async def test_a_file_that_stays_locked_is_given_up_until_the_next_scan(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "RETRIES_S", (0.01,) * 3)
    attempts = 0

    def read_locked(path: str, size: int) -> Any:
        nonlocal attempts
        attempts += 1
        raise FileHeldError(13, "Another program has the file open", path)

    monkeypatch.setattr(content_reader, "read_at_once", read_locked)
    library.write("input/a.png", b"content")
    await library.scan()
    await until(lambda: attempts == 4)
    await asyncio.sleep(0.05)
    assert attempts == 4


async def test_it_waits_while_a_prompt_executes_and_goes_on_after(library: Any) -> None:
    library.write("output/a.bin", b"a")

    def execute() -> None:
        library.host.is_busy = True

    at_hashing(library, execute)
    task, _ = library.services.indexer.start_scan()
    await task.done.wait()
    await until(lambda: library.services.indexer.status()["paused"])
    status = library.services.indexer.status()
    assert (status["status"], status["phase"], status["hashed"]) == ("running", "hashing", 0)
    assert (await library.asset("a.bin")).get("hash") is None
    library.host.is_busy = False
    await library.services.indexer.finish()
    status = library.services.indexer.status()
    assert (status["status"], status["paused"]) == ("completed", False)
    assert (await library.asset("a.bin"))["hash"] == digest(b"a")


async def test_cancel_while_it_waits(library: Any) -> None:
    library.write("output/a.bin", b"a")

    def execute() -> None:
        library.host.is_busy = True

    at_hashing(library, execute)
    task, _ = library.services.indexer.start_scan()
    await task.done.wait()
    await until(lambda: library.services.indexer.status()["paused"])
    assert library.services.indexer.cancel()
    await asyncio.wait_for(library.services.indexer.finish(), 5)
    status = library.services.indexer.status()
    assert (status["status"], status["phase"], status["paused"]) == ("cancelled", "idle", False)
    assert not library.services.indexer.cancel()


@pytest.mark.parametrize("after", [0, 1, 30, 70])
async def test_cancel_while_listing(
    library: Any, before_step: list[Any], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 5)
    for number in range(80):
        library.write(f"output/{number}/image.png", b"%d" % number)
    steps = iter(range(after))

    def cancel() -> None:
        if next(steps, None) is None:
            library.services.indexer._tasks.latest("asset_scan").token.cancel()

    before_step.append(cancel)
    status = await library.scan()
    assert (status["status"], status["phase"]) == ("cancelled", "idle")
    before_step.clear()
    listed = await library.assets()
    assert len(listed) < 80
    assert all("missing" not in a["tags"] for a in listed)
    await rows_are_true(library)
    ids = {a["id"] for a in listed}
    assert (await library.scan())["status"] == "completed"
    found = await library.assets()
    assert len(found) == 80 and ids <= {a["id"] for a in found}
    assert all(a["hash"] for a in found)


@pytest.mark.parametrize("after", [0, 1, 60, 130])
async def test_cancel_while_hashing(
    library: Any, before_step: list[Any], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(hash_run, "_SMALL_BATCH", 20)
    monkeypatch.setattr(hash_run, "_SMALL_SLICE", 5)
    for number in range(150):
        library.write(f"output/{number}.bin", b"%d" % number)
    steps = iter(range(after))

    def cancel() -> None:
        if next(steps, None) is None:
            library.services.indexer._tasks.latest("asset_hash").token.cancel()

    at_hashing(library, lambda: before_step.append(cancel))
    status = await library.scan()
    assert (status["status"], status["phase"]) == ("cancelled", "idle")
    before_step.clear()
    await rows_are_true(library)
    hashed = {a["id"]: a["hash"] for a in await library.assets() if a.get("hash")}
    assert len(hashed) < 150
    assert len(hashed) >= after - 30
    status = await library.scan()
    assert (status["status"], status["hashed"]) == ("completed", 150 - len(hashed))
    found = {a["id"]: a["hash"] for a in await library.assets()}
    assert found.items() >= hashed.items() and all(found.values())
    await rows_are_true(library)


async def test_what_a_scan_finds_while_hashing_goes_on_is_hashed_too(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash run is past the new file's kind already."""
    large = library.write("output/large.bin", LARGE)
    library.write("output/small.bin", SMALL)
    reading, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    real = hash_run.read_file

    def read_file(file: Any, *rest: Any) -> Any:
        if file.name == large.name:
            loop.call_soon_threadsafe(reading.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return real(file, *rest)

    monkeypatch.setattr(hash_run, "read_file", read_file)
    task, _ = library.services.indexer.start_scan()
    await reading.wait()
    library.write("output/late.bin", b"late")
    task, started = library.services.indexer.start_scan()
    assert started
    await task.done.wait()
    go_on.set()
    await library.services.indexer.finish()
    assert (await library.asset("late.bin"))["hash"] == digest(b"late")
    assert (await library.asset("large.bin"))["hash"] == digest(LARGE)


async def test_stopping_in_the_middle_and_opening_again(
    make_library: Callable[..., Any], before_step: list[Any]
) -> None:
    library = await make_library()
    for number in range(200):
        library.write(f"output/{number}.bin", b"%d" % number)
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()
    at_hashing(library, lambda: before_step.append(lambda: loop.call_soon_threadsafe(reached.set)))
    library.services.indexer.start_scan()
    await reached.wait()
    await library.services.stop()
    before_step.clear()
    again = await make_library()
    rows = await again.services.db.fetch_all("SELECT status FROM tasks WHERE status = 'running'")
    assert rows == []
    await rows_are_true(again)
    await again.scan()
    assert all(a["hash"] for a in await again.assets())
    assert len(await again.assets()) == 200


async def test_references_follow_the_content_that_files_lose_and_gain(library: Any) -> None:
    """Also when the hash run is the first to notice, and when the content turns up elsewhere."""
    library.write("output/a.bin", b"first")
    await library.scan()
    body = {"hash": f"blake3:{blake3(b'first').hexdigest()}", "tags": ["output", "mine"]}
    async with library.client.post("/api/assets/from-hash", json=body) as response:
        reference = await response.json()

    async def tags() -> list[str]:
        return list((await library.get(f"/api/assets/{reference['id']}"))["tags"])

    library.write("output/a.bin", b"second")
    await library.scan()
    assert await tags() == ["output", "mine", "missing"]
    library.write("input/b.bin", b"first")
    await library.scan()
    assert await tags() == ["output", "mine"]
    (library.base / "input/b.bin").unlink()
    await library.scan()
    assert await tags() == ["output", "mine", "missing"]
    library.write("input/c.bin", b"first")
    await library.scan()
    assert await tags() == ["output", "mine"]
