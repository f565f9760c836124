"""Load and faults: ``python tests/benchmarks/load_and_fault.py [--seconds N] [--clients N] [--kills N] [--seed N]``.

Mixed clients list, upload, edit tags, submit, cancel and save versions on a standalone server, while files appear and
vanish and, on systems that have it, the server is killed (``kill -9``) and started again. In the end an audit: every
answered write is there, counts equal a recount, no file is without a row and no row without a file or its mark. Prints
requests, throughput, p50, p99 and errors; ends with 1 when the audit finds something.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from blake3 import blake3

CHILD = Path(__file__).resolve().parents[1] / "host" / "standalone_child.py"
FOLDERS = ("models/loras", "input", "output", "temp", "user")
UNANSWERED = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
SETTLE_S = 120.0
DRAFT = ".comfy-assets-"  # of an upload that a kill cut short: another server's for all one knows, gone after an hour
FINAL = {"completed", "failed", "cancelled"}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
}


class Server:
    """The server's process, which can be killed and started again on the same port."""

    def __init__(self, base: Path) -> None:
        self.base = base
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Begin; ``is_up`` tells when it answers."""
        command = [sys.executable, str(CHILD), "serve", "--base-directory", str(self.base), "--port", str(self.port)]
        with (self.base / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.base)

    def kill(self) -> None:
        """End it without any notice."""
        self._process.kill()
        self._process.wait()


@dataclass
class Ledger:
    """What the server has answered, by which it is held in the end."""

    hashes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)  # assets with an edit that was sent and not answered
    versions: dict[tuple[str, int], int] = field(default_factory=dict)
    jobs: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)


class Client:
    """Sends requests and takes the time of each."""

    def __init__(self, session: aiohttp.ClientSession, ledger: Ledger, chance: random.Random) -> None:
        self.session, self.ledger, self.chance = session, ledger, chance
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self._own: list[str] = []
        self._flow: tuple[str, int] | None = None

    async def ask(self, name: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON; a 5xx is counted as an error. Raises one of UNANSWERED."""
        started = time.perf_counter()
        try:
            async with self.session.request(method, path, **options) as response:
                body = await response.json(content_type=None) if response.status != 204 else None
                status = response.status
        except UNANSWERED:
            self.errors[f"{name}: no answer"] += 1
            raise
        self.times[name].append(time.perf_counter() - started)
        if status >= 500:
            self.errors[f"{name}: {status}"] += 1
        return status, body

    async def work(self, until: float) -> None:
        """One thing after the other."""
        deeds: list[Callable[[], Awaitable[None]]] = [self.browse, self.upload, self.tag, self.submit, self.save]
        while time.monotonic() < until:
            try:
                await self.chance.choice(deeds)()
            except UNANSWERED:
                await asyncio.sleep(0.05)  # the server is away; how long is not known

    async def browse(self) -> None:
        """Look at lists."""
        path = self.chance.choice(["/api/assets?limit=50", "/api/jobs?limit=50", "/api/tags", "/api/workflows"])
        await self.ask("list", "GET", path)

    async def upload(self) -> None:
        """A new file."""
        content = self.chance.randbytes(self.chance.randrange(1, 60_000))
        form = aiohttp.FormData()
        form.add_field("tags", '["input"]')
        form.add_field("file", content, filename=f"{self.chance.randrange(10**9)}.bin")
        status, body = await self.ask("upload", "POST", "/api/assets", data=form)
        if status in (200, 201):
            self.ledger.hashes[body["id"]] = "blake3:" + blake3(content).hexdigest()
            self.ledger.tags[body["id"]] = set()
            self._own.append(body["id"])

    async def tag(self) -> None:
        """Give one of the own assets a tag, or take one away."""
        if not self._own:
            return
        asset, tag = self.chance.choice(self._own), f"t{self.chance.randrange(5)}"
        has = tag in self.ledger.tags[asset]
        method = "DELETE" if has else "POST"
        try:
            status, _ = await self.ask("tags", method, f"/api/assets/{asset}/tags", json={"tags": [tag]})
        except UNANSWERED:
            self.ledger.unsure.add(asset)
            raise
        if status == 200:
            (self.ledger.tags[asset].discard if has else self.ledger.tags[asset].add)(tag)

    async def submit(self) -> None:
        """A prompt, which may be cancelled at once."""
        status, body = await self.ask("submit", "POST", "/api/prompt", json={"prompt": GRAPH})
        if status != 200:
            return
        job = body["prompt_id"]
        self.ledger.jobs.add(job)
        if self.chance.random() < 0.3:
            status, body = await self.ask("cancel", "POST", f"/api/jobs/{job}/cancel")
            if status == 200 and body["cancelled"]:
                self.ledger.cancelled.add(job)

    async def save(self) -> None:
        """A workflow, or the next version of the own one."""
        value = self.chance.randrange(10**9)
        if self._flow is None:
            status, body = await self.ask("workflow", "POST", "/api/workflows", json={"workflow_json": {"n": value}})
            if status == 201:
                self._flow = (body["id"], 1)
                self.ledger.versions[self._flow] = value
            return
        (flow, base), self._flow = self._flow, None  # unless it is answered nobody knows what the latest is
        body = {"base_version": base, "workflow_json": {"n": value}}
        status, body = await self.ask("version", "POST", f"/api/workflows/{flow}/versions", json=body)
        if status == 201:
            self._flow = (flow, body["version"])
            self.ledger.versions[self._flow] = value


async def disturb(base: Path, until: float, chance: random.Random) -> None:
    """Files appear in the folders and vanish from them."""
    written: list[Path] = []
    for number in itertools.count():
        if time.monotonic() > until:
            return
        path = base / chance.choice(("input", "output", "models/loras")) / f"foreign {number}.safetensors"
        path.write_bytes(chance.randbytes(2000))
        written.append(path)
        if chance.random() < 0.4:
            written.pop(chance.randrange(len(written))).unlink()
        await asyncio.sleep(0.02)


async def is_up(session: aiohttp.ClientSession) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        with suppress(*UNANSWERED):
            async with session.get("/health") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.05)
    raise SystemExit("the server does not come up")


async def kill_now_and_then(server: Server, session: aiohttp.ClientSession, kills: int, seconds: float) -> None:
    """Kill the server at even intervals, and start it again."""
    for _ in range(kills):
        await asyncio.sleep(seconds / (kills + 1))
        server.kill()
        server.start()
        await is_up(session)


async def settle(session: aiohttp.ClientSession) -> None:
    """Wait until nothing is executed and a last scan has read every file."""
    deadline = time.monotonic() + SETTLE_S
    has_scanned = False
    while time.monotonic() < deadline:
        async with session.get("/api/jobs?status=pending,in_progress") as response:
            jobs = (await response.json())["pagination"]["total"]
        async with session.get("/api/assets/seed/status") as response:
            status = await response.json()
        is_idle = status["phase"] == "idle" and jobs == 0
        if is_idle and has_scanned:
            return
        if is_idle:
            async with session.post("/api/assets/seed", json={}) as response:
                has_scanned = (await response.json())["status"] == "started"
        await asyncio.sleep(0.1)
    raise SystemExit("the server does not come to rest")


class Audit:
    """Holds the server by its answers and by the disk."""

    def __init__(self, session: aiohttp.ClientSession, ledger: Ledger, base: Path) -> None:
        self._session, self._ledger, self._base = session, ledger, base
        self.found: list[str] = []

    async def run(self) -> None:
        assets = await self._all_assets()
        self._uploads(assets)
        self._disk(assets)
        await self._counts(assets)
        await self._workflows()
        await self._jobs()

    def _must(self, is_so: bool, what: str) -> None:
        if not is_so:
            self.found.append(what)

    async def _get(self, path: str) -> Any:
        async with self._session.get(path) as response:
            return await response.json() if response.status == 200 else {"status": response.status}

    async def _all_assets(self) -> dict[str, Any]:
        assets: dict[str, Any] = {}
        after = ""
        while True:
            page = await self._get(f"/api/assets?limit=500&sort=name&order=asc{after}")
            assets |= {asset["id"]: asset for asset in page["assets"]}
            if "next_cursor" not in page:
                self._must(page["total"] == len(assets), f"total {page['total']}, listed {len(assets)}")
                return assets
            after = f"&after={page['next_cursor']}"

    def _uploads(self, assets: dict[str, Any]) -> None:
        for asset_id, digest in self._ledger.hashes.items():
            asset = assets.get(asset_id)
            self._must(asset is not None, f"upload {asset_id} is gone")
            if asset is None:
                continue
            self._must(asset.get("hash") == digest, f"upload {asset_id} has another hash")
            content = (self._base / asset["file_path"]).read_bytes()
            self._must("blake3:" + blake3(content).hexdigest() == digest, f"upload {asset_id} has other bytes")
            mine = {tag for tag in asset["tags"] if tag in {"t0", "t1", "t2", "t3", "t4"}}
            is_same = mine == self._ledger.tags[asset_id] or asset_id in self._ledger.unsure
            self._must(is_same, f"tags of {asset_id}: {mine}, not {self._ledger.tags[asset_id]}")

    def _disk(self, assets: dict[str, Any]) -> None:
        present = {asset["file_path"] for asset in assets.values() if "missing" not in asset["tags"]}
        on_disk = {
            path.relative_to(self._base).as_posix()
            for folder in ("models", "input", "output")
            for path in (self._base / folder).rglob("*")
            if path.is_file() and not path.name.startswith(DRAFT)
        }
        self.found += [f"no row: {name}" for name in sorted(on_disk - present)]
        self.found += [f"neither file nor mark: {name}" for name in sorted(present - on_disk)]

    async def _counts(self, assets: dict[str, Any]) -> None:
        counted = Counter(tag for asset in assets.values() for tag in asset["tags"])
        for path, key in (("/api/assets/tags/refine?limit=1000", "tag_counts"), ("/api/tags?limit=1000", "tags")):
            told = (await self._get(path))[key]
            told = {tag["name"]: tag["count"] for tag in told} if key == "tags" else told
            self._must(told == dict(counted), f"{path} tells other counts than a recount")

    async def _workflows(self) -> None:
        for (flow, number), value in self._ledger.versions.items():
            found = await self._get(f"/api/workflows/{flow}/versions/{number}")
            self._must(found.get("workflow_json") == {"n": value}, f"workflow {flow}, version {number}: {found}")

    async def _jobs(self) -> None:
        for job in self._ledger.jobs:
            found = await self._get(f"/api/jobs/{job}")
            self._must(found.get("status") in FINAL, f"job {job}: {found.get('status')}")
            is_so = job not in self._ledger.cancelled or found.get("status") == "cancelled"
            self._must(is_so, f"job {job} was cancelled and is {found.get('status')}")


def report(clients: list[Client], seconds: float) -> None:
    """Print what was measured."""
    times: dict[str, list[float]] = defaultdict(list)
    errors: Counter[str] = Counter()
    for client in clients:
        errors += client.errors
        for name, taken in client.times.items():
            times[name] += taken
    everything = [each for taken in times.values() for each in taken]
    for name, taken in [*sorted(times.items()), ("all", everything)]:
        p99 = statistics.quantiles(taken, n=100)[98] if len(taken) > 1 else taken[0]
        print(f"{name:10} {len(taken):7} requests {len(taken) / seconds:8.1f}/s", end="")
        print(f"   p50 {statistics.median(taken) * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms")
    print("errors:", dict(errors) or "none")


async def measure(server: Server, options: argparse.Namespace) -> int:
    """The run and its audit; answers the number of findings."""
    ledger = Ledger()
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", timeout=timeout) as session:
        await is_up(session)
        clients = [Client(session, ledger, random.Random(options.seed + n)) for n in range(options.clients)]
        until = time.monotonic() + options.seconds
        await asyncio.gather(
            *(client.work(until) for client in clients),
            disturb(server.base, until, random.Random(options.seed)),
            kill_now_and_then(server, session, options.kills, options.seconds),
        )
        report(clients, options.seconds)
        await settle(session)
        audit = Audit(session, ledger, server.base)
        await audit.run()
    print(f"audited: {len(ledger.hashes)} uploads, {len(ledger.versions)} versions, {len(ledger.jobs)} jobs")
    print("\n".join(audit.found) or "nothing is amiss")
    return len(audit.found)


def main() -> int:
    """Run on a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=0 if os.name == "nt" else 2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in FOLDERS:
            (base / name).mkdir(parents=True)
        server = Server(base)
        try:
            return 1 if asyncio.run(measure(server, options)) else 0
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
