"""The panel by keyboard alone, its commands, its settings, and its keys beside those of the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from panel_graphs import page_graph, saving

pytestmark = pytest.mark.slow


def test_everything_is_reachable_by_keyboard(panel: Any) -> None:
    page = panel.page
    panel.root.get_by_role("tab", name="Library").focus()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        )
    wanted = ["Search the library", "Kind", "Sort by", "Filters", "Show as a list", "Upload files", "Assets"]
    assert [name for name in reached if name in wanted] == wanted
    page.keyboard.press("Shift+Tab")
    panel.root.get_by_role("listbox", name="Assets").press("End")
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.ariaPosInSet"
    assert page.evaluate(active) == panel.root.locator(".ca-total").inner_text().split()[0]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(active) == "2"
    page.keyboard.press("x")
    panel.root.get_by_text("1 selected").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    panel.root.get_by_role("dialog", name="Asset").wait_for()
    page.keyboard.press("Escape")
    panel.root.get_by_role("dialog", name="Asset").wait_for(state="hidden")


# Whether the focused list has an active option with this text.
ACTIVE_OPTION = """
text => document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.innerText.includes(text)
"""


def tab_to(panel: Any, name: str) -> None:
    """Press Tab until the control with this name has the focus."""
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText.trim()"
    for _ in range(40):
        if panel.page.evaluate(focused) == name:
            return
        panel.page.keyboard.press("Tab")
    raise AssertionError(name)


def test_jobs_by_keyboard_alone(panel: Any, server: Any) -> None:
    server.run(saving("keyed"))
    keys = panel.page.keyboard
    panel.root.get_by_role("tab", name="Library").press("ArrowRight")
    panel.option("keyed_00001_.png").wait_for()
    tab_to(panel, "Jobs")
    listbox = panel.root.get_by_role("listbox", name="Jobs")
    for _ in range(20):
        keys.press("Tab")
        if listbox.evaluate("list => list === document.activeElement"):
            break
    keys.press("Enter")
    panel.button("Run again").wait_for()
    tab_to(panel, "Run again")
    keys.press("Enter")
    panel.says("Job queued")
    keys.press("Escape")
    panel.button("Run again").wait_for(state="detached")
    assert listbox.evaluate("list => list === document.activeElement")
    keys.press("Shift+Tab")
    panel.page.wait_for_function("document.activeElement.innerText === 'Clear finished'")
    keys.press("Enter")
    panel.page.wait_for_function("document.activeElement.innerText.startsWith('Remove the records')")
    keys.press("Escape")
    panel.page.wait_for_function("document.activeElement.innerText === 'Clear finished'")
    panel.option("keyed_00001_.png").wait_for()


def test_workflows_by_keyboard_alone(panel: Any, server: Any) -> None:
    made = server.request("/api/workflows", {"name": "Keyed", "workflow_json": page_graph("by keys")})
    keys = panel.page.keyboard
    panel.root.get_by_role("tab", name="Library").press("ArrowLeft")  # around the end
    panel.root.get_by_role("tab", name="Workflows", selected=True).wait_for()
    tab_to(panel, "Search workflows by name")
    with panel.page.expect_response(re.compile(r"/api/workflows\?.*Keyed")):  # until then the list may be hidden again
        keys.type("Keyed")
    panel.options().nth(1).wait_for(state="detached")
    panel.option("Keyed").wait_for()
    listbox = panel.root.get_by_role("listbox", name="Workflows")
    for _ in range(20):
        keys.press("Tab")
        if listbox.evaluate("list => list === document.activeElement"):
            break
    panel.page.wait_for_function(ACTIVE_OPTION, arg="Keyed")
    keys.press("Enter")
    panel.button("Open version 1").wait_for()
    tab_to(panel, "Delete")
    keys.press("Enter")
    keys.press("Enter")
    server.wait_for("/api/workflows?name=Keyed", lambda found: found["data"] == [])
    panel.says("deleted")
    tab_to(panel, "Undo")
    keys.press("Enter")
    server.wait_for(f"/api/workflows/{made['id']}", lambda found: found["name"] == "Keyed")


def test_tabs_fit_into_a_narrow_sidebar(panel: Any) -> None:
    place = panel.root.locator("xpath=..")
    place.evaluate("element => { element.style.width = '204px' }")
    try:
        edge = panel.root.bounding_box()["x"] + 204
        for tab in panel.root.get_by_role("tab").all():
            box = tab.bounding_box()
            assert box["x"] + box["width"] <= edge, tab.inner_text()
    finally:
        place.evaluate("element => { element.style.width = '' }")


def test_keys_in_the_panel_do_not_reach_the_page(panel: Any) -> None:
    page = panel.page
    page.evaluate(
        """() => {
            const graph = app.rootGraph ?? app.graph
            graph.add(LiteGraph.createNode('EmptyImage'))
            app.canvas.selectItems?.(graph.nodes)
        }"""
    )
    nodes = page.evaluate("(app.rootGraph ?? app.graph).nodes.length")
    panel.root.get_by_role("tab", name="Jobs").press("Delete")
    assert page.evaluate("(app.rootGraph ?? app.graph).nodes.length") == nodes


def test_commands_open_and_search(panel: Any) -> None:
    page = panel.page
    page.evaluate("app.extensionManager.command.execute('ComfyAssets.Open')")
    panel.page.locator(".ca-root").wait_for(state="detached")
    page.evaluate("app.extensionManager.command.execute('ComfyAssets.Find')")
    page.wait_for_function("document.activeElement?.getAttribute('aria-label') === 'Search the library'")


def test_settings_and_language(browser: Any, server: Any, open_panel: Any) -> None:
    server.request("/api/settings/ComfyAssets.Panel.Language", "de")
    server.request("/api/settings/ComfyAssets.Panel.ThumbnailSize", 80)
    try:
        with open_panel(browser, server) as panel:
            panel.root.get_by_role("tab", name="Bibliothek").wait_for()
            assert panel.root.get_attribute("lang") == "de"
            panel.options().nth(3).wait_for()
            assert panel.options().nth(0).bounding_box()["width"] < 110
    finally:
        server.request("/api/settings/ComfyAssets.Panel.Language", "page")
        server.request("/api/settings/ComfyAssets.Panel.ThumbnailSize", 128)
