"""The panel's own page, for servers without ComfyUI's page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from panel_graphs import saving

TIMEOUT_MS = 60_000


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any, browser: Any) -> Iterator[Any]:
    with serve(small_library(tmp_path_factory.mktemp("own")), "--own-page") as server:
        page = browser.new_page(viewport={"width": 1200, "height": 800}, locale="en-GB")
        page.set_default_timeout(TIMEOUT_MS)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console", lambda message: page.errors.append(message.text) if "Content Security" in message.text else None
        )
        page.goto(server.url)
        page.server = server
        yield page
        page.close()


def test_library_and_live_jobs(own: Any) -> None:
    own.locator(".ca-cell img.ca-loaded").first.wait_for()
    own.get_by_label("Search the library").fill("armour")
    own.locator(".ca-total", has_text="3 assets").wait_for()
    own.get_by_role("tab", name="Jobs").click()
    own.get_by_text("No jobs yet").wait_for()
    own.server.run(saving("heard"))  # reported over the websocket
    own.locator(".ca-cell:not([hidden])", has_text="heard_00001_.png").wait_for()
    assert own.errors == []


def test_a_graph_is_downloaded(own: Any) -> None:
    own.get_by_role("tab", name="Library").click()
    own.locator(".ca-cell:not([hidden])", has_text="knight").first.click()
    with own.expect_download() as download:
        own.get_by_role("button", name="Open workflow").click()
    assert download.value.suggested_filename.startswith("knight_in_golden_armour")
    assert own.errors == []


def test_the_panel_in_a_tab_of_its_own(own: Any) -> None:
    own.goto(own.server.url + "/assets")
    own.get_by_label("Search the library").fill("")  # the search of another page of this browser is restored
    knight = own.locator(".ca-cell:not([hidden])", has_text="knight").first
    knight.click()
    detail = own.locator(".ca-detail:not([hidden])")
    detail.get_by_role("button", name="Download").wait_for()
    # In a wide window the list stays beside the details: another asset is one click away.
    own.locator(".ca-cell:not([hidden])", has_text="castle").first.click()
    detail.locator(".ca-detail-name", has_text="castle").wait_for()
    own.set_viewport_size({"width": 390, "height": 800})  # a phone: they take turns
    detail.get_by_role("button", name="Back").click()
    knight.wait_for()
    assert own.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert own.errors == []
