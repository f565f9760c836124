"""Output files in the results of nodes, and their location on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.prompts.outputs import OutputFile, OutputFolders, shown_files
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from support.windows import symbolic_links


def shown(name: Any = "a.png", subfolder: Any = "", kind: Any = "output", **more: Any) -> dict[str, Any]:
    """A file in the results of a node."""
    return {"filename": name, "subfolder": subfolder, "type": kind, **more}


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ({"9": {"images": [shown("a.png"), shown("b.png")]}, "3": {"images": [shown("c.png")]}}, "abc"),
        ({"9": {"images": [shown("a.png")], "animated": (True,)}}, "a"),
        ({"9": {"gifs": [shown("a.mp4", frame_rate=8.0, fullpath="/x/a.mp4")]}}, "a"),
        ({"9": {"audio": (shown("a.flac"),), "3d": [shown("b.glb")], "text": ["hello"], "own": [shown("c")]}}, "abc"),
        ({"9": {"images": [{"filename": "a.png", "type": "output"}]}}, "a"),
        ({"9": {"images": [shown("a.png", None)]}}, "a"),
        ({"9": {"images": [shown("a.png"), shown("a.png")]}, "8": {"images": [shown("a.png")]}}, "a"),
        ({"9": {"images": [shown("a.png", kind="input"), shown("b.png", kind="temp")]}}, "a"),
        ({"9": {"images": [shown(kind="elsewhere"), shown(kind=None), shown(kind=["output"]), shown(kind={})]}}, ""),
        ({"9": {"images": [shown(""), shown(None), shown(5), shown("a", 5), shown("a", ["x"])]}}, ""),
        ({"9": {"images": None, "text": "a", "result": ["a.glb", None, {}]}}, "a"),
        ({"9": {"3d": ["a.ply"], "text": ("b.txt [output]", "c.png\n", "a cat", "v1.0", "x" * 5000 + ".png")}}, "ab"),
        ({"9": None, "8": [shown()], "7": "a", "6": {}}, ""),
        ({}, ""),
    ],
)
def test_the_files_that_nodes_have_shown(outputs: Any, names: str) -> None:
    assert "".join(dict.fromkeys(each.file.name[0] for each in shown_files(outputs))) == names


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base directory with a file in several places."""
    for name in ("output/a.png", "output/sub/a.png", "output/.hidden/a.png", "output/a.png.part", "outside.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "input").mkdir()
    (tmp_path / "input/b.png").write_bytes(b"x")
    (tmp_path / "output/taken").mkdir()
    return tmp_path


def folders(base: Path) -> OutputFolders:
    """The folders of a server."""
    return OutputFolders(
        HostFolders(
            (LibraryFolder("input", base / "input"), LibraryFolder("output", base / "output")), (base / "output/taken",)
        )
    )


@pytest.mark.parametrize(
    ("file", "found"),
    [
        (OutputFile("output", "", "a.png"), "output/a.png"),
        (OutputFile("output", "sub", "a.png"), "output/sub/a.png"),
        (OutputFile("output", "sub/", "a.png"), "output/sub/a.png"),
        (OutputFile("output", "./sub/../sub", "a.png"), "output/sub/a.png"),
        (OutputFile("output", "", "sub/a.png"), "output/sub/a.png"),
        (OutputFile("input", "", "b.png"), "input/b.png"),
        (OutputFile("input", "", "a.png"), None),
        (OutputFile("output", "", "gone.png"), None),
        (OutputFile("output", "", "sub"), None),
        (OutputFile("output", "", "."), None),
        (OutputFile("output", ".hidden", "a.png"), None),
        (OutputFile("output", "", "a.png.part"), None),
        (OutputFile("output", "", "../outside.png"), None),
        (OutputFile("output", "..", "outside.png"), None),
        (OutputFile("output", "../input", "b.png"), None),
        (OutputFile("output", "", "a\0.png"), None),
        (OutputFile("output", "s\0", "a.png"), None),
        (OutputFile("output", "", "\ud800.png"), None),
        (OutputFile("output", "", "n" * 5000), None),
    ],
)
def test_where_a_file_is_found(base: Path, file: OutputFile, found: str | None) -> None:
    located = folders(base).locate(file)
    assert (None if located is None else Path(located.folder, located.name)) == (found and base / found)


def test_an_absolute_path_is_good_if_it_leads_into_the_folder(base: Path) -> None:
    located = folders(base).locate(OutputFile("output", str(base / "output" / "sub"), "a.png"))
    assert located is not None
    assert located.place.logical == "output/sub"
    assert folders(base).locate(OutputFile("output", str(base), "outside.png")) is None


def test_what_is_kept_out_of_the_library_is_not_taken(base: Path) -> None:
    (base / "output/taken/a.png").write_bytes(b"x")
    assert folders(base).locate(OutputFile("output", "taken", "a.png")) is None


@symbolic_links
def test_a_link_inside_the_folder_is_followed_to_where_scans_list_the_file(base: Path) -> None:
    (base / "output/link").symlink_to(base / "output/sub", target_is_directory=True)
    located = folders(base).locate(OutputFile("output", "link", "a.png"))
    assert located is not None
    assert located.folder == str(base / "output" / "sub")
    (base / "output/in").symlink_to(base / "input", target_is_directory=True)
    located = folders(base).locate(OutputFile("output", "in", "b.png"))
    assert located is not None
    assert (located.folder, located.place.kind) == (str(base / "input"), "input")
    (base / "elsewhere").mkdir()
    (base / "elsewhere/a.png").write_bytes(b"x")
    (base / "output/out").symlink_to(base / "elsewhere", target_is_directory=True)
    located = folders(base).locate(OutputFile("output", "out", "a.png"))
    assert located is not None
    assert located.folder == str(base / "output" / "out")
