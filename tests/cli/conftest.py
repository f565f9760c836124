"""A base directory with real files, and a way to run the command on it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli import main

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class Ran:
    """The result of a run of the command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Parse the last line of the output."""
        return json.loads(self.out.splitlines()[-1])


@dataclass(frozen=True)
class Row:
    """The record of a file in the store."""

    size: int
    mtime_ns: int
    inode: int
    state: int
    missing: int
    hash: bytes | None


@dataclass
class Base:
    """A base directory, and a way to run the command on it."""

    path: Path
    capture: pytest.CaptureFixture[str]

    def write(self, relative: str, content: bytes, days_old: float = 1) -> Path:
        """Write a file that was last changed so long ago."""
        path = self.path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.age(relative, days_old)
        return path

    def age(self, relative: str, days_old: float) -> None:
        """Let a file have been changed last so long ago: the same time whenever it is asked for in one test."""
        stamp = self.now_ns - int(days_old * DAY_NS)
        os.utime(self.path / relative, ns=(stamp, stamp))

    def __post_init__(self) -> None:
        self.now_ns = time.time_ns()

    def run(self, *arguments: str) -> Ran:
        """Run the command on this base directory."""
        self.capture.readouterr()
        status = main([*arguments, "--base-directory", str(self.path)])
        return Ran(status, *self.capture.readouterr())

    def scanned(self) -> Base:
        """Scan without problems, and return the base directory."""
        assert self.run("scan").status == 0
        return self

    @property
    def store(self) -> Path:
        """Return the path of the store."""
        return self.path / "user" / "__comfy_assets" / "library.db"

    def query(self, sql: str, *parameters: Any) -> list[Any]:
        """Rows of the store; a statement that writes is committed."""
        with closing(sqlite3.connect(self.store, isolation_level=None)) as conn:
            return conn.execute(sql, parameters).fetchall()

    def row(self, relative: str) -> Row:
        """The record of a file in the store."""
        path = self.path / relative
        found = self.query(
            "SELECT f.size, f.mtime_ns, f.inode, f.state, f.missing, c.hash FROM files f"
            " JOIN folders d ON d.id = f.folder_id JOIN assets a ON a.id = f.id"
            " LEFT JOIN contents c ON c.id = a.content_id WHERE d.path = ? AND f.name = ?",
            str(path.parent),
            path.name,
        )
        assert len(found) == 1, relative
        return Row(*found[0])

    def everything(self) -> dict[str, list[Any]]:
        """Every row of the library's tables."""
        tables = ("assets", "files", "folders", "contents", "tag_sets", "tasks", "trash")
        return {table: self.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}

    def relative(self, path: str) -> str:
        """Return a path as the tests name files."""
        return Path(path).relative_to(self.path).as_posix()

    def hidden(self) -> list[str]:
        """Files with hidden names, of which no command may leave any."""
        return [path.name for path in self.path.rglob(".*")]


@pytest.fixture
def base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Base:
    """An empty base directory."""
    for kind in ("models/checkpoints", "models/loras", "input", "output", "user"):
        (tmp_path / kind).mkdir(parents=True)
    return Base(tmp_path, capsys)


class Terminal(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def someone_says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let somebody sit at the terminal and answer the question."""
    return lambda answer: monkeypatch.setattr("sys.stdin", Terminal(answer))


@pytest.fixture(autouse=True)
def nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard input is no terminal, however the tests are run."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    yield
