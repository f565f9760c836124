"""The pages of the docs, and what in them is code: for the tests that hold them against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page of the docs."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """Without its blocks of code."""
        return FENCE.sub("", self.text)

    @cached_property
    def code(self) -> list[str]:
        """What stands between backticks in its prose, on one line each."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]

    @cached_property
    def lines_of_code(self) -> list[str]:
        """The lines of its blocks of shell commands, those that go on in the next one joined."""
        blocks = [block["text"] for block in FENCE.finditer(self.text) if block["info"].split(" ")[0] in ("sh", "")]
        return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]

    def table(self, heading: str) -> list[list[str]]:
        """The rows of the table whose first column has this heading."""
        body = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE)
        assert body is not None, f"{self.name} has no table of {heading}"
        return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body[1].splitlines()]


def page(name: str) -> Page:
    return Page(ROOT / name)


PAGES = [page(name) for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
CONTRIBUTING = page("CONTRIBUTING.md")


def sources(*folders: str) -> Iterator[Path]:
    """The Python files in these folders of the checkout."""
    yield ROOT / "__init__.py"
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def quoted(text: str) -> set[str]:
    """What of a cell or paragraph stands between backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def read_from_the_environment(*folders: str) -> set[str]:
    """The variables that the Python files in these folders read by name."""
    pattern = re.compile(r"""environ(?:\.get\(|\[)\s*["']([A-Z_]+)""")
    return {name for path in sources(*folders) for name in pattern.findall(path.read_text(encoding="utf-8"))}
