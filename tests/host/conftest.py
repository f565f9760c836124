"""Server processes with the pack: the standalone host, and the ComfyUI that ``COMFYUI_PATH`` names."""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
from server_process import COMFYUI, START_TIMEOUT_S, ServerProcess, comfyui_command, copy_pack, standalone_command

# Names that a clone may have, dots and spaces included.
PACK = "comfy-assets v0.1 (copy)"
FOLDERS = ("models/loras", "input", "output", "temp", "user", "custom_nodes")
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


class Server(ServerProcess):
    """A server that is asked for whatever its clients are; killed at the end of its ``with`` block."""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

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
        while time.monotonic() < deadline and self.process.poll() is None:
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
            "/api/assets/seed/status",
            lambda s: (s["status"], s.get("phase")) == ("completed", "idle"),
            START_TIMEOUT_S,
            **headers,
        )

    def interrupt(self) -> float:
        """Ctrl-C; answers the seconds until the process has ended."""
        # Python loses an interrupt that comes while it collects garbage, as it does at length when a ComfyUI has begun.
        time.sleep(0.5)
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_TIMEOUT_S)
        return time.monotonic() - started


def make_base(base: Path) -> Path:
    """The folders of a base directory, as far as they are not there."""
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    return base


def standalone(base: Path, *options: str, **environment: str) -> Server:
    """``comfy-assets serve`` from the checkout."""
    return Server(make_base(base), standalone_command(*options), environment)


def comfyui(base: Path, *options: str, **environment: str) -> Server:
    """ComfyUI with the pack in custom_nodes."""
    copy_pack(make_base(base) / "custom_nodes" / PACK)
    return plain_comfyui(base, *options, **environment)


def plain_comfyui(base: Path, *options: str, **environment: str) -> Server:
    """ComfyUI with what is in custom_nodes."""
    return Server(make_base(base), comfyui_command(*options), environment)


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
