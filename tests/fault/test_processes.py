"""Processes that end in the middle of work, and processes that share a store."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
Start = Callable[..., "subprocess.Popen[str]"]


def _heed_interrupts() -> None:
    """Programs that a shell starts in the background are told to ignore Ctrl-C, and so would their children be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start one of the children beside this file; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts if os.name != "nt" else None,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[Any]) -> str:
    assert process.stdout is not None
    return str(process.stdout.readline()).strip()


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("activity", ["held", "walking", "following"])
@pytest.mark.parametrize("ending", ["returns", "interrupted", "asyncio"])
def test_a_process_ends_at_once_whatever_is_under_way(tmp_path: Path, start: Start, ending: str, activity: str) -> None:
    if activity == "following":
        pytest.importorskip("watchfiles")
    for number in range(100):
        folder = tmp_path / "output" / str(number)
        folder.mkdir(parents=True)
        (folder / "image.png").write_bytes(b"%d" % number)
    for kind in ("models/loras", "input"):
        (tmp_path / kind).mkdir(parents=True)
    (tmp_path / "input" / "a").write_bytes(b"a")
    child = start("ending_child.py", str(tmp_path), ending, activity)
    assert line_of(child) == "ready", child.communicate()[1]
    began = time.monotonic()
    if ending != "returns":
        child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert time.monotonic() - began < 4  # the machine may be busy
    if ending != "asyncio":
        assert (child.returncode, errors) == (0, "")
    with closing(sqlite3.connect(tmp_path / "user" / "library.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_two_processes_may_make_the_store_at_once(tmp_path: Path, start: Start) -> None:
    children = [start("open_store_child.py") for _ in "ab"]
    assert [line_of(c) for c in children] == ["ready", "ready"]
    for number in range(20):
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{tmp_path / str(number) / 'library.db'}\n")
        for child in children:
            assert child.stdin is not None
            child.stdin.flush()
        assert [line_of(c) for c in children] == ["opened", "opened"]
        with closing(sqlite3.connect(tmp_path / str(number) / "library.db")) as conn:
            assert conn.execute("PRAGMA user_version").fetchone()[0] > 0
