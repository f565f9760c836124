"""ComfyUI's own page over a small library: on the standalone host, and on a ComfyUI with the pack.

The page is the installed one, on the standalone host. ``COMFY_ASSETS_PAGES`` names a folder with others, each in a
folder named after its version; with ``COMFYUI_PATH`` they are also shown by that ComfyUI, with its own index of assets
off and on. Needs the packages playwright and comfyui-frontend-package, and a Chromium.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))
from stock_library import make_library, saving  # noqa: E402
from support.servers import (  # noqa: E402
    COMFYUI,
    JsonServer,
    comfyui_command,
    copy_pack,
    frontend_environment,
    standalone_command,
)

PAGES = os.environ.get("COMFY_ASSETS_PAGES")
VERSIONS = ("1.27.10", "1.42.8", "1.49.6", "1.53.10", "1.55.18", "1.58.1")
PACKAGE = "comfyui_frontend_package"
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
TIMEOUT_MS = 60_000
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.Persist": False,
    "Comfy.Workflow.ShowMissingNodesWarning": False,
    "Comfy.VueNodes.Enabled": True,
}
# What pages call errors with any server: files that a user may add, models without metadata or a picture, services on
# the internet, and a message of the server's own index.
USUAL = re.compile(
    r"user\.css|comfy\.templates\.json|/userdata\?dir=|ERR_NAME_NOT_RESOLVED|ERR_INTERNET_DISCONNECTED|ERR_TUNNEL"
    r"|/releases\?|favicon|templates/index|fuse_options|cloud_mode|/experiment/models/preview/|/view_metadata/"
    # The page loads a list again while it is still being loaded, as when its panel is opened.
    r"|AbortError: signal is aborted"
    # Pages up to 1.53 at their start.
    r"|Cannot read properties of undefined \(reading 'id'\)|graph accessed before initialization"
    r"|Content Security Policy|Unknown message type assets\.seed\.enrich_complete"
    r"|/customnode/|/v2/|comfyui_manager|manager/version|/internal/logs"
)


@dataclass(frozen=True)
class Site:
    """A server and the version of its page; "" is the installed one."""

    host: str
    version: str = ""

    @property
    def id(self) -> str:
        return f"{self.host}-{self.version or 'installed'}"

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(map(int, (self.version or importlib.metadata.version("comfyui-frontend-package")).split(".")))

    @property
    def uses_flags(self) -> bool:
        """True if the page reads the library as the flag ``assets`` says."""
        return self.number >= (1, 53)

    def command(self, base: Path) -> list[str]:
        """The command that starts the server."""
        if self.host == "standalone":
            return standalone_command()
        if not (pack := base / "custom_nodes" / "comfy-assets").exists():
            copy_pack(pack)
        own: list[str] = []
        if self.host == "comfyui_with_index":  # whose database is in the checkout otherwise, where one server locks it
            own = ["--enable-assets", "--database-url", f"sqlite:///{base / 'comfyui.db'}"]
        return comfyui_command("--front-end-root", str(Path(PAGES or "") / self.version), *own)

    def environment(self, base: Path) -> dict[str, str]:
        """Variables that have the standalone host find the page."""
        if self.host != "standalone" or not self.version:
            return {}
        return frontend_environment(base, str(Path(PAGES or "") / self.version))


def _sites() -> list[Any]:
    sites = [pytest.param(Site("standalone"), id="standalone-installed")]
    for host in ("standalone", "comfyui", "comfyui_with_index"):
        for version in VERSIONS:
            site = Site(host, version)
            has_page = PAGES is not None and (Path(PAGES) / version / "index.html").is_file()
            reason = f"COMFY_ASSETS_PAGES names no folder with the page {version}"
            marks = [pytest.mark.pages, pytest.mark.skipif(not has_page, reason=reason)]
            if host != "standalone":
                marks.append(pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"))
            sites.append(pytest.param(site, id=site.id, marks=marks))
    return sites


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("playwright", PACKAGE) if importlib.util.find_spec(name) is None]
    reason = f"not installed: {', '.join(missing)}" if missing else "there is no Chromium"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.panel)
            item.add_marker(pytest.mark.skipif(bool(missing) or CHROMIUM is None, reason=reason))


class PageServer(JsonServer):
    """A server on a small library, after its first scan."""

    def __init__(self, site: Site, base: Path) -> None:
        super().__init__(base, site.command(base), site.environment(base))
        self.wait_until_up("/api/assets/seed/status", lambda status: status["status"] == "completed")
        for setting, value in SETTINGS.items():
            self.request(f"/api/settings/{setting}", value)

    def names(self, tag: str) -> list[str]:
        """Return the names of the assets with a tag, the latest first."""
        page = self.request(f"/api/assets?tags_any={tag}&tags_none=missing&limit=500")
        return [asset["name"] for asset in page["assets"]]

    def run(self, prefix: str, color: int, client: str | None = None) -> str:
        """Queue a graph that saves a picture; return the job's id."""
        more = {} if client is None else {"client_id": client}
        return str(self.request("/api/prompt", {"prompt": saving(prefix, color), **more})["prompt_id"])

    def job(self, job_id: str, *states: str) -> Any:
        """Wait until the job has one of the states."""
        return self.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] in states)


@dataclass
class StockPage:
    """ComfyUI's page, its requests to the library, and what its console called errors."""

    page: Any
    server: PageServer
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Take note from now on."""
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("console", lambda each: self._note(_told(each)) if each.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url.partition("/api/")[2]))

    def _note(self, text: str) -> None:
        if not USUAL.search(text):
            self.errors.append(text)

    def tab(self, name: str) -> None:
        """Show a tab of the sidebar, whatever is shown now."""
        self.page.evaluate(
            "name => { const bar = app.extensionManager.sidebarTab;"
            " if (bar.activeSidebarTabId !== name) bar.toggleSidebarTab(name) }",
            name,
        )

    def cards(self) -> list[str]:
        """The names of the pictures that Media Assets shows."""
        found: list[str] = self.page.eval_on_selector_all("[data-asset-id] img", "all => all.map(each => each.alt)")
        return found

    def card(self, name: str) -> Any:
        return self.page.locator("[data-asset-id]").filter(has=self.page.locator(f'img[alt="{name}"]')).first

    def shows(self, name: str) -> None:
        """Wait until a picture of this file is on the page."""
        self.page.locator(f'img[src*="{name}"]').first.wait_for()


def _told(message: Any) -> str:
    return f"{message.text} {message.location.get('url', '')}"


@pytest.fixture(scope="module", params=_sites())
def site(request: pytest.FixtureRequest) -> Site:
    """The server and the page to look at."""
    found: Site = request.param
    return found


@contextmanager
def serving(site: Site, base: Path) -> Iterator[PageServer]:
    server = PageServer(site, base)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A server with a small library."""
    with serving(site, make_library(tmp_path_factory.mktemp("pages"))) as running:
        yield running


@pytest.fixture(scope="module")  # longer, its event loop would be in the way of asynchronous tests
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, server: PageServer) -> Iterator[StockPage]:
    """Open the page, with an empty graph. It is tall, as panels have only what is in sight."""
    context = browser.new_context(viewport={"width": 1280, "height": 3200}, reduced_motion="reduce")
    try:
        context.set_default_timeout(TIMEOUT_MS)
        stock = StockPage(context.new_page(), server)
        stock.watch()
        stock.page.goto(server.url, wait_until="domcontentloaded")
        stock.page.wait_for_function(
            "() => window.app?.extensionManager?.getSidebarTabs?.().length && app.canvas?.graph && app.api.clientId"
        )
        stock.page.evaluate("app.graph.clear()")
        yield stock
    finally:
        if folder := os.environ.get("COMFY_ASSETS_PAGES_SHOTS"):
            stock.page.screenshot(path=str(Path(folder) / f"{time.time():.0f}.png"))
        context.close()


@pytest.fixture(scope="module")
def stock(browser: Any, server: PageServer) -> Iterator[StockPage]:
    """The page, which the tests of a module share: loading it takes seconds."""
    with opened(browser, server) as page:
        yield page


@pytest.fixture
def open_page() -> Any:
    """Opens a server's page; takes a browser and a server."""
    return opened


@pytest.fixture
def serve() -> Any:
    """Serves a folder; takes a site and a folder."""
    return serving
