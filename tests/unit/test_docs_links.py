"""The links of the docs lead somewhere, and every page and picture is reached from the README."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """A page without its blocks of code and without what stands between backticks."""
    return re.sub(r"`[^`]*`", "code", FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> Iterator[str]:
    """Where a page leads, as it is written."""
    for match in LINK.finditer(prose(page)):
        yield match[1] or match[2]


def target(page: Path, link: str) -> tuple[Path, str]:
    """The file and the anchor that a link of a page means."""
    name, _, anchor = link.partition("#")
    return ((page.parent / unquote(name)).resolve() if name else page), anchor


def anchors(page: Path) -> set[str]:
    """What headings are called in links, as GitHub and others name them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def is_outside(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if is_outside(link):
            assert link.startswith(("https://", "http://127.0.0.1:")), link
            continue
        file, anchor = target(page, link)
        assert file.is_relative_to(ROOT) and file.exists(), f"there is no {link}"
        assert not anchor or anchor in anchors(file), f"{link}: {file.name} has {sorted(anchors(file))}"


def test_every_page_and_picture_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.suffix == ".md":
            waiting += [target(page, link)[0] for link in links(page) if not is_outside(link)]
    assert {path.name for path in (ROOT / "docs").iterdir() if path not in reached} == set()
    assert {path.name for path in PAGES if path not in reached} == set()


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {target(index, link)[0] for link in links(index)}
    assert {page.name for page in PAGES if page not in listed and page != index} == set()


def test_no_page_tells_of_a_machine() -> None:
    """Paths below a user's folder, or of a place where somebody works, are of no use to others."""
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|mnt|opt|work)/|\b[A-Z]:\\")
    assert [page.name for page in PAGES if pattern.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# What's kept\n", {"whats-kept"}),
        ("## A `b` c\n### A `b` c\n", {"a-b-c", "a-b-c-1"}),
        ("# [Two words](x.md), three\n", {"two-words-three"}),
        ("```\n# no heading\n```\n", set()),
    ],
)
def test_headings_have_these_anchors(tmp_path: Path, text: str, expected: set[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    assert anchors(page) == expected
