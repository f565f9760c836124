"""A server that is killed while it moves many files into the trash, or out of it: no file is lost, and no asset."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.files import picture
from support.servers import JsonServer, standalone_command

COUNT = 60
MOVED = (2, 25)  # files, when the server is killed
HOME = "output/kept"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")]


def start(base: Path) -> JsonServer:
    server = JsonServer(base, standalone_command("--own-page"))
    server.wait_until_up("/api/assets/seed/status", lambda status: status["status"] == "completed")
    return server


def pages(server: JsonServer, path: str, key: str) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = server.request(f"{path}?limit=500{cursor}")
        found += page[key]
        if not page["has_more"]:
            return found
        cursor = f"&after={page['next_cursor']}"


def check(server: JsonServer, base: Path, before: dict[str, Any]) -> tuple[list[str], list[str]]:
    """See that each asset is in its place with its file, or in the trash with its file; return the ids of both."""
    listed = {asset["id"]: asset for asset in pages(server, "/api/assets", "assets")}
    deleted = {entry["id"]: entry for entry in pages(server, "/api/trash", "entries")}
    assert listed.keys() | deleted.keys() == before.keys() and not listed.keys() & deleted.keys()
    for asset_id, asset in listed.items():
        assert (base / asset["file_path"]).read_bytes() == before[asset_id]["content"], asset
        assert "missing" not in asset["tags"] and asset["user_metadata"] == {"rating": 4}
    for asset_id, entry in deleted.items():
        assert entry["kind"] == "trashed" and not (base / entry["file_path"]).exists(), entry
        (stored,) = (base / "user/__comfy_assets/trash" / asset_id).iterdir()
        assert stored.read_bytes() == before[asset_id]["content"]
    return [*listed], [*deleted]


def kill_during(server: JsonServer, action: str, ids: list[str], count: int) -> None:
    """Start an action on many assets, and kill the server when so many files have moved."""
    home = server.base / HOME
    before = len(os.listdir(home))
    server.request("/api/assets/batch", {"action": action, "ids": ids, "wait": 0})
    deadline = time.monotonic() + 120
    # The folder tells it: requests would slow the server down.
    while abs(len(os.listdir(home)) - before) < min(count, len(ids)):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    server.kill()


def test_no_file_is_lost(tmp_path: Path) -> None:
    for kind in ("models", "input", HOME, "user"):
        (tmp_path / kind).mkdir(parents=True)
    for number in range(COUNT):
        (tmp_path / HOME / f"{number:03}.png").write_bytes(picture(number))
    server = start(tmp_path)
    try:
        server.request("/api/assets/batch", {"action": "rate", "rating": 4, "filter": {}, "wait": 10})
        before = {
            asset["id"]: {"content": (tmp_path / asset["file_path"]).read_bytes()}
            for asset in pages(server, "/api/assets", "assets")
        }
        assert len(before) == COUNT
        interrupted = 0
        for number in range(len(MOVED)):
            for action in ("trash", "restore"):
                listed, deleted = check(server, tmp_path, before)
                kill_during(server, action, listed if action == "trash" else deleted, MOVED[number])
                server = start(tmp_path)
                left, gone = check(server, tmp_path, before)
                interrupted += bool(left and gone)
        assert interrupted > 0  # in the middle, at least once
        _, gone = check(server, tmp_path, before)
        if gone:
            server.request("/api/assets/batch", {"action": "restore", "ids": gone, "wait": 10})
        server.wait_for("/api/trash?limit=1", lambda page: page["total"] == 0)
        assert len(check(server, tmp_path, before)[0]) == COUNT
        assert sorted(path.name for path in (tmp_path / HOME).iterdir()) == [f"{n:03}.png" for n in range(COUNT)]
    finally:
        server.kill()
