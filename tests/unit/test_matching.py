"""Which file is which missing asset's: told by paths, names, and how folders end."""

from __future__ import annotations

import random

import pytest
from comfy_assets_node.comfy_assets.assets.moves.matching import Spot, nearest, only_pairs, parts_of
from hypothesis import given, settings
from hypothesis import strategies as st


def spots(side: str, *places: str) -> list[Spot]:
    """Files at these places, "root:path below it", with an asterisk where somebody has given the asset something."""
    found = []
    for number, place in enumerate(places):
        root, _, path = place.removesuffix("*").partition(":")
        folder, _, name = path.rpartition("/")
        is_plain = not place.endswith("*")
        found.append(
            Spot(number + (1000 if side == "new" else 0), parts_of(f"{root}/{folder}"), folder, name, is_plain)
        )
    return found


CASES = {
    "the same path goes before the same name": (
        ["/a:output/x.png", "/a:input/x.png"], ["/b:input/x.png", "/b:output/x.png"], {0: 1, 1: 0},
    ),
    "the same name goes before folders that end alike": (
        ["/a:output/t/x.png", "/a:output/u/y.png"], ["/b:input/t/y.png", "/b:input/u/x.png"], {0: 1, 1: 0},
    ),
    "the longest end goes first": (
        ["/a:output/t/u/x.png", "/a:output/v/u/x.png"], ["/a:input/v/u/x.png", "/a:input/t/u/x.png"], {0: 1, 1: 0},
    ),
    "the same folder under another name": (
        ["/a:output/t/x.png", "/a:output/u/y.png"], ["/a:output/u/2.png", "/a:output/t/3.png"], {0: 1, 1: 0},
    ),
    "any in the end": (["/a:output/x.png"], ["/b:input/z.png"], {0: 0}),
    "what was given something goes first": (["/a:o/x.png", "/b:o/y.png*"], ["/c:z/z.png"], {1: 0}),
    "one of two that are gone": (["/a:output/x.png", "/a:output/y.png"], ["/b:output/y.png"], {1: 0}),
    "one of two that are new": (["/a:output/y.png"], ["/b:output/x.png", "/b:output/y.png"], {0: 1}),
    "the same name in another case": (["/a:o/X.png", "/a:o/y.png"], ["/b:p/Y.PNG", "/b:p/x.png"], {0: 1, 1: 0}),
    "a case of its own each": (["/a:o/X.png", "/a:o/x.png"], ["/b:o/x.png", "/b:o/X.png"], {0: 1, 1: 0}),
    "another system": (["C:\\\\a:output/t/x.png"], ["/b:output/t/x.png"], {0: 0}),
    "nothing is gone": ([], ["/b:output/x.png"], {}),
}  # fmt: skip


@pytest.mark.parametrize(("olds", "news", "expected"), CASES.values(), ids=CASES)
def test_the_nearest(olds: list[str], news: list[str], expected: dict[int, int]) -> None:
    pairs = nearest(spots("old", *olds), spots("new", *news))
    assert {old.id: new.id - 1000 for old, new in pairs} == expected


FILES = st.lists(
    st.builds(
        lambda folders, name: "/".join((*folders, name)),
        st.lists(st.sampled_from("ab"), max_size=4),
        st.sampled_from(["x", "y"]),
    ),
    unique=True,
    max_size=20,
)


@settings(deadline=None)
@given(FILES, FILES)
def test_as_many_as_there_are_each_once(olds: list[str], news: list[str]) -> None:
    pairs = nearest(spots("old", *(f"/o:{p}" for p in olds)), spots("new", *(f"/n:{p}" for p in news)))
    assert len(pairs) == min(len(olds), len(news))
    assert len({old.id for old, _ in pairs}) == len({new.id for _, new in pairs}) == len(pairs)


@settings(deadline=None)
@given(FILES, st.sampled_from(["/n", "/n/a", "/n/b/a", "/n/o", "/a/b"]), st.randoms())
def test_what_moves_as_a_whole_is_what_it_was(files: list[str], target: str, order: random.Random) -> None:
    """In a folder whose path below the root tells nothing: it has another there."""
    olds = [spot._replace(logical="o", id=i) for i, spot in enumerate(spots("old", *(f"/o:{p}" for p in files)))]
    news = [spot._replace(logical="n", id=i) for i, spot in enumerate(spots("new", *(f"{target}:{p}" for p in files)))]
    order.shuffle(news)
    assert {old.id: new.id for old, new in nearest(olds, news)} == {spot.id: spot.id for spot in olds}


def test_pairs_of_which_there_is_one_on_both_sides() -> None:
    assert only_pairs("abcdd", "AbBCCDe", str.lower, str.lower) == [("a", "A")]
    assert only_pairs("ab", "ab", lambda letter: None, lambda letter: None) == []
