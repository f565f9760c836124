"""Atomic writes and moves, and the state of files compared with their records, over real files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.fs import atomic, paths


@pytest.mark.parametrize("is_same_volume", [True, False])
def test_a_move_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_same_volume: bool) -> None:
    monkeypatch.setattr(atomic, "is_same_volume", lambda source, folder: is_same_volume)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    with pytest.raises(FileExistsError):
        atomic.move_across_volumes(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")


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
