"""Walking real folders: what is listed, what is counted as a problem, and what is survived."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import walker
from comfy_assets_node.comfy_assets.assets.index.exclusions import LISTED_ALREADY, Exclusions
from comfy_assets_node.comfy_assets.assets.index.walker import WalkReport, walk
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken
from comfy_assets_node.comfy_assets.fs import paths
from comfy_assets_node.comfy_assets.fs.paths import extended, file_stat, is_definitely_gone

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX file system")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux stores names that are not Unicode")


def make(base: Path, *files: str) -> None:
    for name in files:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def listed(*roots: Path, report: WalkReport | None = None, excluded: tuple[Path, ...] = ()) -> dict[str, set[str]]:
    """Names by folder, relative to the parent of the first root; no folder is listed twice."""
    found: dict[str, set[str]] = {}
    for listing in walk(list(roots), Exclusions(excluded), report or WalkReport(), CancelToken()):
        key = os.path.relpath(listing.path, roots[0].parent).replace(os.sep, "/")
        assert key not in found
        found[key] = set(listing.files)
    return found


def test_lists_files_with_their_stat(tmp_path: Path) -> None:
    make(tmp_path, "r/a.txt", "r/sub/b.txt", "r/empty/x")
    (tmp_path / "r/empty/x").unlink()
    assert listed(tmp_path / "r") == {"r": {"a.txt"}, "r/sub": {"b.txt"}, "r/empty": set()}
    [listing] = [x for x in walk([tmp_path / "r"], Exclusions(), WalkReport(), CancelToken()) if x.files][:1]
    info = (tmp_path / "r/a.txt").stat()
    assert listing.files["a.txt"] == file_stat(info)


def test_litter_and_hidden_things_are_ignored(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("r/.hidden", "r/.git/config", "r/Thumbs.db", "r/desktop.ini", "r/model.safetensors.part"),
        *("r/@eaDir/a.png/SYNO_THUMB.png", "r/#recycle/b.png", "r/$RECYCLE.BIN/S-1-5/c.png", "r/__MACOSX/d.png"),
        *(
            "r/System Volume Information/e",
            "r/lost+found/f",
            "r/.Trash-1000/files/g",
            "r/._x.png",
            "r/h.zip.download/i",
        ),
        *("r/m.TMP", "r/m.crdownload", "r/m.aria2", "r/m.incomplete", "r/m.partial", "r/kept.tmpl"),
    )
    (tmp_path / "r/put_loras_here").touch()
    (tmp_path / "r/put_text_here.txt").write_text("not empty")
    assert listed(tmp_path / "r") == {"r": {"kept.tmpl", "put_text_here.txt"}}


def test_excluded_subtrees_are_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "r/a", "r/user/secret", "r/user/deep/secret", "r/users/b")
    assert listed(tmp_path / "r", excluded=(tmp_path / "r/user",)) == {
        "r": {"a"},
        "r/users": {"b"},
    }


@posix
def test_links_to_files_are_files(tmp_path: Path) -> None:
    make(tmp_path, "r/x", "far/model")
    (tmp_path / "r/link").symlink_to(tmp_path / "far/model")
    (tmp_path / "r/again").symlink_to("x")
    assert listed(tmp_path / "r") == {"r": {"x", "link", "again"}}


@posix
@pytest.mark.parametrize("target", [".", "..", "../..", "../../r"])
def test_link_loops_end(tmp_path: Path, target: str) -> None:
    make(tmp_path, "top/r/a", "top/r/sub/b")
    (tmp_path / "top/r/sub/loop").symlink_to(target)
    report = WalkReport()
    found = listed(tmp_path / "top/r", report=report)
    assert found.pop("r") == {"a"} and found.pop("r/sub") == {"b"}
    assert not found  # a link above the root would bring in what is there, and all roots
    assert report.problems >= 1
    assert not report.unreachable


@posix
def test_a_link_to_itself_is_a_problem_and_no_more(tmp_path: Path) -> None:
    make(tmp_path, "r/a")
    (tmp_path / "r/self").symlink_to("self")
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {"r": {"a"}}
    assert report.problems == 1
    assert report.unreachable == [str(tmp_path / "r/self")]


@posix
@pytest.mark.parametrize("names", [("a_link", "real"), ("real", "z_link"), ("deep/in/link", "real")])
def test_the_real_folder_wins_over_links_to_it(tmp_path: Path, names: tuple[str, str]) -> None:
    real = tmp_path / "r/real"
    make(real, "x", "sub/y")
    link = tmp_path / "r" / next(n for n in names if n != "real")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(real)
    report = WalkReport()
    found = listed(tmp_path / "r", report=report)
    assert found["r/real"] == {"x"} and found["r/real/sub"] == {"y"}
    assert sum(map(len, found.values())) == 2
    assert report.problems == 1 and report.first[0].obstacle is LISTED_ALREADY


@posix
@pytest.mark.parametrize("reverse", [False, True])
def test_of_several_links_the_first_by_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    """In whatever order the disk tells the names."""
    make(tmp_path, "far/x", "r/plain/y")
    for name in ("r/b", "r/a", "r/c", "r/plain/a"):
        (tmp_path / name).symlink_to(tmp_path / "far")
    real_scandir = os.scandir

    class Ordered:
        def __init__(self, path: str) -> None:
            with real_scandir(path) as entries:
                self.entries = sorted(entries, key=lambda e: e.name, reverse=reverse)

        def __enter__(self) -> Iterator[Any]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Ordered)
    assert listed(tmp_path / "r") == {"r": set(), "r/plain": {"y"}, "r/a": {"x"}}


@posix
def test_folders_linked_from_elsewhere_are_walked_under_the_links_name(tmp_path: Path) -> None:
    make(tmp_path, "far/x", "far/deep/y", "r/a")
    (tmp_path / "r/link").symlink_to(tmp_path / "far")
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {"r": {"a"}, "r/link": {"x"}, "r/link/deep": {"y"}}
    assert report.problems == 0


@posix
def test_a_root_may_be_a_link_and_two_roots_may_share_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "far/x")
    (tmp_path / "one").symlink_to(tmp_path / "far")
    (tmp_path / "two").symlink_to(tmp_path / "far")
    assert listed(tmp_path / "one", tmp_path / "two") == {"one": {"x"}, "two": {"x"}}


@posix
def test_a_broken_link_freezes_what_may_lie_behind_it(tmp_path: Path) -> None:
    make(tmp_path, "r/a")
    (tmp_path / "r/link").symlink_to(tmp_path / "away")
    report = WalkReport()
    [listing] = walk([tmp_path / "r"], Exclusions(), report, CancelToken())
    assert set(listing.files) == {"a"}
    assert listing.unknown == ()
    assert report.unreachable == [str(tmp_path / "r/link")]
    assert report.problems == 1


@pytest.mark.parametrize("kind", ["away", "a file"])
def test_a_root_that_is_no_folder_is_unreachable(tmp_path: Path, kind: str) -> None:
    if kind == "a file":
        make(tmp_path, "r")
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {}
    assert report.unreachable == [str(tmp_path / "r")]


class Failing:
    """Stands in for ``os.scandir``; raises for one folder, at once or after the first entries."""

    def __init__(self, folder: Path, error: OSError, after: int = 0) -> None:
        self.folder, self.error, self.after = str(folder), error, after
        self.real = os.scandir

    def __call__(self, path: str) -> Any:
        if path != self.folder:
            return self.real(path)
        if not self.after:
            raise self.error
        return self._some(path)

    def _some(self, path: str) -> Any:
        outer = self

        class Some:
            def __enter__(self) -> Iterator[Any]:
                with outer.real(path) as entries:
                    yield from sorted(entries, key=lambda e: e.name)[: outer.after]
                raise outer.error

            def __exit__(self, *_: object) -> None:
                pass

        return Some()


@pytest.mark.parametrize("after", [0, 1])
def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    make(tmp_path, "r/a", "r/locked/b", "r/locked/c")
    monkeypatch.setattr(os, "scandir", Failing(tmp_path / "r/locked", PermissionError(13, "Permission denied"), after))
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {"r": {"a"}}
    assert report.unreachable == [str(tmp_path / "r/locked")]
    assert [each.as_dict() for each in report.first] == [
        {
            "path": str(tmp_path / "r/locked"),
            "code": "access_denied",
            "detail": "Permission denied",
            "message": f"{tmp_path / 'r/locked'}: Permission denied",
        }
    ]


def test_a_folder_that_vanishes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "r/a", "r/gone/b")
    monkeypatch.setattr(os, "scandir", Failing(tmp_path / "r/gone", FileNotFoundError(2, "No such file")))
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {"r": {"a"}}
    assert (report.problems, report.unreachable) == (0, [])


def test_folders_that_vanish_mid_walk(tmp_path: Path) -> None:
    make(tmp_path, "r/a", "r/one/b", "r/two/c", "r/two/deep/d")
    report = WalkReport()
    listings = walk([tmp_path / "r"], Exclusions(), report, CancelToken())
    assert next(listings).path == str(tmp_path / "r")
    shutil.rmtree(tmp_path / "r/one")
    shutil.rmtree(tmp_path / "r/two")
    assert list(listings) == []
    assert (report.problems, report.unreachable) == (0, [])


class _Entry:
    """A directory entry whose target cannot be looked at."""

    def __init__(self, name: str, error: OSError, *, link: bool = False) -> None:
        self.name, self.error, self.link = name, error, link

    def is_dir(self) -> bool:
        return False

    def is_symlink(self) -> bool:
        return self.link

    def stat(self) -> os.stat_result:
        raise self.error


@pytest.mark.parametrize(
    ("error", "link", "unknown", "problems"),
    [
        (PermissionError(13, "Permission denied"), False, ("x",), 1),
        (OSError(5, "Input/output error"), True, ("x",), 1),
        (FileNotFoundError(2, "No such file"), True, (), 1),  # a broken link
        (FileNotFoundError(2, "No such file"), False, (), 0),  # it vanished just now
    ],
)
def test_an_entry_that_cannot_be_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    link: bool,
    unknown: tuple[str, ...],
    problems: int,
) -> None:
    class One:
        def __init__(self, _: str) -> None:
            pass

        def __enter__(self) -> list[_Entry]:
            return [_Entry("x", error, link=link)]

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", One)
    report = WalkReport()
    [listing] = walk([tmp_path], Exclusions(), report, CancelToken())
    assert (listing.files, listing.unknown, report.problems) == ({}, unknown, problems)


@linux
def test_names_that_are_not_unicode_are_told_of(tmp_path: Path) -> None:
    make(tmp_path, "r/größe.png")
    raw = os.fsencode(tmp_path / "r")
    (tmp_path / "r/sub").mkdir()
    for name in (b"bad-\xff.png", b"sub/bad-\xe4"):
        with open(os.path.join(raw, name), "wb"):
            pass
    os.mkdir(os.path.join(raw, b"folder-\xff"))
    report = WalkReport()
    assert listed(tmp_path / "r", report=report) == {"r": {"größe.png"}, "r/sub": set()}
    assert report.problems == 3
    for told in map(str, report.first):
        told.encode()  # can be sent and printed
        assert "not valid Unicode" in told
        assert "\\udc" in told


@linux
def test_a_root_whose_name_is_not_unicode(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"root-\xff")))
    make(root, "a")
    make(tmp_path, "r/b")
    report = WalkReport()
    found = [x.path for x in walk([root, tmp_path / "r"], Exclusions(), report, CancelToken())]
    assert found == [str(tmp_path / "r")]
    assert report.problems == 1 and report.unreachable == [str(root)]


@posix
def test_only_regular_files_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "r/a")
    os.mkfifo(tmp_path / "r/fifo")
    monkeypatch.chdir(tmp_path / "r")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        assert listed(tmp_path / "r") == {"r": {"a"}}


def test_cancel_between_folders(tmp_path: Path) -> None:
    make(tmp_path, *(f"r/{n}/f" for n in range(5)))
    token = CancelToken()
    listings = walk([tmp_path / "r"], Exclusions(), WalkReport(), token)
    next(listings)
    token.cancel()
    with pytest.raises(Cancelled):
        next(listings)


def test_something_else_may_hold_the_walk_back_before_each_folder(tmp_path: Path) -> None:
    make(tmp_path, "r/one/a", "r/two/b")
    calls: list[None] = []
    list(walk([tmp_path / "r"], Exclusions(), WalkReport(), CancelToken(), lambda: calls.append(None)))
    assert len(calls) == 3


def test_only_the_first_problems_are_told(tmp_path: Path) -> None:
    report = WalkReport()
    for n in range(walker.MAX_TOLD + 5):
        report.add(str(n), LISTED_ALREADY)
    assert (report.problems, len(report.first)) == (walker.MAX_TOLD + 5, walker.MAX_TOLD)


LONG = "x" * 250


@pytest.mark.parametrize(
    ("system", "path", "expected"),
    [
        ("posix", f"/{LONG}", f"/{LONG}"),
        ("nt", r"C:\short", r"C:\short"),
        ("nt", "C:\\" + LONG, "\\\\?\\C:\\" + LONG),
        ("nt", "\\\\server\\share\\" + LONG, "\\\\?\\UNC\\server\\share\\" + LONG),
        ("nt", "\\\\?\\C:\\" + LONG, "\\\\?\\C:\\" + LONG),
        ("nt", "C:\\" + "x" * 236, "C:\\" + "x" * 236),
        ("nt", "C:\\" + "x" * 237, "\\\\?\\C:\\" + "x" * 237),
    ],
)
def test_long_paths_on_windows(monkeypatch: pytest.MonkeyPatch, system: str, path: str, expected: str) -> None:
    monkeypatch.setattr(walker.os, "name", system)
    assert extended(path) == expected


@pytest.mark.parametrize(
    ("system", "mtime_ns", "inode", "created_ns", "expected"),
    [
        ("posix", 5, 7, 3, (1, 5, 7)),
        ("posix", 10**19, 7, 3, (1, 2**63 - 1, 7)),  # the year 2286 does not fit into 64 bits
        ("posix", -(10**19), 7, 3, (1, 1 - 2**63, 7)),
        ("posix", 5, 2**64 - 1, 3, (1, 5, 2**63 - 1)),
        ("nt", 5, 0, 3, (1, 5, 3)),
        ("nt", 5, 7, 3, (1, 5, 3)),  # as in listings, which have no inodes
        ("nt", 5, 0, -(10**16), (1, 5, 0)),  # a file system without times of creation
        ("nt", 5, 0, 10**19, (1, 5, 2**63 - 1)),
    ],
)
def test_stats_fit_into_the_store(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    mtime_ns: int,
    inode: int,
    created_ns: int,
    expected: tuple[int, int, int],
) -> None:
    class Info:
        st_size, st_mtime_ns, st_ino, st_ctime_ns = 1, mtime_ns, inode, created_ns

    monkeypatch.setattr(paths.os, "name", system)
    assert file_stat(Info()) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "unreachable", "gone"),
    [
        ("r/was", [], True),
        ("r/was/deep", [], True),
        ("r/here", [], True),  # it is there but was not listed: it is no part of the library any more
        ("r/file/was", [], True),  # a file now lies where the folder was
        ("r/link", [], False),
        ("r/link/deep", [], False),
        ("r/was", ["r/was"], False),
        ("r/was/deep", ["r/was"], False),
        ("r/was", ["r"], False),
        ("r/was", ["r/wa"], True),
        ("away/x", [], False),
        ("away", [], False),
    ],
)
@posix
def test_is_gone(tmp_path: Path, folder: str, unreachable: list[str], gone: bool) -> None:
    make(tmp_path, "r/here/a", "r/file")
    (tmp_path / "r/link").symlink_to(tmp_path / "nowhere")
    root = tmp_path / folder.split("/")[0]
    assert is_definitely_gone(str(tmp_path / folder), root, [str(tmp_path / u) for u in unreachable]) is gone


def test_a_root_that_became_a_file_is_out_of_reach(tmp_path: Path) -> None:
    make(tmp_path, "r")
    assert not is_definitely_gone(str(tmp_path / "r"), tmp_path / "r", [])
    assert not is_definitely_gone(str(tmp_path / "r/sub"), tmp_path / "r", [])
