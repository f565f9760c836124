"""``comfy-assets assets``: lists, searches and tags."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

FILES = {
    "output/2026/red fox.png": 300,
    "output/blue bird.png": 200,
    "input/photo.png": 100,
    "models/loras/style.safetensors": 400,
}


@pytest.fixture
def files(base: Any) -> Any:
    for day, (name, size) in enumerate(FILES.items(), 1):
        base.write(name, os.urandom(size), days_old=day)
    return base.scanned()


def names(base: Any, *arguments: str) -> list[str]:
    """Return the files that a command lists as JSON, by their paths in the library."""
    ran = base.run("assets", *arguments, "--json")
    assert ran.status == 0, ran.err
    return [asset["file_path"] for asset in ran.json]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("list", "--sort", "size"), ["models/loras/style.safetensors", *list(FILES)[:3]]),
        (("list", "--sort", "size", "--limit", "2"), ["models/loras/style.safetensors", "output/2026/red fox.png"]),
        (("list", "--kind", "output", "--sort", "name"), ["output/blue bird.png", "output/2026/red fox.png"]),
        (("list", "--folder", "output/2026"), ["output/2026/red fox.png"]),
        (("list", "--missing"), []),
        (("list", "--tag", "nothing"), []),
        (("search", "fox"), ["output/2026/red fox.png"]),
        (("search", "red", "fo"), ["output/2026/red fox.png"]),
        (("search", "png -bird", "--kind", "output"), ["output/2026/red fox.png"]),
        (("search", "type:model"), ["models/loras/style.safetensors"]),
    ],
)
def test_lists(files: Any, arguments: tuple[str, ...], found: list[str]) -> None:
    assert names(files, *arguments) == found


def test_table(files: Any) -> None:
    ran = files.run("assets", "list", "--sort", "size")
    head, *lines, end = ran.out.splitlines()
    assert head.split() == ["CREATED", "SIZE", "ID", "FILE"]
    assert [line.rpartition("  ")[2] for line in lines] == ["models/loras/style.safetensors", *list(FILES)[:3]]
    assert end == "4 assets, 4 shown"
    assert " 400 B  " in lines[0]


def test_more_than_one_page(base: Any) -> None:
    for number in range(503):
        base.write(f"input/{number:03}.txt", b"%d" % number)
    base.run("scan", "--no-hash")
    assert names(base, "list", "--sort", "name", "--limit", "502") == [f"input/{n:03}.txt" for n in range(502)]


def test_tags(files: Any) -> None:
    listed = files.run("assets", "list", "--kind", "output", "--json").json
    ids = [asset["id"] for asset in listed]
    ran = files.run("assets", "tag", *ids, "--add", "best", "--add", "draft")
    assert (ran.status, len(ran.out.splitlines())) == (0, 2)
    assert sorted(names(files, "list", "--tag", "best", "--tag", "draft")) == sorted(list(FILES)[:2])
    ran = files.run("assets", "tag", ids[0], "unknown", "--add", "final", "--remove", "draft")
    assert (ran.status, ran.err) == (3, "unknown: There is no such asset.\n")
    assert ran.out.startswith(f"{ids[0]}  ") and ran.out.endswith("best, final\n")
    assert names(files, "list", "--tag", "draft") == [listed[1]["file_path"]]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--add", "output"), 1, "follow from the file's location"),
        (("--remove", "output"), 1, "follow from the file's location"),
        (("--add", "a,b"), 1, "must not contain a comma"),
        ((), 2, "--add, --remove or both are required"),
    ],
)
def test_tags_that_are_refused(
    files: Any, arguments: tuple[str, ...], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (asset, *_) = files.run("assets", "list", "--kind", "output", "--json").json
    if status == 2:
        with pytest.raises(SystemExit) as ended:
            files.run("assets", "tag", asset["id"], *arguments)
        assert ended.value.code == 2 and says in capsys.readouterr().err
        return
    ran = files.run("assets", "tag", asset["id"], *arguments)
    assert ran.status == status and says in ran.err
    assert files.run("assets", "list", "--kind", "output", "--json").json[0]["tags"] == asset["tags"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("search", "rating:many"), "rating:"),
        (("search", "..."), "no letter, digit or emoji"),
        (("list", "--folder", "elsewhere"), "--folder"),
    ],
)
def test_searches_that_are_refused(files: Any, arguments: tuple[str, ...], says: str) -> None:
    ran = files.run("assets", *arguments)
    assert (ran.status, ran.out) == (1, "") and says in ran.err


SAVED = {
    "Pictures": {"kind": ["image"], "missing": "exclude", "sort": "size", "order": "asc"},
    "A folder": {"folder": "output/2026"},
    "Models": {"tags_all": ["models"], "q": "style"},
}


@pytest.fixture
def saved(files: Any) -> Any:
    """The files, and searches that two users have saved."""
    statement = (
        "INSERT INTO saved_searches (uuid, owner, name, name_key, query, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, 1, 1)"
    )
    for number, (name, query) in enumerate(SAVED.items()):
        files.query(statement, f"id-{number}", "default", name, name.casefold(), json.dumps(query))
    files.query(statement, "id-9", "other", "Theirs", "theirs", "{}")
    return files


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("Pictures",), ["input/photo.png", "output/blue bird.png", "output/2026/red fox.png"]),
        (("pictures ", "--limit", "1"), ["input/photo.png"]),
        (("Pictures", "--sort", "size"), ["output/2026/red fox.png", "output/blue bird.png", "input/photo.png"]),
        (("Pictures", "--kind", "output"), ["output/blue bird.png", "output/2026/red fox.png"]),
        (("Pictures", "--missing"), []),
        (("Pictures", "bird"), ["output/blue bird.png"]),
        (("Pictures", "png -bird"), ["input/photo.png", "output/2026/red fox.png"]),
        (("A folder",), ["output/2026/red fox.png"]),
        (("A folder", "--folder", "input"), ["input/photo.png"]),
        (("Models",), ["models/loras/style.safetensors"]),
        (("Models", "nothing"), []),
        (("Theirs", "--user", "other", "--sort", "name", "--limit", "1"), ["output/blue bird.png"]),
    ],
)
def test_saved_searches(saved: Any, arguments: tuple[str, ...], found: list[str]) -> None:
    assert names(saved, "search", "--saved", *arguments) == found


@pytest.mark.parametrize("name", ["Theirs", "missing"])
def test_an_unknown_saved_search(saved: Any, name: str) -> None:
    ran = saved.run("assets", "search", "--saved", name)
    assert (ran.status, ran.out) == (1, "")
    assert f"no saved search named {name!r}; there are A folder, Models, Pictures" in ran.err
    ran = saved.run("assets", "search", "--saved", name, "--user", "nobody")
    assert ran.status == 1 and ran.err.rstrip().endswith(f"no saved search named {name!r}")


def test_a_search_for_nothing(files: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        files.run("assets", "search")
    assert ended.value.code == 2 and "WORD, --saved or both are required" in capsys.readouterr().err


def test_ambiguous_ids(files: Any) -> None:
    """Ids of files that one scan has found begin alike."""
    (asset, *_) = files.run("assets", "list", "--json").json
    ran = files.run("assets", "tag", asset["id"][:8], "--add", "best")
    assert ran.status == 1 and "is ambiguous: several assets have ids" in ran.err
    assert names(files, "list", "--tag", "best") == []


def test_kinds_in_the_status(files: Any) -> None:
    kinds = files.run("status", "--json").json["kinds"]
    assert kinds == {
        "input": {"files": 1, "bytes": 100},
        "models": {"files": 1, "bytes": 400},
        "output": {"files": 2, "bytes": 500},
    }
    lines = [line.split() for line in files.run("status").out.splitlines()]
    assert ["KIND", "FILES", "SIZE"] in lines and ["output", "2", "500", "B"] in lines
