"""The page to sign in, in a real browser: where it stands, what it says, and where it leads."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.logins import NOTICED_S, PASSWORD, login_on

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow
TIMEOUT_MS = 60_000


@dataclass
class Place:
    """A server with the login on, and a browser."""

    server: Any
    browser: Any
    accounts: Any

    def open(self, path: str, **options: Any) -> Any:
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(f"{self.server.url}{path}")
        return page


@pytest.fixture(scope="module")
def place(server: Any, browser: Any) -> Iterator[Place]:
    accounts = login_on(server.base)
    time.sleep(NOTICED_S)
    yield Place(server, browser, accounts)
    accounts.set_enabled(False)


def sign_in(page: Any, name: str = "ada", password: str = PASSWORD) -> None:
    page.locator("[name=name]").fill(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"color_scheme": "light", "viewport": {"width": 1200, "height": 800}}, "Sign in to ComfyUI"),
        (
            {"color_scheme": "dark", "viewport": {"width": 390, "height": 700}, "locale": "de-DE"},
            "Bei ComfyUI anmelden",
        ),
        ({"color_scheme": "dark", "viewport": {"width": 320, "height": 480}, "locale": "ar"}, "ComfyUI"),
    ],
)
def test_it_can_be_used_by_everybody(place: Place, options: dict[str, Any], title: str) -> None:
    page = place.open("/", **options)
    expect(page.locator("h1")).to_contain_text(title)
    assert page.evaluate("document.activeElement.name") == "name"
    for path in ("/", "/login"):
        page.goto(f"{place.server.url}{path}")
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off"
    autocomplete = page.locator("input").evaluate_all("all => all.map(each => each.autocomplete)")
    assert autocomplete == ["username", "current-password"]
    page.context.close()


def test_it_leads_back_to_where_the_user_wanted_to_go(place: Place) -> None:
    page = place.open("/assets?sort=name#x")
    sign_in(page, password="a wrong password")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    assert page.evaluate("[document.activeElement.name, document.activeElement.value]") == ["password", ""]
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.locator(".ca-cell img.ca-loaded").first.wait_for()
    assert page.url == f"{place.server.url}/assets?sort=name#x"
    page.reload()
    page.locator(".ca-cell img.ca-loaded").first.wait_for()
    page.context.close()


def test_comfyuis_page_works_behind_it(place: Place) -> None:
    page = place.open("/")
    refused: list[str] = []
    sign_in(page, "root")
    page.locator("#sign-in").wait_for(state="detached")
    page.on("response", lambda answer: refused.append(answer.url) if answer.status in (401, 403) else None)
    page.reload()
    page.locator("#graph-canvas").wait_for()
    page.wait_for_load_state("networkidle")
    assert [url for url in refused if not re.search(r"manifest", url)] == []
    page.context.close()


def test_the_user_changes_the_password_and_signs_out(place: Place) -> None:
    page = place.open("/login")
    sign_in(page)
    page.locator("#sign-in").wait_for(state="detached")
    page.goto(f"{place.server.url}/login")
    expect(page.locator("h1")).to_have_text("Signed in as Ada")
    assert Axe().run(page).response["violations"] == []
    for old, new, said in (
        (PASSWORD + "x", "another one", "The current password is wrong."),
        (PASSWORD, PASSWORD, "changed"),
    ):
        page.locator("[name=old_password]").fill(old)
        page.locator("[name=new_password]").fill(new)
        page.locator("button.main").click()
        expect(page.locator("#message")).to_contain_text(said)
    page.locator("#sign-out").click()
    page.locator("#sign-in").wait_for()
    page.goto(f"{place.server.url}/assets")
    page.locator("#sign-in").wait_for()
    page.context.close()


def test_a_link_signs_a_phone_in_and_is_gone_from_the_address(place: Place) -> None:
    link = place.accounts.new_link("Ada")
    time.sleep(NOTICED_S)
    page = place.open(f"/assets?sort=name&token={link}")
    page.locator(".ca-cell img.ca-loaded").first.wait_for()
    assert page.url == f"{place.server.url}/assets?sort=name"
    other = place.open(f"/assets?token={link}")
    expect(other.get_by_role("alert")).to_contain_text("used already")
    page.context.close()
    other.context.close()
