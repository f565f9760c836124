"""The server under load: a process that is killed and started again on the same port and the same folders."""

from __future__ import annotations

import asyncio
import json
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
from outage import Outage
from users import EVERYBODY

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ROOT / "tests" / "host" / "standalone_child.py"
STANDALONE = Path(__file__).with_name("standalone_child.py")
PACKS = Path(__file__).with_name("packs")
FOLDERS = ("models/loras", "models/checkpoints", "input", "output", "temp", "custom_nodes")
START_S = 180.0
UPLOAD_S = 10.0  # an upload that was given up is over by then
NOT_PACKED = (".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")


class Server:
    """A server on a base directory.

    ``kills`` counts how often it was, ``started`` is when it was last (s since 1970), and ``up`` is set while it is
    known to answer. ``packs`` are the test packs that a start loads, and ``outage`` tells when the store cannot be
    written.
    """

    def __init__(
        self,
        base: Path,
        comfyui: Path | None = None,
        python: str = sys.executable,
        users: tuple[str, ...] = (EVERYBODY,),
    ) -> None:
        """The standalone host, or the ComfyUI in a checkout. Makes the folders; begins nothing."""
        self.base = base
        self.users = users
        self.kills = 0
        self.started = 0.0
        self.up = asyncio.Event()
        self.outage = Outage()
        self.uploading: dict[str, float] = {}  # names of files that are being uploaded, and when that began
        self.cut: set[str] = set()  # those of which a kill may have left the file alone, which is everybody's then
        self.packs: set[str] = {"load_waiting"}
        self.quiet = asyncio.Lock()  # held where no job may be interrupted that nobody named
        self.is_comfyui = comfyui is not None
        for name in FOLDERS:
            (base / name).mkdir(parents=True, exist_ok=True)
        for user in users:
            self.workflows_of(user).mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        start = [python, str(comfyui / "main.py"), "--cpu", "--disable-api-nodes"] if comfyui is not None else []
        if comfyui is not None:
            shutil.copytree(ROOT, base / "custom_nodes" / "comfy-assets", ignore=shutil.ignore_patterns(*NOT_PACKED))
        self._command = start or [sys.executable, str(STANDALONE), "serve"]
        if users != (EVERYBODY,):
            self._command.append("--multi-user")
            (base / "user" / "users.json").write_text(json.dumps({user: user for user in users}))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Return the folder of the store."""
        return self.base / "user" / "__comfy_assets"

    @property
    def faults(self) -> int:
        """Return a number that is another one after each kill, and after each beginning and end of an outage."""
        return self.kills + self.outage.changes

    def workflows_of(self, user: str) -> Path:
        """Return the folder of a user's workflow files."""
        return self.base / "user" / (user or "default") / "workflows"

    def _place_packs(self) -> None:
        """Have the folder of packs hold the test packs that are wanted, and no others."""
        for pack in PACKS.iterdir():
            placed = self.base / "custom_nodes" / pack.name
            shutil.rmtree(placed, ignore_errors=True)
            if pack.name in self.packs:
                shutil.copytree(pack, placed, ignore=shutil.ignore_patterns("__pycache__"))

    def start(self) -> None:
        """Begin; ``wait_until_up`` tells when it answers."""
        self._place_packs()
        self.started = time.time()
        options = ["--base-directory", str(self.base), "--port", str(self.port)]
        with (self.base / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log, cwd=self.base)

    def kill(self) -> None:
        """End it without any notice."""
        self.up.clear()
        self.kills += 1
        self.cut |= {name for name, began in self.uploading.items() if began > time.monotonic() - UPLOAD_S}
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
            str(COMMANDS),
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
