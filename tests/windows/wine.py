"""Run tests with a Windows Python under Wine, for those who have no Windows at hand.

    python tests/windows/wine.py FOLDER              run the modules of modules.txt
    python tests/windows/wine.py FOLDER MODULE…      run these modules or tests
    python tests/windows/wine.py FOLDER --table      run all modules, and write their table to docs/windows.md
    python tests/windows/wine.py FOLDER --python tests/benchmarks/floor.py --rounds 3     run the Windows Python
    python tests/windows/wine.py --lock              write requirements.txt with the newest versions

The first run builds the environment in FOLDER: about 1 GB, in two minutes. It needs an amd64 machine with Wine and a
compiler for Windows: the packages wine, wine64 and gcc-mingw-w64-x86-64 of Debian and Ubuntu. For root they are
installed. All else comes from PyPI. The exit status is 0 if all passed, 1 after a failure, and 3 if the environment
cannot be had. Ctrl-C or SIGTERM ends a run as the end of its time does: what has run is reported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from modules_table import write_table
from outcomes import ENOUGH, Outcome, Outcomes, has_summary, last_begun, read
from wine_environment import HERE, Deadline, Environment, Prefix, Unavailable, lock

PYTEST: tuple[str, ...] = ("-u", "-m", "pytest", "-n", "0", "-v", "--tb=short", "-rfE", "-p", "no:cacheprovider")
PYTEST += tuple(word for name in ("pytest_asyncio", "pytest_aiohttp", "xdist") for word in ("-p", f"{name}.plugin"))
PYTEST += ("-p", "loop_limit", "-p", "early_failures", "--continue-on-collection-errors")
TEST_S = 120.0  # the longest time for a test
PYTEST += ("-o", f"faulthandler_timeout={TEST_S / 2:.0f}")  # to see where it waits
AGAIN_S = 240.0  # for modules that run again alone, beside the time for all
LEAST_S = 20.0  # nothing is begun with less time left
STARTS = 3  # of a process that ends before its first test
TOGETHER = 8  # modules in a process
ENDED = (0, 1, 5)  # statuses of pytest that has run all it should; 5 if there were slow tests alone
Report = Callable[[Outcome, str], None]


class Work:
    """The modules that wait to be run; for several threads."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._waiting = deque(modules)
        self._lock = threading.Lock()

    def next(self) -> list[str]:
        """Return the next modules that may run in one process: of one folder, as conftest.py is the folder's."""
        with self._lock:
            taken: list[str] = []
            while self._waiting and len(taken) < TOGETHER:
                if taken and _folder(self._waiting[0]) != _folder(taken[0]):
                    break
                taken.append(self._waiting.popleft())
            return taken

    def give_back(self, modules: Sequence[str]) -> None:
        """Let modules be the next ones, since the process ended before they ran."""
        with self._lock:
            self._waiting.extendleft(reversed(modules))

    def rest(self) -> list[str]:
        """Return the modules that still wait."""
        return list(self._waiting)


class Runner:
    """Runs modules side by side, some of them in one process."""

    def __init__(self, prefixes: Sequence[Prefix], deadline: Deadline) -> None:
        self._prefixes = prefixes
        self._deadline = deadline
        self.is_interrupted = False

    def run(self, modules: Iterable[str], report: Report) -> list[str]:
        """Run modules, and report each with the output of its process; return those for which no time was left."""
        work = Work(modules)
        reporting = threading.Lock()

        def ended(outcome: Outcome, output: str) -> None:
            with reporting:
                report(outcome, output)

        def run_all(prefix: Prefix) -> None:
            while self._deadline.left() > LEAST_S and (together := work.next()):
                work.give_back(self.run_together(together, prefix, ended))

        workers = [threading.Thread(target=run_all, args=(prefix,)) for prefix in self._prefixes]
        try:
            for worker in workers:
                worker.start()
            _join(workers)
        except KeyboardInterrupt:
            self.is_interrupted = True
            self._deadline.end()
            for prefix in self._prefixes:
                prefix.stop()
            _join(workers)
        return work.rest()

    def run_together(self, modules: Sequence[str], prefix: Prefix, report: Report) -> list[str]:
        """Run modules in one process, and report each that came to an end or broke; return the others."""
        status, output = self._run_started(modules, prefix)
        lines = output.splitlines()
        found = read(lines)
        unfinished: list[str] = []
        if ENOUGH in output:
            unfinished = [module for module in modules if _path(module) not in found]
        elif status not in ENDED or not has_summary(lines):
            begun = last_begun(lines)
            unfinished = [*modules[next((i for i, each in enumerate(modules) if _path(each) == begun), 0) :]]
            if self._deadline.left() > 0:  # by a fault of its own
                broken = _path(unfinished.pop(0))
                outcome = found.setdefault(broken, Outcome(broken))
                outcome.broken_by = _fault(status)
        for module in modules:
            if module not in unfinished:
                report(found.get(_path(module), Outcome(_path(module))), output)
        return unfinished

    def _run_started(self, modules: Sequence[str], prefix: Prefix) -> tuple[int | None, str]:
        """Run modules in a process, and return its status and output.

        On a loaded machine Wine may fail to start one, which says nothing about the modules: it is started again.
        """
        for attempt in range(1, STARTS + 1):
            began = time.monotonic()
            status, output = prefix.run([*PYTEST, *modules], self._deadline.left(), TEST_S)
            print(f"  a process of {time.monotonic() - began:.0f} s, status {status}", flush=True)
            has_started = status is None or status in ENDED or last_begun(output.splitlines()) is not None
            if has_started or attempt == STARTS or self._deadline.left() < LEAST_S:
                break
        return status, output


def _join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        if thread.is_alive():
            thread.join()


def _fault(status: int | None) -> str:
    """Return how a process ended that did not come to its end; None: it was ended."""
    if status is None:
        return f"a test of {TEST_S:.0f} s"
    return "an end in the middle" if status in ENDED else f"an end with status {status}"


def _path(module: str) -> str:
    """Return the path of the module that a test is in."""
    return module.partition("::")[0]


def _folder(module: str) -> str:
    return _path(module).rpartition("/")[0]


def _lines(name: str) -> list[str]:
    """Return the lines of a list without comments."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run_listed(runner: Runner, prefix: Prefix, modules: Sequence[str]) -> int:
    """Run modules; return the number that failed twice.

    What fails is run again alone, as Wine's processes and the machine's load have troubles of their own.
    """
    suspects: dict[str, str] = {}
    failed: list[str] = []

    def first(outcome: Outcome, output: str) -> None:
        print(f"{outcome.module}: {outcome.summary}", flush=True)
        if not outcome.has_passed:
            suspects[outcome.module] = output

    def second(outcome: Outcome, output: str) -> None:
        print(f"{outcome.module}: {outcome.summary}", flush=True)
        if not outcome.has_passed:
            failed.append(outcome.module)
            print(output)

    left_out = runner.run(modules, first)
    alone = Runner([prefix], Deadline(0.0 if runner.is_interrupted else AGAIN_S))
    for module, output in suspects.items():
        print(output)
        if alone.run_together([module], prefix, second):
            failed.append(module)  # no time was left for a second run: the first one counts
    if left_out:
        print(f"The time was up; not run: {' '.join(left_out)}")
    return len(failed)


def all_modules() -> list[str]:
    """Return the modules of the default suite that need no browser."""
    root = HERE.parent
    found = (path.relative_to(root.parent).as_posix() for path in sorted(root.rglob("test_*.py")))
    return [each for each in found if not each.startswith(("tests/panel/", "tests/browser/", "tests/pages/"))]


def run_for_table(runner: Runner, folder: Path, wanted: Sequence[str]) -> int:
    """Run modules that have no outcome yet, note each outcome, and write the table; return 0.

    The output of processes with failures is kept in the folder ``failures``.
    """
    known = Outcomes(folder / "outcomes.jsonl")
    failures = folder / "failures"
    failures.mkdir(exist_ok=True)

    def ended(outcome: Outcome, output: str) -> None:
        print(f"{outcome.module}: {outcome.summary}", flush=True)
        known.add(outcome)
        if not outcome.has_passed:
            name = outcome.module.removeprefix("tests/").replace("/", ".")
            (failures / f"{name}.txt").write_text(output, encoding="utf-8")

    everything = all_modules()
    first = wanted or _lines("modules.txt")  # those that matter most
    modules = dict.fromkeys([*first, *everything])
    runner.run([module for module in modules if module not in known], ended)
    write_table(everything, known)
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prefixes = [environment.prefix(number) for number in range(1, options.side_by_side + 1)]
    runner = Runner(prefixes, deadline)
    try:
        if options.table:
            return run_for_table(runner, environment.folder, options.modules)
        return 1 if run_listed(runner, prefixes[0], options.modules or _lines("modules.txt")) else 0
    finally:
        for prefix in prefixes:
            prefix.stop()


if __name__ == "__main__":
    sys.exit(main())
