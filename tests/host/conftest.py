"""Server processes with the pack: the standalone host, and the ComfyUI that ``COMFYUI_PATH`` names."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")
# Names that a clone may have, dots and spaces included.
PACK = "comfy-assets v0.1 (copy)"
FOLDERS = ("models/loras", "input", "output", "temp", "user", "custom_nodes")
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60

Start = Callable[..., "Server"]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _free_port() -> int:
    """A port that no system gives to those who ask for any: servers of other tests come and go on these."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server process on a base directory; killed at the end of its ``with`` block."""

    def __init__(self, base: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.port = _free_port()
        self.base = base
        self._log = base / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--base-directory", str(base), "--port", str(self.port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=base,
                preexec_fn=None if os.name == "nt" else _heed_interrupts,
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        """Send JSON."""
        return self.send("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def wait_for(
        self, path: str, condition: Callable[[Any], bool], timeout_s: float = START_TIMEOUT_S, **headers: str
    ) -> Any:
        """The first JSON answer that meets the condition; until the server is up there is none."""
        deadline = time.monotonic() + timeout_s
        answer: Answer | None = None
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                answer = self.get(path, **headers)
            except OSError:
                time.sleep(0.05)
                continue
            if answer.status == 200 and condition(answer.json):
                return answer.json
            time.sleep(0.05)
        raise AssertionError(f"{path}: {answer}\n{self.log[-4000:]}")

    def wait_until_up(self) -> None:
        self.wait_for("/system_stats", lambda _: True)

    def wait_until_read(self, **headers: str) -> None:
        """Until its first scan has ended and every file is read."""
        self.wait_for(
            "/api/assets/seed/status", lambda s: (s["status"], s.get("phase")) == ("completed", "idle"), **headers
        )

    def interrupt(self) -> float:
        """Ctrl-C; answers the seconds until the process has ended."""
        # Python loses an interrupt that comes while it collects garbage, as it does at length when a ComfyUI has begun.
        time.sleep(0.5)
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_TIMEOUT_S)
        return time.monotonic() - started


def _heed_interrupts() -> None:
    """Programs that a shell starts in the background are told to ignore Ctrl-C, and so would their children be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def make_base(base: Path) -> Path:
    """The folders of a base directory, as far as they are not there."""
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    return base


def standalone(base: Path, *options: str, **environment: str) -> Server:
    """``comfy-assets serve`` from the checkout."""
    child = str(Path(__file__).with_name("standalone_child.py"))
    return Server(make_base(base), [sys.executable, child, "serve", *options], environment)


def comfyui(base: Path, *options: str, **environment: str) -> Server:
    """ComfyUI with the pack in custom_nodes."""
    copy_pack(make_base(base) / "custom_nodes" / PACK)
    return plain_comfyui(base, *options, **environment)


def plain_comfyui(base: Path, *options: str, **environment: str) -> Server:
    """ComfyUI with what is in custom_nodes."""
    make_base(base)
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), str(Path(COMFYUI or "") / "main.py")]
    return Server(base, [*command, "--cpu", "--disable-api-nodes", "--listen", "127.0.0.1", *options], environment)


def copy_pack(folder: Path) -> None:
    ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")
    shutil.copytree(ROOT, folder, ignore=ignored)


HOSTS = [
    pytest.param(standalone, id="standalone"),
    pytest.param(
        comfyui,
        id="comfyui",
        marks=[
            pytest.mark.comfyui,
            pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
        ],
    ),
]


@pytest.fixture(scope="module", params=HOSTS)
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a server on a base directory, with options and environment variables: each kind of host in turn."""
    chosen: Start = request.param
    return chosen


@pytest.fixture(scope="session")
def start_comfyui() -> Start:
    """Starts a ComfyUI on a base directory, with options and environment variables."""
    return comfyui


@pytest.fixture(scope="session")
def start_plain_comfyui() -> Start:
    """Starts a ComfyUI without the pack."""
    return plain_comfyui


@pytest.fixture(scope="session")
def copied_pack() -> Callable[[Path], None]:
    """Copies the pack to a folder that is not there yet."""
    return copy_pack
