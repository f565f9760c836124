"""Measure the library beside the bare work: ``python tests/benchmarks/library.py [--base D] [--rounds N]``.

Ratios are taken side by side, round by round, and their medians printed; absolute times only tell the order of
magnitude. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import bare  # noqa: E402
import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from make_library import make_library  # noqa: E402

GOALS = {"index": 4.0, "hash": 3.0, "rescan": 2.0}
THREADS = 2


def main() -> None:
    """Run every measurement and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="an existing base directory; its user folder is replaced")
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--outputs", type=int, default=30000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--large", type=int, default=2048, metavar="MiB", help="size of the large file; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or Path(scratch) / "library"
        if options.base is None:
            make_library(base, options.models, options.outputs)
        work = Path(scratch)
        measure_scans(base, work, options.rounds)
        if options.large:
            measure_large_file(work, options.large, options.rounds)
        measure_requests(base, options.requests)
        measure_import(options.rounds)


def measure_scans(base: Path, scratch: Path, rounds: int) -> None:
    """Index, hash and rescan, each beside the bare work; and the longest stall of the event loop meanwhile."""
    figures: dict[str, list[tuple[float, float]]] = {"index": [], "hash": [], "rescan": []}
    stalls: list[float] = []
    paths = [path for path, _, _ in bare.walk_and_stat(base)]
    for number in range(rounds):
        shutil.rmtree(base / "user", ignore_errors=True)
        floor_index = timed(lambda n=number: bare.walk_stat_and_insert(base, scratch / f"bare{n}.db"))
        floor_hash = timed(lambda: bare.hash_and_parse(paths, THREADS))
        floor_rescan = timed(lambda: bare.walk_and_stat(base))
        gc.collect()
        gc.freeze()  # what the benchmark holds, and a server does not, is not looked through while the loop waits
        ours = asyncio.run(scan_three_times(base))
        gc.unfreeze()
        figures["index"].append((ours[0], floor_index))
        figures["hash"].append((ours[1], floor_hash))
        figures["rescan"].append((ours[2], floor_rescan))
        stalls.append(ours[3])
    for name, pairs in figures.items():
        ratio = statistics.median(ours / floor for ours, floor in pairs)
        ours = statistics.median(pair[0] for pair in pairs)
        floor = statistics.median(pair[1] for pair in pairs)
        print(f"{name:24} {ratio:6.2f}x  (goal {GOALS[name]}x; {ours:.3f} s beside {floor:.3f} s)", flush=True)
    print(f"{'longest loop stall':24} {max(stalls) * 1000:6.1f} ms (goal 25 ms; each round {_ms(stalls)})", flush=True)


async def scan_three_times(base: Path) -> tuple[float, float, float, float]:
    """Seconds to index, to hash and to rescan, and the longest the event loop was kept waiting."""
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    watch = StallWatch()
    watching = asyncio.create_task(watch.run())
    try:

        async def scan() -> None:
            await services.indexer.start_scan()[0].done.wait()

        index = await timed_async(scan)
        hashing = await timed_async(services.indexer.finish)
        rescan = await timed_async(scan)
        await services.indexer.finish()
    finally:
        watching.cancel()
        await services.stop()
    return index, hashing, rescan, watch.longest


class StallWatch:
    """Sleeps in small steps and notes by how much a step was late."""

    def __init__(self, step: float = 0.005) -> None:
        self._step = step
        self.longest = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            before = time.perf_counter()
            await asyncio.sleep(self._step)
            self.longest = max(self.longest, time.perf_counter() - before - self._step)


def measure_large_file(scratch: Path, mebibytes: int, rounds: int) -> None:
    """The speed of hashing one large file, as a share of blake3's own multi-threaded mapping."""
    base = scratch / "large"
    path = base / "models" / "checkpoints" / "large.bin"
    path.parent.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with path.open("wb") as stream:
        for _ in range(mebibytes):
            stream.write(block)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    bare.hash_mapped(path)
    shares = []
    for _ in range(rounds):
        floor = timed(lambda: bare.hash_mapped(path))
        shutil.rmtree(base / "user", ignore_errors=True)
        ours = asyncio.run(hash_once(base))
        shares.append(floor / ours)
    print(f"{'one large file':24} {statistics.median(shares):6.2f}x  (goal 0.9x of blake3's own; {_list(shares)})")
    path.unlink()


async def hash_once(base: Path) -> float:
    """Seconds to hash what a scan found."""
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        await services.indexer.start_scan()[0].done.wait()
        return await timed_async(services.indexer.finish)
    finally:
        await services.stop()


def measure_requests(base: Path, count: int) -> None:
    """Median and 99th percentile of requests to a server in another process, over one kept-alive connection."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE.parents[1])!r}); import conftest;"
        "from comfy_assets_node.comfy_assets.cli import main; main(sys.argv[1:])"
    )
    port = "8391"
    server = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--base-directory", str(base), "--port", port],
        stdout=subprocess.DEVNULL,
    )
    try:
        connection = wait_until_idle(int(port))
        for path in (
            "/api/assets?limit=20",
            "/api/assets?limit=500",
            "/api/assets?limit=20&include_tags=models,loras&exclude_tags=missing",
            "/api/assets?limit=20&sort=name&order=asc",
            "/api/assets?limit=20&name_contains=0123",
            "/api/assets/tags/refine",
            "/api/tags",
        ):
            times = sorted(timed(lambda p=path: fetch(connection, p)) for _ in range(count))
            middle, late = times[count // 2], times[int(count * 0.99)]
            print(f"{path:72} p50 {middle * 1000:6.2f} ms  p99 {late * 1000:6.2f} ms", flush=True)
    finally:
        server.terminate()
        server.wait()


def wait_until_idle(port: int) -> http.client.HTTPConnection:
    """A connection to the server once its scan and hash run have ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            status = json.loads(fetch(connection, "/api/assets/seed/status"))
        except OSError:
            time.sleep(0.1)
            continue
        if status["status"] == "completed":
            return connection
        time.sleep(0.2)
    raise TimeoutError("the server did not become idle")


def fetch(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of a 200 answer."""
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ValueError(f"{path}: {response.status} {body[:200]!r}")
    return body


def measure_import(rounds: int) -> None:
    """What importing the pack costs a server that has aiohttp loaded already."""
    load = _LOAD.format(root=str(HERE.parents[2]))
    code = (
        "import aiohttp.web, asyncio, json, sqlite3, sys, time; t = time.perf_counter();"
        f"{load}; print(time.perf_counter() - t)"
    )
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(rounds)]
    print(f"{'import':24} {statistics.median(seconds) * 1000:6.0f} ms (goal 150 ms; {_ms(seconds)})")


_LOAD = (
    "import importlib.util as u; s = u.spec_from_file_location('comfy_assets_node', '{root}/__init__.py',"
    " submodule_search_locations=['{root}']); m = u.module_from_spec(s); sys.modules['comfy_assets_node'] = m;"
    " s.loader.exec_module(m); import comfy_assets_node.comfy_assets.plugin,"
    " comfy_assets_node.comfy_assets.host.comfyui"
)


def timed(work: Callable[[], object]) -> float:
    """Seconds the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


async def timed_async(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds the work takes."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{value * 1000:.0f}" for value in seconds) + " ms"


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
