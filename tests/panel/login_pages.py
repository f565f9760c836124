"""Pages behind the login, in browsers of their own, for the tests of the account and of ended sessions."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.logins import NOTICED_S, login_on

expect = pytest.importorskip("playwright.sync_api").expect

TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)  # a password takes its time to be verified on a busy machine
VIEWPORT = {"width": 1280, "height": 900}


@dataclass
class SignedIn:
    """A browser in which a user has signed in, with a page; the errors of its scripts are noted."""

    place: LoginPlace
    context: Any
    page: Any
    errors: list[str] = field(default_factory=list)

    @property
    def root(self) -> Any:
        return self.page.locator(".ca-root").first

    @property
    def account(self) -> Any:
        """The dialog of the account."""
        return self.page.locator("dialog.ca-account")

    @property
    def question(self) -> Any:
        """The dialog that asks to sign in again."""
        return self.page.locator("dialog.ca-session")

    def open_account(self, section: str = "") -> Any:
        """Open the account from the panel's header, and show a section."""
        self.root.get_by_role("button", name="Account", exact=True).click()
        self.account.get_by_role("tab", name="Account").wait_for()
        if section:
            self.account.get_by_role("tab", name=section).click()
        return self.account

    def fetch(self, path: str, method: str = "GET") -> int:
        """Return the status of a request that the page sends."""
        script = "([path, method]) => fetch(path, { method }).then(response => response.status)"
        return int(self.page.evaluate(script, [path, method]))

    def graph_is_loaded(self) -> None:
        """Wait until ComfyUI's page can be used."""
        self.page.locator("#graph-canvas").wait_for()
        self.page.wait_for_function(
            "window.app?.extensionManager && window.app.graph && window.app.vueAppReady !== false"
        )

    def is_watched(self) -> None:
        """Wait until the page can ask to sign in again."""
        self.page.wait_for_function("document.querySelector('link[href*=\"login/login.css\"]')?.sheet")

    def titles(self) -> list[str]:
        """Return the titles of the nodes on the canvas."""
        found: list[str] = self.page.evaluate("(app.graph.nodes ?? app.graph._nodes).map(node => node.title)")
        return found

    def add_node(self, title: str) -> None:
        """Add a node to the graph, which is not saved, as a user does: the page notices the change."""
        self.page.evaluate(
            """title => {
                const node = LiteGraph.createNode('Note')
                node.title = title
                app.graph.add(node)
                app.extensionManager.workflow.activeWorkflow.changeTracker.checkState()
            }""",
            title,
        )


@dataclass
class LoginPlace:
    """A server with the login on, and a browser."""

    server: Any
    browser: Any
    accounts: Any

    @contextmanager
    def signed_in(self, user: str = "Root", path: str = "/assets", **options: Any) -> Iterator[SignedIn]:
        """Open a page in a new browser context in which a user has signed in by a link."""
        options = {"viewport": VIEWPORT, "reduced_motion": "reduce", "locale": "en-GB", **options}
        context = self.browser.new_context(**options)
        try:
            context.set_default_timeout(TIMEOUT_MS)
            shown = SignedIn(self, context, context.new_page())
            shown.page.on("pageerror", lambda error: shown.errors.append(f"{error.message}\n{error.stack}"))
            self.sign_in(shown.page, user, path)
            yield shown
            assert [error for error in shown.errors if "comfy-assets" in error] == []
        finally:
            context.close()

    def sign_in(self, page: Any, user: str, path: str = "/assets") -> None:
        """Sign a user in by a link, and show a page."""
        link = self.accounts.new_link(user)
        time.sleep(NOTICED_S)
        page.goto(f"{self.server.url}{path}?token={link}", wait_until="domcontentloaded")

    def end_sessions(self, user: str = "Ada") -> None:
        """End all sessions of a user, as a command does."""
        self.accounts.set_password(user, self.accounts.change_user(user).password)
        time.sleep(NOTICED_S)

    def status(self, path: str, key: str = "", body: bytes | None = None) -> int:
        """Return the status of a program's request."""
        headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.server.url + path, body, headers)) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextmanager
def login_place(server: Any, browser: Any) -> Iterator[LoginPlace]:
    """Turn the login of a server on, with Root and Ada, and off again."""
    accounts = login_on(server.base)
    time.sleep(NOTICED_S)
    try:
        yield LoginPlace(server, browser, accounts)
    finally:
        accounts.set_enabled(False)
        time.sleep(NOTICED_S)
