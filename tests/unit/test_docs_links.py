"""The links of the docs lead somewhere, and every page and picture is reached from the README."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

sys.path.append(str(Path(__file__).resolve().parent))
from docs_pages import PAGES, ROOT, Page, page

LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"]+)\"")


def links(shown: Page) -> Iterator[str]:
    """Where a page leads, as it is written; what stands between backticks is no link."""
    for match in LINK.finditer(re.sub(r"`[^`]*`", "code", shown.prose)):
        yield match[1] or match[2]


def target(shown: Page, link: str) -> tuple[Path, str]:
    """The file and the anchor that a link of a page means."""
    name, _, anchor = link.partition("#")
    return ((shown.path.parent / unquote(name)).resolve() if name else shown.path), anchor


def inside(shown: Page) -> list[Path]:
    """The files that a page leads to."""
    return [target(shown, link)[0] for link in links(shown) if not is_outside(link)]


def is_outside(link: str) -> bool:
    return re.match(r"[a-z]+:", link) is not None


def anchors(shown: Page) -> set[str]:
    """What its headings are called in links, as GitHub and others name them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", shown.prose, re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: shown.name)
def test_every_link_leads_somewhere(shown: Page) -> None:
    for link in links(shown):
        if is_outside(link):
            assert link.startswith(("https://", "http://127.0.0.1:")), link
            continue
        file, anchor = target(shown, link)
        assert file.is_relative_to(ROOT) and file.exists(), f"there is no {link}"
        assert not anchor or anchor in anchors(Page(file)), f"{link}: {file.name} has {sorted(anchors(Page(file)))}"


def test_every_page_and_picture_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += inside(Page(path)) if path.suffix == ".md" else []
    assert {path.name for path in (ROOT / "docs").iterdir() if path not in reached} == set()
    assert {each.name for each in PAGES if each.path not in reached} == set()


def test_the_index_has_every_page() -> None:
    index = page("docs/README.md")
    assert {each.name for each in PAGES if each.path not in inside(index) and each != index} == set()


def test_no_page_tells_of_a_machine() -> None:
    """Paths below a user's folder, or of a place where somebody works, are of no use to others."""
    pattern = re.compile(r"(?<![\w.])/(?:home|root|Users|tmp|mnt|opt|work)/|\b[A-Z]:\\")
    assert [each.name for each in PAGES if pattern.search(each.text)] == []


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
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    assert anchors(Page(file)) == expected
