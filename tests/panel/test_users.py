"""The panel with several users: each sees their own entries, and each request names the user."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_scripts import DROP
from panel_graphs import lasting, page_graph, saving

pytestmark = pytest.mark.slow

NAMES = ("Ann", "Bob")
# The panel's requests. Image elements send no headers, so their paths are not among them.
OURS = ("/api/assets", "/api/jobs", "/api/workflows", "/api/prompt", "/api/tags", "/api/i18n", "/api/userdata")


@pytest.fixture(scope="module")
def panels(tmp_path_factory: Any, small_library: Any, serve: Any, browser: Any, open_panel: Any) -> Iterator[Any]:
    """The panels of two users, in browsers of their own."""
    base = small_library(tmp_path_factory.mktemp("users"))
    with serve(base, names=NAMES) as server, ExitStack() as pages:
        opened = {}
        for name in NAMES:
            panel = pages.enter_context(open_panel(browser, server, user=server.users[name]))
            panel.user = server.users[name]
            panel.asked, panel.refused = [], []
            opened[name] = panel
            _take_note(panel)
        yield opened


def _take_note(panel: Any) -> None:
    """Record requests and refused ones from now on."""

    def look(response: Any) -> None:
        if response.status >= 400 and "broken.png" not in response.url:  # not an image
            panel.refused.append(f"{response.status} {response.url}")

    panel.page.on("request", lambda request: panel.asked.append(request))
    panel.page.on("response", look)


@pytest.fixture
def both(panels: Any) -> Iterator[tuple[Any, Any]]:
    """Ann's and Bob's panels. Afterwards, every request has named its user, and none was refused."""
    for panel in panels.values():
        panel.asked.clear()
        panel.refused.clear()
        panel.tab("Library")
    yield tuple(panels[name] for name in NAMES)
    for panel in panels.values():
        ours = [each for each in panel.asked if urlsplit(each.url).path.startswith(OURS)]
        assert [each.url for each in ours if each.all_headers().get("comfy-user") != panel.user] == []
        assert panel.refused == []
        assert panel.errors == []


def test_thumbnails_of_shared_assets(both: Any) -> None:
    for panel in both:
        panel.root.get_by_label("Search the library").fill("armour")
        panel.count_is(3)
        panel.options().locator("img.ca-loaded").nth(2).wait_for()
        panel.root.get_by_label("Search the library").fill("")


def test_uploads_belong_to_their_user(both: Any) -> None:
    ann, bob = both
    ann.page.evaluate(DROP, {"name": "anns.txt", "text": "hers"})
    ann.root.locator(".ca-upload", has_text="done").wait_for()
    for panel, count in ((ann, 1), (bob, 0)):
        panel.root.get_by_label("Search the library").fill("anns")
        panel.count_is(count)
        panel.root.get_by_label("Search the library").fill("")


def test_the_viewer_reads_and_steps_within_ones_own(both: Any) -> None:
    ann, bob = both
    ann.page.evaluate(DROP, {"name": "diary.txt", "text": "dear diary"})
    ann.root.locator(".ca-upload", has_text="diary.txt").filter(has_text="done").wait_for()
    for panel, count in ((ann, 1), (bob, 0)):
        panel.root.get_by_label("Search the library").fill("diary")
        panel.count_is(count)
    ann.root.get_by_role("listbox", name="Assets").focus()
    ann.page.keyboard.press(" ")
    viewer = ann.page.get_by_role("dialog", name="Viewer")
    viewer.locator(".ca-text-view pre", has_text="dear diary").wait_for()
    viewer.locator(".ca-viewer-position", has_text="1 / 1").wait_for()
    ann.page.keyboard.press("Escape")
    for panel in both:
        panel.root.get_by_label("Search the library").fill("")


def test_changes_of_a_selection_name_the_user(both: Any) -> None:
    ann, _ = both
    ann.root.get_by_label("Search the library").fill("diary")
    ann.count_is(1)
    ann.root.get_by_role("listbox", name="Assets").focus()
    ann.page.keyboard.press("x")
    ann.root.locator(".ca-selection input").first.fill("private")
    ann.page.keyboard.press("Enter")
    for panel, count in zip(both, (1, 0), strict=True):
        query = "/api/assets?include_tags=private"
        panel.server.wait_for(query, lambda found, count=count: found["total"] == count, user=panel.user)
        assert ("private" in {tag["name"] for tag in _tags(panel)}) == bool(count)
    ann.button("Clear selection").click()
    ann.root.get_by_label("Search the library").fill("")


def _tags(panel: Any) -> Any:
    return panel.server.request("/api/tags?limit=500", user=panel.user)["tags"]


def test_the_panel_in_a_tab_of_its_own(both: Any, browser: Any, open_alone: Any) -> None:
    for panel, count in zip(both, (1, 0), strict=True):
        with open_alone(browser, panel.server, user=panel.user) as own:
            asked: list[Any] = []
            own.page.on("request", lambda request, asked=asked: asked.append(request))
            own.root.get_by_label("Search the library").fill("diary")
            own.count_is(count)
            ours = [each for each in asked if urlsplit(each.url).path.startswith(OURS)]
            assert ours and all(each.all_headers().get("comfy-user") == panel.user for each in ours)


def test_jobs_and_their_outputs(both: Any) -> None:
    ann, bob = both
    for panel in both:
        panel.tab("Jobs")
        panel.root.get_by_text("No jobs yet").wait_for()
    ann.server.run(saving("anns"), user=ann.user)
    ann.option("anns_00001_.png").click()
    ann.button("Run again").click()  # the panel's own request
    ann.says("Job queued")
    ann.server.wait_for("/api/jobs?status=completed", lambda found: found["pagination"]["total"] == 2, user=ann.user)
    ann.button("Back").click()
    ann.options().nth(1).wait_for()
    assert bob.server.request("/api/jobs", user=bob.user)["jobs"] == []
    bob.tab("Workflows")
    bob.tab("Jobs")
    bob.root.get_by_text("No jobs yet").wait_for()
    ann.tab("Library")
    ann.root.get_by_label("Search the library").fill("anns_00001_")
    ann.option("anns_00001_").locator("img.ca-loaded").wait_for()


def test_progress_is_visible_to_the_owner_only(both: Any) -> None:
    ann, bob = both
    for panel in both:
        panel.tab("Jobs")
    body = {"prompt": lasting(), "client_id": "a program of hers"}
    job = ann.server.request("/api/prompt", body, user=ann.user)["prompt_id"]
    ann.option("ImageScale").wait_for()  # the running node
    with pytest.raises(urllib.error.HTTPError, match="403"):
        bob.server.request(f"/api/jobs/{job}/progress", user=bob.user)
    bob.root.get_by_text("No jobs yet").wait_for()
    ann.server.request(f"/api/jobs/{job}/cancel", {}, user=ann.user)
    ann.option("in progress").wait_for(state="detached")


def test_workflows(both: Any) -> None:
    ann, bob = both
    bob.server.request("/api/workflows", {"name": "Bobs", "workflow_json": page_graph("his own")}, user=bob.user)
    for panel in both:
        panel.tab("Workflows")
    ann.root.get_by_text("No saved workflows").wait_for()
    bob.option("Bobs").click()
    bob.button("Open version 1").click()
    bob.canvas_shows("his own")
    bob.button("Back").click()


def test_downloading_a_model(both: Any) -> None:
    ann, _ = both
    ann.root.get_by_label("Search the library").fill("ink_style")
    ann.option("ink_style").click()
    with ann.page.expect_download() as download:
        ann.button("Download").click()
    assert download.value.suggested_filename == "ink_style.safetensors"
    ann.button("Back").click()
