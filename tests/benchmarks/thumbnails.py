"""Measure thumbnails of pictures as ComfyUI saves them: ``python tests/benchmarks/thumbnails.py [--pictures N]``.

A server in another process is asked for each picture's thumbnail: for the first time, again, and again by a client that
has it; by one client over one connection, and by six at once, as a browser does. Meanwhile another client asks for
the tags. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve()
CLIENTS = 6
START_TIMEOUT_S = 60


def main() -> None:
    """Run every measurement and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--size", type=int, default=1024, help="width and height, in pixels")
    parser.add_argument("--res", type=int, default=512)
    parser.add_argument("--port", type=int, default=8393)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        names = make_pictures(base / "output", options.pictures, options.size)
        megabytes = sum(path.stat().st_size for path in (base / "output").iterdir()) / 1e6
        print(f"{options.pictures} PNG files of {options.size} x {options.size}, {megabytes:.0f} MB", flush=True)
        server = start_server(base, options.port)
        try:
            measure(names, options.res, options.port)
        finally:
            server.terminate()
            server.wait()


def make_pictures(folder: Path, count: int, size: int) -> list[str]:
    """Pictures of smooth shapes with some grain, which compress about as photographs do."""
    folder.mkdir(parents=True)
    names = []
    for number in range(count):
        random = np.random.default_rng(number)
        shapes = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((size, size), 3)
        grain = random.normal(0, 3, (size, size, 3))
        pixels = np.clip(np.asarray(shapes, np.float32) + grain, 0, 255).astype(np.uint8)
        names.append(f"ComfyUI_{number:05}_.png")
        Image.fromarray(pixels).save(folder / names[-1], compress_level=4)
    return names


def start_server(base: Path, port: int) -> subprocess.Popen[bytes]:
    """A server on the base directory that answers, without a scan that would share the processor."""
    code = (
        f"import os, sys; os.environ['COMFY_ASSETS_SCAN'] = '0'; sys.path.insert(0, {str(HERE.parents[1])!r});"
        "import conftest; from comfy_assets_node.comfy_assets.cli import main; main(sys.argv[1:])"
    )
    arguments = ["serve", "--base-directory", str(base), "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            Client(port).get("/health")
        except OSError:
            time.sleep(0.1)
        else:
            return server
    server.kill()
    raise TimeoutError("the server did not start")


class Client:
    """One connection, kept alive."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str, etag: str = "", status: int = 200) -> str:
        """The ETag of an answer of this status."""
        self._connection.request("GET", path, headers={"If-None-Match": etag} if etag else {})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != status:
            raise ValueError(f"{path}: {response.status} {body[:200]!r}")
        return response.headers.get("ETag", "")


def measure(names: list[str], res: int, port: int) -> None:
    """The times of each kind of request."""
    client = Client(port)
    paths = [f"/api/view?filename={name}&res={res}" for name in names]
    client.get(paths[0])  # imports Pillow
    show("first, one client", [timed(lambda p=path: client.get(p)) for path in paths[1:]])
    show("kept, one client", [timed(lambda p=path: client.get(p)) for path in paths * 5])
    tags = {path: client.get(path) for path in paths}
    show("304, one client", [timed(lambda p=path: client.get(p, tags[p], 304)) for path in paths * 5])
    others = [f"{path}&channel=rgb" for path in paths]
    waits, stop = list[float](), threading.Event()
    watcher = threading.Thread(target=watch, args=(Client(port), waits, stop))
    watcher.start()
    started = time.perf_counter()
    show(f"first, {CLIENTS} clients", parallel(others, port))
    elapsed = time.perf_counter() - started
    stop.set()
    watcher.join()
    print(f"{'':24} {len(others) / elapsed:6.1f} a second")
    show("  the tags meanwhile", waits)
    show(f"kept, {CLIENTS} clients", parallel(others * 5, port))


def watch(client: Client, waits: list[float], stop: threading.Event) -> None:
    """Ask for the tags again and again."""
    while not stop.wait(0.01):
        waits.append(timed(lambda: client.get("/api/tags")))


def parallel(paths: list[str], port: int) -> list[float]:
    """The times when several clients share the requests."""
    local = threading.local()

    def ask(path: str) -> float:
        if not hasattr(local, "client"):
            local.client = Client(port)
        return timed(lambda: local.client.get(path))

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(ask, paths))


def show(name: str, seconds: list[float]) -> None:
    """Print the median and the 99th percentile."""
    ordered = sorted(seconds)
    late = ordered[int(len(ordered) * 0.99)]
    print(f"{name:24} p50 {statistics.median(ordered) * 1000:6.2f} ms  p99 {late * 1000:6.2f} ms", flush=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
