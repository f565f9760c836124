"""``kill -9`` of the server that downloads, and of the one that it downloads from: the file arrives whole, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import safetensors
from support.servers import ROOT, JsonServer, _free_port, make_base, standalone_command
from support.source_server import same_bytes

pytestmark = pytest.mark.slow

SIZE = 16 << 20  # five seconds at the pace of the source
LORAS = "models/loras"
ENVIRONMENT = {
    "COMFY_ASSETS_DOWNLOAD_PRIVATE": "1",
    "COMFY_ASSETS_DOWNLOAD_IDLE_SECONDS": "2",
    "COMFY_ASSETS_SCAN": "0",
}


class Source:
    """A process that serves one file slowly, at the same port each time it is started."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = _free_port()
        self.content = safetensors(elements=SIZE // 2)[:-SIZE] + same_bytes(SIZE)
        (folder / "content").write_bytes(self.content)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = ROOT / "tests" / "support" / "source_server.py"
        self.process = subprocess.Popen([sys.executable, str(program), str(self.folder), str(self.port)])

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            self.process.wait()

    @property
    def ranges(self) -> list[str | None]:
        """The ranges of the requests for the content, without the one that asks for the size."""
        lines = (self.folder / "requests").read_text().splitlines()
        return [wanted for method, wanted in map(json.loads, lines) if method == "GET" and wanted != "bytes=0-0"]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path / "source")
    source.start()
    yield source
    source.kill()


def until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def start(base: Path) -> JsonServer:
    server = JsonServer(make_base(base), standalone_command(), ENVIRONMENT)
    server.wait_until_up("/api/assets", lambda _: True)
    return server


def received(base: Path) -> int:
    """The size of the partial file."""
    return sum(path.stat().st_size for path in (base / LORAS).glob(".*.part"))


def test_both_servers_are_killed(tmp_path: Path, source: Source) -> None:
    base = tmp_path / "base"
    server = start(base)
    try:
        body = {"source_url": f"http://127.0.0.1:{source.port}/ink.safetensors", "tags": ["models", "loras"]}
        task = until(lambda: ask(server, body), "the source is not up")["task_id"]
        until(lambda: received(base) > 5 << 20, "nothing arrives")
        server.kill()
        assert [path.name for path in (base / LORAS).iterdir() if not path.name.startswith(".")] == []
        server = start(base)
        until(lambda: received(base) > 8 << 20, "it does not go on after the kill of the server")
        assert server.request("/api/assets/download", body)["task_id"] == task
        source.kill()
        time.sleep(0.5)
        source.start()
        ended = server.wait_for(f"/api/tasks/{task}", lambda answer: answer["status"] not in ("created", "running"))
        assert ended["status"] == "completed", ended
        assert {path.name: path.read_bytes() for path in (base / LORAS).iterdir()} == {
            "ink.safetensors": source.content
        }
        assert server.request("/api/assets")["total"] == 1
        first, *others = source.ranges
        assert first is None
        starts = [int(each.removeprefix("bytes=").removesuffix("-")) for each in others if each is not None]
        assert len(starts) == len(others) >= 2 and starts == sorted(starts) and starts[0] > 0
        assert source.port and "Traceback" not in server.log
    finally:
        server.kill()


def ask(server: JsonServer, body: dict[str, Any]) -> Any:
    """The answer to the request for the download, or None while the source does not answer."""
    try:
        return server.request("/api/assets/download", body)
    except OSError:
        return None
