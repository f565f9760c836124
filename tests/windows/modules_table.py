"""The table of the modules of the default suite under Wine, in docs/windows.md.

Results are noted as they come, one JSON object a line, so that a run can be continued on another day.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/windows.md"
HEADING = "## Module by module\n"
_COUNT = re.compile(r"(\d+) (passed|skipped|deselected|failed|errors?)\b")
_SHORT = {"passed": "", "skipped": " skipped", "deselected": " left out"}


@dataclass(frozen=True)
class Result:
    """The result of a module: pytest's counts in its words, and the tests that failed."""

    module: str
    summary: str
    has_passed: bool
    failures: list[str]


class Results:
    """The results noted in a file, by module."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._found: dict[str, Result] = {}
        if notes.exists():
            for line in notes.read_text(encoding="utf-8").splitlines():
                result = Result(**json.loads(line))
                self._found[result.module] = result

    def __contains__(self, module: str) -> bool:
        return module in self._found

    def get(self, module: str) -> Result | None:
        """Return the result of a module, or None if it was not run."""
        return self._found.get(module)

    def add(self, module: str, summary: str, has_passed: bool, failures: Sequence[str]) -> None:
        """Note a result."""
        result = Result(module, summary, has_passed, list(failures))
        self._found[module] = result
        with self._notes.open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(asdict(result)) + "\n")


def remembered(notes: Path) -> Results:
    """Return the results that a file has; it need not exist."""
    return Results(notes)


def write_table(modules: Iterable[str], results: Results) -> None:
    """Write the part of the page below its heading anew."""
    text = PAGE.read_text(encoding="utf-8")
    head = text[: text.index(HEADING)]
    PAGE.write_text(head + HEADING + "\n" + "\n".join(_page(list(modules), results)) + "\n", encoding="utf-8")


def _page(modules: Sequence[str], results: Results) -> Iterator[str]:
    passed = [result for module in modules if (result := results.get(module)) and result.has_passed]
    failed = [result for module in modules if (result := results.get(module)) and not result.has_passed]
    tests = sum(counts(result.summary).get("passed", 0) for result in passed)
    yield f"{len(passed)} modules pass, with {tests:,} tests. The number is that of the tests that pass.\n"
    yield "| folder | modules |"
    yield "|---|---|"
    for folder, names in _by_folder(passed).items():
        yield f"| `{folder}` | {', '.join(names)} |"
    yield from _left_out()
    if failed:
        yield "\nThese fail, and the reason is not known to be Wine's:\n"
        yield "| module | result | tests |"
        yield "|---|---|---|"
        for result in failed:
            tests_of = "; ".join(f"`{_name(each)}`" for each in result.failures[:5])
            yield f"| `{result.module}` | {result.summary} | {tests_of} |"
    if not_run := [module for module in modules if module not in results]:
        yield "\nNot run under Wine yet:\n"
        for folder, names in _grouped((module, "") for module in not_run).items():
            yield f"- `{folder}`: {', '.join(names)}"


def counts(summary: str) -> dict[str, int]:
    """Return the counts in pytest's last line, by its words."""
    return {word: int(count) for count, word in _COUNT.findall(summary)}


def _by_folder(passed: Iterable[Result]) -> dict[str, list[str]]:
    return _grouped((result.module, _counts_text(result.summary)) for result in passed)


def _grouped(modules: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module, note in modules:
        path = Path(module)
        name = path.stem.removeprefix("test_")
        found[path.parent.as_posix()].append(f"{name} {note}".strip())
    return dict(found)


def _counts_text(summary: str) -> str:
    found = counts(summary)
    parts = [f"{found[word]}{text}" for word, text in _SHORT.items() if word in found]
    return f"({', '.join(parts)})" if parts else ""


def _left_out() -> Iterator[str]:
    """Yield the table of the tests that known.txt names, with the reasons."""
    yield "\nThese tests are left out:\n"
    yield "| test | reason |"
    yield "|---|---|"
    reason = ""
    for line in (HERE / "known.txt").read_text(encoding="utf-8").splitlines():
        test, _, why = line.partition("  # ")
        if not test or test.startswith("#"):
            continue
        reason = reason if why == "the same" else why
        yield f"| `{test.strip()}` | {reason} |"


def _name(failure: str) -> str:
    """Return the test that a line of pytest's summary names."""
    return failure.partition(" ")[2].partition(" - ")[0].partition("::")[2][:100]
