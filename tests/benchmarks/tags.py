"""Measure libraries in which people tag much: ``python tests/benchmarks/tags.py [--assets N]``.

Every asset gets a tag of its own, as an automatic tagger would give, and half of them a common one. Requests are
timed in this process, without HTTP. Each figure is the least of several, because other work on the machine can only
add to it. Then files go missing while another task writes all the time: its longest wait is measured. Exits with
status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.db import assets, files, tags  # noqa: E402
from comfy_assets_node.comfy_assets.db.connection import Database  # noqa: E402
from comfy_assets_node.comfy_assets.db.files import FileGroup, FolderRow, NewFileRow  # noqa: E402
from comfy_assets_node.comfy_assets.db.listing import counts  # noqa: E402
from comfy_assets_node.comfy_assets.models import AssetFilter, PageRequest, TagRequest  # noqa: E402

LIST_MS, TAGS_MS, FILTERED_MS, MISSING_S, WAIT_MS = 2.0, 5.0, 150.0, 1.0, 250.0
REPEATS = 15
GONE = 8000  # files that go missing


def main() -> None:
    """Make a library and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(asyncio.run(measure(Path(scratch) / "library.db", options.assets)))


async def measure(path: Path, count: int) -> bool:
    """Return whether a goal was missed."""
    db = await Database.open(path)
    missed = False

    def line(label: str, goal: float, figure: float, unit: str) -> None:
        nonlocal missed
        missed |= figure > goal
        print(f"{label:52}{goal:>8g} {unit:2}{figure:10.2f}{'  MISSED' if figure > goal else ''}", flush=True)

    try:
        started = time.perf_counter()
        await fill(db, count)
        print(f"made {count:,} assets with as many tags in {time.perf_counter() - started:.1f} s", flush=True)
        print(f"{'':52}{'goal':>8}{'least':>13}", flush=True)
        anybody = AssetFilter("anybody")
        tagged = AssetFilter("anybody", tags_all=(f"tag {count // 2}",))
        for label, goal, ask in (
            ("list", LIST_MS, lambda: assets.list_page(db, anybody, PageRequest())),
            ("list by tag", LIST_MS, lambda: assets.list_page(db, tagged, PageRequest())),
            ("list by tag and name", LIST_MS, lambda: assets.list_page(db, tagged, PageRequest("name"))),
            ("tags", TAGS_MS, lambda: counts.list_tags(db, TagRequest("anybody"))),
            ("tags by name", TAGS_MS, lambda: counts.list_tags(db, TagRequest("anybody", order="name_asc"))),
            ("histogram", TAGS_MS, lambda: counts.histogram(db, anybody, 100)),
            (
                "histogram of a place",
                FILTERED_MS,
                lambda: counts.histogram(db, AssetFilter("anybody", tags_all=("output",)), 100),
            ),
            (
                "histogram of a name",
                FILTERED_MS,
                lambda: counts.histogram(db, AssetFilter("anybody", name_contains="picture"), 100),
            ),
        ):
            line(label, goal, await least(ask), "ms")
        seconds, longest = await go_missing(db, min(GONE, count))
        line(f"{min(GONE, count):,} files go missing", MISSING_S, seconds, "s")
        line("  the longest wait of another write", WAIT_MS, longest, "ms")
    finally:
        await db.close()
    return missed


async def least(ask: Callable[[], Awaitable[Any]]) -> float:
    """Return the least time of a request in ms."""
    times: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await ask()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


async def fill(db: Database, count: int) -> None:
    """Add assets in two folders, each with a tag of its own and one that half of them have."""
    place = {"/library/output": ("output",), "/library/models/loras": ("models", "loras", "model_type:loras")}
    for first in range(0, count, 1000):
        members = range(first, min(first + 1000, count))
        async with db.transaction() as tx:
            folder_ids = await files.put_folders(
                tx, [FolderRow(f, f.split("/")[2], f[9:], None, "[]", f, None) for f in place]
            )
            groups = [
                FileGroup(folder_ids[folder], await tags.intern(tx, "", names), "image/png")
                for folder, names in place.items()
            ]
            rows: list[NewFileRow] = [
                (part, *[f"picture {n}.png"] * 2, 10, n, n)
                for part in range(len(groups))
                for n in members
                if n % 2 == part
            ]
            await files.insert_new(tx, groups, rows, 10**13)
            for row_id in range(first + 1, first + len(members) + 1):
                await tags.retag(tx, [row_id], add=(f"tag {row_id}", *(("often",) if row_id % 2 else ())))


async def go_missing(db: Database, count: int) -> tuple[float, float]:
    """Mark files as scans do. Return the seconds that takes, and the longest wait (ms) of other writes."""
    done = asyncio.Event()
    waits: list[float] = []

    async def write() -> None:
        while not done.is_set():
            started = time.perf_counter()
            async with db.transaction() as tx:
                await tx.execute("UPDATE job_search SET indexed_upto = indexed_upto")
            waits.append(1000 * (time.perf_counter() - started))
            await asyncio.sleep(0.005)

    writing = asyncio.create_task(write())
    started = time.perf_counter()
    async with db.transaction() as tx:
        await files.mark_missing(tx, range(1, count + 1))
    seconds = time.perf_counter() - started
    done.set()
    await writing
    return seconds, max(waits)


if __name__ == "__main__":
    main()
