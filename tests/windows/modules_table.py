"""The table of the modules of the default suite under Wine, in docs/windows.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from outcomes import Outcome, Outcomes

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/windows.md"
HEADING = "## Module by module\n"
LEFT_OUT = """\
Left out are `tests/panel`, `tests/browser` and `tests/pages`: the environment has no Playwright and no Chromium for
Windows. It has no PyTorch either, without which ComfyUI does not start; so no test has a `COMFYUI_PATH`."""


def write_table(modules: Sequence[str], outcomes: Outcomes) -> None:
    """Write the part of the page below its heading anew."""
    text = PAGE.read_text(encoding="utf-8")
    head = text[: text.index(HEADING)]
    PAGE.write_text(head + HEADING + "\n" + "\n".join(_page(modules, outcomes)) + "\n", encoding="utf-8")


def _page(modules: Sequence[str], outcomes: Outcomes) -> Iterator[str]:
    run = list(outcomes.of(modules))
    passed = [outcome for outcome in run if outcome.has_passed and outcome.passed]
    skipped = [outcome for outcome in run if outcome.has_passed and outcome.skipped and not outcome.passed]
    slow = [outcome for outcome in run if outcome.has_passed and not outcome.skipped and not outcome.passed]
    failed = [outcome for outcome in run if not outcome.has_passed]
    tests = sum(outcome.passed for outcome in passed)
    yield f"{len(passed)} modules pass, with {tests:,} tests. The numbers are those of the tests that pass.\n"
    yield f"{LEFT_OUT}\n"
    yield "| folder | modules |"
    yield "|---|---|"
    for folder, names in _grouped((outcome.module, f" ({outcome.passed})") for outcome in passed).items():
        yield f"| `{folder}` | {', '.join(names)} |"
    yield from _section(
        "In these modules every test is skipped, for the reasons below:", [each.module for each in skipped]
    )
    yield from _section("These modules have slow tests alone, which do not run here:", [each.module for each in slow])
    yield from _reasons(run)
    if failed:
        yield "\nThese fail, and the reason is not known to be Wine's:\n"
        yield "| module | outcome | tests |"
        yield "|---|---|---|"
        for outcome in failed:
            yield f"| `{outcome.module}` | {outcome.summary} | {_names(outcome.failed)} |"
    yield from _section("Not run under Wine yet:", [module for module in modules if module not in outcomes])


def _section(title: str, modules: Sequence[str]) -> Iterator[str]:
    if modules:
        yield f"\n{title}\n"
        for folder, names in _grouped((module, "") for module in modules).items():
            yield f"- `{folder}`: {', '.join(names)}"


def _reasons(run: Iterable[Outcome]) -> Iterator[str]:
    """Yield the table of the reasons for which tests are skipped, with their number and modules."""
    counts: Counter[str] = Counter()
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for outcome in run:
        for reason, count in outcome.skipped.items():
            counts[reason] += count
            modules[reason].append(outcome.module.removeprefix("tests/").replace("/test_", "/").removesuffix(".py"))
    yield "\nTests are skipped for these reasons:\n"
    yield "| reason | tests | modules |"
    yield "|---|---|---|"
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"| {reason.replace('|', '/')} | {count} | {_listed(modules[reason])} |"


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _names(tests: Sequence[str]) -> str:
    return _listed([f"`{test[:100]}`" for test in tests], 5)


def _grouped(modules: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the modules' names, each with a note, by folder."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for module, note in modules:
        path = Path(module)
        found[path.parent.as_posix()].append(path.stem.removeprefix("test_") + note)
    return dict(found)
