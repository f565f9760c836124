"""Measure following the disk: ``python tests/benchmarks/follow.py [--base D] [--rounds N] [--burst N]``.

Prints how long it takes until a new file is listed, until a burst of files is, the longest stall of the event loop
meanwhile, and what following costs while nothing happens; with ``watchfiles`` and without. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import conftest  # noqa: E402, F401 - loads the checkout under its package name
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.assets.index import watcher  # noqa: E402
from comfy_assets_node.comfy_assets.background.interruption import CancelToken  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from library import StallWatch  # noqa: E402
from make_library import make_library  # noqa: E402

IDLE_S = 20.0


def main() -> None:
    """Run every measurement and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="an existing base directory; its user folder is replaced")
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--outputs", type=int, default=30000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--burst", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or Path(scratch) / "library"
        if options.base is None:
            make_library(base, options.models, options.outputs)
        backend = watcher.load_backend
        for name, load in {"watched": backend, "polled": lambda: None}.items():
            watcher.load_backend = load
            shutil.rmtree(base / "user", ignore_errors=True)
            asyncio.run(measure(name, base, options.rounds, options.burst))


async def measure(name: str, base: Path, rounds: int, burst: int) -> None:
    """One run over a library that has been read; what is written is removed."""
    host = StandaloneHost(base)
    events: list[str] = []
    emit = host.emit

    def count(event: str, data: Any) -> None:
        if "created" in data:
            events.append(event)
        emit(event, data)

    host.emit = count  # type: ignore[method-assign]
    services = Services(host, Config())
    await services.start()
    try:
        await services.start_indexing()
        await services.indexer.scanner.completed.wait()
        await services.indexer.finish()
        await asyncio.sleep(3 * watcher.POLL_S)
        await measure_idle(name, services)
        single = [await noticed(services, base / "output/month01/benchmark", 1) for _ in range(rounds)]
        print(f"{name}: one file listed after {statistics.median(t for t, _ in single):.2f} s (median of {rounds})")
        events.clear()
        seconds, stall = await noticed(services, base / "output/benchmark/many", burst)
        print(
            f"{name}: {burst} files listed {seconds:.2f} s after the last was written,"
            f" longest loop stall {stall * 1000:.0f} ms, {len(events)} events"
        )
    finally:
        await services.stop()


async def measure_idle(name: str, services: Services) -> None:
    """Processor time while nothing happens, and what one look at the folders takes."""
    passes: list[float] = []
    for _ in range(10):
        started = time.perf_counter()
        await services.indexer.scanner.directory_changes(CancelToken())
        passes.append(time.perf_counter() - started)
    before = time.process_time()
    await asyncio.sleep(IDLE_S)
    share = (time.process_time() - before) / IDLE_S
    print(f"{name}: idle {share:.2%} of one core; one look at all folders {statistics.median(passes) * 1000:.1f} ms")


async def noticed(services: Services, stem: Path, count: int) -> tuple[float, float]:
    """Write files, wait until they are listed, and remove them; the seconds that took, and the longest stall."""
    stem.parent.mkdir(exist_ok=True)
    wanted = await present(services) + count
    watch = StallWatch()
    watching = asyncio.create_task(watch.run())
    paths = [stem.with_name(f"{stem.name}-{time.time_ns()}-{number}.png") for number in range(count)]
    await asyncio.to_thread(write, paths)
    started = time.perf_counter()
    await until(services, wanted)
    seconds = time.perf_counter() - started
    await asyncio.to_thread(remove, paths)
    await until(services, wanted - count)
    watching.cancel()
    return seconds, watch.longest


def write(paths: list[Path]) -> None:
    """Write small files that differ."""
    for path in paths:
        path.write_bytes(str(path).encode() * 20)


def remove(paths: list[Path]) -> None:
    """Remove the files."""
    for path in paths:
        path.unlink()


async def until(services: Services, count: int) -> None:
    """Wait until that many files are there."""
    while await present(services) != count:
        await asyncio.sleep(0.02)


async def present(services: Services) -> int:
    """How many files are there, as far as is known."""
    return int((await services.db.fetch_all("SELECT count(*) FROM files WHERE missing = 0"))[0][0])


if __name__ == "__main__":
    main()
