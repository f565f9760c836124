"""Measure filters, counts, days and stacks: ``python tests/benchmarks/filters.py [--assets N] [--base DIR]``.

The library is made up (see ``synthetic.py``). The service is called in this process, so that neither HTTP nor JSON
counts. Times are those of processors, in all threads, so that other programs do not count either. ``first`` is the
first call after the start, which reads the columns that it needs; ``p50`` is the median of those behind it. Ends with
status 1 if a median misses its goal.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import STORE_NAME, Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.db import collections  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from comfy_assets_node.comfy_assets.models import (  # noqa: E402
    AssetFilter,
    DayRequest,
    FolderTerm,
    KindTerm,
    PageRequest,
    RatingRange,
    Span,
)
from million import prepare  # noqa: E402

PAGE_MS, DAYS_MS, FACETS_MS = 10, 20, 50
OWNER = "default"
FACETS = ("total", "kinds", "ratings", "favorites", "base_models", "orientations", "has_workflow", "with_workflow")
COLLECTION = "01890a5d-ac96-774b-bcce-b302099a8057"
FILTERS: dict[str, dict[str, Any]] = {
    "pictures": {"kinds": (KindTerm(("image",)),)},
    "models": {"kinds": (KindTerm(("model",)),)},
    "four stars and more": {"ratings": (RatingRange(4, 5),)},
    "without stars": {"ratings": (RatingRange(0, 0),)},
    "favourites": {"is_favourite": True},
    "created in the first half": {"spans": (Span("created_at", 0, 0),)},
    "large": {"spans": (Span("size", 2_000_000, 1 << 62),)},
    "landscape": {"orientation": "landscape"},
    "unused": {"is_used": False},
    "pictures without stars, not missing": {
        "kinds": (KindTerm(("image",)),),
        "ratings": (RatingRange(0, 0),),
        "tags_none": ("missing",),
    },
    "pictures in outputs": {"kinds": (KindTerm(("image",)),), "folder": FolderTerm("output")},
    "stacks": {"is_stacked": True},
    "stacks of pictures": {"is_stacked": True, "kinds": (KindTerm(("image",)),)},
    "a collection of 10,000": {"collection": COLLECTION},
}


def main() -> None:
    """Make the library unless there is one, and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--base", type=Path, help="a base directory to make the library in, or with one made before")
    parser.add_argument("--requests", type=int, default=30, help="of each line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(asyncio.run(run(options.base or Path(scratch), options.assets, options.requests)))


async def run(base: Path, assets: int, requests: int) -> bool:
    """Measure everything; return whether a goal was missed."""
    await prepare(base, StandaloneHost(base).data_directory() / STORE_NAME, assets)
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        middle = await add_user_data(services)
        print(f"{'':52}{'goal':>8}{'p50':>10}{'max':>10}{'first':>10}", flush=True)
        missed = False
        for label, members in FILTERS.items():
            wanted = AssetFilter(OWNER, **members)
            if label.startswith("created"):
                wanted = AssetFilter(OWNER, spans=(Span("created_at", 0, middle),))
            for sort in ("created_at", "name", "rating"):
                page = PageRequest(sort, limit=100)  # type: ignore[arg-type]
                missed |= await measure(
                    f"{label}, by {sort}", PAGE_MS, requests, partial(services.assets.list, wanted, page)
                )
        in_order = PageRequest("collection", "asc", 100, collection=COLLECTION)
        wanted = AssetFilter(OWNER, collection=COLLECTION)
        missed |= await measure(
            "a collection in its order", PAGE_MS, requests, partial(services.assets.list, wanted, in_order)
        )
        everything, pictures = AssetFilter(OWNER), AssetFilter(OWNER, kinds=(KindTerm(("image",)),))
        for label, wanted in (("everything", everything), ("pictures", pictures)):
            missed |= await measure(
                f"days of {label}", DAYS_MS, requests, partial(services.assets.days, wanted, DayRequest())
            )
            facets = {name: everything if name == "kinds" else wanted for name in FACETS}
            missed |= await measure(f"facets of {label}", FACETS_MS, requests, partial(services.assets.facets, facets))
        return missed
    finally:
        await services.stop()


async def add_user_data(services: Services) -> int:
    """Rate one asset in twenty, make jobs of four pictures, and a collection; return a time in the middle."""
    chance = random.Random(19)
    async with services.db.transaction() as tx:
        last = int(await tx.fetch_value("SELECT max(id) FROM assets"))
        rated = [
            (f'{{"rating": {chance.randint(1, 5)}, "favorite": {str(chance.random() < 0.3).lower()}}}', row_id)
            for row_id in range(1, last, 20)
        ]
        await tx.execute_many("UPDATE assets SET user_metadata = ? WHERE id = ?", rated)
        await tx.execute("UPDATE assets SET job_id = 'job ' || (id / 4) WHERE job_id IS NULL")
        await tx.execute("DELETE FROM collections")
        row_id = await collections.add(tx, COLLECTION, OWNER, "Measured", None, 1)
        await collections.put(tx, row_id, chance.sample(range(1, last), min(last - 1, 10_000)), None, 1)
        middle = "SELECT created_at FROM assets ORDER BY created_at LIMIT 1 OFFSET (SELECT count(*) / 2 FROM assets)"
        return int(await tx.fetch_value(middle))


async def measure(label: str, goal: float, requests: int, call: Callable[[], Awaitable[Any]]) -> bool:
    """Call in turn, print the times, and return whether the median misses the goal."""
    times: list[float] = []
    for _ in range(requests + 1):
        started = time.process_time()
        await call()
        times.append(1000 * (time.process_time() - started))
    first, *others = times
    median = statistics.median(others)
    end = "  MISSED" if median > goal else ""
    print(f"{label:52}{goal:>5} ms{median:10.2f}{max(others):10.2f}{first:10.2f}{end}", flush=True)
    return median > goal


if __name__ == "__main__":
    main()
