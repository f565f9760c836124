"""Measure lists of folders, and the tree, in a large library: ``python tests/benchmarks/folders.py [--assets N]``.

The library is made row by row in the store: pictures in a folder for each day and part of a day, in the order of time,
an old archive, one large folder of inputs, and models by category and style. Every fourteenth picture has a user's
tag, and some are missing. Requests are timed in this process, without HTTP. Each figure is the least of several,
because other work on the machine can only add to it. Exits with status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.db import assets, files, tags  # noqa: E402
from comfy_assets_node.comfy_assets.db.connection import Database  # noqa: E402
from comfy_assets_node.comfy_assets.db.files import FileGroup, FolderRow, NewFileRow  # noqa: E402
from comfy_assets_node.comfy_assets.db.listing import counts, facets  # noqa: E402
from comfy_assets_node.comfy_assets.models import (  # noqa: E402
    AssetFilter,
    FolderTerm,
    FolderTreeRequest,
    PageRequest,
)

TREE_MS, LIST_MS, OTHER_ORDER_MS, HISTOGRAM_MS = 10, 10, 100, 100
REPEATS = 11
BATCH = 4000
START_NS, YEAR_NS = 1_600_000_000 * 10**9, 31_557_600 * 10**9
CATEGORIES = ("checkpoints", "loras", "vae", "controlnet", "embeddings", "upscale_models")


def main() -> None:
    """Make a library and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=10_000, help="about as many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(asyncio.run(measure(Path(scratch) / "library.db", options.assets, options.folders)))


async def measure(path: Path, count: int, folders: int) -> bool:
    """Return whether a goal was missed."""
    db = await Database.open(path)
    missed = False
    try:
        started = time.perf_counter()
        await fill(db, count, folders)
        [(made,)] = await db.fetch_all("SELECT count(*) FROM folder_nodes")
        print(f"made {count:,} assets in {made:,} folders in {time.perf_counter() - started:.0f} s", flush=True)
        print(f"{'':66}{'goal':>8}{'least':>13}", flush=True)
        for label, goal, ask in requests(db):
            figure = await least(ask)
            missed |= figure > goal
            print(f"{label:66}{goal:>5} ms{figure:10.2f}{'  MISSED' if figure > goal else ''}", flush=True)
    finally:
        await db.close()
    return missed


Ask = Callable[[], Awaitable[Any]]


def requests(db: Database) -> Iterator[tuple[str, float, Ask]]:
    """What is measured: a label, the goal in ms, and the request."""
    present = AssetFilter("anybody", tags_none=("missing",))
    for label, request in (
        ("tree: roots", FolderTreeRequest(depth=1)),
        ("tree: two levels", FolderTreeRequest(depth=2)),
        ("tree: folders in output", FolderTreeRequest("output", 1)),
        ("tree: all of it, a page of 500", FolderTreeRequest()),
        ("tree: the last page", FolderTreeRequest(after="output/2023-06/28")),
        ("tree: models", FolderTreeRequest("models")),
    ):
        yield label, TREE_MS, lambda r=request: facets.folder_tree(db, present, r)
    for tag, goal in (("models", TREE_MS), ("favorite", HISTOGRAM_MS)):
        wanted = AssetFilter("anybody", tags_all=(tag,), tags_none=("missing",))
        yield (
            f"tree: roots, by the tag {tag}",
            goal,
            lambda w=wanted: facets.folder_tree(db, w, FolderTreeRequest(depth=1)),
        )
    for folder in (
        "output",
        "output/archive",
        "output/2021-01",
        "output/2021-01/05",
        "input",
        "models",
        "models/loras",
        "models/loras/style 7",
    ):
        yield from of_folder(db, folder)


def of_folder(db: Database, folder: str) -> Iterator[tuple[str, float, Ask]]:
    """What is measured of one folder."""
    inside = AssetFilter("anybody", folder=FolderTerm(folder))
    orders: tuple[tuple[Any, Any], ...] = (
        ("created_at", "desc"),
        ("created_at", "asc"),
        ("name", "asc"),
        ("size", "desc"),
    )
    for sort, order in orders:
        goal = LIST_MS if sort == "created_at" else OTHER_ORDER_MS
        page = PageRequest(sort, order)
        yield f"list {folder} by {sort}, {order}", goal, lambda p=page: assets.list_page(db, inside, p)
    own = AssetFilter("anybody", folder=FolderTerm(folder, is_recursive=False))
    yield f"list {folder}, its own alone", LIST_MS, lambda: assets.list_page(db, own, PageRequest())
    there = AssetFilter("anybody", tags_none=("missing",), folder=FolderTerm(folder))
    yield f"list {folder} without missing", LIST_MS, lambda: assets.list_page(db, there, PageRequest())
    tagged = AssetFilter("anybody", tags_all=("favorite",), folder=FolderTerm(folder))
    yield f"list {folder} by a user's tag", OTHER_ORDER_MS, lambda: assets.list_page(db, tagged, PageRequest())
    yield f"histogram of {folder}", HISTOGRAM_MS, lambda: counts.histogram(db, inside, 100)


async def least(ask: Ask) -> float:
    """Return the least time of a request in ms."""
    times: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await ask()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


def places(count: int, folders: int) -> Iterator[tuple[str, int]]:
    """Folder and time (ns) of each asset, in the order in which a scan may have found them."""
    chance = random.Random(3)
    parts = max(1, folders // (36 * 28))
    for number in range(count):
        kind = chance.random()
        if kind < 0.8:
            moment = number / count * 36
            month, day = int(moment), int(moment % 1 * 28)
            folder = f"output/{2021 + month // 12}-{month % 12 + 1:02d}/{day + 1:02d}/part {chance.randrange(parts)}"
            yield folder, START_NS + YEAR_NS + int(moment / 12 * YEAR_NS)
        elif kind < 0.87:
            yield f"output/archive/{chance.randrange(50)}", START_NS + chance.randrange(YEAR_NS)
        elif kind < 0.97:
            yield "input", START_NS + chance.randrange(4 * YEAR_NS)
        else:
            style = chance.randrange(40)
            yield f"models/{chance.choice(CATEGORIES)}/style {style}", START_NS + chance.randrange(4 * YEAR_NS)


async def fill(db: Database, count: int, folders: int) -> None:
    """Add the assets."""
    found = places(count, folders)
    number = 0
    while batch := list(islice(found, BATCH)):
        by_folder: dict[str, list[tuple[str, int, int, int]]] = {}
        for folder, time_ns in batch:
            number += 1
            listed = (f"ComfyUI_{number * 7919 % count:07d}_.png", number * 104_729 % 10**7, time_ns, number)
            by_folder.setdefault(folder, []).append(listed)
        async with db.transaction() as tx:
            ids = await files.put_folders(tx, [folder_row(folder) for folder in by_folder])
            groups: list[FileGroup] = []
            rows: list[NewFileRow] = []
            for at, (folder, listed_files) in enumerate(by_folder.items()):
                set_id = await tags.intern(tx, "", folder_tags(folder))
                groups.append(FileGroup(ids[f"/{folder}"], set_id, "image/png"))
                rows += [(at, name, name.casefold(), *rest) for name, *rest in listed_files]
            await files.insert_new(tx, groups, rows, 10**15)
            last = number - len(batch)
            await tags.retag(tx, [n for n in range(last + 1, number + 1) if n % 14 == 0], add=("favorite",))
            await files.mark_missing(tx, [n for n in range(last + 1, number + 1) if n % 200 == 0])


def folder_row(folder: str) -> FolderRow:
    """The row of a folder."""
    return FolderRow(f"/{folder}", folder.partition("/")[0], folder, None, "[]", folder, None)


def folder_tags(folder: str) -> tuple[str, ...]:
    """The tags of the files in a folder."""
    kind, _, rest = folder.partition("/")
    category = rest.partition("/")[0]
    return (kind, category, f"model_type:{category}") if kind == "models" else (kind,)


if __name__ == "__main__":
    main()
