"""Measure a scan after everything has moved: ``python tests/benchmarks/moves.py [--files N] [--equal M] [--rounds N]``.

A base folder of N files, M of which have the content of another, is indexed and read; then it is renamed, or copied
with new times and removed, and indexed and read again. Printed is how long that takes, beside the first time, the
longest stall of the event loop, and how many assets are at the file that they were at before. Ends with status 1 if
one is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder  # noqa: E402
from comfy_assets_node.comfy_assets.host.testing import MemoryHost  # noqa: E402
from library import StallWatch  # noqa: E402

GROUPS = (2, 3, 20, 1000)  # how many files have equal content, in turn


def main() -> None:
    """Measure both kinds of moves and print a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--equal", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    kept = True
    for _ in range(options.rounds):
        for kind in ("renamed", "copied"):
            with tempfile.TemporaryDirectory() as scratch:
                kept &= asyncio.run(measure(Path(scratch), kind, options.files, options.equal))
    sys.exit(0 if kept else 1)


async def measure(scratch: Path, kind: str, count: int, equal: int) -> bool:
    """One round; answers whether every asset was kept."""
    before, after = scratch / "one", scratch / "two"
    contents = contents_of(count, equal)
    host = MemoryHost(scratch / "store", folders_of(before))
    services = Services(host, Config(scan_on_start=False))
    await services.start()
    watch = StallWatch()
    watching = asyncio.create_task(watch.run())
    try:
        # In two parts, so that files are not known in the order in which a disk tells their names.
        parts = []
        for part in (1, 0):
            await asyncio.to_thread(write, before, contents, part)
            parts.append(await scan(services))
        first = tuple(map(sum, zip(*parts, strict=True)))
        places = await places_of(services)
        if kind == "renamed":
            before.rename(after)
        else:
            await asyncio.to_thread(shutil.copytree, before, after, copy_function=shutil.copyfile)
            await asyncio.to_thread(shutil.rmtree, before)
        host.current_folders = folders_of(after)
        stall, watch.longest = watch.longest, 0.0
        again = await scan(services)
        kept = sum(places.get(asset) == place for asset, place in (await places_of(services)).items())
    finally:
        watching.cancel()
        await services.stop()
    print(
        f"{kind:8} listed {again[0]:6.2f} s ({again[0] / first[0]:5.2f}x), read {again[1]:6.2f} s"
        f" ({again[1] / first[1]:5.2f}x of the first time), stall {watch.longest * 1000:4.0f} ms (first"
        f" {stall * 1000:4.0f} ms), {kept} of {count} assets kept",
        flush=True,
    )
    return kept == count


def contents_of(count: int, equal: int) -> list[bytes]:
    """What the files hold."""
    contents = [b"%d" % number for number in range(count - equal)]
    turn = 0
    while len(contents) < count:
        contents += [b"equal %d" % turn] * min(GROUPS[turn % len(GROUPS)], count - len(contents))
        turn += 1
    return contents


def write(base: Path, contents: list[bytes], part: int) -> None:
    """Write every other file, in folders of a hundred; those of equal content lie far apart, under names that recur."""
    for number, content in enumerate(contents):
        place = number * 7919 % len(contents)
        if place % 2 == part:
            path = base / "output" / f"{place // 100:04}" / f"{place % 100:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(1, 1_600_000_000_123_456_700 + number))


def folders_of(base: Path) -> HostFolders:
    """An output folder alone."""
    return HostFolders((LibraryFolder("output", base / "output"),))


async def scan(services: Services) -> tuple[float, float]:
    """Seconds to list and to read."""
    started = time.perf_counter()
    await services.indexer.start_scan()[0].done.wait()
    listed = time.perf_counter()
    await services.indexer.finish()
    return listed - started, time.perf_counter() - listed


async def places_of(services: Services) -> dict[str, str]:
    """Where the files are that are there, below the roots, by their assets' ids."""
    rows = await services.db.fetch_all(
        "SELECT a.uuid, d.logical || '/' || f.name FROM files f JOIN folders d ON d.id = f.folder_id"
        " JOIN assets a ON a.id = f.id WHERE f.missing = 0"
    )
    return dict(rows)


if __name__ == "__main__":
    main()
