"""Flushing to the disk: with the call of macOS, emulated, and the plain one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.fs import atomic, partial_file


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The handles that were flushed by the plain call."""
    handles: list[int] = []
    monkeypatch.setattr(os, "fsync", handles.append)
    return handles


def test_without_a_call_for_drives(plain: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_flush_drive", None)
    atomic.fsync(5)
    assert plain == [5]


def test_the_drive_is_flushed(plain: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    drives: list[int] = []
    monkeypatch.setattr(atomic, "_flush_drive", drives.append)
    atomic.fsync(5)
    assert (drives, plain) == ([5], [])


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOTTY, errno.EINVAL, errno.EIO])
def test_a_drive_that_cannot_be_flushed(plain: list[int], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(atomic, "_flush_drive", failing(number))
    atomic.fsync(5)
    assert plain == [5]


def test_a_disk_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_flush_drive", failing(errno.EIO))
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError):
        atomic.fsync_if_possible(5)


def failing(number: int) -> Callable[[int], object]:
    def fail(_: int) -> object:
        raise OSError(number, os.strerror(number))

    return fail


def test_what_users_made_is_flushed_to_the_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(atomic, "_flush_drive", lambda handle: flushed.append(os.fstat(handle).st_size))
    atomic.write_new(tmp_path / "new", lambda stream: stream.write(b"new"))
    atomic.replace_file(tmp_path / "new", b"replaced")
    atomic.copy_to_volume(tmp_path / "new", tmp_path / "copy")
    received = partial_file.PartialFile(tmp_path)
    received.write([b"received"])
    received.finish()
    assert flushed == [len(b"new"), len(b"replaced"), len(b"replaced"), len(b"received")]
