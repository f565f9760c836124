"""``comfy-assets collections``."""

from __future__ import annotations

from typing import Any

import pytest

FILES = ("output/a.png", "output/b.png", "output/c.png", "input/a.png")


@pytest.fixture
def files(base: Any) -> Any:
    for day, name in enumerate(FILES, 1):
        base.write(name, name.encode(), days_old=day)
    return base.scanned()


def shown(base: Any, name: str, *arguments: str) -> list[str]:
    """Return the files of a collection in its order."""
    ran = base.run("collections", "show", name, "--json", *arguments)
    assert ran.status == 0, ran.err
    return [asset["file_path"] for asset in ran.json]


def test_the_life_of_a_collection(files: Any) -> None:
    ran = files.run("collections", "create", " Wall ", "output/c.png", "output/a.png", "--description", "to print")
    assert ran.status == 0 and ran.out.endswith("  Wall  (2 assets)\n")
    (made,) = files.run("collections", "list", "--json").json
    assert (made["name"], made["asset_count"], made["description"]) == ("Wall", 2, "to print")
    assert shown(files, "wall") == ["output/c.png", "output/a.png"]  # whatever its case
    ran = files.run("collections", "add", made["id"][:8], "b.png", "output/c.png")
    assert (ran.status, ran.out) == (0, "1 asset added, 1 already there; 3 assets in all\n")
    assert shown(files, "Wall") == ["output/c.png", "output/a.png", "output/b.png"]
    assert shown(files, "Wall", "--limit", "2") == ["output/c.png", "output/a.png"]
    ran = files.run("collections", "remove", "Wall", "output/a.png", "input/a.png")
    assert (ran.status, ran.out) == (0, "1 asset removed, 1 not there; 2 assets in all\n")
    ran = files.run("collections", "rename", "Wall", "Living room")
    assert ran.out == f"{made['id']}  Living room  (2 assets)\n"
    head, line, end = files.run("collections", "list").out.splitlines()
    assert head.split() == ["CHANGED", "ASSETS", "ID", "NAME"] and line.endswith(f" 2  {made['id']}  Living room")
    assert end == "1 collection"
    table = files.run("collections", "show", "Living room").out.splitlines()
    assert table[0].split() == ["CREATED", "SIZE", "ID", "FILE"] and table[-1] == "2 assets, 2 shown"
    ran = files.run("collections", "delete", "Living room", "none")
    assert (ran.status, ran.out) == (3, f"{made['id']}  Living room\n")
    assert ran.err == "none: There is no collection named none.\n"
    assert files.run("collections", "list", "--json").json == []
    (deleted,) = files.run("collections", "list", "--deleted", "--json").json
    assert (deleted["id"], deleted["name"]) == (made["id"], "Living room")
    assert files.run("collections", "list", "--deleted").out.endswith("1 deleted collection, kept for 30 days\n")
    files.run("collections", "create", "living ROOM")
    ran = files.run("collections", "restore", made["id"][:8])
    assert (ran.status, ran.out) == (0, f"{made['id']}  Living room (2)\n")
    assert shown(files, "Living room (2)") == ["output/c.png", "output/b.png"]


def test_more_than_one_page(base: Any) -> None:
    names = [f"input/{number:03}.txt" for number in range(502)]
    for name in names:
        base.write(name, name.encode())
    base.run("scan", "--no-hash")
    assert base.run("collections", "create", "All", *reversed(names)).status == 0
    assert shown(base, "All", "--limit", "502") == [*reversed(names)]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("create", " "), 1, "A name has 1 to 255 characters"),
        (("create", "WALL"), 1, "There is a collection of this name."),
        (("create", "New", "a.png"), 1, "a.png: Several assets are meant:"),
        (("create", "New", "output/a.png", "none.png"), 1, "none.png: There is no such asset."),
        (("show", "none"), 1, "There is no collection named none."),
        (("add", "Wall", "output/b.png", "none.png"), 1, "none.png: There is no such asset."),
        (("add", "Wall", "output/b.png", "--user", "bob"), 1, "There is no collection named Wall."),
        (("remove", "none", "output/b.png"), 1, "There is no collection named none."),
        (("rename", "Wall", ""), 1, "A name has 1 to 255 characters"),
        (("restore", "00000000-0000-7000-8000-000000000000"), 1, "There is no such collection."),
    ],
)
def test_what_is_refused_changes_nothing(files: Any, arguments: tuple[str, ...], status: int, says: str) -> None:
    files.run("collections", "create", "Wall", "output/c.png")
    before = files.run("collections", "list", "--json").json
    ran = files.run("collections", *arguments)
    assert (ran.status, ran.out) == (status, "") and says in ran.err
    assert files.run("collections", "list", "--json").json == before
    assert shown(files, "Wall") == ["output/c.png"]
