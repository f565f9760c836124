"""The runs under Wine: the lists name what there is and pin what is downloaded, and outcomes are read as they are."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from windows.outcomes import Outcome, last_begun, read
from windows.wine import Runner
from windows.wine_environment import Deadline

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it where Python does not

ROOT = Path(__file__).resolve().parents[2]
WINDOWS = ROOT / "tests/windows"
PINNED = re.compile(r"([A-Za-z0-9_.]+)==\S+ --hash=sha256:[0-9a-f]{64}")


def lines(name: str) -> list[str]:
    text = (WINDOWS / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_modules_are_there() -> None:
    assert [line for line in lines("modules.txt") if not (ROOT / line).is_file()] == []


def test_every_package_is_pinned() -> None:
    pinned = {
        match[1].replace("_", "-").lower() for line in lines("requirements.txt") if (match := PINNED.fullmatch(line))
    }
    assert len(pinned) == len(lines("requirements.txt"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=; ]", each)[0].lower() for each in project["dependencies"]}
    assert needed - pinned == set()


OUTPUT = """\
tests/unit/test_a.py::test_one PASSED                         [ 10%]
tests/unit/test_a.py::test_two[a PASSED b] SKIPPED (Wine lacks (some) links) [ 20%]
tests/unit/test_a.py::test_two[c::d] SKIPPED (Wine lacks (some) links) [100%]
tests/unit/test_b.py::test_three[x y] FAILED [ 40%]
tests/unit/test_b.py::test_four PASSED [ 50%]
tests/unit/test_b.py::test_four ERROR [ 50%]
tests/unit/test_d.py::test_five
FAILED tests/unit/test_b.py::test_three[x y] - assert 1 == 2
ERROR tests/unit/test_c.py - ImportError: no module
""".splitlines()


def test_outcomes_are_read_from_what_pytest_prints() -> None:
    assert list(read(OUTPUT).values()) == [
        Outcome("tests/unit/test_a.py", 1, {"Wine lacks (some) links": 2}),
        Outcome("tests/unit/test_b.py", 1, {}, ["test_three[x y]", "test_four"]),
        Outcome("tests/unit/test_c.py", failed=["the module itself"]),
    ]
    assert [each.has_passed for each in read(OUTPUT).values()] == [True, False, False]
    assert last_begun(OUTPUT) == "tests/unit/test_d.py"
    assert last_begun([]) is None


class InterruptedPrefix:
    """A prefix in which Ctrl-C is pressed while its first program runs."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self._stopped = threading.Event()

    def run(self, arguments: list[str], *_: object) -> tuple[int | None, str]:
        self.runs.append(arguments)
        os.kill(os.getpid(), signal.SIGINT)
        assert self._stopped.wait(20)
        return -9, "\n".join(line for line in OUTPUT if "test_c" not in line and not line.startswith("FAILED"))

    def stop(self) -> None:
        self._stopped.set()


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is a signal of POSIX")
def test_a_run_that_is_interrupted_reports_what_has_run() -> None:
    modules = [f"tests/unit/test_{name}.py" for name in "abde"]
    reported: dict[str, Any] = {}
    prefix: Any = InterruptedPrefix()
    deadline: Any = Deadline(60)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores the signal
    try:
        left_out = Runner([prefix], deadline).run(
            modules, lambda outcome, _: reported.update({outcome.module: outcome})
        )
    finally:
        signal.signal(signal.SIGINT, handler)
    assert left_out == modules[2:]
    assert list(reported) == modules[:2]
    assert not any(outcome.broken_by for outcome in reported.values())
    assert len(prefix.runs) == 1


class UnstablePrefix:
    """A prefix in which the first processes end before they have run a test."""

    OUTPUT = "\n".join([*OUTPUT[:3], "= 1 passed, 2 skipped in 1.00s ="])

    def __init__(self, failures: int) -> None:
        self.starts = 0
        self._failures = failures

    def run(self, *_: object) -> tuple[int, str]:
        self.starts += 1
        return (66, "wine: could not start") if self.starts <= self._failures else (0, self.OUTPUT)


@pytest.mark.parametrize(("failures", "starts", "has_passed"), [(0, 1, True), (2, 3, True), (3, 3, False)])
def test_a_process_that_wine_cannot_start_is_started_again(failures: int, starts: int, has_passed: bool) -> None:
    reported: dict[str, Any] = {}
    prefix: Any = UnstablePrefix(failures)
    deadline: Any = Deadline(60)
    Runner([], deadline).run_together(
        ["tests/unit/test_a.py"], prefix, lambda outcome, _: reported.update({outcome.module: outcome})
    )
    assert prefix.starts == starts
    assert reported["tests/unit/test_a.py"].has_passed == has_passed
