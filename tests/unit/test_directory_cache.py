"""Which folders have changed since they were listed, by what real folders look like."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.assets.index.exclusions import Exclusions
from comfy_assets_node.comfy_assets.assets.index.walker import (
    DirectoryCache,
    DirectoryChanges,
    FolderListing,
    WalkReport,
    walk,
)
from comfy_assets_node.comfy_assets.background.interruption import Cancelled, CancelToken
from support.windows import symbolic_links


def listings(root: Path) -> list[FolderListing]:
    return list(walk([root], Exclusions(), WalkReport(), CancelToken()))


def make(root: Path, *folders: str) -> DirectoryCache:
    """Folders that have not changed for a while, as they are remembered."""
    root.mkdir(exist_ok=True)
    for name in folders:
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x")
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        age(folder)
    stamps = DirectoryCache()
    stamps.store(listings(root))
    return stamps


def age(folder: Path) -> None:
    os.utime(folder, (time.time() - 100, time.time() - 100))


def differences(stamps: DirectoryCache, *roots: Path) -> DirectoryChanges:
    return stamps.changes([str(root) for root in roots], CancelToken())


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: None, DirectoryChanges()),
        (lambda r: (r / "a/new").write_text("x"), DirectoryChanges(folders=["a"])),
        (lambda r: (r / "a/file").unlink(), DirectoryChanges(folders=["a"])),
        (lambda r: (r / "a/file").rename(r / "b/other"), DirectoryChanges(folders=["a", "b"])),
        (lambda r: (r / "a/sub").mkdir(), DirectoryChanges(folders=["a"])),
        (lambda r: (r / "b").rename(r / "c"), DirectoryChanges(folders=["."], gone=["b"])),
        (lambda r: (r / "a").rename(r.parent / "away"), DirectoryChanges(folders=["."], gone=["a"])),
        (lambda r: (r / "a/file").write_text("longer"), DirectoryChanges()),
    ],
)
def test_what_differs(tmp_path: Path, change: Change, expected: DirectoryChanges) -> None:
    root = tmp_path / "r"
    stamps = make(root, "a", "a/deep", "b")
    change(root)
    found = differences(stamps, root)
    assert found.trees == []
    for got, wanted in ((found.folders, expected.folders), (found.gone, expected.gone)):
        assert sorted(got) == sorted(str(root / name) for name in wanted)


def test_a_root_that_goes_and_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "r"
    stamps = make(root, "a/deep")
    root.rename(tmp_path / "away")
    assert differences(stamps, root) == differences(stamps, root) == DirectoryChanges()
    (tmp_path / "away").rename(root)
    assert differences(stamps, root) == DirectoryChanges(trees=[str(root)])
    assert differences(stamps, root) == DirectoryChanges()


def test_a_root_of_which_an_empty_mount_point_is_left(tmp_path: Path) -> None:
    """It may have been seen to be away before."""
    root = tmp_path / "r"
    stamps = make(root, "a/deep")
    root.rename(tmp_path / "away")
    assert differences(stamps, root) == DirectoryChanges()
    root.mkdir()
    assert differences(stamps, root) == DirectoryChanges([str(root)], [str(root)], [str(root / "a")])


def test_a_root_that_was_never_there(tmp_path: Path) -> None:
    stamps = DirectoryCache()
    assert differences(stamps, tmp_path / "r") == DirectoryChanges()
    (tmp_path / "r").mkdir()
    assert differences(stamps, tmp_path / "r") == DirectoryChanges(trees=[str(tmp_path / "r")])


@symbolic_links
def test_a_link_whose_target_goes_and_comes_back(tmp_path: Path) -> None:
    root, drive = tmp_path / "r", tmp_path / "drive"
    (drive / "deep").mkdir(parents=True)
    root.mkdir()
    (root / "link").symlink_to(drive)
    age(drive / "deep")
    age(drive)
    stamps = make(root)
    assert stamps.links == {str(root / "link")}
    assert stamps.as_listed(str(drive / "deep")) == str(root / "link/deep")
    assert differences(stamps, root) == DirectoryChanges()
    drive.rename(tmp_path / "away")
    assert differences(stamps, root) == DirectoryChanges()
    (tmp_path / "away").rename(drive)
    assert differences(stamps, root) == DirectoryChanges(trees=[str(root / "link")])
    (root / "link").unlink()
    age(root)
    stamps.store(listings(root))
    assert differences(stamps, root) == DirectoryChanges(gone=[str(root / "link")])
    for path in stamps.below(str(root / "link")):
        stamps.forget(path)
    assert differences(stamps, root) == DirectoryChanges()
    assert stamps.links == frozenset()


def test_another_folder_in_its_place(tmp_path: Path) -> None:
    root = tmp_path / "r"
    stamps = make(root, "a")
    seen = (root / "a").stat()
    (root / "a").rename(tmp_path / "old")
    (root / "a").mkdir()
    os.utime(root / "a", ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    assert str(root / "a") in differences(stamps, root).folders


def test_a_folder_that_has_just_changed_is_looked_at_once_more(tmp_path: Path) -> None:
    """Another change within the same tick of the clock would not show."""
    root = tmp_path / "r"
    stamps = make(root)
    os.utime(root, (int(time.time()), int(time.time())))  # as a coarse file system tells it
    stamps.store(listings(root))
    assert differences(stamps, root).folders == [str(root)]
    age(root)
    stamps.store(listings(root))
    assert differences(stamps, root).folders == []


def test_a_folder_that_changes_between_its_listing_and_the_end_of_the_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "r"
    stamps = make(root)
    now = int(time.time())
    os.utime(root, (now, now))
    [listing] = listings(root)
    (root / "new").write_text("x")
    os.utime(root, (now, now))  # the file system keeps whole seconds
    later = time.time_ns() + 3_000_000_000  # a large batch was written
    monkeypatch.setattr(time, "time_ns", lambda: later)
    stamps.store([listing])
    assert differences(stamps, root).folders == [str(root)]


def test_a_look_for_some_names_says_nothing_of_the_others(tmp_path: Path) -> None:
    root = tmp_path / "r"
    stamps = make(root)
    (root / "new").write_text("x")
    [listing] = listings(root)
    stamps.store([FolderListing(listing.path, listing.files, (), listing.stamp, frozenset({"new"}))])
    assert differences(stamps, root).folders == [str(root)]


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    stamps = make(tmp_path / "r", "a")
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        stamps.changes([], token)
