"""Measure videos and sounds in a library: ``python tests/benchmarks/media_files.py [--videos N] [--sounds N]``.

They are made by FFmpeg once for each container, with a workflow in each, and copied with different bytes. Measured are,
side by side with the bare work and as medians of all rounds: reading the facts of all files, beside reading the
beginning and end of each; the same with PyAV; and index, hash and facts together, beside walk, hash and insert.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import av  # noqa: E402
import bare  # noqa: E402
import conftest  # noqa: E402, F401 - loads the checkout under its package name
from blake3 import blake3  # noqa: E402
from comfy_assets_node.comfy_assets.app import Services  # noqa: E402
from comfy_assets_node.comfy_assets.assets.media.metadata import extract_path  # noqa: E402
from comfy_assets_node.comfy_assets.config import Config  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from support.media_files import KEEP_TAGS, sound, video  # noqa: E402

WORKFLOW = {
    "nodes": [{"id": number, "type": "KSampler", "widgets_values": [str(number) * 20]} for number in range(300)]
}
TAGS = {"prompt": json.dumps({"1": {"class_type": "A", "inputs": {}}}), "workflow": json.dumps(WORKFLOW)}
VIDEOS = [
    ("mp4", "libx264", KEEP_TAGS),
    ("mov", "libx264", KEEP_TAGS),
    ("webm", "libvpx-vp9", {}),
    ("matroska", "libx264", {}),
]
SOUNDS = [("flac", "flac"), ("mp3", "libmp3lame"), ("opus", "libopus"), ("wav", "pcm_s16le"), ("ipod", "aac")]
_BARE_HEAD, _BARE_TAIL = 64 << 10, 8 << 10
_BOXES = ("mp4", "mov", "ipod")
THREADS = 2


def main() -> None:
    """Make the files, measure and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--sounds", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "library"
        make(base, options.videos, options.sounds)
        measure(base, Path(scratch), options.rounds)


def make(base: Path, videos: int, sounds: int) -> None:
    """Write the files, each with bytes of its own in a part that readers pass over."""
    for root in bare.ROOTS:
        (base / root).mkdir(parents=True)
    templates = [(kind, video(kind, codec, TAGS, options=options, frames=60)) for kind, codec, options in VIDEOS]
    _copy(base / "output" / "video", templates, videos)
    _copy(base / "output" / "audio", [(kind, sound(kind, codec, TAGS)) for kind, codec in SOUNDS], sounds)


def _copy(folder: Path, templates: list[tuple[str, bytes]], count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        kind, data = templates[number % len(templates)]
        own = number.to_bytes(8, "big") * 16
        if kind in _BOXES:
            data += len(own + bytes(8)).to_bytes(4, "big") + b"free" + own
        else:
            data += own
        path = folder / f"{number:05}.{kind}"
        path.write_bytes(data)
        os.utime(path, (1_000_000_000, 1_000_000_000))


def measure(base: Path, scratch: Path, rounds: int) -> None:
    """Print the medians of the ratios."""
    paths = [Path(path) for path, _, _ in bare.walk_and_stat(base)]
    steps: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "facts, own readers": (lambda: each(read_facts, paths), lambda: each(read_bare, paths)),
        "facts, PyAV": (lambda: each(open_with_pyav, paths), lambda: each(read_bare, paths)),
    }
    for name, (ours, floor) in steps.items():
        report(name, [(cpu_timed(ours), cpu_timed(floor)) for _ in range(rounds)], len(paths))
    report("index, hash and facts", [scan(base, scratch / f"{number}.db") for number in range(rounds)], len(paths))


def cpu_timed(work: Callable[[], object]) -> float:
    """Return the seconds of processor time, which other programs disturb less than the clock."""
    before = time.process_time()
    work()
    return time.process_time() - before


def each(work: Callable[[Path], object], paths: Iterable[Path]) -> None:
    """Do the work for each path."""
    for path in paths:
        work(path)


def read_facts(path: Path) -> None:
    """Read a file as the library does, and see that it is understood."""
    assert extract_path(path.name, path).facts.get("duration"), path


def read_bare(path: Path) -> None:
    """Read what may be a file's header."""
    with path.open("rb", buffering=0) as stream:
        stream.read(_BARE_HEAD)
        stream.seek(-min(_BARE_TAIL, path.stat().st_size), os.SEEK_END)
        stream.read(_BARE_TAIL)


def open_with_pyav(path: Path) -> None:
    """Read the same facts with PyAV."""
    with av.open(str(path)) as opened:
        assert opened.duration or opened.size
        dict(opened.metadata)


def scan(base: Path, database: Path) -> tuple[float, float]:
    """Return the seconds of index, hash and facts, and of the bare work."""
    shutil.rmtree(base / "user", ignore_errors=True)

    def floor() -> None:
        bare.walk_stat_and_insert(base, database)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(digest, [path for path, _, _ in bare.walk_and_stat(base)], chunksize=64))

    started = time.perf_counter()
    floor()
    bare_s = time.perf_counter() - started
    gc.collect()
    return asyncio.run(index_and_read(base)), bare_s


async def index_and_read(base: Path) -> float:
    """Return the seconds until the library has listed, hashed and read all files."""
    services = Services(StandaloneHost(base), Config(scan_on_start=False))
    await services.start()
    try:
        started = time.perf_counter()
        await services.indexer.start_scan()[0].done.wait()
        await services.indexer.finish()
        return time.perf_counter() - started
    finally:
        await services.stop()


def digest(path: str) -> bytes:
    """Read and hash a file."""
    with open(path, "rb", buffering=0) as stream:
        return blake3(stream.read()).digest()


def report(name: str, pairs: list[tuple[float, float]], files: int) -> None:
    """Print the median ratio, and the medians of both in microseconds a file."""
    ratio = statistics.median(ours / floor for ours, floor in pairs)
    ours, floor = (statistics.median(column) / files * 1e6 for column in zip(*pairs, strict=True))
    print(f"{name:24} {ratio:6.2f}x  ({ours:.0f} us a file beside {floor:.0f} us)", flush=True)


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{'all':24} {time.perf_counter() - started:6.1f} s")
