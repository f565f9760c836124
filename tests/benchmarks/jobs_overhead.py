"""Trivial jobs per second with the project beside a server without it.

``python tests/benchmarks/jobs_overhead.py [--comfyui CHECKOUT --python PYTHON] [--jobs N] [--rounds N]``

Two servers run at once, one of them with the project; they take turns, round by round, in changing order. Without
``--comfyui`` they are standalone hosts. Each job is EmptyImage (16 x 16, a colour of its own) -> SaveImage. Printed are
the median ratio and how long the outputs took to be assets. Nothing here is asserted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120

_STANDALONE = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import conftest  # loads the checkout under its package name
from pathlib import Path
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
host = StandaloneHost(Path(sys.argv[2]))
if sys.argv[4] == "with":
    attach(host)
asyncio.run(host.serve("127.0.0.1", int(sys.argv[3])))
"""


class Server:
    """A server process on a base directory of its own."""

    def __init__(self, base: Path, options: argparse.Namespace, *, with_project: bool) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        for name in ("input", "output", "temp", "user", "models", "custom_nodes"):
            (base / name).mkdir(parents=True)
        self._log = (base / "server.log").open("wb")
        command = self._comfyui(base, options) if options.comfyui else self._standalone(base, with_project)
        if options.comfyui and with_project:
            ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", "build")
            shutil.copytree(ROOT, base / "custom_nodes" / "comfy-assets", ignore=ignored)
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=base)
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _comfyui(self, base: Path, options: argparse.Namespace) -> list[str]:
        main = str(options.comfyui / "main.py")
        fixed = ["--cpu", "--disable-api-nodes", "--listen", "127.0.0.1", "--base-directory", str(base)]
        return [options.python, main, *fixed, "--port", str(self.port)]

    def _standalone(self, base: Path, with_project: bool) -> list[str]:
        mode = "with" if with_project else "without"
        return [sys.executable, "-c", _STANDALONE, str(ROOT / "tests"), str(base), str(self.port), mode]

    def __enter__(self) -> Server:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.request("GET", "/prompt")
            except OSError:
                self._connection.close()
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.process.kill()
        self.process.wait()
        self._log.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(answer)
        return answer

    def run(self, first: int, count: int) -> float:
        """Jobs per second: from the first submission until nothing is left."""
        started = time.perf_counter()
        for number in range(first, first + count):
            self.request("POST", "/prompt", {"prompt": graph(number)})
        while self.request("GET", "/prompt")["exec_info"]["queue_remaining"]:
            time.sleep(0.005)
        return count / (time.perf_counter() - started)

    def wait_for_assets(self, count: int) -> float:
        """Seconds until this many outputs are assets with a hash."""
        started = time.perf_counter()
        while self.request("GET", "/api/assets?include_tags=output&limit=1")["total"] < count:
            time.sleep(0.01)
        return time.perf_counter() - started


def graph(number: int) -> dict[str, Any]:
    """A job of a colour of its own."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": number}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"jobs/{number // 500}"}},
    }


def measure(with_project: Server, without: Server, jobs: int, rounds: int) -> None:
    """Let the servers take turns, and print what came of it."""
    for server in (with_project, without):
        server.run(0, jobs)  # a warm-up
    ratios: list[float] = []
    speeds: list[float] = []
    waits: list[float] = []
    for number in range(1, rounds + 1):
        pair: dict[Server, float] = {}
        for server in (with_project, without) if number % 2 else (without, with_project):
            pair[server] = server.run(number * jobs, jobs)
            if server is with_project:
                waits.append(server.wait_for_assets((number + 1) * jobs))
            time.sleep(0.5)
        ratios.append(pair[with_project] / pair[without])
        speeds.append(pair[without])
    spread = ", ".join(f"{ratio:.3f}" for ratio in sorted(ratios))
    print(f"jobs per second          {statistics.median(ratios):6.3f}x  (goal 0.95x; {spread})", flush=True)
    print(f"  without the project    {statistics.median(speeds):6.1f}", flush=True)
    print(f"the last output is an asset after {max(waits):.2f} s at most", flush=True)


def main() -> None:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    if options.comfyui:
        options.comfyui = Path(os.path.abspath(options.comfyui))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        servers = [
            stack.enter_context(Server(Path(scratch) / name, options, with_project=name == "with"))
            for name in ("with", "without")
        ]
        measure(servers[0], servers[1], options.jobs, options.rounds)


if __name__ == "__main__":
    main()
