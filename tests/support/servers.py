"""Servers as processes, for tests that look at them from outside: the standalone host, and a ComfyUI with the pack.

``COMFYUI_PATH`` names a ComfyUI checkout and ``COMFYUI_PYTHON`` the Python that runs it. ``COMFYUI_FRONTEND`` names the
files of ComfyUI's page to show in the tests of the browser, if not those installed.
"""

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
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")
FRONTEND = os.environ.get("COMFYUI_FRONTEND")
START_TIMEOUT_S = 300  # a ComfyUI on a busy machine takes minutes
STOP_TIMEOUT_S = 60
# Names that a clone may have, dots and spaces included.
PACK = "comfy-assets v0.1 (copy)"
FOLDERS = ("models/loras", "input", "output", "temp", "user", "custom_nodes")
_CHILD = ROOT / "tests" / "host" / "standalone_child.py"
_NOT_PACKED = (".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")


def standalone_command(*options: str) -> list[str]:
    """``comfy-assets serve`` from the checkout."""
    return [sys.executable, str(_CHILD), "serve", *options]


def comfyui_command(*options: str) -> list[str]:
    """The ComfyUI that there is to test with."""
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), str(Path(COMFYUI or "") / "main.py")]
    return [*command, "--cpu", "--disable-api-nodes", "--listen", "127.0.0.1", *options]


def frontend_options() -> list[str]:
    """Options of a ComfyUI for the page that ``COMFYUI_FRONTEND`` names."""
    return ["--front-end-root", FRONTEND] if FRONTEND else []


def frontend_environment(base: Path, files: str | None = FRONTEND) -> dict[str, str]:
    """Variables that have the standalone host on ``base`` serve the files of a page in place of those installed."""
    if not files:
        return {}
    package = base / "page" / "comfyui_frontend_package"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    if not (package / "static").exists():
        (package / "static").symlink_to(files)
    return {"PYTHONPATH": str(package.parent)}


def copy_pack(folder: Path) -> None:
    """Put the checkout where a ComfyUI looks for node packs; the folder must not be there."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_NOT_PACKED))


def _free_port() -> int:
    """A port that no system gives to those who ask for any: servers of other tests come and go on these."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _heed_interrupts() -> None:
    """Programs that a shell starts in the background are told to ignore Ctrl-C, and so would their children be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class ServerProcess:
    """A server on a base directory, which may have had one before; ``log`` has what all of them printed."""

    def __init__(self, base: Path, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = base / "server.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--base-directory", str(base), "--port", str(self.port)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})},
                cwd=base,
                preexec_fn=None if os.name == "nt" else _heed_interrupts,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )

    @property
    def log(self) -> str:
        """What has been printed."""
        return self._log.read_text(errors="replace")

    def end(self, timeout: float = 20) -> None:
        """End it as its user does. One that does not end says in the log where each of its threads is."""
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # Python's fault handler prints the stacks
            self.process.wait()
            raise AssertionError(f"The server did not end:\n{self.log[-8000:]}") from None

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()


class JsonServer(ServerProcess):
    """A server that is asked for JSON alone, a request at a time."""

    def request(self, path: str, body: Any = None, method: str | None = None, *, user: str | None = None) -> Any:
        """The JSON answer to a GET, or to a POST when there is a body; None for an empty one.

        ``user`` is who asks, where there are several.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **({"Comfy-User": user} if user is not None else {})}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def wait_for(self, path: str, condition: Callable[[Any], Any], *, user: str | None = None) -> Any:
        """The first answer that meets the condition; until the server is up there is none."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                answer = self.request(path, user=user)
                if condition(answer):
                    return answer
            except OSError:
                assert self.process.poll() is None, self.log[-4000:]
            assert time.monotonic() < deadline, path
            time.sleep(0.05)

    def wait_until_up(self, path: str, condition: Callable[[Any], Any], *, user: str | None = None) -> None:
        """Wait for such an answer; a server that gives none is ended, as nobody would end it later."""
        try:
            self.wait_for(path, condition, user=user)
        except BaseException:
            self.kill()
            raise


@dataclass(frozen=True)
class HttpAnswer:
    """A response."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpServer(ServerProcess):
    """A server that is asked for whatever its clients are; killed at the end of its ``with`` block."""

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return HttpAnswer(response.status, response.headers, response.read())

    def get(self, path: str, **headers: str) -> HttpAnswer:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, value: Any, **headers: str) -> HttpAnswer:
        """Send JSON."""
        return self.send("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def wait_for(
        self, path: str, condition: Callable[[Any], bool], timeout_s: float = START_TIMEOUT_S, **headers: str
    ) -> Any:
        """The first JSON answer that meets the condition; until the server is up there is none."""
        deadline = time.monotonic() + timeout_s
        answer: HttpAnswer | None = None
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
        """Send Ctrl-C, on Windows Ctrl-Break; return the seconds until the process has ended."""
        # Python loses an interrupt that comes while it collects garbage, as it does at length when a ComfyUI has begun.
        time.sleep(0.5)
        started = time.monotonic()
        self.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
        self.process.wait(STOP_TIMEOUT_S)
        return time.monotonic() - started


def make_base(base: Path) -> Path:
    """The folders of a base directory, as far as they are not there."""
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    return base


def standalone(base: Path, *options: str, **environment: str) -> HttpServer:
    """``comfy-assets serve`` from the checkout."""
    return HttpServer(make_base(base), standalone_command(*options), environment)


def comfyui(base: Path, *options: str, **environment: str) -> HttpServer:
    """ComfyUI with the pack in custom_nodes."""
    pack = make_base(base) / "custom_nodes" / PACK
    if not pack.exists():  # a server may have run on the base directory before
        copy_pack(pack)
    return plain_comfyui(base, *options, **environment)


def plain_comfyui(base: Path, *options: str, **environment: str) -> HttpServer:
    """ComfyUI with what is in custom_nodes."""
    return HttpServer(make_base(base), comfyui_command(*options), environment)
