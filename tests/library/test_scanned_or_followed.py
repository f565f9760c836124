"""A move ends the same whether the server follows the disk or finds it later by a scan; no file is read."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import walker, watcher
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.fs import paths
from support.windows import IS_WINE, times_of_creation

LORAS = "models/loras"
TIME_NS, WHOLE_NS = 1_600_000_000_123_456_700, 1_600_000_000_000_000_000


def copied(source: Path, target: Path) -> None:
    """Move to another drive: the time is the same, the inode is not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    source.unlink()


def renamed(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def exchanged(source: Path, target: Path) -> None:
    source.rename(source.with_name(".passing"))
    target.rename(source)
    source.with_name(".passing").rename(target)


def replacing(source: Path, target: Path) -> None:
    source.replace(target)


Way = Callable[[Path, Path], None]
OLD, OTHER = f"{LORAS}/a/x.safetensors", f"{LORAS}/b/x.safetensors"
# What is done to the first of two files, both of them tagged; where the assets with their tags are then.
MOVES: dict[str, tuple[Way, str, dict[str, str]]] = {
    "another folder of another drive": (copied, f"{LORAS}/c/x.safetensors", {"a": f"{LORAS}/c/x.safetensors"}),
    "another root": (copied, "output/x.safetensors", {"a": "output/x.safetensors"}),
    "another name": (renamed, f"{LORAS}/a/y.safetensors", {"a": f"{LORAS}/a/y.safetensors"}),
    "another folder and name": (renamed, "input/y.bin", {"a": "input/y.bin"}),
    "two are exchanged": (exchanged, OTHER, {"a": OTHER, "b": OLD}),
    "one is moved over the other": (replacing, OTHER, {"a": OTHER, "b": "missing"}),
    "another name on another drive": (copied, "input/y.safetensors", {"a": "missing", "": "input/y.safetensors"}),
}  # fmt: skip


FORMS = [
    ("scanned", True, TIME_NS),
    ("scanned", False, TIME_NS),
    ("scanned", True, WHOLE_NS),
    ("scanned", False, WHOLE_NS),
    ("followed", True, TIME_NS),
    ("followed", False, WHOLE_NS),
]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow the disk in less time, without the system's events."""
    for name, seconds in {"TICK_S": 0.02, "POLL_S": 0.1, "LONGEST_REST_S": 0.1, "SWEEP_S": 0.5}.items():
        monkeypatch.setattr(watcher, name, seconds)
    monkeypatch.setattr(watcher, "STABLE_S", 0.2)
    monkeypatch.setattr(watcher, "REMOVAL_S", 0.5)
    monkeypatch.setattr(watcher, "load_backend", lambda: None)


async def places(library: Any) -> dict[str, str]:
    """The path of each asset, or that it is missing, by the tag that a user has given it ("": none)."""
    found = {}
    for asset in await library.assets():
        mine = "".join(tag.removeprefix("mine ") for tag in asset["tags"] if tag.startswith("mine "))
        found[mine] = "missing" if "missing" in asset["tags"] else asset["file_path"]
    return found


@pytest.mark.parametrize(("way", "target", "expected"), MOVES.values(), ids=MOVES)
@pytest.mark.parametrize(("form", "has_inodes", "mtime_ns"), FORMS)
@pytest.mark.usefixtures("hurried")
async def test_the_same_end(
    make_library: Callable[..., Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    has_inodes: bool,
    mtime_ns: int,
    way: Way,
    target: str,
    expected: dict[str, str],
) -> None:
    if not has_inodes:
        for module in (walker, paths):
            real = module.file_stat
            monkeypatch.setattr(module, "file_stat", lambda info, real=real: (*real(info)[:2], 0))
        if way in (exchanged, replacing) and mtime_ns == WHOLE_NS:
            pytest.skip("without inodes, times in whole seconds do not tell what lies at a known path")
    if target.endswith("y.safetensors") and (not has_inodes or IS_WINE):  # Wine lacks times of creation
        expected = {"a": target}  # size and time are all that there is
    library = await make_library(Config(scan_on_start=form == "followed", hash_files=False))
    for number, path in enumerate((OLD, OTHER)):
        os.utime(library.write(path, b"content" * (number + 1)), ns=(1, mtime_ns + number * 1_000_000_000))
    if form == "scanned":
        await library.scan()
    else:
        await until(lambda: listed(library, 2))
    for asset in await library.assets():
        tag = f"mine {asset['file_path'].split('/')[2]}"
        async with library.client.post(f"/api/assets/{asset['id']}/tags", json={"tags": [tag]}) as response:
            assert response.status == 200, await response.text()
    expected = {"a": OLD, "b": OTHER} | expected
    way(library.base / OLD, library.base / target)
    if form == "scanned":
        await library.scan()
        assert await places(library) == expected
    else:
        await until(lambda: are(library, expected))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "that did not come to pass"
        await asyncio.sleep(0.02)


async def listed(library: Any, count: int) -> bool:
    return len(await library.assets()) == count


async def are(library: Any, expected: dict[str, str]) -> bool:
    return await places(library) == expected


@times_of_creation
@pytest.mark.parametrize(("mtime_ns", "is_same"), [(TIME_NS, True), (WHOLE_NS, False)], ids=["fine", "whole seconds"])
async def test_a_file_that_was_missing_long_before(make_library: Any, mtime_ns: int, is_same: bool) -> None:
    """Many archives give all of their files one time in whole seconds: a new file is not taken for one of long ago."""
    library = await make_library(Config(scan_on_start=False, hash_files=False))
    path = library.write(OLD)
    os.utime(path, ns=(1, mtime_ns))
    await library.scan()
    [asset] = await library.assets()
    async with library.client.post(f"/api/assets/{asset['id']}/tags", json={"tags": ["mine a"]}) as response:
        assert response.status == 200
    path.rename(library.base / "away")
    await library.scan()
    shutil.copy2(library.base / "away", library.base / "input/x.safetensors")
    await library.scan()
    new = "input/x.safetensors"
    assert await places(library) == ({"a": new} if is_same else {"a": "missing", "": new})
