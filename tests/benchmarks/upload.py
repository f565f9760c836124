"""Uploads of one large file beside a bare loop: ``python tests/benchmarks/upload.py [--size MiB] [--rounds N] [--v2]``.

Two servers run at once: the standalone host with the project, and one that reads the same form and does nothing but
hash it with blake3, write it, fsync it and rename it. The same client sends to both in turns, in changing order, other
bytes each time. While it does, a second connection asks for a page of assets again and again. Printed are the median
ratio, by how much the memory of the server with the project grew, and how long the pages took. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bare_upload import BARE

HERE = Path(__file__).resolve()
START_TIMEOUT_S = 60
ASSETS = 2000
PAGE = "/api/assets?limit=20"
BOUNDARY = "benchmark-0123456789"
PAUSE_S = 0.02

_PROJECT = """
import os, sys
sys.path.insert(0, sys.argv[1])
import conftest  # loads the checkout under its package name
from comfy_assets_node.comfy_assets.cli import main
main(["serve", "--base-directory", sys.argv[2], "--port", sys.argv[3]])
"""


class Server:
    """A server process on a folder of its own."""

    def __init__(self, code: str, folder: Path, largest: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        environment = {**os.environ, "COMFY_ASSETS_MAX_UPLOAD_MB": str(largest)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(HERE.parents[1]), str(folder), str(self.port)],
            stdout=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Server:
        self.wait_until(PAGE, lambda _: True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def wait_until(self, path: str, is_so: Callable[[bytes], bool]) -> None:
        """Ask until an answer is as wanted."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if is_so(get(self.connection(), path)):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.__exit__()
        raise TimeoutError(f"the server is not ready: {path}")

    def connection(self) -> http.client.HTTPConnection:
        """A new connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def memory(self, field: str) -> int:
        """``VmRSS`` (now) or ``VmHWM`` (the most since ``forget_peak``) in bytes; 0 where the system does not tell."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith(field)), 0)

    def forget_peak(self) -> None:
        """Let the greatest memory be counted from now on."""
        try:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        except OSError:
            print("the system cannot reset the peak of memory: what follows counts from the start", file=sys.stderr)


def is_idle(body: bytes) -> bool:
    """Whether a scan's status says that all is listed and read."""
    status = json.loads(body)
    return (status.get("status"), status.get("phase")) == ("completed", "idle")


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of an answer."""
    connection.request("GET", path)
    return connection.getresponse().read()


class Watcher:
    """Asks for a page again and again and notes how long each answer took."""

    def __init__(self, server: Server) -> None:
        self.waits: list[float] = []
        self._connection = server.connection()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            started = time.perf_counter()
            get(self._connection, PAGE)
            self.waits.append(time.perf_counter() - started)

    def __enter__(self) -> Watcher:
        get(self._connection, PAGE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()


def form_head(number: int, *, is_v2: bool) -> bytes:
    """The beginning of a form, up to the first byte of its file."""
    name = f"large{number}.bin"
    fields = {"content_type": "application/octet-stream", "file_path": name} if is_v2 else {}
    parts = [f'name="{field}"\r\n\r\n{value}\r\n' for field, value in fields.items()]
    parts.append(f'name="file"; filename="{name}"\r\n\r\n')
    return "".join(f"--{BOUNDARY}\r\nContent-Disposition: form-data; {part}" for part in parts).encode()


def upload(server: Server, content: memoryview, number: int, *, is_v2: bool) -> float:
    """Bytes a second of one upload, from the first byte sent to the answer."""
    head = form_head(number, is_v2=is_v2) + os.urandom(32)
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    length = len(head) + len(content) + len(tail)
    connection = server.connection()
    started = time.perf_counter()
    connection.putrequest("POST", "/api/v2/assets" if is_v2 else "/api/assets")
    if is_v2:
        connection.putheader("Idempotency-Key", os.urandom(16).hex())
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(length))
    connection.endheaders(head)
    connection.send(content)
    connection.send(tail)
    response = connection.getresponse()
    answer = response.read()
    elapsed = time.perf_counter() - started
    connection.close()
    if response.status != 201:
        raise ValueError(f"{response.status} {answer[:500]!r}")
    return len(content) / elapsed


def make_library(base: Path) -> None:
    """Some small files, so that a page is full."""
    (base / "output").mkdir(parents=True)
    for number in range(ASSETS):
        (base / "output" / f"note{number:05}.txt").write_text(str(number))


def remove_uploads(*folders: Path) -> None:
    """Make room again: nothing that was received is needed further."""
    for folder in folders:
        for path in folder.iterdir():
            if path.stat().st_size > 1 << 20:
                path.unlink()


def measure(project: Server, bare: Server, size: int, rounds: int, *, is_v2: bool) -> None:
    """Let the servers take turns, and print what came of it."""
    content = memoryview(os.urandom(size))
    for server in (project, bare):
        upload(server, content[: 1 << 20], 0, is_v2=is_v2)  # a warm-up
    ratios, speeds, grown, waits = list[float](), list[float](), list[int](), list[float]()
    for number in range(1, rounds + 1):
        speed: dict[Server, float] = {}
        for server in (project, bare) if number % 2 else (bare, project):
            server.forget_peak()
            before = server.memory("VmRSS")
            with Watcher(server) as watcher:
                speed[server] = upload(server, content, number, is_v2=is_v2)
            if server is project:
                grown.append(server.memory("VmHWM") - before)
                waits += watcher.waits
        remove_uploads(project.folder / "input", bare.folder)
        ratios.append(speed[project] / speed[bare])
        speeds.append(speed[bare])
    show(ratios, speeds, grown, waits)


def show(ratios: list[float], speeds: list[float], grown: list[int], waits: list[float]) -> None:
    """Print the figures beside the goals."""
    spread = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(f"upload                   {statistics.median(ratios):6.2f}x  (goal 0.8x of the bare loop; {spread})")
    print(f"  the bare loop          {statistics.median(speeds) / 1e6:6.0f} MB/s")
    print(f"  memory grows by        {max(grown) / (1 << 20):6.1f} MiB (goal 32 MiB)")
    ordered = sorted(waits)
    middle, late = statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.99)] * 1000
    print(
        f"  a page meanwhile       {ordered[-1] * 1000:6.1f} ms at most (goal 50 ms;"
        f" p50 {middle:.1f} ms, p99 {late:.1f} ms, {len(ordered)} requests)",
        flush=True,
    )


def main() -> None:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, metavar="MiB")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--v2", action="store_true", help="upload by Comfy API v2")
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's folder for such files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch, ExitStack() as stack:
        base, bare = Path(scratch) / "base", Path(scratch) / "bare"
        make_library(base)
        bare.mkdir()
        project = stack.enter_context(Server(_PROJECT, base, options.size + 1))
        project.wait_until("/api/assets/seed/status", is_idle)
        beside = stack.enter_context(Server(BARE, bare, 0))
        measure(project, beside, options.size << 20, options.rounds, is_v2=options.v2)


if __name__ == "__main__":
    main()
