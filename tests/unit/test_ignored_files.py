"""What is left out of the library: litter of systems, unfinished downloads, and patterns of the user."""

from __future__ import annotations

import time

import pytest
from comfy_assets_node.comfy_assets.ignored_files import (
    NO_PATTERNS,
    ExcludePatterns,
    is_ignored,
    is_ignored_folder,
    parse_patterns,
)


@pytest.mark.parametrize(
    ("name", "size", "ignored"),
    [
        ("put_checkpoints_here", 0, True),
        ("Put_Checkpoints_Here.txt", 0, True),
        ("put_checkpoints_here", 1, False),
        ("output_here", 0, False),
        ("empty.txt", 0, False),
        ("THUMBS.DB", 9, True),
        ("ehthumbs.db", 9, True),
        ("Desktop.ini", 9, True),
        ("Icon\r", 9, True),
        ("a.part", 9, True),
        ("a.part.safetensors", 9, False),
        ("a.safetensors.download", 9, True),
        ("a.safetensors.Downloading", 9, True),
        ("a.safetensors.download2", 9, True),
        ("a.downloads", 9, False),
        ("a.download.png", 9, False),
        (".download", 9, False),  # hidden, which is decided elsewhere
        ("download", 9, False),
        ("a.gguf.aria2", 9, True),
        ("a.gguf.aria2__temp", 9, True),
        ("a.gguf.!qB", 9, True),
        ("a.gguf.bc!", 9, True),
        ("a.gguf.filepart", 9, True),
        ("a.gguf.opdownload", 9, True),
        ("a.tmp", 9, True),
        ("a.temp", 9, False),
        ("lost+found", 9, False),  # only as a folder
    ],
)
def test_files(name: str, size: int, ignored: bool) -> None:
    assert is_ignored(name, size) is ignored


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("@eaDir", True),
        ("#recycle", True),
        ("#snapshot", True),
        ("@Recycle", True),
        ("$RECYCLE.BIN", True),
        ("$Recycle.Bin", True),
        ("System Volume Information", True),
        ("__MACOSX", True),
        ("lost+found", True),
        ("model.zip.download", True),
        ("recycle", False),
        ("eaDir", False),
        ("download", False),
        ("lost", False),
    ],
)
def test_folders(name: str, ignored: bool) -> None:
    assert is_ignored_folder(name) is ignored


@pytest.mark.parametrize(
    ("pattern", "folder", "name", "file", "subfolder"),
    [
        ("*.bak", "output", "a.bak", True, True),
        ("*.bak", "models/loras/deep/er", "A.BAK", True, True),
        ("*.bak", "output", "a.bak.png", False, False),
        ("drafts/", "output/2026", "Drafts", False, True),
        ("drafts", "output/2026", "drafts", True, True),
        ("drafts", "output/2026", "drafts2", False, False),
        ("a?.png", "output", "a1.png", True, True),
        ("a?.png", "output", "a.png", False, False),
        ("[0-9]*", "input", "7 days.png", True, True),
        ("[[]draft] *", "input", "[draft] x.png", True, True),
        ("output/old", "output", "old", True, True),
        ("output/old/", "output", "old", False, True),
        ("output/old", "output/old", "old", False, False),
        ("output/old", "input", "old", False, False),
        ("OUTPUT/Old", "output", "old", True, True),
        ("output/*/*.txt", "output/2026", "a.txt", True, True),
        ("output/*/*.txt", "output", "a.txt", False, False),
        ("output/*/*.txt", "output/2026/01", "a.txt", False, False),
        ("output/**/*.txt", "output", "a.txt", True, True),
        ("output/**/*.txt", "output/2026/01", "a.txt", True, True),
        ("**/cache/**", "models/loras/cache", "a", True, True),
        ("**/cache/**", "models/loras/cache/deep", "a", True, True),
        ("**/cache/**", "models/loras", "a", False, False),
        ("models/*/private/x.*", "models/loras/private", "x.safetensors", True, True),
        ("*/secret", "input", "secret", True, True),
        ("output/**", "output", "a.png", True, True),
        ("output/**", "input", "a.png", False, False),
    ],
)
def test_what_a_pattern_leaves_out(pattern: str, folder: str, name: str, file: bool, subfolder: bool) -> None:
    patterns = ExcludePatterns(["never-there.*", pattern, "input/never-there"])
    files, folders = patterns.files_in(folder), patterns.folders_in(folder)
    assert files is not None and folders is not None
    assert (bool(files(name)), bool(folders(name))) == (file, subfolder)


def test_without_patterns_nothing_is_asked() -> None:
    assert not NO_PATTERNS
    assert NO_PATTERNS.files_in("output") is None and NO_PATTERNS.folders_in("output") is None
    assert ExcludePatterns(["output/old"]).files_in("input") is None


def test_patterns_are_separated_by_commas_and_lines() -> None:
    assert parse_patterns(" *.bak ,, my drafts/\r\noutput/old,") == ("*.bak", "my drafts/", "output/old")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("output\\old", "backslash"),
        ("/mnt/old", "absolute"),
        ("C:/old", "absolute"),
        ("output//old", "empty part"),
        ("output/../input", r"\.\."),
        ("./old", "empty part"),
        ("*", "everything"),
        ("**/", "everything"),
        ("*/**", "everything"),
        ("???", "everything"),
        ("output/**old", r"\*\* within"),
        ("[abc", r"\[\[\]"),
        ("loras/old", "models/"),
        ("a\x01b", "printed"),
        ("x" * 301, "300"),
    ],
)
def test_a_malformed_pattern_is_quoted_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        parse_patterns(f"*.bak,{pattern}")
    assert repr(pattern) in str(raised.value)


def test_there_may_be_a_hundred() -> None:
    assert len(ExcludePatterns([f"*.{n}" for n in range(100)]).texts) == 100
    with pytest.raises(ValueError, match="at most 100"):
        ExcludePatterns([f"*.{n}" for n in range(101)])


def test_no_pattern_takes_long() -> None:
    """Many wildcards and a name that almost matches: what backtracks needs years for it."""
    patterns = ExcludePatterns(["*a" * 100 + "b", "output/" + "**/" * 40 + "*a" * 20 + "/b"])
    began = time.monotonic()
    files = patterns.files_in("output/" + "/".join(["a" * 60] * 40))
    assert files is not None and not files("a" * 255)
    assert time.monotonic() - began < 5
