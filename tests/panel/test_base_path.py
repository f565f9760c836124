"""The panel of a server under a path, behind a reverse proxy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_scripts import DRAG, DROP
from panel_graphs import lasting, page_graph, saving
from panel_proxy import proxied

pytestmark = pytest.mark.slow

PREFIX = "/studio/comfy"


@pytest.fixture(scope="module")
def under(browser: Any, server: Any, open_panel: Any) -> Iterator[Any]:
    """The panel in a page under a path."""
    with proxied(server.url, PREFIX) as (url, proxy), open_panel(browser, server, url=url) as panel:
        panel.astray = proxy.astray
        yield panel


@pytest.fixture
def panel(under: Any) -> Iterator[Any]:
    yield under
    assert [path for path in under.astray if "comfy-assets" in path or path.startswith(("/api", "/ws"))] == []
    assert under.errors == []


def test_thumbnails_and_search(panel: Any) -> None:
    panel.options().locator("img.ca-loaded").first.wait_for()
    address = panel.options().locator("img.ca-loaded").first.evaluate("picture => picture.src")
    assert address.startswith(panel.page.url.split("#")[0] + "api/view?")
    panel.root.get_by_label("Search the library").fill("armour")
    panel.count_is(3)
    panel.option("knight").click()
    panel.root.locator(".ca-detail .ca-preview img").evaluate("picture => picture.decode()")
    with panel.page.expect_download() as download:
        panel.button("Download").click()
    assert download.value.suggested_filename.startswith("knight_in_golden_armour")
    panel.button("Back").click()
    panel.root.get_by_label("Search the library").fill("")


def test_the_viewer_and_a_comparison(panel: Any) -> None:
    panel.root.get_by_label("Search the library").fill("knight")
    panel.count_is(3)
    panel.root.get_by_role("listbox", name="Assets").press(" ")
    viewer = panel.page.get_by_role("dialog", name="Viewer")
    viewer.locator(".ca-picture img").evaluate("picture => picture.decode()")
    viewer.get_by_text("Properties", exact=True).wait_for()
    with panel.page.expect_download() as download:
        viewer.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.startswith("knight_in_golden_armour")
    viewer.press("Escape")
    panel.page.keyboard.press("Control+a")
    panel.button("Compare").click()
    table = panel.page.get_by_role("region", name="Differences")
    table.wait_for()
    panel.page.get_by_role("dialog", name="Compare", exact=True).press("Escape")
    panel.button("Clear selection").click()
    panel.root.get_by_label("Search the library").fill("")


def test_changes_of_a_selection(panel: Any, server: Any) -> None:
    panel.root.get_by_label("Search the library").fill("robot")
    panel.option("robot").wait_for()  # the search before it has found as many
    panel.option("knight").wait_for(state="detached")
    panel.count_is(3)
    panel.root.get_by_role("listbox", name="Assets").press("Control+a")
    panel.button("Add to favourites").click()
    panel.says("added to favourites")
    favourites = "/api/assets?metadata_filter=%7B%22favorite%22:true%7D"
    server.wait_for(favourites, lambda found: found["total"] == 3)
    panel.button("Undo").click()
    server.wait_for(favourites, lambda found: found["total"] == 0)
    panel.button("Clear selection").click()
    panel.root.get_by_label("Search the library").fill("")


def test_the_panel_in_a_tab_of_its_own(browser: Any, server: Any, open_alone: Any) -> None:
    with proxied(server.url, PREFIX) as (url, proxy), open_alone(browser, server, url=url) as own:
        own.options().locator("img.ca-loaded").first.wait_for()
        own.option("lighthouse").click()
        own.root.locator(".ca-detail .ca-preview img").evaluate("picture => picture.decode()")
        own.root.locator(".ca-detail .ca-preview img").click()
        own.page.locator(".ca-viewer .ca-picture img").evaluate("picture => picture.decode()")
        own.page.keyboard.press("Escape")
        own.tab("Jobs")
        server.run(saving("told"))  # over the websocket
        own.option("told_00001_.png").wait_for()
        assert proxy.astray == []


def test_dragged_addresses_have_the_path(panel: Any) -> None:
    panel.option("cat_looking").wait_for()
    data = panel.page.evaluate(DRAG, "cat_looking")
    assert f"{PREFIX}/api/view?" in data["text/uri-list"]


def test_upload(panel: Any, server: Any) -> None:
    panel.page.evaluate(DROP, {"name": "below.txt", "text": "some notes"})
    panel.root.locator(".ca-upload", has_text="done").wait_for()
    assert server.asset("below.txt")["size"] == len("some notes")


def test_job_progress_over_the_websocket(panel: Any, server: Any) -> None:
    panel.tab("Jobs")
    client = panel.page.evaluate("app.api?.clientId ?? sessionStorage.getItem('clientId')")
    job = server.request("/api/prompt", {"prompt": lasting(), "client_id": client})["prompt_id"]
    panel.option("ImageScale").wait_for()  # the running node
    panel.option("ImageScale").click()
    panel.button("Cancel").click()
    server.wait_for(f"/api/jobs/{job}", lambda body: body["status"] == "cancelled")
    panel.root.locator(".ca-detail:not([hidden]) [data-state=cancelled]").wait_for()
    panel.button("Back").click()


def test_opening_a_saved_workflow(panel: Any, server: Any) -> None:
    server.request("/api/workflows", {"name": "Under a path", "workflow_json": page_graph("by the river")})
    panel.tab("Workflows")
    panel.option("Under a path").click()
    panel.button("Open version 1").click()
    panel.canvas_shows("by the river")
