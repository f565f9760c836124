"""ComfyUI's own page shows jobs from before a restart, in a real browser.

``COMFYUI_PATH`` names a checkout, ``COMFYUI_PYTHON`` the Python that runs it, ``COMFYUI_FRONTEND`` the page's files if
not those installed for that Python. Needs the package playwright and a Chromium.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")
FRONTEND = os.environ.get("COMFYUI_FRONTEND")
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
START_TIMEOUT_S = 120
PAGE_TIMEOUT_MS = 90_000
# Whether the page shows a line of text that the expression matches as a whole.
SAYS = """
expression => {
    const wanted = new RegExp(`^(${expression})$`)
    return document.body.innerText.split("\\n").some(line => wanted.test(line.trim()))
}
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]


class Server:
    """A ComfyUI process on a base directory, which may have had one before."""

    def __init__(self, base: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        command = [os.environ.get("COMFYUI_PYTHON", sys.executable), str(Path(COMFYUI or "") / "main.py"), "--cpu"]
        command += ["--disable-api-nodes", "--listen", "127.0.0.1", "--port", self.url.rpartition(":")[2]]
        command += ["--base-directory", str(base), *(["--front-end-root", FRONTEND] if FRONTEND else [])]
        with (base / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=base)
        self.wait_for("/system_stats", bool)

    def request(self, path: str, body: Any = None) -> Any:
        """The JSON answer to a GET, or to a POST when there is a body; None for an empty one."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def wait_for(self, path: str, condition: Callable[[Any], Any]) -> None:
        """Wait until the answer meets the condition."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                if condition(self.request(path)):
                    return
            except OSError:
                assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, path
            time.sleep(0.1)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(base: Path) -> Iterator[Server]:
    server = Server(base)
    try:
        yield server
    finally:
        server.kill()


def make_base(base: Path, *, with_project: bool) -> Path:
    for name in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / name).mkdir(parents=True)
    if with_project:
        ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")
        shutil.copytree(ROOT, base / "custom_nodes" / "comfy-assets", ignore=ignored)
    return base


def quick(name: str) -> dict[str, Any]:
    """A graph that takes no time."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": name}},
    }


def slow(name: str) -> dict[str, Any]:
    """A graph that takes longer than this test looks at the page."""
    graph = quick(name)
    scaling = {"upscale_method": "lanczos", "height": 2000, "crop": "disabled"}
    for number in range(100):
        source = str(number + 9) if number else "1"
        inputs = {"image": [source, 0], "width": 2000 + number % 2, **scaling}
        graph[str(number + 10)] = {"class_type": "ImageScale", "inputs": inputs}
    graph["2"]["inputs"]["images"] = ["109", 0]
    return graph


@dataclass
class Troubles:
    """What went wrong while a page was open: errors in its own code, and requests that failed."""

    errors: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def watch(self, page: Any) -> None:
        """Take note from now on."""
        page.on("pageerror", lambda error: self.errors.add(str(error)))
        page.on("response", self._look)

    def _look(self, response: Any) -> None:
        if response.status >= 400:
            self.refused.add(f"{response.request.method} {urlsplit(response.url).path} {response.status}")


@contextmanager
def opened(server: Server) -> Iterator[tuple[Any, Troubles]]:
    """The page with its list of jobs open."""
    from playwright.sync_api import sync_playwright

    server.request("/api/settings/Comfy.TutorialCompleted", True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1400})
            page.set_default_timeout(PAGE_TIMEOUT_MS)
            troubles = Troubles()
            troubles.watch(page)
            page.goto(server.url, wait_until="domcontentloaded")
            page.wait_for_function("window.app && window.app.extensionManager")
            # The sidebar's tab of older pages; the button of newer ones, which may show a summary first.
            page.locator('button[aria-label^="Queue"], button:has-text("active")').first.click()
            view_all = page.locator('button:has-text("View all jobs")')
            page.wait_for_timeout(1000)
            if view_all.count():
                view_all.first.click()
            yield page, troubles
        finally:
            browser.close()


def test_jobs_from_before_a_restart(tmp_path: Path) -> None:
    with serving(make_base(tmp_path / "without", with_project=False)) as server, opened(server) as (_, before):
        pass
    base = make_base(tmp_path / "with", with_project=True)
    with serving(base) as server:
        for name in ("first", "second", "third"):
            server.request("/prompt", {"prompt": quick(name)})
        for name in ("cut_short", "back_1", "back_2"):
            server.request("/prompt", {"prompt": slow(name)})
        server.wait_for("/api/jobs?status=completed", lambda page: page["pagination"]["total"] == 3)
        server.wait_for("/api/jobs?status=in_progress", lambda page: page["pagination"]["total"] == 1)
    with serving(base) as server:
        server.wait_for("/api/jobs?status=in_progress", lambda page: page["pagination"]["total"] == 1)
        with opened(server) as (page, troubles):
            for name in ("first", "second", "third"):
                page.wait_for_function("name => document.body.innerHTML.includes(name)", arg=f"{name}_00001_.png")
            for line in ("Failed", "Running", "Pending|Job queued", "2|2 active"):
                page.wait_for_function(SAYS, arg=line)
            page.screenshot(path=str(tmp_path / "page.png"))
    assert troubles.errors <= before.errors
    assert troubles.refused <= before.refused
