"""Paths of viewFile: the file that a request names, and links that leave the library on the way to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets import store_guard
from comfy_assets_node.comfy_assets.assets.media.view_path import ViewPath, find, parse
from comfy_assets_node.comfy_assets.assets.roots import Roots
from comfy_assets_node.comfy_assets.errors import FileMissingError, InvalidNameError
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from support.windows import symbolic_links


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A library in ``here``, whose temporary and excluded folders are links, and a drive beside it."""
    for name in ("output/a.png", "output/2026/a.png", "output/private/a.png", "input/a.png", "user/a.png", "a.png"):
        write(tmp_path / "here" / name)
    for name in ("a.png", "deep/a.png", "hidden/a.png", "hidden/deep/a.png", "temp/a.png"):
        write(tmp_path / "drive" / name)
    return tmp_path


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@pytest.fixture
def roots(base: Path) -> Roots:
    here = base / "here"
    folders = (LibraryFolder("output", here / "output"), LibraryFolder("input", here / "input"))
    return Roots(HostFolders(folders, (here / "user", here / "output/private", here / "hidden"), here / "temp"))


PARSED = [  # type, subfolder, file name, the root, and the path below it
    ("output", "", "a.png", "output", "a.png"),
    ("input", "x/y", "a.png", "input", "x/y/a.png"),
    ("input", "x/", "y/a.png", "input", "x/y/a.png"),
    ("output", "x", "a.png [input]", "input", "x/a.png"),
    ("output", "", "a.png [temp]", "temp", "a.png"),
]


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize(("kind", "subfolder", "name", "root", "below"), PARSED)
def test_the_file_that_a_request_names(
    roots: Roots, base: Path, kind: str, subfolder: str, name: str, root: str, below: str, windows: bool
) -> None:
    wanted = parse(roots, kind, subfolder, name, windows=windows)  # type: ignore[arg-type]
    assert (wanted.base, wanted.path) == (base / "here" / root, base / "here" / root / below)
    assert wanted.folder == wanted.path.parent and wanted.name == "a.png"


@pytest.mark.parametrize(
    ("subfolder", "name", "windows", "field"),
    [
        ("..", "a.png", False, "subfolder"),
        ("x\\..\\y", "a.png", False, "subfolder"),
        ("C:\\y", "a.png", False, "subfolder"),
        ("..\\y", "a.png", True, "subfolder"),
        ("x.", "a.png", True, "subfolder"),
        ("", "../a.png", False, "filename"),
        ("", "x\\a.png", True, "filename"),
        ("", "a.png.", True, "filename"),
    ],
)
def test_names_that_are_refused(roots: Roots, subfolder: str, name: str, windows: bool, field: str) -> None:
    with pytest.raises(InvalidNameError) as refused:
        parse(roots, "output", subfolder, name, windows=windows)
    assert refused.value.details == {"field": field}


STORED = ["a:b.png", "c:drive.png", "AUX.png", "con.png", "con .png", "nul.txt.png", "lpt1.foo.png", "back\\slash.png"]
STORED += ["new\nline.png", "tab\there.png", "bell\x07.png", "del\x7f.png", "<tag>.png", "dots...", "e: "]


@pytest.mark.parametrize("name", STORED)
def test_names_that_other_programs_have_given(roots: Roots, base: Path, name: str) -> None:
    """Linux and macOS can store them, whatever Windows thinks of them."""
    assert parse(roots, "output", "", name, windows=False).path == base / "here/output" / name
    assert parse(roots, "output", name, "a.png", windows=False).path == base / "here/output" / name / "a.png"
    with pytest.raises(InvalidNameError):
        parse(roots, "output", "", name, windows=True)


def test_names_that_windows_alone_refuses(roots: Roots, base: Path) -> None:
    assert parse(roots, "output", "x.", "a.png.", windows=False).path == base / "here/output/x./a.png."
    assert parse(roots, "output", "x\\y", "a.png", windows=True).path == base / "here/output/x/y/a.png"


def test_a_type_without_a_folder(base: Path) -> None:
    with pytest.raises(FileMissingError):
        parse(Roots(HostFolders((LibraryFolder("output", base),))), "temp", "", "a.png")


LINKS = {
    "here/output/file.png": "drive/a.png",
    "here/output/near.png": "here/input/a.png",
    "here/output/user.png": "here/user/a.png",
    "here/output/passing.png": "drive/temp/a.png",
    "here/output/private.png": "here/output/private/a.png",
    "here/output/gone.png": "drive/nothing.png",
    "here/output/near": "here/input",
    "here/output/drive": "drive",
    "here/output/base": "here",
    "here/output/out": "drive/hidden",
    "here/hidden": "drive/hidden",
    "here/temp": "drive/temp",
    "drive/back.png": "here/output/a.png",
    "drive/on.png": "drive/deep/a.png",
}
FOUND = {  # whether the way to a file leaves the library by a link; None if the file is not to be found
    "a.png": False,
    "2026/a.png": False,
    "none.png": None,
    "2026": None,
    "a.png/a.png": None,
    "private/a.png": None,
    "file.png": None,
    "near.png": False,
    "user.png": None,
    "private.png": None,
    "passing.png": False,
    "gone.png": None,
    "near/a.png": False,
    "drive/a.png": True,
    "drive/deep/a.png": True,
    "drive/back.png": True,
    "drive/on.png": None,
    "drive/hidden/a.png": None,
    "drive/temp/a.png": False,
    "base/a.png": True,
    "base/user/a.png": None,
    "base/output/a.png": False,
    "out/a.png": None,
    "out/deep/a.png": None,
}


@pytest.fixture
def linked(base: Path) -> Path:
    for link, target in LINKS.items():
        (base / link).symlink_to(base / target, target_is_directory=(base / target).is_dir())
    return base


FOLLOWED = {**FOUND, "file.png": True, "drive/on.png": True}  # if files that are links out may be followed


def is_beyond(roots: Roots, kind: str, path: str, *, follow_file: bool = False) -> bool | None:
    """Whether the file is found beyond a link; None if it is not found."""
    folder, _, name = path.rpartition("/")
    try:
        found = find(roots, parse(roots, kind, folder, name), follow_file=follow_file)  # type: ignore[arg-type]
    except FileMissingError:
        return None
    assert found.stat[0] == 1
    return found.is_beyond_link


@symbolic_links
@pytest.mark.parametrize(("path", "expected"), FOUND.items())
def test_links_on_the_way_to_a_file(roots: Roots, linked: Path, path: str, expected: bool | None) -> None:
    assert is_beyond(roots, "output", path) is expected


@symbolic_links
def test_links_that_are_files(roots: Roots, linked: Path) -> None:
    assert {path: is_beyond(roots, "output", path, follow_file=True) for path in FOUND} == FOLLOWED


@symbolic_links
def test_roots_that_are_links(roots: Roots, linked: Path) -> None:
    assert is_beyond(roots, "temp", "a.png") is False
    (linked / "here/output").rename(linked / "moved")
    (linked / "here/output").symlink_to(linked / "moved", target_is_directory=True)
    expected = {**FOUND, "private.png": None}
    assert {path: is_beyond(roots, "output", path) for path in FOUND} == expected


@pytest.fixture
def protected(base: Path) -> Iterator[Path]:
    store_guard.protect(base / "here/output/2026")
    yield base
    store_guard.release(base / "here/output/2026")


def test_files_of_the_store_are_not_shown(roots: Roots, protected: Path) -> None:
    assert (is_beyond(roots, "output", "a.png"), is_beyond(roots, "output", "2026/a.png")) == (False, None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has pipes in folders")
def test_a_pipe_is_not_read(roots: Roots, base: Path) -> None:
    os.mkfifo(base / "here/output/pipe.png")
    assert is_beyond(roots, "output", "pipe.png") is None


@pytest.mark.parametrize("place", ["", "user", "output/private", "../drive"])
def test_a_folder_outside_the_library(roots: Roots, base: Path, place: str) -> None:
    folder = Path(os.path.normpath(base / "here" / place))
    with pytest.raises(FileMissingError):
        find(roots, ViewPath(folder, folder, "a.png"))


def test_a_name_that_no_system_can_look_up(roots: Roots, base: Path) -> None:
    output = base / "here/output"
    with pytest.raises(FileMissingError):
        find(roots, ViewPath(output, output, "a\0.png"))
