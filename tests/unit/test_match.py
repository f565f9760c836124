"""Match new files with files that are gone: by identity, path, time and name, and by content."""

from __future__ import annotations

import random
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.move_matching import Match, match
from comfy_assets_node.comfy_assets.db.moves import MoveCandidate
from hypothesis import given, settings
from hypothesis import strategies as st

T = 1_600_000_000_123_456_700  # a time in ns, as most file systems tell it
WHOLE = 1_600_000_000_000_000_000


def file(number: int, path: str, **members: Any) -> MoveCandidate:
    """A file at "root:path below it", told from the others by its time unless said otherwise."""
    root, _, below = path.rpartition(":")
    logical, _, name = below.rpartition("/")
    size, mtime_ns, inode = members.pop("stat", (1, T + number, number + 1))
    return MoveCandidate(number, size, mtime_ns, inode, f"{root}/{logical}", logical, name, **members)


def gone(number: int, path: str, **members: Any) -> MoveCandidate:
    return file(number, path, **members)


def new(number: int, path: str, **members: Any) -> MoveCandidate:
    return file(number + 1000, path, **members)


def at(number: int, path: str, **members: Any) -> MoveCandidate:
    """The present file at the path of a known one."""
    return file(-number, path, replaces=number, **members)


def ids(found: list[Match]) -> dict[int, int]:
    assert len({m.gone.id for m in found}) == len({m.new.id for m in found}) == len(found)
    return {m.gone.id: m.new.id % 1000 if m.new.id > 0 else m.new.id for m in found}


def equal(side: str, *places: str) -> list[MoveCandidate]:
    """Read files of one content at these places, with an asterisk where somebody has given the asset something."""
    make = gone if side == "gone" else new
    return [
        make(number, place.removesuffix("*"), is_marked=place.endswith("*"), content_id=1, is_decided=True)
        for number, place in enumerate(places)
    ]


A, B = (7, T, 5), (7, T + 9, 6)
# The same file but for one member, and what has to be the case so that it is taken for it.
LOOKS = {
    "the same inode": (gone(1, "output/a"), new(2, "input/b", stat=(1, T + 1, 2)), True),
    "the same inode, another size": (gone(1, "output/a"), new(2, "input/a", stat=(2, T + 1, 2)), False),
    "a rename without inodes": (gone(1, "o/a", stat=(7, T, 0)), new(2, "o/b", stat=(7, T, 0)), True),
    "the same, long ago": (gone(1, "o/a", stat=(7, WHOLE, 0)), new(2, "o/b", stat=(7, WHOLE, 0)), False),
    "the same, just now": (gone(1, "o/a", stat=(7, WHOLE, 0), is_recent=True), new(2, "o/b", stat=(7, WHOLE, 0)), True),
    "another drive": (gone(1, "/a:o/x", stat=(7, WHOLE, 3)), new(2, "/b:o/x", stat=(7, WHOLE, 4)), True),
    "another folder": (gone(1, "o/x", stat=(7, T, 3)), new(2, "i/X", stat=(7, T, 4)), True),
    "another folder, composed otherwise": (
        gone(1, "o/caf\u00e9", stat=(7, T, 3)), new(2, "i/Cafe\u0301", stat=(7, T, 4)), True,
    ),
    "another folder, whole seconds": (gone(1, "o/x", stat=(7, WHOLE, 3)), new(2, "i/x", stat=(7, WHOLE, 4)), False),
    "the same, just gone": (
        gone(1, "o/x", stat=(7, WHOLE, 3), is_recent=True), new(2, "i/x", stat=(7, WHOLE, 4)), True,
    ),
    "another folder and name": (gone(1, "o/x", stat=(7, T, 3)), new(2, "i/y", stat=(7, T, 4)), False),
    "known to differ": (gone(1, "o/a", content_id=1), new(2, "o/b", stat=(1, T + 1, 2), content_id=2), False),
    "a user's own": (gone(1, "o/a"), new(2, "o/b", stat=(1, T + 1, 2), owner="ann"), False),
    "the same user's": (gone(1, "o/a", owner="ann"), new(2, "o/b", stat=(1, T + 1, 2), owner="ann"), True),
    "found by nobody": (gone(1, "o/a", owner="ann"), new(2, "o/b", stat=(1, T + 1, 2)), True),
    "an older one": (gone(3000, "o/a", stat=A), new(2, "o/b", stat=A), False),
    "content, unread files left": (gone(1, "o/a", content_id=1), new(2, "i/b", content_id=1), False),
    "the same inode, whole seconds": (gone(1, "o/a", stat=(7, WHOLE, 5)), new(2, "i/b", stat=(7, WHOLE, 5)), True),
    "the same path, another size": (gone(1, "/a:o/x", stat=(7, T, 3)), new(2, "/b:o/x", stat=(8, T, 4)), False),
    "another folder and name, just gone": (
        gone(1, "o/x", stat=(7, WHOLE, 3), is_recent=True), new(2, "i/y", stat=(7, WHOLE, 4)), False,
    ),
    "no inodes, another time": (
        gone(1, "o/a", stat=(7, WHOLE, 0), is_recent=True), new(2, "o/b", stat=(7, 2 * WHOLE, 0)), False,
    ),
    "unread now": (gone(1, "o/a", stat=A, content_id=1), new(2, "i/b", stat=A), True),
    "unread before": (gone(1, "o/a", stat=A), new(2, "i/b", stat=A, content_id=1), True),
    "the same inode and content": (gone(1, "o/a", stat=A, content_id=1), new(2, "i/b", stat=A, content_id=1), True),
    "content of another user": (
        gone(1, "o/a", content_id=1, owner="ann"), new(2, "o/a", content_id=1, is_decided=True, owner="bob"), False,
    ),
    "content of everybody": (
        gone(1, "o/a", content_id=1), new(2, "o/a", content_id=1, is_decided=True, owner="bob"), False,
    ),
    "content of one user": (
        gone(1, "o/a", content_id=1, owner="bob"), new(2, "o/a", content_id=1, is_decided=True, owner="bob"), True,
    ),
    "content that a user made public": (
        gone(1, "o/a", content_id=1, owner="bob"), new(2, "o/a", content_id=1, is_decided=True), True,
    ),
    "content": (gone(1, "o/a", content_id=1), new(2, "i/b", content_id=1, is_decided=True), True),
}  # fmt: skip


@pytest.mark.parametrize(("old", "present", "is_same"), LOOKS.values(), ids=LOOKS)
def test_one_of_each(old: MoveCandidate, present: MoveCandidate, is_same: bool) -> None:
    assert bool(match([old], [present])) is is_same


def test_a_users_own_file_goes_before_a_public_one() -> None:
    """However near the public one is."""
    lost = gone(1, "o/a", content_id=1, owner="ann")
    found = [new(2, "o/a", content_id=1, is_decided=True), new(3, "z/z", content_id=1, is_decided=True, owner="ann")]
    assert ids(match([lost], found)) == ids(match([lost], found[::-1])) == {1: 3}


def test_recent_files_and_others_are_in_one_pair_each() -> None:
    olds = [gone(1, "o/a", stat=A, is_recent=True), gone(2, "o/b", stat=B)]
    assert ids(match(olds, [new(3, "i/k", stat=A), new(4, "i/l", stat=B)])) == {1: 3, 2: 4}


NO_INODE = (7, T, 0)
# What was there and what is there now; whether the content is certainly the same, and whether the path is.
CERTAIN = {
    "moved": (gone(1, "o/a", stat=A), new(2, "i/b", stat=A), True, False),
    "another time": (gone(1, "o/a", stat=A), new(2, "o/a", stat=B), False, False),
    "read already": (gone(1, "o/a", stat=A), new(2, "o/a", stat=B, content_id=1), True, False),
    "no inode": (gone(1, "o/a.png", stat=NO_INODE), new(2, "i/A.PNG", stat=NO_INODE), True, False),
    "no inode, capitals before": (gone(1, "o/A.PNG", stat=NO_INODE), new(2, "i/a.png", stat=NO_INODE), True, False),
    "no inode, another name": (gone(1, "o/a", stat=NO_INODE), new(2, "o/b", stat=NO_INODE), False, False),
    "no inode, at a known path": (gone(1, "o/a", stat=NO_INODE), at(2, "i/a", stat=NO_INODE), False, False),
    "written over": (gone(1, "o/a", stat=A), at(1, "o/a", stat=B), False, True),
    "moved over another": (gone(1, "o/a", stat=A), at(2, "o/b", stat=A), True, False),
}


@pytest.mark.parametrize(("old", "present", "is_certain", "is_in_place"), CERTAIN.values(), ids=CERTAIN)
def test_a_pair(old: MoveCandidate, present: MoveCandidate, is_certain: bool, is_in_place: bool) -> None:
    pair = Match(old, present)
    assert (pair.is_certain, pair.is_in_place) == (is_certain, is_in_place)


def test_the_names_of_one_file_are_told_apart_by_their_folders() -> None:
    """Hard links, and folders that are linked into several categories."""
    stat = (7, T, 5)
    olds = [gone(n, path, stat=stat, is_recent=True) for n, path in enumerate(["m/a/x/1", "m/b/x/1", "m/b/x/2"], 1)]
    news = [new(n, path, stat=stat) for n, path in enumerate(["m/b/y/1", "m/b/z/3", "m/a/y/1"], 4)]
    assert ids(match(olds, news)) == {1: 6, 2: 4, 3: 5}
    assert all(m.is_certain for m in match(olds, news))
    assert match(olds, news[:2]) == []  # one of them is elsewhere


@pytest.mark.parametrize("stat", [(7, T, 5), (7, T, 0), (7, WHOLE, 0)])
def test_of_several_none_is_taken(stat: tuple[int, int, int]) -> None:
    """Not before they have been read."""
    one, two = (gone(n, f"o/{n}", stat=stat, is_recent=True) for n in (1, 2))
    assert match([one, two], [new(3, "i/3", stat=stat)]) == []
    assert match([one], [new(n, f"i/{n}", stat=stat) for n in (3, 4)]) == []
    assert ids(match([one, two._replace(is_recent=False)], [new(3, "i/3", stat=stat)])) == {1: 3}


# Known paths where something else lies than before: what was there, what is there now, new files; and the pairs.
PLACES = {
    "written over in place": ([gone(1, "o/a.png", stat=A)], [at(1, "o/a.png", stat=B)], {1: -1}),
    "exchanged": (
        [gone(1, "o/a", stat=A), gone(2, "o/b", stat=B)], [at(1, "o/a", stat=B), at(2, "o/b", stat=A)], {1: -2, 2: -1},
    ),
    "moved, and the name used again": (
        [gone(1, "o/a", stat=A)], [at(1, "o/a", stat=B), new(3, "i/k", stat=A)], {1: 3},
    ),
    "a backup, and the name written again": (
        [gone(1, "o/a.png", stat=A)], [at(1, "o/a.png", stat=B), new(3, "o/a.bak", stat=A)], {1: -1},
    ),
    "a backup with an end of its own": (
        [gone(1, "o/a.png", stat=A)], [at(1, "o/a.png", stat=B), new(3, "o/a.png.1", stat=A)], {1: -1},
    ),
    "moved to a backup's name in another folder": (
        [gone(1, "o/a.png", stat=A)], [at(1, "o/a.png", stat=B), new(3, "i/a.png~", stat=A)], {1: 3},
    ),
    "over one that is not marked": (
        [gone(1, "o/a", stat=A), gone(2, "o/b", stat=B)], [at(1, "o/a", stat=B)], {2: -1},
    ),
    "over a marked one that keeps nothing": (
        [gone(1, "o/a", stat=A, is_marked=True, keeps_path=False), gone(2, "o/b", stat=B)],
        [at(1, "o/a", stat=B)],
        {2: -1},
    ),
    "a backup, and another known file in its place": (
        [gone(1, "o/a.png", stat=A), gone(2, "o/b", stat=B)],
        [at(1, "o/a.png", stat=B), new(3, "o/a.png~", stat=A)],
        {1: 3, 2: -1},
    ),
    "over one that is marked": (
        [gone(1, "o/a", stat=A, is_marked=True), gone(2, "o/b", stat=B)], [at(1, "o/a", stat=B)], {1: -1},
    ),
    "over one that is marked, itself marked": (
        [gone(1, "o/a", stat=A, is_marked=True), gone(2, "o/b", stat=B, is_marked=True)],
        [at(1, "o/a", stat=B)],
        {2: -1},
    ),
    "over a marked one that has moved": (
        [gone(1, "o/a", stat=A, is_marked=True), gone(2, "o/b", stat=B)],
        [at(1, "o/a", stat=B), new(3, "i/k", stat=A)],
        {1: 3, 2: -1},
    ),
    "a new file at the path of one that keeps nothing": (
        [gone(1, "o/a", stat=A, keeps_path=False)], [at(1, "o/a", stat=B)], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("olds", "news", "expected"), PLACES.values(), ids=PLACES)
def test_known_paths(olds: list[MoveCandidate], news: list[MoveCandidate], expected: dict[int, int]) -> None:
    assert ids(match(olds, news)) == expected


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
    "folders in another case": (
        ["/a:o/T/1.png", "/a:o/u/2.png"], ["/b:i/U/a.png", "/b:i/t/b.png"], {0: 1, 1: 0},
    ),
    "the deeper of two folders that end alike": (["/o:a/1.png"], ["/n:a/2.png", "/n:a/a/3.png"], {0: 1}),
    "of folders that differ, not the deeper": (["/a:o/1.png"], ["/b:j/2.png", "/c:i/k/3.png"], {0: 0}),
    "names in their order": (["/a:o/1.png", "/a:o/2.png"], ["/a:o/b.png", "/a:o/a.png"], {0: 1, 1: 0}),
    "folders in their order": (["/a:o/1/x.png", "/a:o/2/x.png"], ["/b:i/4/x.png", "/b:i/3/x.png"], {0: 1, 1: 0}),
    "the same name before the same in another case": (
        ["/a:o/1/X.png", "/a:o/2/x.png"], ["/b:i/1/x.png", "/b:i/2/X.png"], {0: 1, 1: 0},
    ),
    "another system": (["C:\\\\a:output/t/x.png"], ["/b:output/t/x.png"], {0: 0}),
    "nothing is gone": ([], ["/b:output/x.png"], {}),
}  # fmt: skip


@pytest.mark.parametrize(("olds", "news", "expected"), CASES.values(), ids=CASES)
def test_the_nearest(olds: list[str], news: list[str], expected: dict[int, int]) -> None:
    assert ids(match(equal("gone", *olds), equal("new", *news))) == expected


# Paths below the roots, each in a folder whose own name says the opposite; the pairs are those of the same place.
CROSSED = {
    "the same path": (["models/loras/x", "models/vae/x"], ["models/loras/x", "models/vae/x"]),
    "the same path, and one in another case": (["m/S/x", "m/s/x"], ["m/S/x", "m/s/x"]),
    "the same path in another case": (["models/Loras/X", "models/Vae/X"], ["models/loras/x", "models/vae/x"]),
    "the same name and path in another case": (["m/L/X", "m/L/y"], ["m/l/x", "m/l/Y"]),
}


@pytest.mark.parametrize(("olds", "news"), CROSSED.values(), ids=CROSSED)
def test_the_path_below_the_roots_decides_before_the_folders(olds: list[str], news: list[str]) -> None:
    before = [f._replace(folder=f"/one/{n}") for n, f in enumerate(equal("gone", *(f"/:{p}" for p in olds)))]
    after = [f._replace(folder=f"/two/{1 - n}") for n, f in enumerate(equal("new", *(f"/:{p}" for p in news)))]
    assert ids(match(before, after)) == ids(match(before, after[::-1])) == {0: 0, 1: 1}


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
    pairs = match(equal("gone", *(f"/o:{p}" for p in olds)), equal("new", *(f"/n:{p}" for p in news)))
    assert len(pairs) == min(len(olds), len(news))
    assert len({m.gone.id for m in pairs}) == len({m.new.id for m in pairs}) == len(pairs)


@settings(deadline=None)
@given(FILES, st.sampled_from(["/n", "/n/a", "/n/b/a", "/n/o", "/a/b"]), st.randoms())
def test_what_moves_as_a_whole_is_what_it_was(files: list[str], target: str, order: random.Random) -> None:
    """In a folder whose path below the root tells nothing: it has another there."""
    olds = [f._replace(logical="o") for f in equal("gone", *(f"/o:{p}" for p in files))]
    news = [f._replace(logical="n") for f in equal("new", *(f"{target}:{p}" for p in files))]
    order.shuffle(news)
    assert ids(match(olds, news)) == {f.id: f.id for f in olds}
