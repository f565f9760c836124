"""Load and faults: ``python tests/benchmarks/load [--seconds N] [--kills N] [--users N] [--faults NAMES] [--seed N]``.

Mixed clients of one or several users are at work on a server, each in its way, while files change on the disk, the
server is killed and started again, and other faults happen to it:

- ``locked``: another process holds the write lock of the store for some seconds;
- ``full``: the store's disk is full for some seconds (Linux and root only: the store lies on a small tmpfs);
- ``hostile``: a node pack sleeps in ``task_done``, waits for the event loop in it, and replaces it;
- ``removed``: a node pack is gone after a restart, while prompts wait for its node.

Each client notes what it asked and what was answered. In the end the server is held by these notes, and by the disk,
through the API and in its store: what was answered is there, what was not is there or is not but never half. No user
may see anything of another, and every interrupt must be answered within a second.

Prints throughput, p50, p99 and errors, and ends with 1 when something is amiss; then the folder of the run stays, with
``notes.jsonl`` and ``server.log``. ``--comfyui CHECKOUT --python PYTHON`` runs it on a ComfyUI instead of the
standalone host, where nodes of the packs are built in and a listener of finished prompts blocks instead of a pack.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import aiohttp
from asking import TIMEOUT_S, Asker
from asset_client import AssetClient
from client import Client
from crowd_client import CrowdClient
from disk import Disk, make_sources
from faults import NAMES, Faults
from figures import print_figures, print_findings, print_interrupts
from flow_client import FlowClient
from impatient_client import ImpatientClient
from interrupter import Interrupter
from job_client import JobClient
from listener import Listener
from notes import Notes
from reckoning import reckon
from rival_client import RivalClient
from server import Server
from small_disk import NEEDED, SmallDisk
from stranger import Stranger
from users import users_of

CROWD, WILD = [f"crowd {n}" for n in range(3)], [f"wild {n}" for n in range(3)]
LIMIT_S = 900.0  # beyond the load: what takes longer hangs
# What the server logs, with a traceback, of a store that the run itself keeps from being written.
UNUSABLE = "StoreBusyError: The library store cannot be used now"
EXPECTED = {
    "locked": ("database is locked", UNUSABLE),
    "full": ("database or disk is full", "No space left on device", UNUSABLE),
}
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


class Load:
    """One run: a server, its users with the notes of their clients, and the session that all requests go through."""

    def __init__(
        self, server: Server, notes: Sequence[Notes], session: aiohttp.ClientSession, options: argparse.Namespace
    ) -> None:
        self.server, self.notes, self.options = server, notes, options
        self._session = session

    def ask(self, who: str, number: int) -> Asker:
        """Return an asker for a client of the user of that number."""
        return Asker(who, self.server, self._session, self.notes[number], self.server.users[number])

    def asks(self, who: str) -> list[Asker]:
        """Return such an asker of every user."""
        return [self.ask(who, number) for number in range(len(self.notes))]

    def clients(self) -> Iterator[Client]:
        """Make as many as are wanted, of each kind and each user in turn; and a stranger for each of several users."""
        sources = make_sources(self.server.base, random.Random(self.options.seed))
        for number, kind in zip(range(self.options.clients), cycle(KINDS), strict=False):
            ask = self.ask(f"{kind}{number}", (number + number // len(KINDS)) % len(self.notes))
            chance = random.Random(self.options.seed * 1000 + number)
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
        for ask in self.asks("stranger") if len(self.notes) > 1 else []:
            others = [each for each in self.notes if each is not ask.notes]
            yield Stranger(ask, random.Random(self.options.seed), others)

    def interrupters(self) -> list[Interrupter]:
        """Make one for each user."""
        chance = random.Random(self.options.seed)
        return [Interrupter(ask, chance, self.options.interrupt_s) for ask in self.asks("interrupter")]

    def listeners(self) -> list[Listener]:
        """Make one for each user."""
        return [Listener(ask, self._session) for ask in self.asks("listener")]


async def run(server: Server, disk: SmallDisk, notes: Sequence[Notes], options: argparse.Namespace) -> None:
    """The load and its faults, then the audit."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, timeout=timeout, connector=connector) as session:
        load = Load(server, notes, session, options)
        clients = list(load.clients())
        server.start()
        await server.wait_until_up()
        until = time.monotonic() + options.seconds
        faults = Faults(server, disk, load.ask("faults", 0), random.Random(options.seed), options.outage_s)
        wanted = faults.of(options.faults, options.kills, options.times)
        workers = [*clients, *load.interrupters(), *load.listeners()]
        workers.append(Disk(server.base, notes[0], random.Random(options.seed)))
        await asyncio.gather(*(worker.work(until) for worker in workers), faults.work(wanted, until))
        print_figures(notes[0], options.seconds)
        print_interrupts(notes[0], options.interrupt_s)
        await reckon(load.asks("audit"), [error for name in options.faults for error in EXPECTED.get(name, ())])


def fault_names(text: str) -> list[str]:
    """Return the names in a list with commas; ``all`` and ``none`` stand for every one and for none."""
    names = {"all": list(NAMES), "none": []}.get(text, text.split(","))
    unknown = set(names) - set(NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(NAMES)}, all, none")
    return names


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--users", type=int, default=1, choices=range(1, 5), help="several: a server with --multi-user")
    parser.add_argument("--faults", type=fault_names, default=[], help="names with commas, all, or none (the default)")
    parser.add_argument("--times", type=int, default=3, help="how often the store is locked, and its disk full")
    parser.add_argument("--outage-s", type=float, default=8.0, help="how long the store is locked, and its disk full")
    parser.add_argument("--interrupt-s", type=float, default=1.0, help="how long an interrupt may take")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where it runs and leaves everything; a passing one otherwise")
    parser.add_argument("--comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument("--python", default=sys.executable, help="its Python")
    return parser.parse_args()


def prepare(server: Server, disk: SmallDisk, options: argparse.Namespace) -> None:
    """Place the packs and the disk that the faults need; leave out, with a message, what is not possible here."""
    packs = {"hostile": "load_hostile", "removed": "load_passing"}
    server.packs |= {packs[name] for name in options.faults if name in packs}
    if "full" in options.faults and not disk.mount():
        options.faults.remove("full")
        print(f"skipped: {NEEDED}")


def main() -> int:
    """Run on a folder that is gone afterwards, if all is well."""
    options = parse()
    base = (options.folder or Path(tempfile.mkdtemp())).resolve()
    base.mkdir(parents=True, exist_ok=True)
    server = Server(base, options.comfyui, options.python, users_of(options.users))
    disk, notes = SmallDisk(server.data), [Notes(base)]
    notes += [notes[0].of_another_user() for _ in server.users[1:]]
    prepare(server, disk, options)
    try:
        asyncio.run(asyncio.wait_for(run(server, disk, notes, options), options.seconds + LIMIT_S))
    except asyncio.TimeoutError:
        notes[0].find("the run does not come to its end")
    finally:
        server.kill()
        disk.release()
        print_findings(notes)
        for each in notes:
            each.close()
    if options.folder is None and not notes[0].found:
        shutil.rmtree(base)
    elif notes[0].found:
        print("how it came to that:", base)
    return 1 if notes[0].found else 0


if __name__ == "__main__":
    sys.exit(main())
