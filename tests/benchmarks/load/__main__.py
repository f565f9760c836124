"""Load and faults: ``python tests/benchmarks/load [--seconds N] [--clients N] [--kills N] [--seed N]``.

Mixed clients are at work on a server, each in its way, while files change on the disk and the server is killed and
started again. Each notes what it asked and what was answered. In the end the server is held by these notes, and by the
disk, through the API and in its store: what was answered is there, what was not is there or is not but never half.
Prints throughput, p50, p99 and errors, and ends with 1 when something is amiss; then the folder of the run stays, with
``notes.jsonl`` and ``server.log``. ``--comfyui CHECKOUT --python PYTHON`` runs it on a ComfyUI instead of the
standalone host.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import aiohttp
from asking import TIMEOUT_S, Asker
from asset_client import AssetClient
from client import Client
from crowd_client import CrowdClient
from disk import Disk, make_sources
from figures import print_figures, print_findings
from flow_client import FlowClient
from impatient_client import ImpatientClient
from job_client import JobClient
from notes import Notes
from reckoning import reckon
from rival_client import RivalClient
from server import Server

CROWD, WILD = [f"crowd {n}" for n in range(3)], [f"wild {n}" for n in range(3)]
LIMIT_S = 900.0  # beyond the load: what takes longer hangs
KINDS = (
    "assets",
    "flows",
    "crowd",
    "jobs",
    "flows",
    "crowd",
    "wild",
    "assets",
    "impatient",
    "rivals",
    "rivals",
    "wild",
)


def make_clients(
    server: Server, session: aiohttp.ClientSession, notes: Notes, options: argparse.Namespace
) -> Iterator[Client]:
    """As many as are wanted, of each kind in turn."""
    sources = make_sources(server.base, random.Random(options.seed))
    for number, kind in zip(range(options.clients), cycle(KINDS), strict=False):
        ask = Asker(f"{kind}{number}", server, session, notes)
        chance = random.Random(options.seed * 1000 + number)
        if kind == "assets":
            yield AssetClient(ask, chance, sources)
        elif kind == "jobs":
            yield JobClient(ask, chance)
        elif kind == "flows":
            yield FlowClient(ask, chance)
        elif kind == "impatient":
            yield ImpatientClient(ask, chance)
        elif kind == "rivals":
            yield RivalClient(ask, chance)
        else:
            yield CrowdClient(ask, chance, WILD if kind == "wild" else CROWD, is_wild=kind == "wild")


async def kill_now_and_then(server: Server, kills: int, seconds: float, chance: random.Random) -> None:
    """Kill the server at moments that nobody expects, and start it again."""
    end = time.monotonic() + seconds
    for left in range(kills, 0, -1):
        share = max(end - time.monotonic(), 0) / (left + 0.5)
        await asyncio.sleep(share * (0.7 + 0.6 * chance.random()))
        server.kill()
        await asyncio.sleep(chance.random())
        server.start()
        await server.wait_until_up()


async def run(server: Server, notes: Notes, options: argparse.Namespace) -> None:
    """The load and its faults, then the audit."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, timeout=timeout, connector=connector) as session:
        clients = list(make_clients(server, session, notes, options))
        server.start()
        await server.wait_until_up()
        until = time.monotonic() + options.seconds
        await asyncio.gather(
            *(client.work(until) for client in clients),
            Disk(server.base, notes, random.Random(options.seed)).work(until),
            kill_now_and_then(server, options.kills, options.seconds, random.Random(options.seed)),
        )
        print_figures(notes, options.seconds)
        await reckon(Asker("audit", server, session, notes))


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where it runs and leaves everything; a passing one otherwise")
    parser.add_argument("--comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument("--python", default=sys.executable, help="its Python")
    return parser.parse_args()


def main() -> int:
    """Run on a folder that is gone afterwards, if all is well."""
    options = parse()
    base = (options.folder or Path(tempfile.mkdtemp())).resolve()
    base.mkdir(parents=True, exist_ok=True)
    server, notes = Server(base, options.comfyui, options.python), Notes(base)
    try:
        asyncio.run(asyncio.wait_for(run(server, notes, options), options.seconds + LIMIT_S))
    except asyncio.TimeoutError:
        notes.find("the run does not come to its end")
    finally:
        server.kill()
        print_findings(notes)
        notes.close()
    if options.folder is None and not notes.found:
        shutil.rmtree(base)
    elif notes.found:
        print("how it came to that:", base)
    return 1 if notes.found else 0


if __name__ == "__main__":
    sys.exit(main())
