"""Another file at a known path: with equal size and time but another inode, or under the name of a deleted file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from comfy_assets_node.comfy_assets.assets.index import watcher
from comfy_assets_node.comfy_assets.assets.maintenance.verify import Verifier
from comfy_assets_node.comfy_assets.background.interruption import CancelToken
from comfy_assets_node.comfy_assets.config import Config

inodes = pytest.mark.skipif(os.name == "nt", reason="listings on Windows have no inodes")
PATH = "output/a.png"


def digest(content: bytes) -> str:
    return f"blake3:{blake3(content).hexdigest()}"


def replace(path: Path, content: bytes) -> None:
    """Replace a file by rename, with equal size and time, as rsync -t does."""
    before = path.stat()
    assert before.st_size == len(content)
    prepared = path.with_name(".prepared")
    prepared.write_bytes(content)
    os.utime(prepared, ns=(before.st_atime_ns, before.st_mtime_ns))
    prepared.replace(path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert after.st_ino != before.st_ino


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(400):
        if await holds():
            return
        await asyncio.sleep(0.05)
    assert await holds()


@pytest.fixture
async def followed(make_library: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[Any]]:
    """Open the library and follow it, at a pace that suits tests."""
    for name, seconds in {"TICK_S": 0.02, "POLL_S": 0.1, "POLL_SHARE": 1, "STABLE_S": 0.1, "REMOVAL_S": 0.2}.items():
        monkeypatch.setattr(watcher, name, seconds)

    async def follow() -> Any:
        library = await make_library(Config(scan_on_start=True, follow=True))
        await library.services.indexer.scanner.completed.wait()
        await library.services.indexer.finish()
        return library

    return follow


def add(library: Any, path: str, content: bytes) -> Path:
    """Write a file with a time in whole seconds, as unpacked ones have."""
    written = Path(library.write(path, content))
    os.utime(written, ns=(0, 1_600_000_000_000_000_000))
    return written


@inodes
@pytest.mark.parametrize("how", ["scan", "seed", "stopped"])
async def test_a_file_replaced_with_equal_size_and_time(
    make_library: Callable[..., Any], annotate: Callable[..., Any], how: str
) -> None:
    library = await make_library()
    path = add(library, PATH, b"old")
    add(library, "output/b.png", b"other")
    await library.scan()
    asset_id = await annotate(library, "a.png", "mine")
    if how == "stopped":
        await library.services.stop()
    replace(path, b"new")
    if how == "stopped":
        library = await make_library()
    if how == "seed":
        response = await library.client.post("/api/assets/seed?wait=true", json={})
        assert response.status == 200
        await library.services.indexer.finish()
    else:
        assert (await library.scan())["changed"] == 1
    asset = await library.asset("a.png")
    assert (asset["id"], asset["hash"], asset["tags"]) == (asset_id, digest(b"new"), ["output", "mine"])
    assert (await library.scan())["changed"] == 0


@inodes
async def test_a_file_replaced_while_the_disk_is_followed(followed: Callable[[], Awaitable[Any]]) -> None:
    library = await followed()
    path = add(library, PATH, b"old")

    async def has(content: bytes) -> bool:
        found = await library.assets()
        return [asset.get("hash") for asset in found] == [digest(content)]

    await until(lambda: has(b"old"))
    before = await library.asset("a.png")
    replace(path, b"new")
    await until(lambda: has(b"new"))
    assert (await library.asset("a.png"))["id"] == before["id"]


@inodes
async def test_names_of_equal_size_and_time_that_are_exchanged(library: Any, annotate: Callable[..., Any]) -> None:
    one, two = add(library, PATH, b"one"), add(library, "output/b.png", b"two")
    await library.scan()
    first, second = await annotate(library, "a.png", "first"), await annotate(library, "b.png", "second")
    one.rename(one.with_name("c.png"))
    two.rename(one)
    one.with_name("c.png").rename(two)
    await library.scan()
    assert {a["name"]: (a["id"], a["hash"], a["tags"]) for a in await library.assets()} == {
        "a.png": (second, digest(b"two"), ["output", "second"]),
        "b.png": (first, digest(b"one"), ["output", "first"]),
    }


async def verified(library: Any) -> list[tuple[str, str]]:
    report = await Verifier(library.services.db, CancelToken()).run()
    return [(Path(finding.path).name, finding.problem) for finding in report.findings]


@inodes
async def test_verification_tells_a_replaced_file_from_a_damaged_one(library: Any) -> None:
    replaced, damaged = add(library, PATH, b"old"), add(library, "output/b.png", b"old")
    add(library, "output/c.png", b"old")
    await library.scan()
    replace(replaced, b"new")
    damaged.write_bytes(b"new")
    os.utime(damaged, ns=(0, 1_600_000_000_000_000_000))
    replace(library.base / "output/c.png", b"old")  # by a copy, as when a backup is restored
    assert await verified(library) == [("a.png", "changed"), ("b.png", "damaged")]
    await library.scan()
    assert await verified(library) == [("b.png", "damaged")]


async def renumber(library: Any, sql: str) -> None:
    async with library.services.db.transaction() as tx:
        await tx.execute(sql)


async def later(path: Path) -> None:
    """Wait until a file that is made now is later than this one by the clock of the file system."""
    probe = path.parent / ".probe"
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > path.stat().st_ctime_ns:
            return
        await asyncio.sleep(0.005)


@inodes
@pytest.mark.parametrize("more", [False, True], ids=["nothing else", "a new file"])
async def test_a_drive_that_numbers_its_files_anew_is_not_read_again(
    library: Any, read_names: list[str], more: bool
) -> None:
    """As when a network drive is mounted again, and FAT at any time."""
    path = add(library, PATH, b"a")
    await later(path)
    if more:
        add(library, "output/b.png", b"b")  # the latest, which may have been replaced for all that is known
    await asyncio.sleep(0.1)  # until a change to the folder is sure to show in its time
    await library.scan()
    before = await library.asset("a.png")
    await renumber(library, "UPDATE files SET inode = inode + 1000")
    if more:
        add(library, "output/c.png", b"c")
    read_names.clear()
    for _ in range(2):
        await library.scan()
    assert "a.png" not in read_names
    assert await library.asset("a.png") == before
    assert (await library.services.db.fetch_one("SELECT inode FROM files WHERE name = 'a.png'"))[
        0
    ] == path.stat().st_ino


@inodes
@pytest.mark.parametrize(
    "sql", ["UPDATE folders SET mtime_ns = NULL", "UPDATE files SET inode = 0"], ids=["time", "inode"]
)
async def test_what_earlier_versions_have_not_stored_is_adopted(library: Any, read_names: list[str], sql: str) -> None:
    path = add(library, PATH, b"old")
    await library.scan()
    before = await library.asset("a.png")
    await renumber(library, sql)
    read_names.clear()
    for _ in range(2):
        status = await library.scan()
        assert (status["changed"], read_names) == (0, [])
    assert await library.asset("a.png") == before
    replace(path, b"new")
    await library.scan()
    assert (await library.asset("a.png"))["hash"] == digest(b"new")


async def test_times_of_folders_are_stored_once(library: Any, snapshot: Callable[..., Any]) -> None:
    add(library, PATH, b"a")
    await library.scan()
    await renumber(library, "UPDATE folders SET mtime_ns = NULL")
    await library.scan()
    stored = await library.services.db.fetch_all("SELECT path FROM folders WHERE mtime_ns IS NULL")
    assert stored == []
    before = await snapshot(library)
    await library.scan()
    assert await snapshot(library) == before


OTHERS = {
    "another size": (b"something else", False),
    "equal size": (b"fresh", False),
    "equal content": (b"gone!", True),
}


@pytest.mark.parametrize(("content", "is_same"), OTHERS.values(), ids=list(OTHERS))
@pytest.mark.parametrize("way", ["scan", pytest.param("follow", marks=pytest.mark.slow), "stopped"])
async def test_a_new_file_under_the_name_of_a_deleted_one(
    make_library: Callable[..., Any],
    followed: Callable[[], Awaitable[Any]],
    annotate: Callable[..., Any],
    content: bytes,
    is_same: bool,
    way: str,
) -> None:
    library = await (followed() if way == "follow" else make_library())
    path = library.write(PATH, b"gone!")
    os.utime(path, ns=(0, 1_600_000_000_000_000_000))

    async def settled() -> None:
        if way != "follow":
            await library.scan()

    await settled()
    await until(lambda: _all(library, lambda a: "hash" in a and "missing" not in a["tags"], 1))
    asset_id = await annotate(library, "a.png", "mine", metadata='{"rating": 5}')
    path.unlink()
    await settled()
    await until(lambda: _all(library, lambda a: "missing" in a["tags"], 1))
    if way == "stopped":
        await library.services.stop()
        path.write_bytes(content)
        library = await make_library()
    else:
        path.write_bytes(content)
    await settled()
    if is_same:
        await until(lambda: _all(library, lambda a: "missing" not in a["tags"] and "hash" in a, 1))
        [asset] = await library.assets()
        assert (asset["id"], asset["file_path"], asset["tags"]) == (asset_id, PATH, ["output", "mine"])
        assert asset["user_metadata"] == {"rating": 5}
        return
    await until(lambda: _all(library, lambda a: "hash" in a, 2))
    [fresh] = await library.assets(exclude_tags="missing")
    [old] = await library.assets(include_tags="missing")
    assert (fresh["file_path"], fresh["hash"], fresh["tags"]) == (PATH, digest(content), ["output"])
    assert fresh["id"] != asset_id and fresh["user_metadata"] == {}
    assert abs(time.time() - time.mktime(time.strptime(fresh["created_at"][:19], "%Y-%m-%dT%H:%M:%S"))) < 90_000
    assert (old["id"], old["hash"], old["tags"]) == (asset_id, digest(b"gone!"), ["output", "mine", "missing"])
    assert old["user_metadata"] == {"rating": 5}


async def _all(library: Any, holds: Callable[[dict[str, Any]], bool], count: int) -> bool:
    found = await library.assets()
    return len(found) == count and all(map(holds, found))


async def test_a_file_that_is_deleted_and_made_again_between_two_scans_is_written_over(
    library: Any, annotate: Callable[..., Any]
) -> None:
    """An editor may do so, and nobody has seen the file missing."""
    path = library.write(PATH, b"old")
    await library.scan()
    asset_id = await annotate(library, "a.png", "mine")
    path.unlink()
    path.write_bytes(b"edited")
    await library.scan()
    [asset] = await library.assets()
    assert (asset["id"], asset["hash"], asset["tags"]) == (asset_id, digest(b"edited"), ["output", "mine"])


async def test_what_was_deleted_here_is_not_seen_again_under_its_name(library: Any) -> None:
    """The file of a deleted asset goes, and another program uses its name: that is a new asset."""
    path = library.write(PATH, b"old")
    await library.scan()
    old = await library.asset("a.png")
    assert (await library.client.delete(f"/api/assets/{old['id']}")).status == 204
    path.unlink()
    await library.scan()
    path.write_bytes(b"fresh")
    await library.scan()
    [fresh] = await library.assets()
    assert (fresh["hash"], fresh["tags"]) == (digest(b"fresh"), ["output"]) and fresh["id"] != old["id"]
    assert (await library.services.trash.restore(old["id"])).asset.id == old["id"]
    assert "missing" in next(a for a in await library.assets() if a["id"] == old["id"])["tags"]
