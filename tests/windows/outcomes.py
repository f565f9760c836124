"""The outcome of each module, read from the lines that pytest prints, and kept in a file.

Several modules run in one process, as the start of one takes Wine ten seconds. So results are read line by line: what
ran until a process was ended is not lost.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ENOUGH = "enough event loops for one process"  # said by the plugin loop_limit when it ends a run
_TEST = re.compile(r"(tests/\S+?\.py)::(.*?) (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*)\))?\s*(?:\[ *\d+%\])?")
_BEGUN = re.compile(r"(tests/\S+?\.py)::")
_SUMMARY = re.compile(r"=+ .* in \d+\.\d+s.* =+")  # pytest's last line
_BROKEN = re.compile(r"ERROR (tests/[^:\s]+\.py)(?: - .*)?")


@dataclass
class Outcome:
    """The outcome of a module: counts, and the names of the tests that failed.

    ``skipped`` has the number of tests by reason. ``broken_by`` says why the process did not end as it should.
    """

    module: str
    passed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    broken_by: str = ""

    @property
    def has_passed(self) -> bool:
        """True if no test failed, and all came to an end."""
        return not self.failed and not self.broken_by

    @property
    def summary(self) -> str:
        """The counts in a few words."""
        counts = ((self.passed, "passed"), (sum(self.skipped.values()), "skipped"), (len(self.failed), "failed"))
        words = [f"{count} {word}" for count, word in counts if count] + [self.broken_by] * bool(self.broken_by)
        return ", ".join(words) or "none but slow tests"


def read(lines: Iterable[str]) -> dict[str, Outcome]:
    """Return the outcomes of the modules that a run of ``pytest -v`` has begun, in order."""
    found: dict[str, Outcome] = {}
    for line in lines:
        broken = _BROKEN.fullmatch(line)
        if broken:
            found.setdefault(broken[1], Outcome(broken[1])).failed.append("the module itself")
        test = _TEST.fullmatch(line)
        if test:
            _count(found.setdefault(test[1], Outcome(test[1])), *test.groups()[1:])
    return found


def last_begun(lines: Sequence[str]) -> str | None:
    """Return the module whose test was the last to begin, None if there is none."""
    begun = (_BEGUN.match(line) for line in reversed(lines))
    return next((match[1] for match in begun if match), None)


def has_summary(lines: Iterable[str]) -> bool:
    """Return whether pytest came to its end. Processes under Wine may end in the middle, with status 0."""
    return any(_SUMMARY.fullmatch(line.strip()) for line in lines)


def _count(outcome: Outcome, name: str, word: str, reason: str | None) -> None:
    if word == "PASSED":
        outcome.passed += 1
    elif word == "SKIPPED":
        reasons = Counter(outcome.skipped)
        reasons[reason or "no reason"] += 1
        outcome.skipped = dict(reasons)
    elif name not in outcome.failed:
        outcome.failed.append(name)


class Outcomes:
    """The outcomes noted in a file, by module. They are noted as they come, so a run can go on another day."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._found: dict[str, Outcome] = {}
        if notes.exists():
            for line in notes.read_text(encoding="utf-8").splitlines():
                outcome = Outcome(**json.loads(line))
                self._found[outcome.module] = outcome

    def __contains__(self, module: str) -> bool:
        return module in self._found

    def of(self, modules: Iterable[str]) -> Iterator[Outcome]:
        """Yield the outcomes of those modules that ran."""
        return (self._found[module] for module in modules if module in self._found)

    def add(self, outcome: Outcome) -> None:
        """Note an outcome."""
        self._found[outcome.module] = outcome
        with self._notes.open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(asdict(outcome)) + "\n")
