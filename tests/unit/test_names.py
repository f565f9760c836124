"""Names from outside, and the names that saved pictures get."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.host.standalone.folders import BaseFolders
from comfy_assets_node.comfy_assets.host.standalone.saving import fill_placeholders, next_counter, save_place
from comfy_assets_node.comfy_assets.names import UnsafeName, folder_parts, relative_parts


@pytest.mark.parametrize(
    "name",
    ["a", "a/b.png", "a..b", "...x", "com10", "console", "nul-1", "a b", "猫", "x" * 255, "12:30"],
)
def test_accepted_names(name: str) -> None:
    assert "/".join(relative_parts(name, windows=False)) == name


@pytest.mark.parametrize(
    "name",
    ["a:b", "a?", "a*", "a|b", "<a", 'a"b', "a.", "a ", "a./b", "nul .txt", "Aux.tar.gz", "con/a", "COM¹"],
)
def test_names_that_windows_cannot_store(name: str) -> None:
    with pytest.raises(UnsafeName):
        relative_parts(name, windows=True)


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/", "./a", "a/.", "\udce4", "é" * 128, "a\x7f", "x/" * 600])
def test_refused_names(name: str) -> None:
    with pytest.raises(UnsafeName):
        relative_parts(name, windows=False)


def test_subfolders_may_be_empty_or_end_in_a_slash() -> None:
    assert [folder_parts(name) for name in ("", "a", "a/b/")] == [(), ("a",), ("a", "b")]


def test_annotated_names(tmp_path: Path) -> None:
    folders = BaseFolders(tmp_path)
    table = {
        "a.png": "input/a.png",
        "a.png [output]": "output/a.png",
        "sub/a.png [temp]": "temp/sub/a.png",
        "a.png[input]": "input/a.png",
        "a [b].png": "input/a [b].png",
    }
    for name, expected in table.items():
        assert folders.annotated(name) == tmp_path / expected
    for name in ("../a [output]", "[temp]", "/a [input]"):
        with pytest.raises(UnsafeName):
            folders.annotated(name)


def test_placeholders() -> None:
    now = time.struct_time((2025, 1, 2, 3, 4, 5, 0, 0, 0))
    text = "%year%%month%%day%-%hour%%minute%%second%_%width%x%height%_%other%_100%"
    assert fill_placeholders(text, 6, 7, now) == "20250102-030405_6x7_%other%_100%"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], 1),
        (["x_00001_.png"], 2),
        (
            [
                "x_00001_.png",
                "x_00012_.jpg",
                "y_00099_.png",
                "xx_00098_.png",
                "x_a_.png",
                "x_5",
                "x-00077_.png",
            ],
            13,
        ),
        (["x_00003.png"], 4),
        (["x_99999_.png"], 100000),
        (["x_" + "9" * 400 + "_.png"], 1),
    ],
)
def test_the_next_counter(names: list[str], expected: int) -> None:
    assert next_counter(names, "x") == expected


@pytest.mark.parametrize(
    ("prefix", "subfolder", "name"),
    [
        ("x", "", "x_00001_.png"),
        ("", "", "ComfyUI_00001_.png"),
        ("a//b/x", "a/b", "x_00001_.png"),
        ("./a/./x", "a", "x_00001_.png"),
        ("a/", "", "a_00001_.png"),
        ("n%batch_num%", "", "n0_00001_.png"),
        ("with space/é.ü", "with space", "é.ü_00001_.png"),
    ],
)
def test_save_places(tmp_path: Path, prefix: str, subfolder: str, name: str) -> None:
    place = save_place(tmp_path, prefix, 1, 1)
    assert (place.subfolder, place.name(0)) == (subfolder, name)
    assert place.folder == tmp_path / subfolder and place.folder.is_dir()
