"""The workflows tab: versions, their changes, restoring, forking, renaming, deleting."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from panel_graphs import page_graph

pytestmark = pytest.mark.slow

numbers = itertools.count(1)


@pytest.fixture
def workflow(server: Any) -> Any:
    """A workflow with three versions."""
    made = server.request("/api/workflows", {"name": f"Study {next(numbers)}", "workflow_json": page_graph("dusk")})
    for base, graph in enumerate((page_graph("dawn", with_lora=True), page_graph("dawn", 30)), start=1):
        server.request(f"/api/workflows/{made['id']}/versions", {"base_version": base, "workflow_json": graph})
    return made


@pytest.fixture
def tab(workflow: Any, panel: Any) -> Any:
    panel.open_workflow(workflow["name"])
    panel.root.get_by_role("heading", name=workflow["name"]).wait_for()
    return panel


def test_changes_between_versions(tab: Any) -> None:
    for toggle in tab.root.get_by_role("button", name="Show changes").all():
        toggle.click()
    latest, former = (tab.root.locator(".ca-version").nth(place) for place in range(2))
    for text in ("1 node removed · 1 node changed", "SaveImage #3", "20", "30"):
        latest.locator(".ca-diff").get_by_text(text).first.wait_for()
    for text in ("1 node added · 1 node changed", "SaveImage #3", "dusk", "dawn"):
        former.locator(".ca-diff").get_by_text(text).first.wait_for()


def test_restoring_adds_a_version(tab: Any, workflow: Any, server: Any) -> None:
    tab.button("Restore version 1").click()
    tab.says("Version 1 restored as version 4")
    tab.root.get_by_text("Version 4", exact=True).wait_for()
    content = server.request(f"/api/workflows/{workflow['id']}/content")
    assert (content["version"], content["workflow_json"]) == (4, page_graph("dusk"))


def test_forking(tab: Any, workflow: Any, server: Any) -> None:
    tab.button("New workflow from version 2").click()
    tab.says(f"{workflow['name']} (copy)")
    tab.button("Back").click()
    tab.option(f"{workflow['name']} (copy)").wait_for()


def test_opening_a_version(tab: Any) -> None:
    tab.button("Open version 1").click()
    tab.canvas_shows("dusk")


def test_saving_a_version_and_losing_a_race(tab: Any, workflow: Any, server: Any) -> None:
    tab.button("Open version 1").click()
    tab.canvas_shows("dusk")
    versions = f"/api/workflows/{workflow['id']}/versions"
    server.request(versions, {"base_version": 3, "workflow_json": page_graph("meanwhile")})
    tab.button("Save open workflow as a version").click()
    tab.says("Could not save the workflow.")
    tab.root.get_by_text("Version 4", exact=True).wait_for()  # the version of the other client shows
    tab.button("Save open workflow as a version").click()
    tab.root.get_by_text("Version 5", exact=True).wait_for()
    texts = server.request(f"/api/workflows/{workflow['id']}/content")["workflow_json"]["nodes"]
    assert any("dusk" in node.get("widgets_values", []) for node in texts)


def test_rename_and_delete(tab: Any, workflow: Any, server: Any) -> None:
    tab.button("Rename").click()
    tab.root.get_by_label("Name", exact=True).fill("Another name")
    tab.page.keyboard.press("Enter")
    server.wait_for(f"/api/workflows/{workflow['id']}", lambda body: body["name"] == "Another name")
    tab.root.get_by_role("heading", name="Another name").wait_for()
    tab.root.locator(".ca-detail:not([hidden])").get_by_role("button", name="Delete").click()
    tab.button("Really delete?").click()
    tab.says("Another name deleted")
    tab.option("Another name").wait_for(state="detached")
    tab.button("Undo").click()
    tab.says("Another name restored")
    tab.root.get_by_label("Search workflows by name").fill("Another")
    tab.option("Another name").wait_for()


def test_folders_and_opening_the_file_itself(panel: Any, server: Any) -> None:
    folder = server.base / "user/default/workflows/video"
    folder.mkdir(parents=True)
    (folder / "Wan test.json").write_text(json.dumps(page_graph("in a folder")))
    panel.tab("Workflows")
    panel.button("video (1)").click()  # the list was told of the file
    panel.option("Wan test").click()
    panel.button("Open workflow").click()
    panel.canvas_shows("in a folder")
    opened = panel.page.evaluate(
        "(({ path, isTemporary }) => [path, isTemporary])(app.extensionManager.workflow.activeWorkflow)"
    )
    assert opened == ["workflows/video/Wan test.json", False]
    panel.button("Back").click()
    panel.button("All").click()
    panel.button("video (1)").wait_for()


def test_a_list_is_told_of_what_others_save_and_restores_what_was_deleted(panel: Any, server: Any) -> None:
    panel.tab("Workflows")
    saved = server.request("/api/workflows", {"name": "From elsewhere", "workflow_json": page_graph("x")})
    panel.option("From elsewhere").wait_for()
    server.request(f"/api/workflows/{saved['id']}", method="DELETE")
    panel.option("From elsewhere").wait_for(state="hidden")
    panel.button("Deleted").click()
    panel.option("From elsewhere").click()
    panel.says("From elsewhere restored")
    panel.button("Deleted").click()
    panel.option("From elsewhere").wait_for()


def test_a_diff_names_widgets_and_marks_words(panel: Any, server: Any) -> None:
    graph = page_graph("dusk over a calm sea, boats, soft light")
    made = server.request("/api/workflows", {"name": "Words", "workflow_json": graph})
    body = {"base_version": 1, "workflow_json": page_graph("dusk over a wild sea, boats, soft light", 40)}
    server.request(f"/api/workflows/{made['id']}/versions", body)
    panel.open_workflow("Words")
    panel.button("Show changes").click()
    diff = panel.root.locator(".ca-diff")
    diff.wait_for()
    assert diff.locator(".ca-diff-text del").inner_text().strip() == "calm"
    assert diff.locator(".ca-diff-text ins").inner_text().strip() == "wild"
    assert "width: 20 → 40" in " ".join(diff.inner_text().split())


def test_stars(panel: Any, server: Any) -> None:
    for name in ("Plain one", "Starry one"):
        server.request("/api/workflows", {"name": name, "workflow_json": page_graph(name)})
    panel.tab("Workflows")
    panel.option("Starry one").hover()
    panel.option("Starry one").locator("[data-star]").click()
    panel.root.get_by_role("option", name="Starry one, starred").wait_for()
    panel.button("Starred").click()
    panel.option("Plain one").wait_for(state="detached")
    panel.option("Starry one").click()
    panel.button("Remove star").click()
    panel.button("Star").wait_for()
    panel.button("Back").click()
    panel.root.get_by_text("No starred workflows").wait_for()
    panel.button("Starred").click()
    panel.option("Plain one").wait_for()
    panel.options().first.focus()
    panel.root.locator(".ca-tab-panel:not([hidden]) .ca-grid").press("Home")
    panel.page.keyboard.press("f")
    panel.root.get_by_role("option", name=", starred").first.wait_for()
    panel.page.keyboard.press("f")
    panel.root.get_by_role("option", name=", starred").first.wait_for(state="detached")
