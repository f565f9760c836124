"""Measure a library of a million assets: ``python tests/benchmarks/million.py [--assets N] [--base DIR]``.

The library is made up (see ``synthetic.py``) and its files do not exist. The standalone host, in another process, is
asked over one kept-alive connection. ``p50`` is the median of all requests of a line; ``first`` is the median of those
that were the first to ask for their needle, which have to search, while later ones may be told from memory. Ends with
status 1 if a median, or the size of the database, misses its goal.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
import synthetic  # noqa: E402
from comfy_assets_node.comfy_assets.app import STORE_NAME, Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from library import StallWatch, fetch, timed  # noqa: E402

LIST_MS, BY_TAG_MS, SEARCH_MS, HISTOGRAM_MS, ROW_BYTES = 6, 10, 20, 100, 1200
# Needles are put together by how many assets they find: up to ten, from there up to a thousand, and so on.
BANDS = (10, 1_000, 10_000, 100_000, 300_000, 1_000_000)
NEEDLES = 8  # a band
SORTS = [(sort, order) for sort in ("created_at", "updated_at", "name", "size") for order in ("asc", "desc")]


def main() -> None:
    """Make the library unless there is one, and print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=1_000_000)
    parser.add_argument("--base", type=Path, help="a base directory to make the library in, or with one made before")
    parser.add_argument("--requests", type=int, default=100, help="of each line, at least")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or Path(scratch)
        path = StandaloneHost(base).data_directory() / STORE_NAME
        asyncio.run(prepare(base, path, options.assets))
        table = Table(options.requests)
        measure_size(table, path)
        measure_requests(table, base, path)
    sys.exit(table.misses > 0)


async def prepare(base: Path, path: Path, assets: int) -> None:
    """Fill the store if it is new, and index what is not indexed."""
    is_new = not path.exists()
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        if is_new:
            started = time.perf_counter()
            async for made in synthetic.fill(services.db, assets):
                print(f"\r{made} assets", end="", file=sys.stderr, flush=True)
            print(f"\rmade {assets:,} assets in {time.perf_counter() - started:.0f} s", flush=True)
        watch = StallWatch()
        watching = asyncio.create_task(watch.run())
        started = time.perf_counter()
        await services.search.catch_up()
        seconds = time.perf_counter() - started
        watching.cancel()
        print(f"indexed for search in {seconds:.1f} s, longest loop stall {watch.longest * 1000:.0f} ms", flush=True)
    finally:
        await services.stop()


class Table:
    """Prints measurements beside their goals, and counts those that miss."""

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.misses = 0
        print(f"{'':66}{'goal':>8}{'p50':>10}{'p99':>10}{'first':>10}", flush=True)

    def add(self, label: str, goal: float, figure: float, unit: str, *others: float) -> None:
        """One line."""
        missed = figure > goal
        self.misses += missed
        shown = "".join(f"{other:10.2f}" for other in others)
        print(f"{label:66}{goal:>5} {unit:2}{figure:10.2f}{shown}{'  MISSED' if missed else ''}", flush=True)

    def measure(self, connection: http.client.HTTPConnection, label: str, goal: float, paths: Sequence[str]) -> None:
        """Ask for the paths in turn."""
        times: list[float] = []
        while len(times) < max(self.requests, len(paths)):
            times += [1000 * timed(lambda p=path: fetch(connection, p)) for path in paths]
        first = statistics.median(times[: len(paths)])
        self.add(label, goal, statistics.median(times), "ms", statistics.quantiles(times, n=100)[98], first)


def measure_size(table: Table, path: Path) -> None:
    """Bytes a row, in all and of what takes most."""
    with closing(sqlite3.connect(path)) as conn:
        (rows,) = conn.execute("SELECT count(*) FROM assets").fetchone()
        sizes = conn.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY 1").fetchall()
    parts = {"documents": 0, "search": 0, "all else": 0}
    for name, size in sizes:
        parts["search" if name.startswith("search_") else name if name == "documents" else "all else"] += size
    shown = ", ".join(f"{kind} {size / rows:.0f}" for kind, size in parts.items())
    table.add(f"database, a row ({shown})", ROW_BYTES, path.stat().st_size / rows, "B")


def measure_requests(table: Table, base: Path, path: Path) -> None:
    """Start the server and ask it."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE.parents[1])!r}); import conftest;"
        "from comfy_assets_node.comfy_assets.cli import main; main(sys.argv[1:])"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--base-directory", str(base), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COMFY_ASSETS_SCAN": "0"},
    )
    try:
        connection = connect(port)
        measure_listings(table, connection)
        for parameter, needles in (("name_contains", name_needles(path)), ("q", word_needles(path))):
            for band, found in by_band(needles).items():
                measure_search(table, connection, parameter, band, found)
    finally:
        server.terminate()
        server.wait()


def connect(port: int) -> http.client.HTTPConnection:
    """A connection to the server once it answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            fetch(connection, "/api/assets?limit=1")
        except (OSError, ValueError):
            time.sleep(0.1)
        else:
            return connection
    raise TimeoutError("the server did not answer")


def listing(**parameters: Any) -> str:
    """The path of a listing."""
    return f"/api/assets?{urlencode(parameters)}"


def histogram(**parameters: Any) -> str:
    """The path of a histogram."""
    return f"/api/assets/tags/refine?{urlencode(parameters)}"


def next_pages(connection: http.client.HTTPConnection, queries: Iterable[dict[str, Any]]) -> list[str]:
    """The paths of the pages behind the first, of those queries that have more than one."""
    paths = []
    for query in queries:
        page = json.loads(fetch(connection, listing(**query)))
        if "next_cursor" in page:
            paths.append(listing(**query, after=page["next_cursor"]))
    return paths


def measure_listings(table: Table, connection: http.client.HTTPConnection) -> None:
    """What needs no search."""
    for sort, order in SORTS:
        query = {"sort": sort, "order": order}
        table.measure(connection, f"list by {sort}, {order}", LIST_MS, [listing(**query)])
        table.measure(connection, "  the next page", LIST_MS, next_pages(connection, [query]))
    for tags in ("output", "models,loras", "favorite", "output,client 3"):
        query = {"include_tags": tags}
        total = json.loads(fetch(connection, listing(**query)))["total"]
        label = f"list by tag: {tags} ({total:,})"
        table.measure(connection, label, BY_TAG_MS, [listing(**query)])
        table.measure(connection, "  the next page", BY_TAG_MS, next_pages(connection, [query]))
        table.measure(connection, "  its histogram", HISTOGRAM_MS, [histogram(**query)])
    table.measure(connection, "list without missing", BY_TAG_MS, [listing(exclude_tags="missing")])
    table.measure(connection, "histogram of all", HISTOGRAM_MS, ["/api/assets/tags/refine"])


def measure_search(
    table: Table, connection: http.client.HTTPConnection, parameter: str, band: int, found: dict[str, int]
) -> None:
    """Needles that find about as many assets, all sorts and pages."""
    queries = [{parameter: needle} for needle in found]
    shown = f"{min(found.values()):,} to {max(found.values()):,}" if len(found) > 1 else f"{sum(found.values()):,}"
    label = f"{parameter}: {len(found)} needle{'s' * (len(found) > 1)} finding {shown}"
    table.measure(connection, label, SEARCH_MS, [listing(**query) for query in queries])
    behind = next_pages(connection, queries)
    if behind:
        table.measure(connection, "  the next page", SEARCH_MS, behind)
    for sort, order in SORTS:
        paths = [listing(**query, sort=sort, order=order) for query in queries]
        table.measure(connection, f"  by {sort}, {order}", SEARCH_MS, paths)
    paths = [listing(**query, include_tags="output", exclude_tags="missing,favorite") for query in queries]
    table.measure(connection, "  by tag", SEARCH_MS, paths)
    table.measure(connection, "  its histogram", HISTOGRAM_MS, [histogram(**query) for query in queries])


def by_band(needles: dict[str, int]) -> dict[int, dict[str, int]]:
    """Needles and how many assets they find, by the next larger of BANDS."""
    found: dict[int, dict[str, int]] = {band: {} for band in BANDS}
    for needle, total in needles.items():
        band = next((band for band in BANDS if total <= band), BANDS[-1])
        if total and len(found[band]) < NEEDLES:
            found[band][needle] = total
    return {band: chosen for band, chosen in found.items() if chosen}


def name_needles(path: Path) -> dict[str, int]:
    """Parts of names, from all over the library."""
    needles = [".png", "comfyui", "png", "00", "_0", "ui_", "_00001_", "012", "city"]
    with closing(sqlite3.connect(path)) as conn:
        rows = conn.execute("SELECT lower(name) FROM assets WHERE id % 30011 = 1").fetchall()
        for (name,) in rows:
            needles += [name, name[:9], name[-10:-6], name[2:5]]
        return {
            needle: conn.execute("SELECT count(*) FROM assets WHERE instr(name_key, ?) > 0", (needle,)).fetchone()[0]
            for needle in dict.fromkeys(needles)
        }


def word_needles(path: Path) -> dict[str, int]:
    """Words and beginnings of words, rare ones and frequent ones, and some together."""
    words = synthetic.Generator().words
    needles = ["s", "lo", "mas", "lowres", "png", "portrait", "masterpiece", "painting", "castle dragon", "karras"]
    needles += ["karras euler portrait", "1", "str", *words[5:60:4], *words[60::200]]
    with closing(sqlite3.connect(path)) as conn:
        needles += [row[0] for row in conn.execute("SELECT term FROM search_terms WHERE term GLOB '99999*' LIMIT 8")]
        return {needle: count_words(conn, needle) for needle in dict.fromkeys(needles)}


def count_words(conn: sqlite3.Connection, needle: str) -> int:
    """How many assets have words that begin so."""
    match = " AND ".join(f'"{word}"*' for word in needle.split())
    row = conn.execute("SELECT count(*) FROM search_words WHERE search_words MATCH ?", (match,)).fetchone()
    return int(row[0])


if __name__ == "__main__":
    main()
