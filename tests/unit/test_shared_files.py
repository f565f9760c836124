"""Changes of files that other programs have open, with the refusals of Windows emulated on every system."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs import atomic, shared_files
from comfy_assets_node.comfy_assets.fs.shared_files import FileHeldError
from support.sharing import SharingViolation

OPERATIONS: dict[str, Callable[[Path, Path], object]] = {
    "replace": lambda new, old: shared_files.replace(new, old),
    "rename": lambda new, old: shared_files.rename(new, old.with_name("free")),
    "remove": lambda new, old: shared_files.remove(old),
    "read": lambda new, old: shared_files.read_shared(old),
}
CALLS = {"replace": (Path, "replace"), "rename": (Path, "rename"), "remove": (Path, "unlink")}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "WINDOWS", True)
    monkeypatch.setattr(shared_files, "PATIENCE_S", 0.2)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("new", "old"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "new", tmp_path / "old"


def refuse(monkeypatch: pytest.MonkeyPatch, operation: str, number: int, times: int) -> list[int]:
    """Let an operation fail some times; return the list of its calls."""
    calls: list[int] = []
    owner: Any
    owner, name = CALLS.get(operation, (shared_files, "open_shared"))
    real = getattr(owner, name)

    def call(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise SharingViolation(number)
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, call)
    return calls


@pytest.mark.parametrize("number", [5, 32, 33, 1224])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("windows")
def test_a_file_that_is_held_for_a_moment(
    operation: str, number: int, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_files, "PATIENCE_S", 20.0)  # on a busy machine
    calls = refuse(monkeypatch, operation, number, times=3)
    OPERATIONS[operation](*files)
    assert len(calls) == 4


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.usefixtures("windows")
def test_a_file_that_stays_held(operation: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = refuse(monkeypatch, operation, 32, times=1000)
    with pytest.raises(FileHeldError, match="Another program") as caught:
        OPERATIONS[operation](*files)
    assert shared_files.is_in_use(caught.value)
    assert len(calls) > 2
    monkeypatch.undo()
    assert [file.read_bytes() for file in files] == [b"new", b"old"]


@pytest.mark.parametrize("operation", ["replace", "rename"])
@pytest.mark.usefixtures("windows")
def test_what_is_refused_for_good_is_not_repeated(
    operation: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Access is denied for a read-only file and for a folder, however often one tries."""
    files[0].chmod(stat.S_IREAD)
    calls = refuse(monkeypatch, operation, 5, times=1000)
    with pytest.raises(SharingViolation):
        OPERATIONS[operation](*files)
    assert len(calls) == 1


@pytest.mark.usefixtures("windows")
def test_a_read_only_file_is_removed(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    files[1].chmod(stat.S_IREAD)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if not path.stat().st_mode & stat.S_IWRITE:
            raise SharingViolation(5)
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    shared_files.remove(files[1])
    assert not files[1].exists()


@pytest.mark.usefixtures("windows")
def test_what_is_missing_is_told_at_once(tmp_path: Path) -> None:
    for work in (
        lambda: shared_files.replace(tmp_path / "none", tmp_path / "new"),
        lambda: shared_files.remove(tmp_path / "none"),
        lambda: shared_files.read_shared(tmp_path / "none"),
    ):
        with pytest.raises(FileNotFoundError):
            work()
    shared_files.remove(tmp_path / "none", missing_ok=True)


def test_errors_name_the_file(tmp_path: Path) -> None:
    for work in (shared_files.open_shared, shared_files.read_shared, shared_files.change_time):
        with pytest.raises(FileNotFoundError) as caught:
            work(tmp_path / "none")
        assert caught.value.filename == str(tmp_path / "none")


def test_readers_let_others_change_the_file(files: tuple[Path, Path]) -> None:
    """On Windows this fails for files that Python's ``open`` opened."""
    new, old = files
    with shared_files.open_shared(old) as stream:
        shared_files.rename(old, old.with_name("renamed"))
        shared_files.remove(old.with_name("renamed"))
        assert stream.read() == b"old"
    with shared_files.open_shared_raw(new) as raw:
        new.unlink()
        assert raw.read(2) == b"ne"


def test_a_file_is_replaced_while_others_read_it(tmp_path: Path) -> None:
    """270 saves beside a reader, all of which succeed; the reader sees whole contents only."""
    target, stop, seen = tmp_path / "settings.json", threading.Event(), set[bytes]()
    atomic.replace_file(target, b"0" * 5000)

    def read() -> None:
        while not stop.is_set():
            seen.add(shared_files.read_shared(target)[:1])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in range(270):
            atomic.replace_file(target, str(count % 10).encode() * 5000)
    finally:
        stop.set()
        reader.join()
    assert target.read_bytes() == b"9" * 5000
    assert seen <= {str(digit).encode() for digit in range(10)}
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


async def test_requests_are_told_that_the_file_is_open(files: tuple[Path, Path]) -> None:
    from comfy_assets_node.comfy_assets.errors import FileInUseError

    def work() -> None:
        raise FileHeldError(13, "Another program has the file open", os.fspath(files[0]))

    with pytest.raises(FileInUseError) as caught:
        await atomic.run_blocking(work)
    assert caught.value.status == 409
    assert str(files[0]) not in caught.value.message
