"""The server under load: a process that is killed and started again on the same port and the same folders."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[3]
CHILD = ROOT / "tests" / "host" / "standalone_child.py"
FOLDERS = ("models/loras", "models/checkpoints", "input", "output", "temp", "user/default/workflows", "custom_nodes")
START_S = 180.0
NOT_PACKED = (".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")


class Server:
    """A server on a base directory.

    ``kills`` counts how often it was, ``started`` is when it was last (s since 1970), and ``up`` is set while it is
    known to answer.
    """

    def __init__(self, base: Path, comfyui: Path | None = None, python: str = sys.executable) -> None:
        """The standalone host, or the ComfyUI in a checkout. Makes the folders; begins nothing."""
        self.base = base
        self.kills = 0
        self.started = 0.0
        self.up = asyncio.Event()
        self.is_comfyui = comfyui is not None
        for name in FOLDERS:
            (base / name).mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        start = [python, str(comfyui / "main.py"), "--cpu", "--disable-api-nodes"] if comfyui is not None else []
        if comfyui is not None:
            shutil.copytree(ROOT, base / "custom_nodes" / "comfy-assets", ignore=shutil.ignore_patterns(*NOT_PACKED))
        self._command = start or [sys.executable, str(CHILD), "serve"]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def workflows(self) -> Path:
        """The folder of its user's workflow files."""
        return self.base / "user" / "default" / "workflows"

    def start(self) -> None:
        """Begin; ``wait_until_up`` tells when it answers."""
        self.started = time.time()
        options = ["--base-directory", str(self.base), "--port", str(self.port)]
        with (self.base / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log, cwd=self.base)

    def kill(self) -> None:
        """End it without any notice."""
        self.up.clear()
        self.kills += 1
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def wait_until_up(self) -> None:
        """Until it answers. Raises RuntimeError when it has ended, or does not answer in time."""
        deadline = time.monotonic() + START_S
        async with aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=5)) as session:
            while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
                with suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError):
                    async with session.get("/health") as response:
                        if response.status == 200:
                            self.up.set()
                            return
                await asyncio.sleep(0.05)
        raise RuntimeError(f"the server does not come up\n{self.log[-4000:]}")

    async def command(self, words: Sequence[str]) -> tuple[int, str]:
        """Run ``comfy-assets`` on its folders, while it runs; answers the status and what was printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHILD),
            *words,
            "--base-directory",
            str(self.base),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    @property
    def log(self) -> str:
        """What it has printed, in all its lives."""
        return (self.base / "server.log").read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
