"""``comfy-assets duplicates``: the listed groups, copies and links."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.maintenance import duplicates
from comfy_assets_node.comfy_assets.assets.maintenance.duplicates import FileOnDisk
from support.windows import symbolic_links

BIG = b"b" * 5000


def hard_link(base: Any, name: str, target: str) -> None:
    os.link(base.path / target, base.path / name)


def two_copies(base: Any) -> None:
    base.write("output/new.bin", BIG, days_old=1)
    base.write("models/loras/old.bin", BIG, days_old=2)
    base.write("input/other.bin", b"something else")


def of_one_age(base: Any) -> None:
    for name in ("output/b.bin", "output/a.bin", "input/c.bin"):
        base.write(name, BIG)


def nothing_equal(base: Any) -> None:
    base.write("output/a.bin", b"a" * 100)
    base.write("output/b.bin", b"b" * 100)


def empty_files(base: Any) -> None:
    base.write("output/a.bin", b"")
    base.write("output/b.bin", b"")


def linked_already(base: Any) -> None:
    base.write("output/a.bin", BIG)
    hard_link(base, "input/b.bin", "output/a.bin")


def linked_and_a_copy(base: Any) -> None:
    base.write("output/a.bin", BIG, days_old=1)
    hard_link(base, "input/b.bin", "output/a.bin")
    base.write("output/older.bin", BIG, days_old=2)


def with_a_name_elsewhere(base: Any) -> None:
    """A copy with a name outside the library is kept although it is younger, because linking it frees nothing."""
    base.write("output/old.bin", BIG, days_old=2)
    base.write("elsewhere/cache.bin", BIG, days_old=1)
    hard_link(base, "models/loras/new.bin", "elsewhere/cache.bin")


def both_with_names_elsewhere(base: Any) -> None:
    for name in ("a", "b"):
        base.write(f"elsewhere/{name}.bin", BIG)
        hard_link(base, f"output/{name}.bin", f"elsewhere/{name}.bin")


def symbolic_link(base: Any) -> None:
    base.write("output/a.bin", BIG)
    (base.path / "input" / "b.bin").symlink_to(base.path / "output" / "a.bin")


def symbolic_link_and_a_copy(base: Any) -> None:
    symbolic_link(base)
    base.write("output/older.bin", BIG, days_old=2)


def symbolic_link_out_of_the_library(base: Any) -> None:
    base.write("elsewhere/a.bin", BIG, days_old=1)
    (base.path / "input" / "a.bin").symlink_to(base.path / "elsewhere" / "a.bin")
    base.write("output/older.bin", BIG, days_old=2)


def several_groups(base: Any) -> None:
    for name in ("output/s1", "output/s2", "output/s3", "output/s4"):
        base.write(name, b"s" * 1000)
    for name in ("output/m1", "output/m2"):
        base.write(name, b"m" * 4000)
    for name in ("output/t1", "output/t2"):
        base.write(name, b"t" * 3000)


# Each group: the names of the copies, the one to keep first, and the bytes that links would free.
LAYOUTS: list[tuple[Callable[[Any], None], list[tuple[list[list[str]], int]]]] = [
    (two_copies, [([["models/loras/old.bin"], ["output/new.bin"]], 5000)]),
    (of_one_age, [([["input/c.bin"], ["output/a.bin"], ["output/b.bin"]], 10_000)]),
    (nothing_equal, []),
    (empty_files, []),
    (linked_already, []),
    (linked_and_a_copy, [([["output/older.bin"], ["input/b.bin", "output/a.bin"]], 5000)]),
    (with_a_name_elsewhere, [([["models/loras/new.bin"], ["output/old.bin"]], 5000)]),
    (both_with_names_elsewhere, [([["output/a.bin"], ["output/b.bin"]], 0)]),
    (symbolic_link, []),
    (symbolic_link_and_a_copy, [([["output/older.bin"], ["output/a.bin", "input/b.bin"]], 5000)]),
    (symbolic_link_out_of_the_library, [([["input/a.bin"], ["output/older.bin"]], 5000)]),
    (
        several_groups,
        [
            ([["output/m1"], ["output/m2"]], 4000),
            ([["output/t1"], ["output/t2"]], 3000),
            ([["output/s1"], ["output/s2"], ["output/s3"], ["output/s4"]], 3000),
        ],
    ),
]


WITH_LINKS = (symbolic_link, symbolic_link_and_a_copy, symbolic_link_out_of_the_library)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(*layout, id=layout[0].__name__, marks=[symbolic_links] if layout[0] in WITH_LINKS else [])
        for layout in LAYOUTS
    ],
)
def test_groups(base: Any, make: Callable[[Any], None], expected: list[tuple[list[list[str]], int]]) -> None:
    make(base)
    base.scanned()
    before = base.everything()
    ran = base.run("duplicates", "--json")
    assert (ran.status, ran.err) == (0, "")
    groups = [
        ([[base.relative(path) for path in copy["paths"]] for copy in group["copies"]], group["reclaimable"])
        for group in ran.json["groups"]
    ]
    assert groups == expected
    assert ran.json["reclaimable"] == sum(freed for _, freed in expected)
    assert base.everything() == before


def test_json_members(base: Any) -> None:
    two_copies(base)
    answer = base.scanned().run("duplicates", "--json").json
    row = base.row("output/new.bin")
    modified = {copy["paths"][0]: copy.pop("modified") for group in answer["groups"] for copy in group["copies"]}
    assert all(len(text) == len("2026-01-01T00:00:00Z") and text.endswith("Z") for text in modified.values())
    assert answer == {
        "groups": [
            {
                "hash": f"blake3:{row.hash.hex()}",
                "size": 5000,
                "reclaimable": 5000,
                "copies": [
                    {"paths": [str(base.path / "models/loras/old.bin")], "keep": True},
                    {"paths": [str(base.path / "output/new.bin")], "keep": False},
                ],
            }
        ],
        "surplus_copies": 1,
        "reclaimable": 5000,
        "unread": 0,
        "outdated": 0,
    }


def test_table(base: Any) -> None:
    linked_and_a_copy(base)
    lines = base.scanned().run("duplicates").out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["5", "kB", "2", "copies", "of", "5", "kB"],
        ["keep", str(base.path / "output/older.bin")],
        ["copy", str(base.path / "input/b.bin")],
        ["same", str(base.path / "output/a.bin")],
    ]
    assert lines[4:] == ["5 kB can be freed by linking 1 copy in 1 group"]


def test_copies_on_different_volumes_are_listed_but_free_nothing(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/loras/a.bin", "models/loras/b.bin", "output/c.bin", "output/d.bin"):
        base.write(name, BIG)
    real = duplicates._examine

    def see(file: Any) -> FileOnDisk | None:
        seen = real(file)
        assert seen is not None
        return FileOnDisk(seen.file, int("loras" in file.folder), seen.inode, seen.names, seen.is_symlink)

    monkeypatch.setattr(duplicates, "_examine", see)
    [group] = base.scanned().run("duplicates", "--json").json["groups"]
    assert group["reclaimable"] == 10_000
    kept = [base.relative(copy["paths"][0]) for copy in group["copies"] if copy["keep"]]
    assert kept == ["models/loras/a.bin", "output/c.bin"]


def appended(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


@pytest.mark.parametrize("change", [appended, os.utime, os.unlink], ids=["written", "touched", "removed"])
def test_what_changed_since_the_scan_is_left_out(base: Any, change: Callable[[Path], None]) -> None:
    two_copies(base)
    base.scanned()
    change(base.path / "output/new.bin")
    ran = base.run("duplicates", "--json")
    assert (ran.json["groups"], ran.json["outdated"]) == ([], 1)
    assert "1 changed or removed" in base.run("duplicates").out


def test_what_was_not_read_yet_is_told(base: Any) -> None:
    two_copies(base)
    base.run("scan", "--no-hash")
    assert base.run("duplicates", "--json").json["unread"] == 3
    assert "3 files not hashed yet" in base.run("duplicates").out


def test_deleted_assets_count_where_their_files_stay(base: Any) -> None:
    """The list describes the disk: deleting an asset's record frees nothing."""
    two_copies(base)
    base.scanned()
    base.query("UPDATE tag_sets SET hidden = 1")
    assert base.run("duplicates", "--json").json["reclaimable"] == 5000


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("duplicates",), 1, "has no library yet"),
        (("duplicates", "--link", "--yes"), 1, "has no library yet"),
        (("duplicates", "--undo", "absent.jsonl", "--yes"), 1, "absent.jsonl"),
        (("verify",), 1, "has no library yet"),
        (("trash", "list"), 1, "has no library yet"),
        (("trash", "restore", "x"), 1, "has no library yet"),
        (("trash", "empty", "--yes"), 1, "has no library yet"),
        (("status",), 1, "has no library yet"),
    ],
)
def test_without_a_library(base: Any, arguments: tuple[str, ...], status: int, says: str) -> None:
    ran = base.run(*arguments)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err
    assert not base.store.exists()


def test_link_and_undo_exclude_each_other(base: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        base.run("duplicates", "--link", "--undo", "log")
    assert ended.value.code == 2
