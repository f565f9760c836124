"""Run tests with a Windows Python under Wine, for those who have no Windows at hand.

    python tests/windows/wine.py FOLDER              run the modules of modules.txt
    python tests/windows/wine.py FOLDER MODULE…      run these modules or tests, those of known.txt too
    python tests/windows/wine.py FOLDER --table      run all modules, and write their table to docs/windows.md
    python tests/windows/wine.py FOLDER --python tests/benchmarks/floor.py --rounds 3     run the Windows Python
    python tests/windows/wine.py --lock              write requirements.txt with the newest versions

The first run builds the environment in FOLDER: about 1 GB, in two minutes. It needs an amd64 machine with Wine and a
compiler for Windows: the packages wine, wine64 and gcc-mingw-w64-x86-64 of Debian and Ubuntu. For root they are
installed. All else comes from PyPI. The exit status is 0 if all passed, 1 after a failure, and 3 if the environment
cannot be had.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from modules_table import remembered, write_table
from wine_environment import HERE, Deadline, Environment, Prefix, Unavailable, lock

PYTEST: tuple[str, ...] = ("-u", "-m", "pytest", "-n", "0", "-q", "--tb=short", "-rfE", "-p", "no:cacheprovider")
PYTEST += tuple(word for name in ("pytest_asyncio", "pytest_aiohttp", "xdist") for word in ("-p", f"{name}.plugin"))
MODULE_S = 240.0  # the longest time for a module
LEAST_S = 20.0  # no module is begun with less time left
SUMMARY = re.compile(r"\d+ (passed|failed|error|skipped|deselected)")
PASSED = (0, 5)  # the latter if all of its tests are left out


@dataclass(frozen=True)
class Outcome:
    """What became of a module. ``status`` is pytest's, None if it took too long; ``seconds`` is its time."""

    module: str
    status: int | None
    output: str
    seconds: float
    is_cut_short: bool  # by the end of all time, rather than by its own limit

    @property
    def has_passed(self) -> bool:
        """True if no test failed."""
        return self.status in PASSED

    @property
    def summary(self) -> str:
        """The counts of pytest, in its words."""
        if self.status is None:
            return "the time was up" if self.is_cut_short else f"no end after {self.seconds:.0f} s"
        lines = [line for line in self.output.splitlines() if SUMMARY.search(line)]
        return lines[-1].strip("= ") if lines else f"status {self.status}"


class Runner:
    """Runs modules side by side, each in a process of its own."""

    def __init__(self, prefixes: Sequence[Prefix], deadline: Deadline, known: Sequence[str]) -> None:
        self._prefixes = prefixes
        self._deadline = deadline
        self._options = [*PYTEST, *(f"--deselect={test}" for test in known)]

    def run(self, modules: Iterable[str], ended: Callable[[Outcome], None]) -> list[str]:
        """Run modules, and report each; return those for which no time was left."""
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for module in modules:
            waiting.put(module)
        reporting = threading.Lock()

        def work(prefix: Prefix) -> None:
            while self._deadline.left() > LEAST_S:
                try:
                    module = waiting.get_nowait()
                except queue.Empty:
                    return
                outcome = self.run_one(module, prefix)
                with reporting:
                    ended(outcome)

        workers = [threading.Thread(target=work, args=(prefix,)) for prefix in self._prefixes]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return [waiting.get_nowait() for _ in range(waiting.qsize())]

    def run_one(self, module: str, prefix: Prefix) -> Outcome:
        """Run a module."""
        began, left = time.monotonic(), self._deadline.left()
        status, output = prefix.run([*self._options, module], min(left, MODULE_S))
        return Outcome(module, status, output, time.monotonic() - began, left < MODULE_S)


def _lines(name: str) -> list[str]:
    """Return the lines of a list without comments."""
    lines = (line.partition("  #")[0].strip() for line in (HERE / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _report(outcome: Outcome) -> None:
    print(f"{outcome.module}: {outcome.summary} [{outcome.seconds:.0f} s]", flush=True)


def run_listed(runner: Runner, prefix: Prefix, modules: Sequence[str]) -> int:
    """Run modules; return the number that failed twice.

    What fails is run again alone, as Wine's processes and the machine's load have troubles of their own.
    """
    suspects: list[Outcome] = []

    def ended(outcome: Outcome) -> None:
        _report(outcome)
        if not outcome.has_passed and not (outcome.status is None and outcome.is_cut_short):
            suspects.append(outcome)

    left_out = runner.run(modules, ended)
    failed = 0
    for first in suspects:
        again = runner.run_one(first.module, prefix)
        _report(again)
        if not again.has_passed:
            # A second run that was cut short says nothing: the first one counts.
            failed += 1
            print(first.output if again.status is None else again.output)
    if left_out:
        print(f"The time was up; not run: {' '.join(left_out)}")
    return failed


def all_modules() -> list[str]:
    """Return the modules of the default suite that need no browser."""
    root = HERE.parent
    found = (path.relative_to(root.parent).as_posix() for path in sorted(root.rglob("test_*.py")))
    return [each for each in found if not each.startswith(("tests/panel/", "tests/browser/", "tests/pages/"))]


def run_for_table(runner: Runner, notes: Path) -> int:
    """Run the modules that the notes do not have yet, note each result, and write the table; return 0."""
    known = remembered(notes)

    def ended(outcome: Outcome) -> None:
        _report(outcome)
        if outcome.status is None and outcome.is_cut_short:
            return
        failures = [line for line in outcome.output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        known.add(outcome.module, outcome.summary, outcome.has_passed, failures)

    modules = dict.fromkeys([*_lines("modules.txt"), *all_modules()])  # those that matter most first
    runner.run([module for module in modules if module not in known], ended)
    write_table(all_modules(), known)
    return 0


def run_python(prefix: Prefix, arguments: Sequence[str], deadline: Deadline) -> int:
    """Run the Windows Python, and print its output; return its status."""
    try:
        status, output = prefix.run(arguments, deadline.left())
    finally:
        prefix.stop()
    print(output)
    if status is None:
        print("The time was up.")
    return 1 if status is None else status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--seconds", type=float, default=3600.0, help="the longest time for all of it")
    parser.add_argument("--side-by-side", type=int, default=min(4, os.cpu_count() or 1), metavar="N")
    parser.add_argument("--table", action="store_true", help="run every module, and write the table in the docs")
    parser.add_argument("--lock", action="store_true", help="write the list of packages anew")
    parser.add_argument(
        "--python", nargs=argparse.REMAINDER, help="arguments for the Windows Python, in place of tests"
    )
    options = parser.parse_args()
    if options.lock:
        lock()
        return 0
    if options.folder is None:
        parser.error("a folder for the environment is needed")
    deadline = Deadline(options.seconds)
    environment = Environment(options.folder.resolve())
    try:
        environment.build(deadline)
    except Unavailable as error:
        print(f"The tests on Windows are skipped. {error}")
        return 3
    if options.python:
        return run_python(environment.prefix(1), options.python, deadline)
    prefixes = [environment.prefix(number) for number in range(1, options.side_by_side + 1)]
    runner = Runner(prefixes, deadline, [] if options.modules else _lines("known.txt"))
    try:
        if options.table:
            return run_for_table(runner, environment.folder / "results.jsonl")
        return 1 if run_listed(runner, prefixes[0], options.modules or _lines("modules.txt")) else 0
    finally:
        for prefix in prefixes:
            prefix.stop()


if __name__ == "__main__":
    sys.exit(main())
