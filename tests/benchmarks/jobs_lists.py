"""How fast jobs are listed: ``python tests/benchmarks/jobs_lists.py [--jobs N …] [--rounds N] [--requests N]``.

For each number of stored jobs (2,000 and 100,000) a store is filled and served by the standalone host in a process of
its own. Every request is made many times over one kept-alive connection; printed is the median, that of the best round,
as others may use the machine. The status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import STORE_NAME, Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.db.connection import Database  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from comfy_assets_node.comfy_assets.jobs.journal import Journal  # noqa: E402
from library import fetch, timed, wait_until_idle  # noqa: E402
from make_jobs import fill, make_models  # noqa: E402

PORT = 8392
# Jobs stored -> ms that a page of a hundred may take; and what one of a search may, whatever is stored.
SEARCH_MS = 30.0
GOALS_MS = {2_000: 5.0, 100_000: 8.0}
OVER = "status=completed,failed,cancelled"


def main() -> int:
    """Measure every size; answers the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=list(GOALS_MS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=40, help="requests of each kind in a round")
    options = parser.parse_args()
    results = [measure(count, options.rounds, options.requests) for count in options.jobs]
    return 0 if all(results) else 1


def measure(count: int, rounds: int, requests: int) -> bool:
    """Print a line for each request; answers whether the goals are met."""
    goal = next((ms for stored, ms in GOALS_MS.items() if count <= stored), None)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        journal = make_store(base, count)
        try:
            with serving(base) as connection:
                figures = times_of(connection, rounds, requests, goal)
        finally:
            journal.close()
    is_met = True
    for name, (ms, size, goal) in figures.items():
        is_missed = goal is not None and ms > goal
        is_met = is_met and not is_missed
        told = f"  (goal {goal} ms{', MISSED' if is_missed else ''})" if goal is not None else ""
        print(f"  {name:58} {ms:7.2f} ms  {size / 1000:6.1f} kB{told}", flush=True)
    return is_met


def make_store(base: Path, count: int) -> Journal:
    """Fill a store, and print what it takes; answers the seat of the server whose queue holds what waits."""
    make_models(base)
    asyncio.run(_scan(base))
    data = StandaloneHost(base).data_directory()
    store = data / STORE_NAME
    empty = store.stat().st_size
    journal = Journal(data / "queue")

    async def write() -> None:
        db = await Database.open(store)
        try:
            await fill(db, count, journal.seat)
        finally:
            await db.close()

    seconds = timed(lambda: asyncio.run(write()))
    size = (store.stat().st_size - empty) / count
    print(f"{count:,} jobs: {size / 1000:.1f} kB each in the store, written in {seconds:.1f} s", flush=True)
    return journal


async def _scan(base: Path) -> None:
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        await services.indexer.start_scan()[0].done.wait()
        await services.indexer.finish()
    finally:
        await services.stop()


@contextmanager
def serving(base: Path) -> Iterator[HTTPConnection]:
    """A connection to a server in a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE.parents[1])!r}); import conftest;"
        "from comfy_assets_node.comfy_assets.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "serve", "--base-directory", str(base), "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield wait_until_idle(PORT)
    finally:
        server.terminate()
        server.wait()


def times_of(
    connection: HTTPConnection, rounds: int, requests: int, goal: float | None
) -> dict[str, tuple[float, int, float | None]]:
    """Milliseconds and size of each answer, and the goal if there is one."""
    paths = paths_to_ask(connection, goal)
    best = dict.fromkeys(paths, float("inf"))
    sizes = {name: len(fetch(connection, path)) for name, (path, _) in paths.items()}
    for _ in range(rounds):
        for name, (path, _) in paths.items():
            times = [timed(lambda p=path: fetch(connection, p)) for _ in range(requests)]
            best[name] = min(best[name], statistics.median(times) * 1000)
        time.sleep(0.2)
    return {name: (best[name], sizes[name], paths[name][1]) for name in paths}


def paths_to_ask(connection: HTTPConnection, goal: float | None) -> dict[str, tuple[str, float | None]]:
    """What is asked, and how many milliseconds it may take."""
    first = json.loads(fetch(connection, "/api/jobs?limit=100"))
    after = first["pagination"]["next_cursor"]
    for _ in range(5):
        page = json.loads(fetch(connection, f"/api/jobs?limit=100&after={after}"))
        after = page["pagination"]["next_cursor"]
    job = page["jobs"][0]
    lora = json.loads(fetch(connection, "/api/assets?include_tags=loras&limit=1"))["assets"][0]
    deep = first["pagination"]["total"] * 9 // 10
    lists = {
        "the first page": ("limit=100", goal),
        "the next page, by cursor": (f"limit=100&after={after}", goal),
        "what the stock page asks: the queue": ("status=in_progress,pending&limit=200&offset=0", None),
        "what the stock page asks: the history": (f"{OVER}&limit=64&offset=0", None),
        "what the stock page asks: the history, all of it": (f"{OVER}&limit=200&offset=0", None),
        "failed jobs": ("status=failed&limit=100", None),
        "with images": ("output_type=image&limit=100", None),
        "with videos, of which there are none": ("output_type=video&limit=100", None),
        "the longest": ("sort_by=execution_time&limit=100", None),
        f"from offset {deep:,}": (f"limit=100&offset={deep}", None),
        "of a workflow": (f"workflow_id={job['workflow_id']}&limit=100", None),
        "that used a LoRA": (f"asset_id={lora['id']}&limit=100", None),
    }
    searches = {
        "that say what every graph says": "dpmpp",
        "that say what every graph says, a beginning and a whole": 'karr "blurry"',
        "that name a LoRA": lora["name"].rpartition(".")[0],
        "of which one says it": str(seed_of(json.loads(fetch(connection, f"/api/jobs/{job['id']}")))),
        "that say what none says": "nowhere",
    }
    lists |= {f"{name} (q)": (f"q={quote(words)}&limit=100", SEARCH_MS) for name, words in searches.items()}
    lists["the history of what every graph says (q)"] = (f"q=dpmpp&{OVER}&limit=64&offset=0", SEARCH_MS)
    asked = {f"{name}": (f"/api/jobs?{query}", has_goal) for name, (query, has_goal) in lists.items()}
    return asked | {
        "one job": (f"/api/jobs/{job['id']}", None),
        "one job's state": (f"/api/job/{job['id']}/status", None),
        "history_v2": ("/api/history_v2?max_items=100", None),
    }


def seed_of(job: dict[str, Any]) -> int:
    """The seed of a job's sampler."""
    nodes = job["workflow"]["prompt"].values()
    return next(int(node["inputs"]["seed"]) for node in nodes if "seed" in node["inputs"])


if __name__ == "__main__":
    sys.exit(main())
