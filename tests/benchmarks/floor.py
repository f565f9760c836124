"""The library beside the unavoidable work: ``python tests/benchmarks/floor.py [--base D] [--rounds N]``.

The unavoidable work is to walk and stat, to insert a row for each file, to read and hash each file in two threads, and
to store the hashes. Rounds are paired: the bare work and the library's take turns, in processes of their own, and the
medians of the ratios are printed, of the time that passes and of processor time. Search words are indexed afterwards,
in the background, and are not part of it.

``reread`` is to read the metadata of all contents again, beside reading the first 16 KiB of each file.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import bare  # noqa: E402
from blake3 import blake3  # noqa: E402
from make_library import make_library  # noqa: E402

GOAL = 2.0
THREADS = 2
HEAD = 16 << 10


def main() -> None:
    """Run the rounds and print a line for each measurement; status 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="an existing base directory; its user folder is replaced")
    parser.add_argument("--models", type=int, default=3500)
    parser.add_argument("--outputs", type=int, default=31500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=("floor", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        seconds = floor(options.base) if options.part == "floor" else asyncio.run(ours(options.base))
        print(json.dumps(seconds))
        return
    with tempfile.TemporaryDirectory() as scratch:
        base = options.base or Path(scratch) / "library"
        if options.base is None:
            make_library(base, options.models, options.outputs)
        rounds = [(measure(base, "floor"), measure(base, "ours")) for _ in range(options.rounds)]
    missed = [name for name in ("index", "all", "reread") if not report(name, rounds)]
    sys.exit(1 if missed else 0)


def measure(base: Path, part: str) -> dict[str, float]:
    """Seconds by measurement, taken in a process of their own."""
    command = [sys.executable, str(HERE), "--base", str(base), "--part", part]
    found: dict[str, float] = json.loads(subprocess.check_output(command))
    return found


def report(name: str, rounds: list[tuple[dict[str, float], dict[str, float]]]) -> bool:
    """Print the median ratio of a measurement; whether it reaches the goal."""
    ratio, worked = (
        statistics.median(own[each] / least[each] for least, own in rounds) for each in (name, f"{name} worked")
    )
    least, own = (statistics.median(pair[at][name] for pair in rounds) for at in (0, 1))
    print(
        f"{name:10} {ratio:5.2f}x  (goal {GOAL}x; {own:.3f} s beside {least:.3f} s); processor {worked:5.2f}x",
        flush=True,
    )
    return ratio <= GOAL


class Clock:
    """The seconds that have passed, and the processor time that all threads have used, since it was started."""

    def __init__(self) -> None:
        self._began, self._worked = time.perf_counter(), time.process_time()

    def read(self, name: str) -> dict[str, float]:
        """Both, as the figures of a measurement."""
        return {name: time.perf_counter() - self._began, f"{name} worked": time.process_time() - self._worked}


def floor(base: Path) -> dict[str, float]:
    """Seconds of the unavoidable work, with the files in the system's memory."""

    def digest(path: str) -> bytes:
        with open(path, "rb", buffering=0) as stream:
            return blake3(stream.read()).digest()

    def head(path: str) -> int:
        with open(path, "rb", buffering=0) as stream:
            return len(stream.read(HEAD))

    paths = [path for path, _, _ in bare.walk_and_stat(base)]
    with ThreadPoolExecutor(THREADS) as pool, tempfile.TemporaryDirectory() as scratch:
        list(pool.map(digest, paths, chunksize=64))
        clock = Clock()
        rows = bare.walk_and_stat(base)
        with closing(sqlite3.connect(Path(scratch) / "floor.db")) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("CREATE TABLE f (id INTEGER PRIMARY KEY, path TEXT UNIQUE, size INT, mtime INT, hash BLOB)")
            conn.execute("CREATE INDEX f_by_hash ON f (hash)")
            with conn:
                conn.executemany("INSERT INTO f (path, size, mtime) VALUES (?, ?, ?)", rows)
            figures = clock.read("index")
            hashes = list(pool.map(digest, paths, chunksize=64))
            with conn:
                conn.executemany("UPDATE f SET hash = ? WHERE path = ?", list(zip(hashes, paths, strict=True)))
        figures |= clock.read("all")
        clock = Clock()
        list(pool.map(head, paths, chunksize=64))
        return figures | clock.read("reread")


async def ours(base: Path) -> dict[str, float]:
    """Seconds in which the library does the same; and reads all contents again."""
    import conftest  # noqa: F401 - loads the checkout under its package name
    from comfy_assets_node.comfy_assets.app import Services
    from comfy_assets_node.comfy_assets.assets.index.reread import REREAD
    from comfy_assets_node.comfy_assets.config import Config
    from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost

    shutil.rmtree(base / "user", ignore_errors=True)
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        gc.collect()
        gc.freeze()
        clock = Clock()
        await services.indexer.start_scan()[0].done.wait()
        figures = clock.read("index")
        await services.indexer.finish()
        figures |= clock.read("all")
        async with services.db.transaction() as tx:
            await tx.execute("UPDATE contents SET reader_version = 1")
        clock = Clock()
        await services.tasks.start(REREAD, services.rereader.run)[0].done.wait()
        return figures | clock.read("reread")
    finally:
        await services.stop()


if __name__ == "__main__":
    main()
