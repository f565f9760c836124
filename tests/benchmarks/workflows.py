"""How fast workflows are listed, saved and read: ``python tests/benchmarks/workflows.py [--workflows N] [--rounds N]``.

A store is filled with 10,000 workflows and served by the standalone host in a process of its own. Every request is made
many times over one kept-alive connection; printed is the median, that of the best round, as others may use the machine.
The status is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.db import workflows  # noqa: E402
from comfy_assets_node.comfy_assets.db.workflows import NewVersion, NewWorkflow  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from comfy_assets_node.comfy_assets.ids import new_ids  # noqa: E402
from comfy_assets_node.comfy_assets.workflows.document import parse_workflow  # noqa: E402
from jobs_lists import serving  # noqa: E402
from library import fetch, timed  # noqa: E402

GOAL_MS = 5.0
OWNER = "default"
URL = "/api/workflows"
WORDS = ("portrait", "landscape", "upscale", "inpaint", "ink", "video", "night", "forest", "sketch", "final")


def main() -> int:
    """Fill, serve and measure; answers the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=40, help="requests of each kind in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        asyncio.run(fill(base, options.workflows))
        with serving(base) as connection:
            lists = times_of(lists_of(connection, options.workflows), options.rounds, options.requests)
            others = times_of(others_of(connection), options.rounds, 5)
    print(f"{options.workflows:,} workflows")
    for name, ms in (lists | others).items():
        goal = f"  (goal {GOAL_MS} ms{', MISSED' if ms > GOAL_MS else ''})" if name in lists else ""
        print(f"  {name:48} {ms:7.2f} ms{goal}")
    return 0 if max(lists.values()) <= GOAL_MS else 1


async def fill(base: Path, count: int) -> None:
    """Save workflows of one version each, over years."""
    chance = random.Random(5)
    for kind in ("models", "input", "output"):
        (base / kind).mkdir()
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        async with services.db.transaction() as tx:
            for number in range(count):
                workflow_id, version_id = new_ids(2)
                name = f"{chance.choice(WORDS)} {chance.choice(WORDS)} {number}"
                at = 1_600_000_000_000 + number * 1_000_000
                view = chance.choice(("workflow", "workflow", "app"))
                row = await workflows.add(tx, NewWorkflow(workflow_id, OWNER, name, None, view, None, None, at))
                version = NewVersion(version_id, 1, OWNER, at)
                text = b'{"nodes": [], "number": %d}' % (number % 500)
                await workflows.add_version(tx, row, version, parse_workflow(text).document)
    finally:
        await services.stop()


def times_of(asked: dict[str, Callable[[], object]], rounds: int, requests: int) -> dict[str, float]:
    """Milliseconds that each takes."""
    best = dict.fromkeys(asked, float("inf"))
    for _ in range(rounds):
        for name, ask in asked.items():
            best[name] = min(best[name], statistics.median(timed(ask) for _ in range(requests)) * 1000)
        time.sleep(0.2)
    return best


def lists_of(connection: HTTPConnection, count: int) -> dict[str, Callable[[], object]]:
    """The lists that have a goal."""
    queries = {
        "the first page": "",
        "a hundred": "limit=100",
        "by name": "sort=name&order=asc&limit=100",
        "by the time of the last change": "sort=update_time&limit=100",
        f"the last hundred, from offset {count - 100:,}": f"limit=100&offset={count - 100}",
        "of one view": "default_view=app&limit=100",
        "of one view, from the middle": f"default_view=app&limit=100&offset={count // 6}",
        "whose name has a word": "name=portrait&limit=100",
        "whose name has a word, from the middle, by name": f"name=ink&sort=name&limit=100&offset={count // 12}",
        "whose name is only one's": f"name={count - 1}",
        "whose name is none's": "name=nowhere",
    }
    return {name: lambda path=f"{URL}?{query}": fetch(connection, path) for name, query in queries.items()}


def others_of(connection: HTTPConnection) -> dict[str, Callable[[], object]]:
    """A small workflow and one of 5 MB, saved and read."""
    made: dict[str, str] = {}

    def save(name: str, body: bytes) -> None:
        connection.request("POST", URL, body, {"Content-Type": "application/json"})
        made[name] = json.loads(connection.getresponse().read())["id"]

    asked: dict[str, Callable[[], object]] = {}
    for name, nodes in (("of 20 nodes", 20), ("of 5 MB", 27_000)):
        listed = [{"id": n, "type": "Note", "widgets_values": [f"note {n} " * 20]} for n in range(nodes)]
        body = json.dumps({"workflow_json": {"nodes": listed}, "name": name}).encode()
        asked[f"a workflow {name} saved"] = lambda name=name, body=body: save(name, body)
        asked[f"a workflow {name} read"] = lambda name=name: fetch(connection, f"{URL}/{made[name]}/content")
    return asked


if __name__ == "__main__":
    sys.exit(main())
