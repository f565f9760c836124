"""What recording costs: a server with the project beside one without it.

``python tests/benchmarks/jobs_overhead.py [--comfyui CHECKOUT --python PYTHON] [--jobs N] [--rounds N]``

Two servers run at once and take turns in many short rounds, in changing order: others may use the machine, so each
round is compared with its neighbour and the median of these ratios counts. Without ``--comfyui`` they are standalone
hosts. Each job is EmptyImage (16 x 16, a colour of its own) -> SaveImage. Then single prompts are submitted to both by
turns while nothing else happens, bare ones and ones that bring a page's workflow along. The status is 1 when a goal is
missed. The processor time per job, of all threads until the outputs are assets, is told where the system tells it;
thumbnails, which an idle server makes between the rounds, are left out (``thumbnails.py`` measures them).
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
RATIO_GOAL = 0.95
SUBMIT_GOAL_MS = 1.0

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

    def __init__(self, base: Path, options: argparse.Namespace, *, with_project: bool, is_linked: bool = False) -> None:
        """Start it. ``is_linked`` puts a link to this checkout into a ComfyUI, instead of a copy."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        for name in ("input", "output", "temp", "user", "models/loras", "custom_nodes"):
            (base / name).mkdir(parents=True, exist_ok=True)
        self._log = (base / "server.log").open("wb")
        command = self._comfyui(base, options) if options.comfyui else self._standalone(base, with_project)
        pack = base / "custom_nodes" / "comfy-assets"
        if options.comfyui and with_project and is_linked:
            pack.unlink(missing_ok=True)
            pack.symlink_to(ROOT, target_is_directory=True)
        elif options.comfyui and with_project:
            ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", "build")
            shutil.copytree(ROOT, pack, ignore=ignored)
        # Users' servers find byte code from their last start: so do these, in a folder that goes with the benchmark.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(base.parent / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["COMFY_ASSETS_IDLE_THUMBNAILS"] = "0"
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=base, env=environment)
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

    def close_connection(self) -> None:
        """Have the next request connect again."""
        self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close_connection()
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

    def submit(self, number: int, extra: dict[str, Any] | None = None) -> float:
        """Seconds until a job is accepted."""
        body = json.dumps({"prompt": graph(number), **({"extra_data": extra} if extra else {})})
        started = time.perf_counter()
        self._connection.request("POST", "/prompt", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        seconds = time.perf_counter() - started
        if response.status != 200:
            raise RuntimeError(answer)
        return seconds

    def run(self, first: int, count: int) -> float:
        """Jobs per second: from the first submission until nothing is left."""
        started = time.perf_counter()
        for number in range(first, first + count):
            self.submit(number)
        self.wait_until_idle()
        return count / (time.perf_counter() - started)

    def wait_until_idle(self) -> None:
        """Wait until no job is left."""
        while self.request("GET", "/prompt")["exec_info"]["queue_remaining"]:
            time.sleep(0.005)

    def processor_seconds(self) -> float | None:
        """Seconds of processor time that the process has used; None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


def measure_rounds(with_project: Server, without: Server, jobs: int, rounds: int) -> bool:
    """Let the servers take turns, and print what came of it; answers whether the goal is met."""
    for server in (with_project, without):
        server.run(0, jobs)  # a warm-up
    with_project.wait_for_assets(jobs)
    speeds: dict[Server, list[float]] = {with_project: [], without: []}
    used: dict[Server, float | None] = {server: server.processor_seconds() for server in speeds}
    waits: list[float] = []
    for number in range(1, rounds + 1):
        for server in (with_project, without) if number % 2 else (without, with_project):
            speeds[server].append(server.run(number * jobs, jobs))
            if server is with_project:
                waits.append(server.wait_for_assets((number + 1) * jobs))
            time.sleep(0.1)
    ratios = [ours / theirs for ours, theirs in zip(speeds[with_project], speeds[without], strict=True)]
    ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"jobs per second        {ratio:6.3f}x   (goal {RATIO_GOAL}x; half of the rounds: {low:.3f} to {high:.3f})")
    for name, server in (("with the project", with_project), ("without", without)):
        before, after = used[server], server.processor_seconds()
        spent = f", {(after - before) / jobs / rounds * 1000:.2f} ms of processor time each" if before and after else ""
        print(f"  {name:20} {statistics.median(speeds[server]):6.1f}{spent}")
    print(f"outputs are assets after {statistics.median(waits):.2f} s, {max(waits):.2f} s at most", flush=True)
    return ratio >= RATIO_GOAL


def measure_submitting(with_project: Server, without: Server, first: int, pairs: int) -> bool:
    """Submit by turns to servers with nothing to do, and print what came of it; answers whether the goal is met."""
    is_met = True
    for kind, extra in (("a bare prompt", None), ("with a workflow", {"extra_pnginfo": {"workflow": workflow()}})):
        times: dict[Server, list[float]] = {with_project: [], without: []}
        for number in range(first, first + pairs):
            for server in (with_project, without) if number % 2 else (without, with_project):
                times[server].append(server.submit(number, extra) * 1000)
                server.wait_until_idle()
        first += pairs
        ours, theirs = (statistics.median(times[server]) for server in (with_project, without))
        print(
            f"submit {kind:16} {ours - theirs:+6.2f} ms  (goal {SUBMIT_GOAL_MS} ms; {ours:.2f} beside {theirs:.2f})",
            flush=True,
        )
        is_met = is_met and ours - theirs <= SUBMIT_GOAL_MS
    return is_met


def workflow() -> dict[str, Any]:
    """The page's own form of a graph, of the size that it often has: 14 KB."""
    nodes = [
        {
            "id": number,
            "type": "CLIPTextEncode",
            "pos": [number * 10.5, 20.25],
            "size": [315, 262],
            "flags": {},
            "order": number,
            "mode": 0,
            "inputs": [
                {"localized_name": name, "name": name, "type": "*", "link": number} for name in ("clip", "text")
            ],
            "outputs": [{"localized_name": "CONDITIONING", "name": "CONDITIONING", "type": "*", "links": [number]}],
            "properties": {"cnr_id": "comfy-core", "ver": "0.3.64", "Node name for S&R": "CLIPTextEncode"},
            "widgets_values": ["a castle above a river, morning fog, golden light, film grain, wide angle, detailed"],
        }
        for number in range(25)
    ]
    return {"id": "5b0d4a1c-8f2e-4d3b-9c6a-7e1f2a3b4c5d", "nodes": nodes, "links": [], "groups": [], "version": 0.4}


def main() -> int:
    """Start the servers and measure; answers the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--jobs", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--submissions", type=int, default=150)
    options = parser.parse_args()
    if options.comfyui:
        options.comfyui = Path(os.path.abspath(options.comfyui))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        servers = [
            stack.enter_context(Server(Path(scratch) / name, options, with_project=name == "with"))
            for name in ("with", "without")
        ]
        is_fast = measure_rounds(servers[0], servers[1], options.jobs, options.rounds)
        first = (options.rounds + 2) * options.jobs
        is_prompt = measure_submitting(servers[0], servers[1], first, options.submissions)
    return 0 if is_fast and is_prompt else 1


if __name__ == "__main__":
    sys.exit(main())
