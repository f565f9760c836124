"""Fixtures for the panel in a real browser: ComfyUI's own page on the standalone host, with a small library.

``COMFYUI_PATH`` (and ``COMFYUI_PYTHON``) name a real ComfyUI to look at instead, ``COMFYUI_FRONTEND`` the files of
another version of the page.
Needs the packages playwright, axe-playwright-python and comfyui-frontend-package, and a Chromium; skipped without.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))
from page_scripts import ON_CANVAS  # noqa: E402
from panel_library import make_library  # noqa: E402
from support.servers import (  # noqa: E402
    COMFYUI,
    JsonServer,
    comfyui_command,
    copy_pack,
    frontend_environment,
    frontend_options,
    standalone_command,
)

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
PACKAGES = ("playwright", "axe_playwright_python", "comfyui_frontend_package")
TAB = "comfy-assets"
TIMEOUT_MS = 60_000
POLL_MS = 2000
# A name that leads to this machine but is not localhost: pages there are no secure contexts.
OTHER_HOST = "comfy-lan"
STANDALONE_ONLY = {"--own-page"}
# The processor draws WebGL alone. With the whole page drawn by SwiftShader, a frame takes seconds on a busy machine.
BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1",
]
# Dialogs of the page would cover the panel.
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Workflow.ShowMissingNodesWarning": False}
# Close dialogs, details and notifications, and reset every filter.
RESET = """
() => {
    const root = document.querySelector('.ca-root')
    const click = selector => root.querySelectorAll(selector).forEach(each => each.click())
    const put = (element, value, event) => { // what is as it should be loads no list again
        if (element.value === value) return
        element.value = value
        element.dispatchEvent(new Event(event))
    }
    globalThis.dispatchEvent(new Event('blur')) // closes menus
    document.querySelectorAll('dialog').forEach(each => each.close())
    click('.ca-trash:not([hidden]) .ca-detail-header > .ca-plain')
    click('.ca-detail:not([hidden]) .ca-plain:has([d^="M15 5"])')
    click('.ca-notification .ca-icon-button, .ca-upload .ca-icon-button')
    click('[role=tab]:first-child')
    click('.ca-selection:not([hidden]) [aria-label="Clear selection"]')
    click('.ca-toolbar-row [aria-pressed=true], .ca-toolbar [aria-expanded=true]')
    click('.ca-filtered:not([hidden]) button, .ca-place:not([hidden]) > button:last-child')
    root.querySelectorAll('.ca-toolbar-row select').forEach(each => put(each, each.options[0].value, 'change'))
    document.activeElement.blur()
    root.querySelectorAll('input[type=search]').forEach(each => put(each, '', 'input'))
}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    reason = f"not installed: {', '.join(missing)}" if missing else "there is no Chromium"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.panel)
            item.add_marker(pytest.mark.skipif(bool(missing) or CHROMIUM is None, reason=reason))


def _command(base: Path, options: tuple[str, ...]) -> list[str]:
    """Return the command of the standalone host, or of the ComfyUI that ``COMFYUI_PATH`` names."""
    if not COMFYUI or set(options) & STANDALONE_ONLY:
        return standalone_command(*options)
    copy_pack(base / "custom_nodes" / "comfy-assets")
    return comfyui_command(*frontend_options(), *options)


class PanelServer(JsonServer):
    """``comfy-assets serve`` as a process on a folder of its own, after its first scan.

    ``users`` are the ids by name where ``names`` are given: then the server tells users apart.
    """

    def __init__(self, base: Path, *options: str, names: Sequence[str] = ()) -> None:
        command = _command(base, (*options, *(["--multi-user"] if names else [])))
        super().__init__(base, command, {} if COMFYUI else frontend_environment(base))
        self.users = {name: self._add_user(name) for name in names}
        self.wait_until_up(
            "/api/assets/seed/status", lambda status: status["status"] == "completed", user=self._anybody
        )
        for setting, value in SETTINGS.items():
            for user in self.users.values() or [None]:
                self.request(f"/api/settings/{setting}", value, user=user)

    @property
    def _anybody(self) -> str | None:
        return next(iter(self.users.values()), None)

    def _add_user(self, name: str) -> str:
        self.wait_until_up("/api/users", lambda found: "users" in found)
        return str(self.request("/api/users", {"username": name}))

    def asset(self, name: str, *, user: str | None = None) -> Any:
        """Return the asset with this name."""
        (found,) = self.request(f"/api/assets?name_contains={quote(name)}", user=user)["assets"]
        return self.request(f"/api/assets/{found['id']}", user=user)

    def run(self, graph: Any, *, user: str | None = None) -> str:
        """Queue a graph, wait for its end, and return the job's id."""
        job = self.request("/api/prompt", {"prompt": graph}, user=user)["prompt_id"]
        self.wait_for(f"/api/jobs/{job}", lambda body: body["status"] not in ("pending", "in_progress"), user=user)
        return str(job)


@contextmanager
def serving(base: Path, *options: str, names: Sequence[str] = ()) -> Iterator[PanelServer]:
    server = PanelServer(base, *options, names=names)
    try:
        yield server
    finally:
        server.end()


@dataclass
class Panel:
    """The open page and the panel in it."""

    page: Any
    server: PanelServer
    errors: list[str] = field(default_factory=list)
    is_open: bool = False

    def note(self, error: Any) -> None:
        """Record a script error: before the panel is open only those of the pack, as old pages start with errors."""
        if self.is_open or "/extensions/comfy-assets/" in (error.stack or ""):
            self.errors.append(f"{error.message}\n{error.stack}")

    @property
    def root(self) -> Any:
        return self.page.locator(".ca-root").first

    def open_tab(self) -> None:
        """Open the panel's sidebar tab as soon as the page has it."""
        self.page.wait_for_function(
            "tab => window.app?.extensionManager?.getSidebarTabs?.().some(each => each.id === tab)", arg=TAB
        )
        self.is_open = True
        self.page.evaluate("tab => app.extensionManager.sidebarTab.toggleSidebarTab(tab)", TAB)

    def show(self) -> None:
        """Open the panel's sidebar tab and wait for the panel."""
        self.open_tab()
        self.root.get_by_role("tablist").wait_for()

    def tab(self, name: str) -> None:
        """Show a tab."""
        self.root.get_by_role("tab", name=name).click()

    def button(self, name: str) -> Any:
        return self.root.get_by_role("button", name=name, exact=True)

    def options(self) -> Any:
        """Return the visible entries of the current tab."""
        return self.root.locator(".ca-tab-panel:not([hidden]) .ca-cell:not([hidden])")

    def option(self, text: str) -> Any:
        return self.options().filter(has_text=text).first

    def open_workflow(self, name: str) -> None:
        """Find a saved workflow and show its details."""
        self.tab("Workflows")
        self.root.get_by_label("Search workflows by name").fill(name)
        self.options().nth(1).wait_for(state="detached")
        self.option(name).click()

    def canvas_shows(self, text: str) -> None:
        """Wait until a node on the page's canvas shows this text."""
        self.page.wait_for_function(ON_CANVAS, arg=text)

    def says(self, text: str) -> None:
        """Wait for a notification with this text."""
        self.root.locator(".ca-notifications", has_text=text).wait_for()

    def count_is(self, count: int, *, timeout_ms: int = TIMEOUT_MS) -> None:
        """Wait until the library lists this many assets, even if details cover the list."""
        total = self.root.locator(".ca-total", has_text=re.compile(rf"^{count} assets?$"))
        total.wait_for(state="attached", timeout=timeout_ms)

    def lists_everything(self) -> None:
        """Wait until the library lists as many assets as the server has, which may be finding or losing files still."""
        from playwright.sync_api import TimeoutError as NotInTime

        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while True:
            total = self.server.request("/api/assets?limit=1&exclude_tags=missing")["total"]
            try:
                self.count_is(total, timeout_ms=POLL_MS)
            except NotInTime:
                assert time.monotonic() < deadline, f"the panel does not list {total} assets"
            else:
                return


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PanelServer]:
    """A server with a small library. Tests that change it undo the change, or look only at their own assets."""
    with serving(make_library(tmp_path_factory.mktemp("library"))) as running:
        yield running


@pytest.fixture(scope="session")
def chromium_path() -> str | None:
    """The Chromium to launch, or None."""
    return CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, server: PanelServer, *, url: str = "", user: str = "", **options: Any) -> Iterator[Panel]:
    """Open ComfyUI's page with the panel, at the server's address or another, as a user if there are several.

    Errors of the page's code fail the test.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce", **options)
    try:
        context.set_default_timeout(TIMEOUT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        panel = Panel(context.new_page(), server)
        panel.page.on("pageerror", panel.note)
        if user:
            context.add_init_script(f"localStorage['Comfy.userId'] = {json.dumps(user)}")
        panel.page.goto(url or server.url, wait_until="domcontentloaded")
        panel.show()
        yield panel
        assert panel.errors == []
    finally:
        context.close()


@contextmanager
def opened_by_name(browser: Any, server: PanelServer, path: str = "/") -> Iterator[Panel]:
    """Open the panel's own page by plain http under a name that is not localhost."""
    context = browser.new_context(viewport={"width": 900, "height": 800}, locale="en-GB", reduced_motion="reduce")
    try:
        context.set_default_timeout(TIMEOUT_MS)
        panel = Panel(context.new_page(), server, is_open=True)
        panel.page.on("pageerror", panel.note)
        panel.page.goto(server.url.rstrip("/").replace("127.0.0.1", OTHER_HOST) + path)
        panel.root.get_by_role("tablist").wait_for()
        yield panel
        assert panel.errors == []
    finally:
        context.close()


@contextmanager
def opened_alone(
    browser: Any, server: PanelServer, *, url: str = "", user: str = "", **options: Any
) -> Iterator[Panel]:
    """Open the panel in a tab of its own, in a context with these options."""
    context = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options})
    try:
        context.set_default_timeout(TIMEOUT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        if user:
            context.add_init_script(f"localStorage['Comfy.userId'] = {json.dumps(user)}")
        panel = Panel(context.new_page(), server, is_open=True)
        panel.page.on("pageerror", panel.note)
        panel.page.goto((url or f"{server.url}/") + "assets")
        panel.root.get_by_role("tablist").wait_for()
        yield panel
        assert panel.errors == []
    finally:
        context.close()


@pytest.fixture(scope="module")
def shared(browser: Any, server: PanelServer) -> Iterator[Panel]:
    """The panel in a page shared by the tests of a module, as loading ComfyUI's page takes seconds."""
    with opened(browser, server) as shown:
        yield shown


@pytest.fixture
def panel(shared: Panel) -> Iterator[Panel]:
    """The shared panel, reset to the state of a new one."""
    shared.page.unroute_all()
    shared.page.evaluate(RESET)
    shared.lists_everything()
    yield shared
    assert shared.errors == []


@pytest.fixture
def opening(browser: Any, server: PanelServer) -> Callable[..., Any]:
    """Opens the page and the panel with other responses to some requests; the panel may fail."""

    @contextmanager
    def open_page(routes: dict[str, Any], expected: str = "") -> Iterator[Any]:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(TIMEOUT_MS)
        try:
            page = context.new_page()
            panel = Panel(page, server)
            page.on("pageerror", panel.note)
            for pattern, answer in routes.items():
                page.route(pattern, answer)
            page.goto(server.url, wait_until="domcontentloaded")
            panel.open_tab()
            yield page
            assert [error for error in panel.errors if not expected or expected not in error] == []
        finally:
            context.close()

    return open_page


@pytest.fixture(scope="session")
def screenshots() -> Path | None:
    """The folder for screenshots of the panel, or None."""
    folder = os.environ.get("PANEL_SCREENSHOTS")
    return Path(folder) if folder else None


@pytest.fixture(scope="session")
def open_panel() -> Callable[..., Any]:
    """Opens ComfyUI's page with the panel; takes a browser and a server."""
    return opened


@pytest.fixture(scope="session")
def open_alone() -> Callable[..., Any]:
    """Opens the panel in a tab of its own; takes a browser, a server and options of the context."""
    return opened_alone


@pytest.fixture(scope="session")
def reset() -> str:
    """The script that closes whatever is open in the panel, and resets its filters."""
    return RESET


@pytest.fixture(scope="session")
def open_by_name() -> Callable[..., Any]:
    """Opens the panel's own page under another name than localhost; takes a browser and a server."""
    return opened_by_name


@pytest.fixture(scope="session")
def small_library() -> Callable[[Path], Path]:
    """Creates a small library in a folder."""
    return make_library


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Serves a folder; takes options of the command."""
    return serving
