"""A user's own files on the standalone host: names, links, lists, and replacement, without a server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import store_guard
from comfy_assets_node.comfy_assets.fs.atomic import temp_name
from comfy_assets_node.comfy_assets.host.standalone.userdata import FileRefused, UserFiles
from support.windows import symbolic_links

FILES = ("a.json", "B.txt", "sub/c.json", "sub/deep/d.json", ".hidden", ".folder/e.json")


@pytest.fixture
def files(tmp_path: Path) -> UserFiles:
    """The files of one user, beside those of another."""
    for name in (*(f"user/{each}" for each in FILES), "other/secret.json", "user2/secret.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "user" / "empty").mkdir()
    return UserFiles(tmp_path / "user", threading.Lock())


LINKS = frozenset({"out", "like", "out.json", "in", "in.json", "sub/new.json"})
HAS_LINKS = os.name != "nt"  # where tests may make symbolic links


@pytest.fixture
def linked(files: UserFiles) -> UserFiles:
    """The files with links among them, where there are such."""
    if not HAS_LINKS:
        return files
    base = files.root.parent
    (files.root / "out").symlink_to(base / "other", target_is_directory=True)
    (files.root / "like").symlink_to(base / "user2", target_is_directory=True)
    (files.root / "out.json").symlink_to(base / "other/secret.json")
    (files.root / "in").symlink_to(files.root / "sub", target_is_directory=True)
    (files.root / "in.json").symlink_to(files.root / "a.json")
    (files.root / "sub/new.json").symlink_to(base / "other/new.json")
    return files


def status(work: Callable[[], Any]) -> int:
    """The status of a refusal; 200 without one."""
    try:
        work()
    except FileRefused as refused:
        assert refused.text
        return refused.status
    return 200


def content(base: Path) -> dict[str, bytes]:
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}


REFUSED = {
    "..": 403, "../other/secret.json": 403, "../user2/secret.json": 403, "sub/../../x": 403, "/etc/passwd": 403,
    "C:/x": 403, "out/secret.json": 403, "out/new.json": 403, "like/secret.json": 403, "out.json": 403,
    "sub/new.json": 403, "a\\b": 400, "a//b": 400, "": 400, "nul": 400, "x\0": 400, "../x\0": 400,
}  # fmt: skip


def begins_with_a_link(name: str) -> bool:
    return name in LINKS or name.partition("/")[0] in LINKS


@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param(*each, marks=[symbolic_links] if begins_with_a_link(each[0]) else []) for each in REFUSED.items()],
)
def test_names_that_are_refused_everywhere(linked: UserFiles, name: str, expected: int) -> None:
    before = content(linked.root.parent)
    assert status(lambda: linked.path(name)) == expected
    assert status(lambda: linked.existing(name)) == expected
    assert status(lambda: linked.store(name, b"x", overwrite=True)) == expected
    assert status(lambda: linked.move(name, "new.json", overwrite=True)) == expected
    assert status(lambda: linked.move("a.json", name, overwrite=True)) == expected
    assert status(lambda: linked.delete(name)) == expected
    if name not in ("", "out.json", "sub/new.json"):
        assert status(lambda: linked.files_in(name, deep=True)) == expected
        assert status(lambda: linked.entries_in(name)) == expected
    assert content(linked.root.parent) == before


@symbolic_links
def test_links_within_the_folder_of_the_user(linked: UserFiles) -> None:
    assert linked.existing("in/c.json").read_bytes() == b"user/sub/c.json"
    linked.store("in/new2.json", b"1", overwrite=False)
    assert (linked.root / "sub/new2.json").read_bytes() == b"1"
    link = linked.root.parent / "link"
    link.symlink_to(linked.root, target_is_directory=True)
    of_link = UserFiles(link, threading.Lock())
    assert of_link.existing("a.json").read_bytes() == b"user/a.json"
    assert status(lambda: of_link.existing("out/secret.json")) == 403


def test_files_of_the_store_are_out_of_reach(files: UserFiles) -> None:
    store_guard.protect(files.root / "sub")
    try:
        assert [status(lambda n=name: files.existing(n)) for name in ("a.json", "sub/c.json")] == [200, 403]
    finally:
        store_guard.release(files.root / "sub")


@pytest.mark.parametrize(
    ("folder", "deep", "expected"),
    [
        (".", False, ["B.txt", "a.json", "in.json"]),
        ("/", False, 403),
        ("./", False, ["B.txt", "a.json", "in.json"]),
        (".", True, ["B.txt", "a.json", "in.json", "sub/c.json", "sub/deep/d.json"]),
        ("sub/", True, ["c.json", "deep/d.json"]),
        ("sub//", False, ["c.json"]),
        ("sub", False, ["c.json"]),
        ("empty", True, []),
        ("a.json", False, 404),
        ("none", False, 404),
        ("..", False, 403),
    ],
)
def test_lists_of_files(linked: UserFiles, folder: str, deep: bool, expected: Any) -> None:
    (linked.root / temp_name("key")).write_bytes(b"being written")
    if isinstance(expected, int):
        assert status(lambda: linked.files_in(folder, deep=deep)) == expected
        return
    names = [name for name in expected if HAS_LINKS or name not in LINKS]
    found = linked.files_in(folder, deep=deep)
    assert [name for name, _ in found] == names
    base = linked.root if folder.startswith(".") else linked.root / folder
    assert [path for _, path in found] == [base / name for name in names]


def test_the_list_of_everything(linked: UserFiles) -> None:
    (linked.root / temp_name("key")).write_bytes(b"being written")
    shown = [(each["type"], each["path"]) for each in linked.entries_in("")]
    folders = [".folder", "deep", "empty", *(["in"] if HAS_LINKS else []), "sub"]
    names = [".hidden", "a.json", "B.txt", "c.json", "d.json", "e.json", *(["in.json"] if HAS_LINKS else [])]
    assert [Path(path).name for kind, path in shown if kind == "directory"] == folders
    assert [Path(path).name for kind, path in shown if kind == "file"] == names
    assert [kind for kind, _ in shown] == ["directory"] * len(folders) + ["file"] * len(names)
    (deep, only) = linked.entries_in("sub")[:2]
    assert (deep["path"], only["path"], only["name"], only["size"]) == ("sub/deep", "sub/c.json", "c.json", 15)
    assert only["modified"] == (linked.root / "sub/c.json").stat().st_mtime
    assert [status(lambda f=folder: linked.entries_in(f)) for folder in ("none", "a.json", "..")] == [404, 400, 403]


def test_a_user_without_a_folder(tmp_path: Path) -> None:
    nobody = UserFiles(tmp_path / "nobody", threading.Lock())
    assert nobody.entries_in("") == nobody.entries_in(".") == []
    assert [status(lambda: nobody.entries_in("sub")), status(lambda: nobody.files_in(".", deep=False))] == [404, 404]
    assert nobody.store("deep/a.json", b"1", overwrite=False).read_bytes() == b"1"


def test_the_description_of_a_file(files: UserFiles) -> None:
    path = files.root / "sub/c.json"
    os.utime(path, ns=(1, 1_600_000_000_123_000_000))
    told = files.describe(path, files.root)
    assert told == {
        "path": "sub/c.json", "size": 15, "modified": 1_600_000_000_123, "created": int(path.stat().st_ctime * 1000),
    }  # fmt: skip


WRITES: dict[str, tuple[Callable[[UserFiles], Any], int]] = {
    "over a file": (lambda files: files.store("a.json", b"x", overwrite=False), 409),
    "over a folder": (lambda files: files.store("sub", b"x", overwrite=True), 400),
    "over a folder that is to be kept": (lambda files: files.store("sub", b"x", overwrite=False), 409),
    "below a file": (lambda files: files.store("a.json/b", b"x", overwrite=True), 400),
    "move over a file": (lambda files: files.move("B.txt", "a.json", overwrite=False), 409),
    "move over a folder": (lambda files: files.move("B.txt", "sub", overwrite=True), 400),
    "move below a file": (lambda files: files.move("B.txt", "a.json/b", overwrite=True), 400),
    "move of nothing": (lambda files: files.move("none", "b", overwrite=True), 404),
    "move of a folder": (lambda files: files.move("sub", "b", overwrite=True), 404),
    "removal of nothing": (lambda files: files.delete("none"), 404),
    "removal of a folder": (lambda files: files.delete("sub"), 404),
}


@pytest.mark.parametrize(("write", "expected"), WRITES.values(), ids=WRITES)
def test_writes_that_are_refused_change_nothing(
    files: UserFiles, write: Callable[[UserFiles], Any], expected: int
) -> None:
    before = content(files.root)
    assert status(lambda: write(files)) == expected
    assert content(files.root) == before


def test_writes_that_replace(files: UserFiles) -> None:
    before = content(files.root)
    assert files.store("a.json", b"new", overwrite=True) == files.root / "a.json"
    assert files.move("a.json", "B.txt", overwrite=True) == files.root / "B.txt"
    assert files.move("sub/c.json", "x/y/z.json", overwrite=False) == files.root / "x/y/z.json"
    files.delete(".hidden")
    kept = {name: before[name] for name in before if name not in ("a.json", "sub/c.json", ".hidden")}
    assert content(files.root) == {**kept, "B.txt": b"new", "x/y/z.json": b"user/sub/c.json"}
