"""The panel with several users: each sees their own entries, and each request names the user."""

from __future__ import annotations

import re
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
OURS = (
    "/api/assets",
    "/api/jobs",
    "/api/workflows",
    "/api/prompt",
    "/api/tags",
    "/api/i18n",
    "/api/userdata",
    "/api/collections",
    "/api/saved-searches",
    "/api/trash",
)


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
    ann.root.get_by_role("listbox", name="Assets").press(" ")
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
    ann.root.get_by_role("listbox", name="Assets").press("x")
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


@pytest.fixture(scope="module")
def wide_panels(panels: Any, browser: Any, open_alone: Any) -> Iterator[Any]:
    """The panels of both in tabs of their own, wide enough for the navigation beside the list."""
    with ExitStack() as pages:
        opened = []
        for panel in panels.values():
            size = {"width": 1200, "height": 800}
            own = pages.enter_context(open_alone(browser, panel.server, user=panel.user, viewport=size))
            own.user = panel.user
            own.asked, own.refused = [], []
            _take_note(own)
            own.root.get_by_role("tree", name="Folders and collections").wait_for()
            opened.append(own)
        yield opened


@pytest.fixture
def wide(wide_panels: Any, reset: str) -> Iterator[tuple[Any, Any]]:
    """Ann's and Bob's panels in tabs of their own. Every request has named its user, and none was refused."""
    for panel in wide_panels:
        panel.page.evaluate(reset)  # hides the navigation as well
        panel.button("Folders and collections").click()
        row(panel, "output").wait_for()
    yield tuple(wide_panels)
    for panel in wide_panels:
        ours = [each for each in panel.asked if urlsplit(each.url).path.startswith(OURS)]
        assert [each.url for each in ours if each.all_headers().get("comfy-user") != panel.user] == []
        assert panel.refused == []
        assert panel.errors == []


def row(panel: Any, name: str) -> Any:
    """Return the row of the navigation with this name."""
    label = panel.page.locator(".ca-tree-label", has_text=re.compile(rf"^{re.escape(name)}$"))
    return panel.root.locator(".ca-tree-row", has=label)


def rows(panel: Any) -> list[str]:
    return [str(text) for text in panel.root.locator(".ca-tree-label").all_inner_texts()]


def name_it(panel: Any, text: str) -> None:
    """Enter a name into the dialog, which then closes."""
    dialog = panel.page.locator(".ca-name-dialog")
    dialog.get_by_label("Name").fill(text)
    panel.page.keyboard.press("Enter")
    dialog.wait_for(state="detached")


def refused(panel: Any, path: str, body: Any = None, method: str | None = None) -> int:
    """Return the status with which the server refuses a request of the panel's user."""
    with pytest.raises(urllib.error.HTTPError) as error:
        panel.server.request(path, body, method, user=panel.user)
    return error.value.code


def add_file(panel: Any, name: str) -> Any:
    """Upload a file in the panel, and return the asset that its user has."""
    panel.page.evaluate(DROP, {"name": name, "text": f"{name} of {panel.user}"})
    panel.root.locator(".ca-upload", has_text=name).filter(has_text="done").wait_for()
    return panel.server.asset(name, user=panel.user)


def test_collections_of_both_have_the_same_name(wide: Any) -> None:
    ann, bob = wide
    for panel, count in ((ann, 2), (bob, 1)):
        row(panel, "Collections").get_by_role("button", name="New collection…").click()
        name_it(panel, "Favourites of mine")  # one of this name is another's
        panel.root.get_by_label("Search the library").fill("armour")
        panel.count_is(3)
        for place in range(count):
            panel.options().nth(place).click(modifiers=["Control"])
        panel.root.get_by_role("toolbar").get_by_role("button", name="Add to collection…").click()
        panel.page.get_by_role("menu").get_by_role("menuitem", name="Favourites of mine", exact=True).click()
        row(panel, "Favourites of mine").filter(has_text=str(count)).wait_for()
        panel.root.get_by_role("button", name="Clear selection").click()
    (hers,) = ann.server.request("/api/collections", user=ann.user)["collections"]
    asset = ann.server.request("/api/assets?limit=1", user=bob.user)["assets"][0]["id"]
    path = f"/api/collections/{hers['id']}"
    assert refused(bob, path) == refused(bob, path, method="DELETE") == 404
    assert (
        refused(bob, path, {"name": "Stolen"}, "PATCH") == refused(bob, f"{path}/assets", {"asset_ids": [asset]}) == 404
    )
    batch = {"action": "add_to_collection", "collection_id": hers["id"], "ids": [asset]}
    assert refused(bob, "/api/assets/batch", batch) == 404
    row(bob, "Favourites of mine").click()
    bob.count_is(1)
    row(bob, "All assets").click()
    row(bob, "Favourites of mine").click(button="right")
    bob.page.get_by_role("menuitem", name="Delete collection").click()
    bob.says("Collection Favourites of mine deleted")
    row(bob, "Favourites of mine").wait_for(state="detached")
    row(ann, "Favourites of mine").click()
    ann.count_is(2)
    assert ann.server.request(path, user=ann.user)["asset_count"] == 2


def test_saved_searches_of_both_have_the_same_name(wide: Any) -> None:
    ann, bob = wide
    for panel, text in ((ann, "dragon"), (bob, "castle")):
        panel.root.get_by_label("Search the library").fill(text)
        panel.count_is(3)
        row(panel, "Saved searches").get_by_role("button", name="Save this search…").click()
        name_it(panel, "Mine")
        panel.says("Search Mine saved")
    row(bob, "Mine").click(button="right")
    bob.page.get_by_role("menuitem", name="Rename").click()
    name_it(bob, "His own")
    ann.page.reload()
    row(ann, "Mine").click()
    ann.count_is(3)
    assert ann.root.get_by_label("Search the library").input_value() == "dragon"
    assert "His own" not in rows(ann) and "Mine" not in rows(bob)
    (hers,) = ann.server.request("/api/saved-searches", user=ann.user)["saved_searches"]
    path = f"/api/saved-searches/{hers['id']}"
    body = {"name": "Stolen", "query": {}}
    assert refused(bob, path) == refused(bob, path, body, "PUT") == refused(bob, path, method="DELETE") == 404


def test_the_trash_has_what_the_user_deleted(wide: Any) -> None:
    ann, bob = wide
    for panel in wide:
        asset = add_file(panel, "letter.txt")
        panel.server.request(f"/api/assets/{asset['id']}?action=trash", method="DELETE", user=panel.user)
        panel.id = asset["id"]
    for panel in wide:
        panel.root.locator(".ca-list-head").get_by_role("button", name="Trash").click()
        panel.root.locator(".ca-trash .ca-total", has_text="1 deleted asset").wait_for()
    assert (
        refused(bob, f"/api/trash/{ann.id}/restore", {}) == refused(bob, f"/api/trash/{ann.id}", method="DELETE") == 404
    )
    bob.button("Empty trash…").click()
    bob.page.get_by_role("dialog").get_by_role("button", name="Delete permanently").click()
    bob.root.get_by_text("The trash is empty").wait_for()
    entry = ann.root.locator(".ca-trash .ca-cell:not([hidden])", has_text="letter.txt")
    entry.locator("[data-restore]").click()
    ann.root.get_by_text("The trash is empty").wait_for()
    assert ann.server.asset("letter.txt", user=ann.user)["id"] == ann.id
    assert bob.server.request("/api/assets?name_contains=letter.txt", user=bob.user)["total"] == 0


def test_stacks_and_folders_have_ones_own_files(wide: Any) -> None:
    ann, bob = wide
    before = [panel.server.request("/api/assets?folder=output", user=panel.user)["total"] for panel in wide]
    graph = saving("anns_series")
    graph["1"]["inputs"]["batch_size"] = 3
    job = ann.server.run(graph, user=ann.user)
    ann.server.wait_for(f"/api/assets?job_id={job}", lambda found: found["total"] == 3, user=ann.user)
    for panel, count in ((ann, before[0] + 3), (bob, before[1])):
        row(panel, "output").filter(has_text=str(count)).wait_for()
        row(panel, "output").click()
        panel.count_is(count)
        panel.button("Stack by job").click()
    card = ann.option("anns_series")
    assert card.locator(".ca-stack-count").inner_text() == "3"
    bob.root.locator(".ca-total", has_text=f"{before[1]} entries").wait_for()
    assert bob.option("anns_series").count() == 0
    assert bob.server.request(f"/api/assets?job_id={job}", user=bob.user)["total"] == 0
    batch = {"action": "tag", "tags": ["his"], "filter": {"job_id": job}, "wait": 10}
    result = bob.server.request("/api/assets/batch", batch, user=bob.user)
    assert result.get("result", {}).get("changed", 0) == 0
    assert ann.server.request("/api/assets?include_tags=his", user=ann.user)["total"] == 0


def test_downloading_a_model(both: Any) -> None:
    ann, _ = both
    ann.root.get_by_label("Search the library").fill("ink_style")
    ann.option("ink_style").click()
    with ann.page.expect_download() as download:
        ann.button("Download").click()
    assert download.value.suggested_filename == "ink_style.safetensors"
    ann.button("Back").click()
