"""Comfy API v2 beside comfy-api-proxy, and what its streams cost.

``python tests/benchmarks/api_v2.py --comfyui CHECKOUT --python PYTHON --proxy PROGRAM [--rounds N] [--size MiB]``

Two servers of the same ComfyUI run at once: one with the project, and one without it behind the proxy, whose program
``--proxy`` names (it is no part of the project; version 0.1.6 was measured). The same clients ask both in turns, in
changing order. Measured are: a trivial job from its submission to its end by the official SDK's ``run``, and by its
events; an upload, beside a bare loop that receives, hashes and writes; jobs that a client sees end wrongly while it
polls many; the memory of the processes; what is left after all are restarted; and jobs per second with and without
open streams. The status is 1 when a goal is missed. Without ``--proxy`` only the project is measured, and without
``--comfyui`` on the standalone host.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import selectors
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bare_upload import BARE
from comfy_sdk import Comfy, ComfyError, JobFailed, StatusChange
from jobs_overhead import Server

RUN_GOAL, UPLOAD_GOAL, STREAMS_GOAL = 0.6, 0.8, 0.9
START_TIMEOUT_S = 60
ENDS = ("succeeded", "canceled", "failed", "expired")
BOUNDARY = "benchmark-0123456789"
MIB = 1 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory(process: subprocess.Popen[bytes], field: str = "VmRSS") -> int:
    """The memory of a process now, or the most since ``forget_peak`` (``VmHWM``), in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def forget_peak(process: subprocess.Popen[bytes]) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


@contextmanager
def running(command: list[str], port: int, path: str = "/") -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers on the port."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                    connection.request("GET", path)
                    connection.getresponse().read()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()


class Side:
    """A way to the API: its name, port, processes, and a client."""

    def __init__(self, name: str, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.port = port
        self.processes = processes
        self.failed = 0
        """Jobs that the SDK was told to have ended otherwise than well, although none does."""
        with patch.dict(os.environ, {"COMFY_BASE_URL": f"http://127.0.0.1:{port}"}):
            self.client = Comfy(api_key=None)

    def submit(self) -> Any:
        return self.client.submit(self.client.workflows.from_json(graph()))

    def time_run(self) -> float:
        """Seconds from the submission until the SDK has the ended job. A job that ends wrongly is run again."""
        while True:
            workflow = self.client.workflows.from_json(graph())
            started = time.perf_counter()
            try:
                self.client.run(workflow)
            except JobFailed:
                self.failed += 1
                continue
            return time.perf_counter() - started

    def time_events(self) -> float:
        """Seconds from the submission until the end is told. A job whose end is told wrongly is run again."""
        while True:
            workflow = self.client.workflows.from_json(graph())
            started = time.perf_counter()
            *_, last = self.client.submit(workflow).events()
            if last == StatusChange("succeeded"):
                return time.perf_counter() - started
            self.failed += 1


def graph() -> dict[str, Any]:
    """A small picture that no other job has made."""
    inputs = {"width": 16, "height": 16, "batch_size": 1, "color": secrets.randbelow(1 << 24)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "benchmark"}},
    }


def in_turns(sides: list[Side], rounds: int, measure: Callable[[Side], float]) -> dict[str, list[float]]:
    """The measurements of each side, by its name."""
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            value = measure(side)
            if number:  # the first is a warm-up
                found[side.name].append(value)
    return found


class Figures:
    """Prints figures, and notes the goals that are missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def show(self, name: str, text: str) -> None:
        print(f"{name:36} {text}", flush=True)

    def compare(self, name: str, found: dict[str, list[float]], unit: float = 1000, goal: float | None = None) -> None:
        """Show medians, and the ratio of the first to the second: of all times together, and of each pair."""
        medians = {side: statistics.median(values) for side, values in found.items()}
        for side, value in medians.items():
            spread = f"({min(found[side]) * unit:.1f} to {max(found[side]) * unit:.1f})"
            self.show(f"{name}, {side}", f"{value * unit:8.1f} ms  {spread}")
        if len(found) == 2:
            first, second = found.values()
            pairs = statistics.median(one / other for one, other in zip(first, second, strict=True))
            # The proxy's times have two modes: its client polls at once and after half a second. So all of them count.
            ratio = sum(first) / sum(second)
            self.show(f"{name}, ratio", f"{ratio:8.2f}x" + (f"  (goal {goal}x)" if goal else ""))
            self.show(f"{name}, median of pairs", f"{pairs:8.2f}x")
            if goal is not None and ratio >= goal:
                self.missed.append(f"{name}: {ratio:.2f}x, not below {goal}x")


def upload(port: int, content: memoryview) -> float:
    """Bytes a second of one upload, from the first byte sent to the answer."""
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("content_type", "application/octet-stream"), ("file_path", f"{secrets.token_hex(4)}.bin"))
    )
    head = parts + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    first = head.encode() + os.urandom(32)  # equal content would not be stored
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        started = time.perf_counter()
        connection.putrequest("POST", "/api/v2/assets")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        connection.putheader("Content-Length", str(len(first) + len(content) + len(tail)))
        connection.endheaders(first)
        connection.send(content)
        connection.send(tail)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 201:
            raise ValueError(f"{response.status} {answer[:500]!r}")
        return len(content) / (time.perf_counter() - started)


def measure_uploads(sides: list[Side], bare_port: int, options: argparse.Namespace, figures: Figures) -> None:
    content = memoryview(os.urandom(options.size * MIB))
    speeds: dict[str, list[float]] = {name: [] for name in ("bare", *(side.name for side in sides))}
    grown: dict[str, int] = {}
    for number in range(options.uploads + 1):
        size = content if number else content[:MIB]
        speeds["bare"].append(upload(bare_port, size))
        for side in sides:
            before = [memory(process) for process in side.processes]
            for process in side.processes:
                forget_peak(process)
            speeds[side.name].append(upload(side.port, size))
            growth = sum(memory(each, "VmHWM") - was for each, was in zip(side.processes, before, strict=True))
            grown[side.name] = max(grown.get(side.name, 0), growth)
    for name, values in speeds.items():
        figures.show(f"upload, {name}", f"{statistics.median(values[1:]) / 1e6:8.0f} MB/s")
    for side in sides:
        pairs = zip(speeds[side.name][1:], speeds["bare"][1:], strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        figures.show(f"upload, {side.name} to bare", f"{ratio:8.2f}x")
        figures.show(f"upload, memory of {side.name}", f"{grown[side.name] / MIB:8.0f} MiB more")
        if side is sides[0] and ratio < UPLOAD_GOAL:
            figures.missed.append(f"upload: {ratio:.2f}x of the bare loop, not {UPLOAD_GOAL}x")


def wrong_ends(side: Side, count: int) -> tuple[int, float]:
    """Return the number of polled jobs that expire, vanish or step back, and the seconds until all have ended."""
    started = time.perf_counter()
    ids = [side.submit().id for _ in range(count)]
    wrong: set[str] = set()
    ended: set[str] = set()

    def poll(mine: list[str]) -> None:
        seen: dict[str, str] = {}
        while mine and time.perf_counter() - started < 300:
            for job_id in list(mine):
                try:
                    status = side.client.jobs.get(job_id).status
                except ComfyError:
                    status = "gone"
                if status in ("expired", "gone") or (status == "queued" and seen.get(job_id) == "running"):
                    wrong.add(job_id)
                seen[job_id] = status
                if status == "succeeded" or job_id in wrong:
                    mine.remove(job_id)
                    ended.add(job_id)

    threads = [threading.Thread(target=poll, args=(ids[number::3],)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(wrong) + count - len(ended), time.perf_counter() - started


class StreamReaders:
    """Reads event streams and throws away what they tell, in a thread."""

    def __init__(self, port: int, paths: list[str]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in paths]
        self.received = 0
        self._stop = threading.Event()
        for connection, path in zip(self._sockets, paths, strict=True):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            self._selector.register(connection, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> StreamReaders:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.2):
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                self.received += len(data)
                if not data:
                    self._selector.unregister(key.fileobj)


def jobs_per_second(side: Side, count: int, streams: int) -> float:
    """Jobs a second, submitted at once; each of the streams is of the last of them."""
    port = side.port

    def send(method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection, ExitStack() as stack:
        ids = [send("POST", "/prompt", {"prompt": graph()})["prompt_id"] for _ in range(count)]
        if streams:
            stack.enter_context(StreamReaders(port, [f"/api/v2/jobs/{ids[-1]}/events"] * streams))
        left = send("GET", "/prompt")["exec_info"]["queue_remaining"]
        started = time.perf_counter()
        while send("GET", "/prompt")["exec_info"]["queue_remaining"]:
            time.sleep(0.005)
        return float(left / (time.perf_counter() - started))


def measure_streams(side: Side, options: argparse.Namespace, figures: Figures) -> None:
    ratios, rates = list[float](), list[float]()
    jobs_per_second(side, options.jobs, 0)
    for number in range(options.stream_rounds):
        rate = {}
        for streams in (0, 20) if number % 2 else (20, 0):
            rate[streams] = jobs_per_second(side, options.jobs, streams)
        ratios.append(rate[20] / rate[0])
        rates.append(rate[0])
    ratio = statistics.median(ratios)
    figures.show("jobs a second", f"{statistics.median(rates):8.1f}")
    figures.show("jobs a second with 20 streams", f"{ratio:8.2f}x  (goal {STREAMS_GOAL}x)")
    if ratio < STREAMS_GOAL:
        figures.missed.append(f"20 streams: {ratio:.2f}x, not {STREAMS_GOAL}x")


def known(side: Side, ids: list[str]) -> str:
    """Return, as text, the number of these jobs that are there with their outputs, and of those in the list."""
    found = 0
    for job_id in ids:
        try:
            job = side.client.jobs.get(job_id)
            found += (
                job.status == "succeeded" and all(output.to_bytes() for output in job.outputs) and bool(job.outputs)
            )
        except ComfyError:
            continue
    listed = 0
    with suppress(ComfyError):
        listed = len({summary.id for summary in side.client.list_jobs(limit=100)} & set(ids))
    return f"{found} of {len(ids)} jobs, {listed} listed"


@contextmanager
def sides_on(scratch: Path, options: argparse.Namespace) -> Iterator[list[Side]]:
    """The ways to the API; on the same folder the same servers are started again."""
    with ExitStack() as stack:
        with_project = stack.enter_context(Server(scratch / "project", options, with_project=True, is_linked=True))
        sides = [Side("project", with_project.port, [with_project.process])]
        if options.proxy:
            plain = stack.enter_context(Server(scratch / "plain", options, with_project=False))
            port = free_port()
            own = ["run", "--comfyui", f"http://127.0.0.1:{plain.port}", "--host", "127.0.0.1", "--port", str(port)]
            command = [*shlex.split(options.proxy), *own, "--max-upload-mb", str(options.size + 1)]
            proxy = stack.enter_context(running(command, port))
            sides.append(Side("proxy", port, [proxy, plain.process]))
        yield sides


def main() -> int:
    """Start the servers and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--proxy", help="the program comfy-api-proxy, with options if need be")
    parser.add_argument("--rounds", type=int, default=20, help="trivial jobs")
    parser.add_argument("--uploads", type=int, default=5)
    parser.add_argument("--size", type=int, default=90, metavar="MiB", help="of an upload; ComfyUI takes 100 MB")
    parser.add_argument("--polled", type=int, default=120, help="jobs that are polled")
    parser.add_argument("--jobs", type=int, default=300, help="jobs of a round with streams")
    parser.add_argument("--stream-rounds", type=int, default=6)
    options = parser.parse_args()
    os.environ["COMFY_ASSETS_MAX_UPLOAD_MB"] = str(options.size + 1)
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "bare").mkdir()
        ids: dict[str, list[str]] = {}
        bare_port = free_port()
        with sides_on(scratch, options) as sides:
            figures.compare("run of a trivial job", in_turns(sides, options.rounds, Side.time_run), goal=RUN_GOAL)
            figures.compare("the same by its events", in_turns(sides, options.rounds, Side.time_events))
            for side in sides:
                figures.show(f"ends told wrongly, {side.name}", f"{side.failed:8}")
                if side.failed and side is sides[0]:
                    figures.missed.append(f"{side.failed} ends told wrongly")
                wrong, seconds = wrong_ends(side, options.polled)
                figures.show(f"wrong ends, {side.name}", f"{wrong:8} of {options.polled}, in {seconds:.1f} s")
                if wrong and side is sides[0]:
                    figures.missed.append(f"{wrong} wrong ends")
            measure_streams(sides[0], options, figures)
            with running([sys.executable, "-c", BARE, str(scratch / "bare"), str(bare_port)], bare_port):
                measure_uploads(sides, bare_port, options, figures)
            for side in sides:
                each = ", ".join(f"{memory(process) / MIB:.0f}" for process in side.processes)
                figures.show(f"memory at the end, {side.name}", f"{each} MiB")
                ids[side.name] = [side.submit().wait().id for _ in range(10)]
        with sides_on(scratch, options) as sides:
            for side in sides:
                state = known(side, ids[side.name])
                figures.show(f"after a restart, {side.name}", state)
                if side is sides[0] and not state.startswith("10 of 10 jobs, 10 "):
                    figures.missed.append(f"after a restart: {state}")
    for miss in figures.missed:
        print(f"missed: {miss}")
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
