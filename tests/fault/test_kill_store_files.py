"""A server that has lost its locks on the store, other processes that close it, and ``kill -9``: nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.servers import JsonServer, standalone_command

_CHILD = Path(__file__).with_name("reading_server_child.py")
_PLAIN = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("SELECT count(*) FROM assets").fetchall()
c.close()
"""
ROUNDS = 5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9, and locks of another kind"),
]


def our_command(base: Path) -> None:
    command = [*standalone_command()[:-1], "status", "--base-directory", str(base)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def another_program(base: Path) -> None:
    store = base / "user" / "__comfy_assets" / "library.db"
    subprocess.run([sys.executable, "-c", _PLAIN, str(store)], check=True)


def somebody(base: Path) -> None:
    (base / "user" / "__comfy_assets" / "library.db-wal").unlink(missing_ok=True)


def names(base: Path) -> set[str]:
    with closing(sqlite3.connect(base / "user" / "__comfy_assets" / "library.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in conn.execute("SELECT name FROM workflows")}


@pytest.mark.parametrize(("interfere", "is_noticed"), [(our_command, False), (another_program, True), (somebody, True)])
def test_all_that_was_acknowledged_is_there(tmp_path: Path, interfere: Callable[[Path], Any], is_noticed: bool) -> None:
    for kind in ("models", "input", "output", "user"):
        (tmp_path / kind).mkdir()
    server = JsonServer(tmp_path, [sys.executable, str(_CHILD), "serve", "--own-page"])
    acknowledged: set[str] = set()

    def save(name: str) -> None:
        body = {"name": name, "workflow_json": {"nodes": [], "links": [], "version": 0.4}}
        assert server.request("/api/workflows", body)["name"] == name
        acknowledged.add(name)

    try:
        server.wait_until_up("/api/workflows", lambda _: True)
        for number in range(ROUNDS):
            save(f"before {number}")
            interfere(tmp_path)
            save(f"after {number}")
        shown = {each["name"] for each in server.request("/api/workflows?limit=50")["data"]}
    finally:
        server.kill()
    assert shown == acknowledged
    assert names(tmp_path) == acknowledged
    assert ("Nothing was lost" in server.log) == is_noticed, server.log
