"""``kill -9`` while a library is indexed for search: the index holds whole assets, and goes on where it was."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FILES = 1500
KILLS = 8


def run(script: str, base: Path) -> subprocess.Popen[str]:
    """A child that has begun."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(script)), str(base)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begin\n"
    return child


def to_the_end(script: str, base: Path) -> float:
    """Seconds the child takes to complete."""
    began = time.monotonic()
    child = run(script, base)
    output, _ = child.communicate(timeout=120)
    assert (child.returncode, output) == (0, "completed\n")
    return time.monotonic() - began


def indexed(base: Path) -> int:
    """How many assets are indexed; those that are, are so with all of their words."""
    with closing(sqlite3.connect(base / "user" / "library.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (upto,) = conn.execute("SELECT indexed_upto FROM search_state").fetchone()
        # Words of fields are marked with characters for private use.
        words = {row for row in conn.execute("SELECT doc, term FROM search_terms") if row[1] < "\ue000"}
        names = conn.execute("SELECT id, name FROM assets WHERE id <= ?", (upto,)).fetchall()
        wanted = {(row, word) for row, name in names for word in ("output", "txt", Path(name).stem)}
        read = {(row, str(int(Path(name).stem[1:]))) for row, name in names}  # the texts in the files
        assert wanted <= words <= wanted | read
        for row, name in names[-3:]:
            found = conn.execute("SELECT rowid FROM search_names WHERE search_names MATCH ?", (f'"{name}"',))
            assert found.fetchall() == [(row,)]
    return len(names)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_killed_while_indexing(tmp_path: Path) -> None:
    chance = random.Random(3)
    for kind in ("models/loras", "input", "output"):
        (tmp_path / kind).mkdir(parents=True)
    for number in range(FILES):
        (tmp_path / "output" / f"w{number:05d}.txt").write_text(str(number))
    to_the_end("scan_child.py", tmp_path)
    assert indexed(tmp_path) == 0
    counts = [0]
    for _ in range(KILLS):
        child = run("search_child.py", tmp_path)
        time.sleep(chance.random() * 0.1)
        child.kill()
        child.communicate()
        counts.append(indexed(tmp_path))
    assert counts == sorted(counts)
    assert any(0 < count < FILES for count in counts)
    to_the_end("search_child.py", tmp_path)
    assert indexed(tmp_path) == FILES
