"""Atomic writes and moves, and the state of files compared with their records, over real files."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs import atomic, paths
from support.windows import symbolic_links, wine_lacks


@pytest.mark.parametrize("is_same_volume", [True, False])
def test_a_move_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_same_volume: bool) -> None:
    monkeypatch.setattr(atomic, "is_same_volume", lambda source, folder: is_same_volume)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        atomic.move_across_volumes(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such list of mount points")
@pytest.mark.parametrize(
    ("source", "folder", "is_same"),
    [
        ("models", "output", False),
        ("output", "models", False),
        ("models", "models/sub", True),
        ("models", "models/sub/own", False),
        ("models", "in put", False),
        ("in put", "in put/sub", True),
        ("models 2", "models", False),  # a name that begins alike
        ("models 2", "output 2", True),
    ],
)
def test_folders_of_one_file_system_may_be_mounted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, folder: str, is_same: bool
) -> None:
    top = str(paths.real_path(tmp_path))
    mounted = ["/", *(f"{top}/{name}" for name in ("models", "output", "in put", "models/sub/own"))]
    lines = [rf"36 35 98:0 /x {each} rw - ext4 /dev/sda rw".replace("in put", r"in\040put") for each in mounted]
    (tmp_path / "mountinfo").write_text("\n".join(lines))
    monkeypatch.setattr(atomic, "_MOUNTS", tmp_path / "mountinfo")
    for name in (source, folder):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / source / "a.bin").write_bytes(b"a")
    assert atomic.is_same_volume(tmp_path / source / "a.bin", tmp_path / folder) is is_same


def test_a_move_between_folders_that_are_mounted_apart(tmp_path: Path) -> None:
    source, target = tmp_path / "models", tmp_path / "output"
    for folder in (source, target):
        folder.mkdir()
    command = shutil.which("mount")
    if command is None or subprocess.run([command, "--bind", target, target], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (source / "a.bin").write_bytes(b"a")
        atomic.move_across_volumes(source / "a.bin", target / "b.bin")
        assert (target / "b.bin").read_bytes() == b"a"
        assert list(source.iterdir()) == []
        assert atomic.stage(target / "b.bin", source).parent == source
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.mark.parametrize("key", [None, "link"])
def test_a_temporary_file_is_removed(tmp_path: Path, key: str | None) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic.temp_file(target, key) as temporary:
        temporary.write_text("new")
        assert atomic.is_temp_name(temporary.name)
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert target.read_text() == "old"


def test_a_leftover_is_found_by_its_key(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / atomic.temp_name("link")).write_text("left by a killed process")
    with atomic.temp_file(target, "link") as temporary:
        atomic.write_new(temporary, lambda stream: stream.write(b"new"))
        temporary.replace(target)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize(
    ("mtime_ns", "is_fresh"),
    [
        (lambda now: now - 1, True),
        (lambda now: now - 2_000_000_001, False),
        # A whole second may be all that the file system keeps: FAT rounds to even ones.
        (lambda now: (now // 10**9 - 1) * 10**9, True),
        (lambda now: (now // 10**9 - 5) * 10**9, False),
        (lambda now: now + 3600 * 10**9, False),
    ],
)
def test_fresh_times(mtime_ns, is_fresh: bool) -> None:  # type: ignore[no-untyped-def]
    assert bool(paths.fresh_for_ns(mtime_ns(time.time_ns()))) is is_fresh


NOW = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("age_ns", "expected"),
    [
        (0, 20_000_000),
        (16_000_000, 4_000_000),
        (20_000_000, 0),
        (-10_000_000, 30_000_000),
        (3_456_789, 30_000_000 - 3_456_789),  # a whole hundredth of a second
        (33_456_789, 0),
        (123_456_789, 2_020_000_000 - 123_456_789),  # a whole second
        (2_123_456_789, 0),
    ],
)
def test_for_how_long_times_are_fresh(monkeypatch: pytest.MonkeyPatch, age_ns: int, expected: int) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    assert paths.fresh_for_ns(NOW - age_ns) == expected


def test_times_of_creation_are_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    before_3_12: Any = SimpleNamespace(st_ctime_ns=5)
    since_3_12: Any = SimpleNamespace(st_ctime_ns=5, st_birthtime_ns=7)
    for system, expected in (("nt", (5, 7)), ("posix", (None, None))):
        with monkeypatch.context() as patch:
            patch.setattr(os, "name", system)
            found = paths.birth_ns(before_3_12), paths.birth_ns(since_3_12)
        assert found == expected


@pytest.mark.parametrize(("tag", "expected"), [(0xA0000003, True), (0xA000000C, False), (0, False), (None, False)])
def test_junctions(tag: int | None, expected: bool) -> None:
    info: Any = SimpleNamespace() if tag is None else SimpleNamespace(st_reparse_tag=tag)
    assert paths.is_junction(info) is expected


def test_the_record_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1234")
    size, mtime_ns, _ = paths.file_stat(path.stat())
    assert paths.stat_as_recorded(path, size, mtime_ns) is not None
    assert paths.stat_as_recorded(path, size + 1, mtime_ns) is None
    assert paths.stat_as_recorded(path, size, mtime_ns + 1) is None
    assert paths.stat_as_recorded(tmp_path / "\0", size, mtime_ns) is None
    assert paths.stat_as_recorded(tmp_path / "none", size, mtime_ns) is None
    path.unlink()
    path.mkdir()
    os.utime(path, ns=(mtime_ns, mtime_ns))
    assert paths.stat_as_recorded(path, path.stat().st_size, mtime_ns) is None


LONG = "x" * 300


@pytest.mark.parametrize(
    ("path", "system", "expected"),
    [
        (f"C:\\{LONG}", "nt", f"\\\\?\\C:\\{LONG}"),
        (f"\\\\host\\share\\{LONG}", "nt", f"\\\\?\\UNC\\host\\share\\{LONG}"),
        (f"\\\\?\\C:\\{LONG}", "nt", f"\\\\?\\C:\\{LONG}"),
        ("C:\\" + "x" * 236, "nt", "C:\\" + "x" * 236),
        ("C:\\" + "x" * 237, "nt", "\\\\?\\C:\\" + "x" * 237),
        (f"/{LONG}", "posix", f"/{LONG}"),
    ],
)
def test_paths_beyond_260_characters(monkeypatch: pytest.MonkeyPatch, path: str, system: str, expected: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", system)
        found = paths.extended(path)
    assert found == expected


def test_a_path_and_that_of_a_file_in_it(tmp_path: Path) -> None:
    assert paths.extended_path(tmp_path) == paths.extended_path(str(tmp_path)) == tmp_path
    assert paths.extended_path(tmp_path, "a") == tmp_path / "a"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((1, 2, 3), (1, 2, 3)),
        ((1, -2, 3), (1, -2, 3)),
        ((0, 2**63, 0), (0, 2**63 - 1, 0)),
        ((0, -(2**63), 0), (0, -(2**63) + 1, 0)),
        ((1, 2, 2**64 - 1), (1, 2, 2**63 - 1)),
        ((1, 2, 2**63 + 5), (1, 2, 5)),
    ],
)
def test_a_stat_that_the_store_can_hold(
    monkeypatch: pytest.MonkeyPatch, found: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    info: Any = SimpleNamespace(st_size=found[0], st_mtime_ns=found[1], st_ino=found[2], st_ctime_ns=7)
    monkeypatch.setattr(os, "name", "posix")
    found_stat = paths.file_stat(info)
    assert found_stat == expected


def test_the_state_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("1234")
    stat = file.stat()
    assert paths.path_state(str(file)) == (4, stat.st_mtime_ns, stat.st_ino if os.name != "nt" else stat.st_ctime_ns)
    assert paths.path_state(str(tmp_path)) == paths.FOLDER
    assert paths.path_state(str(tmp_path / "none")) is None
    assert paths.identity_at(str(file)) == (stat.st_dev, stat.st_ino)
    assert paths.identity_at(str(tmp_path / "none")) is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        on_windows = paths.path_state(str(file))
    assert on_windows == (4, stat.st_mtime_ns, stat.st_ctime_ns)  # the time of creation there
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: SimpleNamespace(st_dev=5, st_ino=0))
        assert paths.identity_at("on a drive without inodes") is None


LONG_NAMES = wine_lacks("an error of its own for a name of 300 characters: there is no such file, it says")
GONE = {  # a folder below the root, folders out of reach, and whether it is gone
    "a/b": ((), True),
    "file/a": ((), True),
    "a/c": (("a",), False),
    "a/d": (("b", "a"), False),
    "a": (("a",), False),
    "b": ((), True),
    "ab": (("a",), True),
    "x" * 300: ((), False),
}
BEYOND_LINKS = ("away", "away/a", "away/a/b", "round/a")  # of a folder that is away, and of itself


@pytest.mark.parametrize(
    ("folder", "unreachable", "expected"),
    [
        *(pytest.param(key, *value, marks=[LONG_NAMES] if len(key) > 255 else []) for key, value in GONE.items()),
        *(pytest.param(folder, (), False, marks=symbolic_links) for folder in BEYOND_LINKS),
    ],
)
def test_folders_that_are_gone(tmp_path: Path, folder: str, unreachable: tuple[str, ...], expected: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("")
    if folder in BEYOND_LINKS:
        (root / "away").symlink_to(tmp_path / "drive", target_is_directory=True)
        (root / "round").symlink_to(root / "round", target_is_directory=True)
    out_of_reach = [str(root / name) for name in unreachable]
    assert paths.is_definitely_gone(str(root / folder), root, out_of_reach) is expected
    assert paths.is_definitely_gone(str(root / folder), None, out_of_reach) is expected


@pytest.mark.parametrize("root", ["none", "file", "other"])
def test_nothing_is_gone_without_its_root(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    folder = "a" if root == "other" else f"{root}/a"
    assert not paths.is_definitely_gone(str(tmp_path / folder), tmp_path / root)


def test_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "A.txt").write_text("")
    (tmp_path / "folder").mkdir()
    assert paths.file_names(str(tmp_path)) == {"A.txt"}
    with pytest.raises(OSError, match="none"):
        paths.file_names(str(tmp_path / "none"))


@symbolic_links
def test_names_of_files_that_cannot_be_examined(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    assert paths.file_names(str(tmp_path)) == {"round"}


def test_the_disk_of_a_folder_that_may_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def disk_usage(folder: Path) -> Any:
        asked.append(folder)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(paths.shutil, "disk_usage", disk_usage)
    assert paths.free_bytes(tmp_path) == paths.free_bytes(tmp_path / "none" / "deep") == 7
    assert asked == [tmp_path, tmp_path]


def test_paths_that_cannot_be_resolved_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAM disks and some network drives of Windows cannot resolve links."""

    def refuse(path: object, **_: object) -> str:
        raise OSError(234, "More data is available")

    monkeypatch.setattr(paths.os.path, "realpath", refuse)
    assert paths.real_path(tmp_path / "a" / ".." / "b") == tmp_path / "b"
