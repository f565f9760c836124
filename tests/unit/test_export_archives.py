"""Names and bytes in exported archives: every strategy, names from outside, files that change or fail."""

from __future__ import annotations

import io
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.export_selection import ExportedFile, member_names
from comfy_assets_node.comfy_assets.assets.exports import ArchiveWriter, UnreadableMember
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken

AT = 1_700_000_000_000  # 2023-11-14T22:13:20Z


def file(name: str, folder: str = "", asset: str | None = "id", job: str | None = "j", at: int = AT) -> ExportedFile:
    return ExportedFile(Path("/x/stored.png"), folder, name, at, asset, job)


STRATEGIES: list[tuple[Any, list[ExportedFile], list[str]]] = [
    ("preserve", [file("a.png"), file("b.png", "sub/deep")], ["a.png", "sub/deep/b.png"]),
    ("preserve", [file("a.png"), file("A.png"), file("a.png")], ["a.png", "A (1).png", "a (2).png"]),
    ("preserve", [file("a.png"), file("a (1).png"), file("a.png")], ["a.png", "a (1).png", "a (2).png"]),
    ("preserve", [file("no suffix"), file("x.y")], ["no suffix.png", "x.y"]),
    ("preserve", [file("p.png", asset=None)], ["p.png"]),
    ("asset_id", [file("a.png", asset="1"), file("b", asset="2")], ["1.png", "2.png"]),
    ("asset_id", [file("p.png", asset=None)], ["previews/p.png"]),
    ("group_by_job_id", [file("a.png"), file("b.png", job=None)], ["j/a.png", "unknown/b.png"]),
    ("group_by_job_id", [file("p.png", "s", asset=None)], ["j/previews/s/p.png"]),
    ("group_by_job_time", [file("a.png")], ["2023-11-14T22-13-20/a.png"]),
    ("group_by_job_time", [file("a.png", job=None, at=0)], ["1970-01-01T00-00-00/a.png"]),
    # Jobs of the same second have folders of their own; one that is unknown is named by its earliest file.
    (
        "group_by_job_time",
        [file("a.png", job="k"), file("b.png"), file("c.png", job="gone", at=AT + 1), file("d.png", job="gone", at=AT)],
        [
            "2023-11-14T22-13-22/a.png",
            "2023-11-14T22-13-21/b.png",
            "2023-11-14T22-13-20/c.png",
            "2023-11-14T22-13-20/d.png",
        ],
    ),
]


@pytest.mark.parametrize(("strategy", "found", "expected"), STRATEGIES)
def test_strategies(strategy: Any, found: list[ExportedFile], expected: list[str]) -> None:
    times = {"j": AT, "k": AT} if len(found) < 4 else {"j": AT + 500, "k": AT + 999}
    assert member_names(found, strategy, times) == expected


HOSTILE = [
    "../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png", "a\0b.png", "con.png", "x\n.png", "..", ".", "", "   ",
    "a/b.png", "<>:\"|?*.png", "\udcff.png", "e" * 400 + ".png", ".hidden", "x. ",
]  # fmt: skip


@pytest.mark.parametrize("strategy", ["preserve", "asset_id", "group_by_job_id", "group_by_job_time"])
def test_names_from_outside_lead_nowhere(strategy: Any) -> None:
    found = [file(name, folder, job=name) for name in HOSTILE for folder in ("", "../..", "/a", "c:", "x/../y")]
    names = member_names(found, strategy, {})
    assert len({name.casefold() for name in names}) == len(found)
    for name in names:
        parts = name.split("/")
        assert all(part and part.strip(". ") == part.rstrip(". ").lstrip(".") for part in parts), name
        assert not {"", ".", ".."} & set(parts) and not set(name) & set('\\<>:"|?*\0\n'), name
        assert all(len(part.encode()) <= 255 for part in parts)


def nothing(name: str) -> None:
    """Check nothing."""


def write(target: Path, files: dict[str, Path], check: Any = nothing) -> tuple[int, list[str]]:
    """Write an archive; answers the bytes that were counted, and the names that could not be read."""
    counted, failed = 0, []

    def count(size: int) -> None:
        nonlocal counted
        counted += size

    with target.open("xb") as stream:
        writer = ArchiveWriter(stream)
        try:
            for name, path in files.items():
                try:
                    writer.add(path, name, partial(check, name), count)
                except UnreadableMember:
                    failed.append(name)
            writer.finish()
        finally:
            writer.abandon()
    return counted, failed


def test_an_archive_has_the_bytes(tmp_path: Path) -> None:
    contents = {"a.png": b"a" * 3_000_000, "größe/é.txt": b"", "b/c.bin": os.urandom(1_100_000)}
    paths = {}
    for number, (name, content) in enumerate(contents.items()):
        paths[name] = tmp_path / str(number)
        paths[name].write_bytes(content)
        os.utime(paths[name], (1_700_000_000, 1_700_000_000))
    os.utime(paths["a.png"], (0, 0))  # before the first year that a zip file can hold
    assert write(tmp_path / "x.zip", paths) == (sum(map(len, contents.values())), [])
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == contents
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.getinfo("a.png").date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.getinfo("b/c.bin").date_time[0] == 2023


def test_files_that_cannot_be_read_are_left_out_without_a_trace(tmp_path: Path) -> None:
    """Also one that shrinks, and one that is written to, after a part of it is in the archive."""
    good, shrinking, growing = (tmp_path / name for name in ("good", "shrinking", "growing"))
    for path in (good, shrinking, growing):
        path.write_bytes(path.name.encode() * 500_000)

    def disturb(name: str) -> None:
        if name == "shrinking":
            os.truncate(shrinking, 1)
        elif name == "growing":
            with growing.open("ab") as stream:
                stream.write(b"x")

    files = {"first": good, "gone": tmp_path / "gone", "folder": tmp_path, "shrinking": shrinking, "growing": growing}
    _, failed = write(tmp_path / "x.zip", {**files, "last": good}, disturb)
    assert failed == ["gone", "folder", "shrinking", "growing"]
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None and archive.namelist() == ["first", "last"]
    size = (tmp_path / "x.zip").stat().st_size
    write(tmp_path / "y.zip", {"first": good, "last": good})
    assert size == (tmp_path / "y.zip").stat().st_size


def test_a_check_ends_it(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(Cancelled):
        write(tmp_path / "x.zip", {"a": tmp_path / "a"}, lambda name: token.check())


def test_a_disk_that_is_full_is_no_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 5000)

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    writer = ArchiveWriter(Full())
    with pytest.raises(OSError, match="No space left"):
        writer.add(tmp_path / "a", "a", lambda: None, lambda _: None)
    writer.abandon()


def test_members_that_need_large_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZIP64 records, with a limit that a small file exceeds."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    (tmp_path / "a").write_bytes(b"a" * 5000)
    write(tmp_path / "x.zip", {"a": tmp_path / "a", "b": tmp_path / "a"})
    assert (tmp_path / "x.zip").read_bytes()[4:6] == b"\x2d\x00"  # version 4.5, the first that has them
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
        assert [info.file_size for info in archive.infolist()] == [5000, 5000]
