"""Servers as processes, for tests that look at them from outside: the standalone host, and a ComfyUI with the pack.

``COMFYUI_PATH`` names a ComfyUI checkout and ``COMFYUI_PYTHON`` the Python that runs it.
"""

from __future__ import annotations

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
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMFYUI = os.environ.get("COMFYUI_PATH")
START_TIMEOUT_S = 120
_CHILD = ROOT / "tests" / "host" / "standalone_child.py"
_NOT_PACKED = (".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")


def standalone_command(*options: str) -> list[str]:
    """``comfy-assets serve`` from the checkout."""
    return [sys.executable, str(_CHILD), "serve", *options]


def comfyui_command(*options: str) -> list[str]:
    """The ComfyUI that there is to test with."""
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), str(Path(COMFYUI or "") / "main.py")]
    return [*command, "--cpu", "--disable-api-nodes", "--listen", "127.0.0.1", *options]


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
                env={**os.environ, **(environment or {})},
                cwd=base,
                preexec_fn=None if os.name == "nt" else _heed_interrupts,
            )

    @property
    def log(self) -> str:
        """What has been printed."""
        return self._log.read_text(errors="replace")

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
