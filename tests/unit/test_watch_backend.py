"""Threads that watch a folder: with the real package, and with one that fails as the real one does."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.assets.index import watcher
from comfy_assets_node.comfy_assets.assets.index.watcher import (
    DirectoryWatch,
    WatchBackend,
    WatchSet,
    load_backend,
)
from comfy_assets_node.comfy_assets.background.interruption import CancelToken
from support.windows import symbolic_links, wine_lacks


@pytest.fixture
def token() -> CancelToken:
    return CancelToken()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, token: CancelToken) -> Iterator[Callable[..., DirectoryWatch]]:
    """WatchSet that look often; all of them end."""
    monkeypatch.setattr(watcher, "STEP_MS", 20)
    monkeypatch.setattr(watcher, "CHECK_S", 0.05)
    started: list[DirectoryWatch] = []

    def start(place: Path, backend: WatchBackend | None = None) -> DirectoryWatch:
        opened = Opened(backend or load_backend() or pytest.skip("needs watchfiles"))
        started.append(DirectoryWatch(str(place), opened, token))
        started[-1].start()
        until(lambda: opened.is_over)
        return started[-1]

    yield start
    token.cancel()
    for thread in started:
        thread.join(5)
        assert not thread.is_alive()


class Opened:
    """A backend that says when it has been opened, or has failed to."""

    def __init__(self, backend: WatchBackend) -> None:
        self.backend, self.is_over = backend, False

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.backend(*arguments)
        finally:
            self.is_over = True


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hear(watch: DirectoryWatch, *paths: Path) -> dict[str, bool]:
    """Wait until something was heard of all these paths; answers what."""
    heard: dict[str, bool] = {}

    def all_heard() -> bool:
        for path, is_change_of_place in watch.drain()[0].items():
            heard[path] = is_change_of_place or heard.get(path, False)
        return {str(path) for path in paths} <= set(heard)

    until(all_heard)
    return heard


def test_what_happens_is_told(tmp_path: Path, watch: Callable[..., DirectoryWatch]) -> None:
    old, new, sub = tmp_path / "old", tmp_path / "new", tmp_path / "sub"
    old.write_text("x")
    watch_backend = watch(tmp_path)
    with old.open("a") as stream:
        stream.write("more")
    heard = hear(watch_backend, old)
    if sys.platform == "linux":
        assert heard == {str(old): False}
    new.write_text("x")
    sub.mkdir()
    old.rename(tmp_path / "renamed")
    heard = hear(watch_backend, old, new, sub, tmp_path / "renamed")
    assert all(heard[str(path)] for path in (old, new, sub, tmp_path / "renamed"))


@pytest.mark.parametrize("replaced", [True, False])
def test_it_ends_when_its_folder_goes(tmp_path: Path, watch: Callable[..., DirectoryWatch], replaced: bool) -> None:
    place = tmp_path / "place"
    place.mkdir()
    watch_backend = watch(place)
    place.rename(tmp_path / "unplugged")
    if replaced:
        place.mkdir()
    watch_backend.join(5)
    assert not watch_backend.is_alive() and watch_backend.problem is None


def test_it_ends_when_a_folder_without_an_inode_goes(
    tmp_path: Path, watch: Callable[..., DirectoryWatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network drives. A watch that stays would hear nothing of the folder that comes back."""
    monkeypatch.setattr(watcher, "identity_at", lambda path: None)
    place = tmp_path / "place"
    place.mkdir()
    thread = watch(place)
    place.rename(tmp_path / "unplugged")
    thread.join(5)
    assert not thread.is_alive() and thread.problem is None


@wine_lacks("refusals to open a folder that is removed while a program watches it: it looks as if it were still there")
def test_a_removed_folder_makes_room_for_another(tmp_path: Path, watch: Callable[..., DirectoryWatch]) -> None:
    """Some file systems of Windows, such as exFAT, keep the name of a removed folder until no program has it open."""
    place = tmp_path / "place"
    place.mkdir()
    thread = watch(place)
    place.rmdir()
    thread.join(5)
    assert not thread.is_alive() and thread.problem is None
    until(lambda: not place.exists())
    place.mkdir()


def test_it_ends_when_asked_to(tmp_path: Path, watch: Callable[..., DirectoryWatch]) -> None:
    watch_backend, other = watch(tmp_path), watch(tmp_path)
    watch_backend.end()
    watch_backend.join(5)
    assert not watch_backend.is_alive() and other.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ("/tmp/caf\u00e9/in/a.png", "/tmp/caf\u00e9/in/a.png"),
        ("/private/tmp/caf\u00e9/in/a.png", "/tmp/caf\u00e9/in/a.png"),
        ("/TMP/cafe\u0301/in/A.png", "/tmp/caf\u00e9/in/A.png"),
        ("/private/Tmp/Caf\u00c9", "/tmp/caf\u00e9"),
        ("/tmp/cafe/a.png", "/tmp/cafe/a.png"),
        ("/elsewhere", "/elsewhere"),
    ],
)
def test_paths_are_those_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, token: CancelToken, reported: str, expected: str
) -> None:
    """FSEvents resolves links, such as /tmp, and spells names as they are on the disk."""
    monkeypatch.setattr(watcher, "real_path", lambda path: Path(f"/private{path}"))
    watch = DirectoryWatch("/tmp/caf\u00e9", lambda *_: None, token)
    watch._note({(1, reported)})
    assert watch.drain() == ({expected: True}, False)


class Failing:
    """A backend that raises when it is made, or when it is asked."""

    def __init__(self, error: Exception, *, at_once: bool) -> None:
        self.error, self.at_once = error, at_once
        self.made, self.closed = 0, 0

    def __call__(self, *_: Any) -> Failing:
        self.made += 1
        if self.at_once:
            raise self.error
        return self

    def watch(self, *_: Any) -> Any:
        raise self.error

    def close(self) -> None:
        self.closed += 1


LIMIT = 'OS file watch limit reached. about ["/library/input"] (Error { kind: MaxFilesWatch })'


@pytest.mark.parametrize(
    ("error", "at_once", "hint"),
    [
        (OSError(LIMIT), True, True),
        (RuntimeError("error in underlying watcher: OS file watch limit reached."), False, True),
        (RuntimeError("Error creating recommended watcher: Too many open files (os error 24)"), True, True),
        (PermissionError("Permission denied (os error 13)"), True, False),
        (RuntimeError("Unable to decode path"), False, False),
    ],
)
def test_a_watch_that_fails_says_why(
    tmp_path: Path, watch: Callable[..., DirectoryWatch], error: Exception, at_once: bool, hint: bool
) -> None:
    backend = Failing(error, at_once=at_once)
    watch_backend = watch(tmp_path, backend)
    watch_backend.join(5)
    assert watch_backend.problem is not None and watch_backend.problem.startswith(str(error))
    assert ("fs.inotify.max_user_watches" in watch_backend.problem) is hint
    assert backend.closed == (0 if at_once else 1)


def test_a_folder_that_goes_while_it_is_opened_is_no_failure(
    tmp_path: Path, watch: Callable[..., DirectoryWatch]
) -> None:
    watch_backend = watch(tmp_path, Failing(FileNotFoundError("gone"), at_once=True))
    watch_backend.join(5)
    assert watch_backend.problem is None


def test_more_than_can_be_kept_is_said_to_be_missed(
    tmp_path: Path, watch: Callable[..., DirectoryWatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "MOST_PATHS", 5)
    thread = watch(tmp_path)
    for number in range(20):
        (tmp_path / str(number)).write_text("x")
    until(lambda: thread.drain()[1])
    assert thread.drain()[1] is False


def test_without_the_package_there_is_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles._rust_notify", None)
    assert load_backend() is None


@symbolic_links
def test_what_happens_behind_a_link_is_told_under_the_links_name(
    tmp_path: Path, watch: Callable[..., DirectoryWatch]
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    watch_backend = watch(tmp_path / "link")
    (tmp_path / "far/a").write_text("x")
    assert set(hear(watch_backend, tmp_path / "link/a")) == {str(tmp_path / "link/a")}


def test_a_place_that_cannot_be_watched_is_told_of_once(
    tmp_path: Path, token: CancelToken, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Failing(OSError(LIMIT), at_once=True)
    watches = WatchSet(backend, token, tmp_path)
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        for _ in range(3):
            watches.update([str(tmp_path), str(tmp_path / "away")])
            watches.join()
        watches.retry()
    assert backend.made == 3
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        f"Changes in {tmp_path} are polled every few seconds, as it cannot be watched: OS file watch limit"
    )


def test_places_are_watched_while_they_are_wanted_and_there(tmp_path: Path, token: CancelToken) -> None:
    watches = WatchSet(load_backend() or pytest.skip("needs watchfiles"), token, tmp_path)
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    watches.update([str(a), str(b)])
    assert watches.counts() == {"watched": 1}
    b.mkdir()
    watches.update([str(a), str(b)])
    assert watches.counts() == {"watched": 2}
    watches.update([str(b)])
    assert watches.counts() == {"watched": 1}
    token.cancel()
    watches.join()
    assert watches.counts() == {"watched": 0}


def test_nothing_on_a_drive_that_can_be_ejected_is_watched(
    tmp_path: Path, token: CancelToken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a drive may also be mounted later at the path of a folder that is watched."""
    caplog.set_level(logging.INFO)
    drive, disk = tmp_path / "drive", tmp_path / "disk"
    drive.mkdir()
    disk.mkdir()
    watches = WatchSet(load_backend() or pytest.skip("needs watchfiles"), token, tmp_path)
    watches.update([str(drive), str(disk)])
    opened = [thread for thread in threading.enumerate() if thread.name == f"comfy-assets-watch {drive}"]
    assert watches.counts() == {"watched": 2} and len(opened) == 1
    monkeypatch.setattr(watcher, "ejectable", lambda folders, store: {str(drive)} & set(folders))
    for _ in range(3):
        watches.update([str(drive), str(disk)])
        assert watches.counts() == {"watched": 1}
    opened[0].join(5)
    assert not opened[0].is_alive()
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        f"Changes in {drive} are polled every few seconds, as watching it would keep its drive from being ejected"
    )
    token.cancel()
    watches.join()
