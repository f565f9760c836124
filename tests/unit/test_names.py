"""Untrusted names, and the names of saved images."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.host.standalone import nodes
from comfy_assets_node.comfy_assets.host.standalone.folders import BaseFolders
from comfy_assets_node.comfy_assets.host.standalone.nodes import fill_placeholders, next_counter, prepare_save
from comfy_assets_node.comfy_assets.names import (
    UnsafeName,
    check_leads_nowhere,
    existing_folder_parts,
    file_name,
    folded,
    folder_parts,
    numbered,
    relative_parts,
    safe_file_name,
    shortened,
    split_annotation,
    split_suffix,
)
from hypothesis import given
from hypothesis import strategies as st

LEADING_OUT = ["..", ".", "../x", "a/..", "a/../x", "a/./x", "a/ .. /x", "/x", "/etc", "//", "C:x", "c:/x"]
LEADING_OUT += ["a\\..\\x", "..\\x", "\\x", "\\etc", "\\\\server\\x", "\0", "x\0.png", "\udce4.png"]


@pytest.mark.parametrize(
    "name",
    ["a", "a/b.png", "a..b", "...x", "x..", "com10", "console", "nul-1", "a b", "猫", "x" * 255, "12:30"],
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


@pytest.mark.parametrize("name", LEADING_OUT)
def test_names_that_lead_out_are_refused_everywhere(name: str) -> None:
    for check in (relative_parts, folder_parts, file_name, check_leads_nowhere):
        for options in ({"windows": False}, {"windows": True}) if check is not check_leads_nowhere else ({},):
            with pytest.raises(UnsafeName):
                check(name, **options)
    with pytest.raises(UnsafeName):
        safe_file_name(name, fallback="file")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 1025, "the name is too long"),
        ("a\\b", "a name must not contain a backslash"),
        ("/a", "a name must be relative, without a drive letter"),
        ("c:a", "a name must be relative, without a drive letter"),
        ("a//b", "a name must not be empty"),
        ("a/ /b", "a name must not be empty"),
        ("a/ .. ", "a name must not step to another folder"),
        ("a\x1f", "a name must not contain control characters"),
        ("nul", "the name is reserved by Windows"),
        ("x" * 256, "the name is too long"),
    ],
)
def test_the_reason_is_given(name: str, message: str) -> None:
    with pytest.raises(UnsafeName, match=f"^{message}$"):
        relative_parts(name, windows=False)


def test_the_longest_path() -> None:
    longest = "/".join(["x" * 204] * 5)
    assert len(longest) == 1024 and len(relative_parts(longest)) == 5
    with pytest.raises(UnsafeName):
        relative_parts(longest + "x")


def test_a_file_name_has_one_part() -> None:
    assert file_name("a b.png") == "a b.png"
    for name in ("a/b", "a/", ""):
        with pytest.raises(UnsafeName):
            file_name(name)
    assert file_name("a?", windows=False) == "a?"
    with pytest.raises(UnsafeName):
        file_name("a?", windows=True)
    for name in ("a?/b", "a?/"):
        with pytest.raises(UnsafeName):
            folder_parts(name, windows=True)
        assert folder_parts(name, windows=False)[0] == "a?"


@pytest.mark.parametrize("name", ["/", "//", "a//"])
def test_a_subfolder_is_no_root(name: str) -> None:
    with pytest.raises(UnsafeName):
        folder_parts(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "a.png"),
        ("a/b.png", "a_b.png"),
        ("a\\b:c.png", "a_b_c.png"),
        ('<>:"|?*\x7f\x07.png', "_________.png"),
        (" a .png ", "a.png"),
        ("dots. . ", "dots"),
        ("x..", "x"),
        ("x", "x"),
        ("..hidden", "hidden"),
        (". hidden", " hidden"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("com¹ .x", "_com¹.x"),
        ("cafe\u0301", "caf\u00e9"),
        ("", "file.png"),
        (" . ", None),
        ("...", "file.png"),
        ("_", "file.png"),
        ("?.", "file.png"),
        ("\x85", "file.png"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
        ("é" * 200 + ".png", "é" * 125 + ".png"),
    ],
)
def test_names_that_are_made_safe(name: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UnsafeName):
            safe_file_name(name, fallback="file.png")
    else:
        assert safe_file_name(name, fallback="file.png") == expected


@given(st.text(max_size=400), st.sampled_from(["", ".png", ".a" * 20]))
def test_what_was_made_safe_can_be_stored_everywhere(stem: str, suffix: str) -> None:
    try:
        safe = safe_file_name(stem + suffix, fallback="file")
    except UnsafeName:
        return
    assert relative_parts(safe, windows=True) == (safe,)
    assert safe_file_name(safe, fallback="other") == safe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.png", ("a.b", ".png")),
        ("a", ("a", "")),
        ("a.", ("a.", "")),
        (".png", (".png", "")),
        ("a." + "x" * 31, ("a", "." + "x" * 31)),
        ("a." + "x" * 32, ("a", "." + "x" * 32)),
        ("a." + "x" * 33, ("a." + "x" * 33, "")),
        ("a." + "é" * 17, ("a." + "é" * 17, "")),
    ],
)
def test_suffixes(name: str, expected: tuple[str, str]) -> None:
    assert split_suffix(name) == expected


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("abc.png", 7, "abc.png"),
        ("abc.png", 6, "ab.png"),
        ("a. c.png", 7, "a.png"),
        ("äää.png", 9, "ää.png"),
        ("abc", 2, "ab"),
    ],
)
def test_shortened_names(name: str, limit: int, expected: str) -> None:
    assert shortened(name, limit) == expected


def test_numbered_names() -> None:
    assert numbered("a.png", 2) == "a (2).png"
    assert numbered("a", 10) == "a (10)"
    longest = numbered("x" * 251 + ".png", 7)
    assert longest == "x" * 247 + " (7).png" and len(longest) == 255


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", ("a.png", None)),
        ("a.png [input]", ("a.png", "input")),
        ("a.png  [output]", ("a.png", "output")),
        ("a.png[temp]", ("a.png", "temp")),
        ("a [temp].png", ("a [temp].png", None)),
        ("a\t[temp]", ("a\t", "temp")),
        ("x [temp]", ("x", "temp")),
    ],
)
def test_annotations(name: str, expected: tuple[str, str | None]) -> None:
    assert split_annotation(name) == expected


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
    place = prepare_save(tmp_path, prefix, 1, 1)
    assert (place.subfolder, place.name(0)) == (subfolder, name)
    assert place.folder == tmp_path / subfolder and place.folder.is_dir()


def test_backslashes_separate_folders_where_the_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ComfyUI on Windows lists subfolders with backslashes; elsewhere one may be a part of a name."""
    assert existing_folder_parts("a\\b", windows=True) == ("a", "b")
    assert existing_folder_parts("a\\b", windows=False) == ("a\\b",)
    for outside in ("..\\x", "a\\..\\..\\x", "\\x", "C:\\x", "\\\\server\\x"):
        with pytest.raises(UnsafeName):
            existing_folder_parts(outside, windows=True)
    monkeypatch.setattr(nodes, "WINDOWS", True)
    location = prepare_save(tmp_path, "w\\x\\y", 1, 1)
    assert (location.subfolder, location.name(0)) == ("w/x", "y_00001_.png")
    with pytest.raises(UnsafeName):
        prepare_save(tmp_path, "..\\y", 1, 1)


@pytest.mark.parametrize(
    ("name", "other"),
    [("a.PNG", "A.png"), ("caf\u00e9", "CAFE\u0301"), ("\u01f0", "J\u030c"), ("stra\u00dfe", "STRASSE")],
)
def test_names_that_a_file_system_may_treat_as_one(name: str, other: str) -> None:
    assert folded(name) == folded(other) == folded(folded(name))


@pytest.mark.parametrize(("name", "other"), [("a", "b"), ("cafe", "caf\u00e9"), ("a.png", "a.png ")])
def test_names_that_no_file_system_treats_as_one(name: str, other: str) -> None:
    assert folded(name) != folded(other)
