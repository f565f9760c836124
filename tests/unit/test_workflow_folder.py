"""The stamps of workflow files, by which a later look sees whether one has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.fs import shared_files
from comfy_assets_node.comfy_assets.workflows.folder import WorkflowFolder

LIMIT = 1 << 20


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file that was written in the second that began now, on a file system that keeps whole seconds."""
    path = tmp_path / "a.json"
    path.write_text("first")
    os.utime(path, (int(time.time()), int(time.time())))
    return path


def test_a_file_that_is_written_again_while_its_reading_is_processed(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick of the clock is over by then, but was not when the content was read."""
    folder = WorkflowFolder(written.parent)
    real = shared_files.read_shared

    def read_shared(path: Path) -> Any:
        content, info, later = real(path), written.stat(), time.time_ns() + 5_000_000_000
        written.write_text("other")
        os.utime(written, ns=(info.st_atime_ns, info.st_mtime_ns))
        monkeypatch.setattr(time, "time_ns", lambda: later)
        return content

    monkeypatch.setattr(shared_files, "read_shared", read_shared)
    found = folder.read(written.name, LIMIT)
    assert found is not None
    assert found.content == b"first"
    assert found.stamp != folder.stamp(written.name)


def test_a_file_that_was_written_a_while_ago(written: Path) -> None:
    os.utime(written, (time.time() - 60, time.time() - 60))
    folder = WorkflowFolder(written.parent)
    found = folder.read(written.name, LIMIT)
    assert found is not None
    assert found.stamp == folder.stamp(written.name)
