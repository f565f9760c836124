"""Measure what the pack adds to the start of a ComfyUI: a server with it beside one without it.

``python tests/benchmarks/start.py --comfyui CHECKOUT --python PYTHON [--rounds N]``

Each round starts both servers, one after the other and in changing order, and stops them once they answer. The times
are those from the start of the process to the first answer: on the clock, and of the processor. The median of the
rounds' differences counts, since whatever else the machine does meets both servers of a round alike. The status is 1
when the goal is missed. The first round only fills caches of files and of byte code.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from jobs_overhead import START_TIMEOUT_S, Server

GOAL_MS = 150.0
_POLL_S = 0.005


class StartTimes(NamedTuple):
    """Milliseconds from the start of the process to the first answer."""

    clock: float
    processor: float


def start_once(base: Path, options: argparse.Namespace, *, with_project: bool) -> StartTimes:
    """Start a server on a base directory, and stop it once it answers."""
    started = time.perf_counter()
    server = Server(base, options, with_project=with_project, is_linked=True)
    try:
        while not _answers(server):
            if time.perf_counter() - started > START_TIMEOUT_S or server.process.poll() is not None:
                raise RuntimeError(f"The server does not start: see {base / 'server.log'}")
            time.sleep(_POLL_S)
        clock = time.perf_counter() - started
        return StartTimes(clock * 1000, (server.processor_seconds() or 0.0) * 1000)
    finally:
        server.__exit__()


def _answers(server: Server) -> bool:
    try:
        server.request("GET", "/prompt")
    except OSError:
        server.close_connection()
        return False
    return True


def main() -> int:
    """Start the servers by turns and print what came of it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help="a ComfyUI checkout")
    parser.add_argument("--python", default=sys.executable, help="the Python that runs it")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    options.comfyui = Path(os.path.abspath(options.comfyui))
    pairs: list[tuple[StartTimes, StartTimes]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds + 1):
            order = (True, False) if number % 2 else (False, True)
            times = {
                with_project: start_once(
                    Path(scratch) / ("with" if with_project else "without"), options, with_project=with_project
                )
                for with_project in order
            }
            pairs.append((times[True], times[False]))
            print(f"round {number}: {times[True].clock:7.0f} ms with, {times[False].clock:7.0f} without", flush=True)
    added = [StartTimes(ours.clock - bare.clock, ours.processor - bare.processor) for ours, bare in pairs[1:]]
    clock = statistics.median(each.clock for each in added)
    processor = statistics.median(each.processor for each in added)
    print(f"the pack adds {clock:.0f} ms to the start, {processor:.0f} ms of processor time (goal {GOAL_MS:.0f} ms)")
    return 0 if clock <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main())
