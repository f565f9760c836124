"""Errors of the server and of the panel: a message, a way to try again, and no effect on the page."""

from __future__ import annotations

from typing import Any

import pytest
from panel_graphs import page_graph, saving

pytestmark = pytest.mark.slow


@pytest.fixture
def tab(panel: Any) -> Any:
    panel.options().locator("img.ca-loaded").first.wait_for()
    return panel


def refused(route: Any) -> None:
    route.fulfill(status=503, json={"code": "STORE_UNAVAILABLE", "message": "The library store is not available."})


TROUBLES = [
    (lambda route: route.abort("connectionrefused"), "Cannot reach the server", ""),
    (refused, "Server error", "The library store is not available."),
    (lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"), "Server error", "502"),
    (lambda route: route.fulfill(status=200, body="half a doc"), "Server error", "cannot be read"),
    (lambda route: route.fulfill(status=400, json={"code": "INVALID_QUERY", "message": "Too many words."}),
     "Request rejected", "Too many words."),
]  # fmt: skip


TABS = [
    ("Library", "**/api/assets?*", "Search the library"),
    ("Jobs", "**/api/jobs?*", "Search jobs"),
    ("Workflows", "**/api/workflows?*", "Search workflows by name"),
]


@pytest.mark.parametrize(("trouble", "title", "message"), TROUBLES, ids=[row[1] + row[2] for row in TROUBLES])
def test_errors(panel: Any, trouble: Any, title: str, message: str) -> None:
    for name, path, search in TABS:
        panel.tab(name)
        panel.page.route(path, trouble)
        panel.root.get_by_label(search).fill("x")
        alert = panel.root.locator(".ca-tab-panel:not([hidden])").get_by_role("alert")
        alert.get_by_text(title, exact=True).wait_for()
        assert message in alert.inner_text()
        panel.page.unroute(path)
        alert.get_by_role("button", name="Try again").click()
        alert.wait_for(state="detached")
        panel.root.get_by_label(search).fill("")


def test_a_slow_response(tab: Any) -> None:
    waiting: list[Any] = []
    tab.page.route("**/api/assets?*", lambda route: waiting.append(route))
    tab.root.get_by_label("Search the library").fill("castle")
    tab.root.get_by_text("The server is slow to respond").wait_for()
    waiting.pop().continue_()
    tab.count_is(3)


CLOSED = [("Jobs", "held_00001_.png", "/assets"), ("Workflows", "Held", "/versions?limit=100")]
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.parametrize(("name", "entry", "path"), CLOSED, ids=[row[0] for row in CLOSED])
def test_details_closed_while_loading_stay_closed(panel: Any, server: Any, name: str, entry: str, path: str) -> None:
    if name == "Jobs":
        server.run(saving("held"))
    else:
        server.request("/api/workflows", {"name": "Held", "workflow_json": page_graph("held")})
    held: list[Any] = []
    panel.page.route(lambda url: url.endswith(path), lambda route: held.append(route))
    panel.tab(name)
    with panel.page.expect_request(lambda request: request.url.endswith(path)):
        panel.option(entry).click()
    panel.button("Back").click()
    with panel.page.expect_response(lambda response: response.url.endswith(path)) as answer:
        held.pop().continue_()
    answer.value.finished()
    panel.page.evaluate(FRAMES)
    assert panel.root.locator(".ca-detail:not([hidden])").count() == 0
    panel.option(entry).wait_for()


def test_a_failed_change_is_reverted(tab: Any) -> None:
    tab.page.route("**/api/assets/*/tags", refused)
    tab.option("lighthouse_in").click()
    tags = tab.root.locator(".ca-detail .ca-tag-input input")
    tags.fill("lost")
    tags.press("Enter")
    tab.says("Could not save the change.")
    tab.root.locator(".ca-tag", has_text="lost").wait_for(state="detached")


def test_thumbnails_that_fail_show_an_icon(panel: Any) -> None:
    panel.page.route("**/api/view?*", lambda route: route.abort())
    panel.root.get_by_label("Search the library").fill("dragon")
    panel.count_is(3)
    panel.options().locator(".ca-no-thumbnail .ca-media-icon").first.wait_for()


def test_the_panels_files_fail_to_load(browser: Any, server: Any, opening: Any) -> None:
    with opening(routes={"**/panel/panel.mjs": lambda route: route.abort()}) as page:
        page.get_by_text("could not be loaded").wait_for()
        page.unroute("**/panel/panel.mjs")


def test_nothing_shows_before_all_styles_are_loaded(opening: Any) -> None:
    held: list[Any] = []
    with opening(routes={"**/jobs/jobs.css": lambda route: held.append(route)}) as page:
        page.locator(".ca-root").wait_for(state="attached")
        while not held:
            page.wait_for_timeout(20)
        page.evaluate(FRAMES)
        assert not page.locator(".ca-root").is_visible()
        held.pop().continue_()
        page.get_by_role("tab", name="Library", exact=True).wait_for()
        assert page.locator(".ca-root").is_visible()


def test_without_styles_the_panel_works(opening: Any) -> None:
    with opening(routes={"**/comfy-assets/**/*.css": lambda route: route.abort()}) as page:
        page.get_by_role("tab", name="Jobs").click()
        page.get_by_label("Search jobs").wait_for()


def test_an_error_of_the_panel_stays_in_the_panel(opening: Any) -> None:
    broken = "export class LibraryTab { constructor() { throw new Error('broken on purpose') } }"
    script = {"status": 200, "content_type": "text/javascript", "body": broken}
    with opening(routes={"**/library/library_tab.mjs": lambda route: route.fulfill(**script)}) as page:
        page.get_by_text("Error in the panel").wait_for()
        page.get_by_text("broken on purpose").wait_for()
        assert page.evaluate("app.extensionManager.sidebarTab.activeSidebarTabId") == "comfy-assets"


def test_without_translations_the_panel_is_readable(opening: Any) -> None:
    routes = {"**/api/i18n": lambda route: route.fulfill(status=500, body="{}")}
    with opening(routes, expected="Request failed with status code 500") as page:  # logged by ComfyUI's page
        page.get_by_role("tab", name="Library").wait_for()
        page.get_by_role("tab", name="Workflows").wait_for()


def test_pausing(tab: Any, server: Any) -> None:
    tab.root.locator(".ca-status", has_text="up to date").wait_for()
    tab.button("Pause").click()
    tab.root.locator(".ca-status", has_text="Paused").wait_for()
    tab.button("Scan now").click()
    tab.root.locator(".ca-status", has_text="Paused · Scanning files").wait_for()
    assert server.request("/api/assets/seed/status")["on_hold"] is True
    tab.button("Resume").click()
    tab.root.locator(".ca-status", has_text="up to date").wait_for()
