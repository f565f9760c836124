"""ComfyUI processes with and without the project, and their page in a real browser.

``COMFYUI_PATH`` names a checkout, ``COMFYUI_PYTHON`` the Python that runs it, ``COMFYUI_FRONTEND`` the page's files if
not those installed for that Python. Needs the package playwright and a Chromium.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))
from support.servers import COMFYUI, JsonServer, comfyui_command, copy_pack, frontend_options  # noqa: E402

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
# Why a request has no answer when the page itself no longer wants it.
TAKEN_BACK = "net::ERR_ABORTED"
OWN_ADDRESS = re.compile(r"https?://127\.0\.0\.1:\d+")
PAGE_TIMEOUT_MS = 90_000
CHROMIUM_OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"))
        missing = importlib.util.find_spec("playwright") is None
        item.add_marker(pytest.mark.skipif(missing, reason="playwright is not installed"))


class ComfyUIServer(JsonServer):
    """A ComfyUI process on a base directory, which may have had one before."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, comfyui_command(*frontend_options()))
        self.wait_until_up("/system_stats", bool)


@contextmanager
def serving(base: Path) -> Iterator[ComfyUIServer]:
    server = ComfyUIServer(base)
    try:
        yield server
    finally:
        server.kill()


def make_base(base: Path, *, with_project: bool) -> Path:
    for name in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / name).mkdir(parents=True)
    if with_project:
        copy_pack(base / "custom_nodes" / "comfy-assets")
    return base


@dataclass
class Troubles:
    """What went wrong while a page was open, each said without the server's port.

    Errors in its own code, requests that were refused, requests that had no answer, and what its console called errors.
    """

    errors: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    complaints: set[str] = field(default_factory=set)

    def watch(self, page: Any) -> None:
        """Take note from now on."""
        page.on("pageerror", lambda error: self.errors.add(str(error)))
        page.on("response", self._look)
        page.on("requestfailed", self._miss)
        page.on("console", self._hear)

    def beyond(self, other: Troubles) -> dict[str, set[str]]:
        """What is here and not there, as far as there is any, by kind."""
        kinds = {each.name: getattr(self, each.name) - getattr(other, each.name) for each in fields(self)}
        return {name: found for name, found in kinds.items() if found}

    def _look(self, response: Any) -> None:
        if response.status >= 400:
            self.refused.add(f"{response.request.method} {urlsplit(response.url).path} {response.status}")

    def _miss(self, request: Any) -> None:
        if request.failure != TAKEN_BACK:
            self.unanswered.add(f"{request.method} {urlsplit(request.url).path} {request.failure}")

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            path = urlsplit(message.location["url"]).path
            if "Content Security Policy" in message.text:  # of the page's requests too: the panel's module wraps fetch
                path = ""
            self.complaints.add(f"{path}: {OWN_ADDRESS.sub('', message.text)}")


@contextmanager
def opened(server: ComfyUIServer, path: str = "") -> Iterator[tuple[Any, Troubles]]:
    """The page, when it has loaded."""
    from playwright.sync_api import sync_playwright

    server.request("/api/settings/Comfy.TutorialCompleted", True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 1400})
            page.set_default_timeout(PAGE_TIMEOUT_MS)
            troubles = Troubles()
            troubles.watch(page)
            page.goto(server.url + path, wait_until="domcontentloaded")
            page.wait_for_function("window.app && window.app.extensionManager")
            yield page, troubles
        finally:
            browser.close()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractContextManager[ComfyUIServer]]:
    """Starts a ComfyUI in a folder of its name, where it may have been before."""

    def serve(name: str, *, with_project: bool = True) -> AbstractContextManager[ComfyUIServer]:
        base = tmp_path / name
        return serving(base if base.exists() else make_base(base, with_project=with_project))

    return serve


@pytest.fixture
def open_page() -> Callable[..., AbstractContextManager[tuple[Any, Troubles]]]:
    """Opens a server's page, at a path."""
    return opened
