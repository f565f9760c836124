"""Accessibility: no serious axe violations, everything by keyboard, and the page's themes and languages.

``PANEL_SCREENSHOTS`` names a folder for the pictures that the documentation shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from panel_graphs import failing, page_graph, saving

pytestmark = pytest.mark.slow

GRAVE = {"serious", "critical"}
THEMES = ("dark", "light")


@pytest.fixture(scope="module", params=THEMES)
def themed(request: Any, server: Any, browser: Any, open_panel: Any) -> Iterator[Any]:
    """The panel in one of the page's themes, with entries in every tab."""
    if request.param == THEMES[0]:
        _fill(server)
    server.request("/api/settings/Comfy.ColorPalette", request.param)
    with open_panel(browser, server) as panel:
        panel.theme = request.param
        yield panel


def _fill(server: Any) -> None:
    for name, colour in (("study", 0xFF8844), ("sketch", 0x44AAFF)):
        server.run(saving(name, colour))
    server.run(failing())
    made = server.request("/api/workflows", {"name": "Castle study", "workflow_json": page_graph("castle at dusk")})
    graph = page_graph("castle at dawn, fog", 30, with_lora=True)
    server.request(f"/api/workflows/{made['id']}/versions", {"base_version": 1, "workflow_json": graph})
    for name in ("castle_on_a_cliff_at_dusk_00016_.png", "red_dragon_over_a_mountain_00018_.png"):
        asset = server.asset(name)
        server.request(f"/api/assets/{asset['id']}/tags", {"tags": ["client a", "best"]})
        server.request(f"/api/assets/{asset['id']}", {"user_metadata": {"favorite": True, "rating": 4}}, "PUT")


def library(panel: Any) -> None:
    panel.tab("Library")
    panel.options().locator("img.ca-loaded").first.wait_for()


def selection(panel: Any) -> None:
    library(panel)
    for place in (4, 6):
        panel.options().nth(place).click(modifiers=["Control"])


def detail(panel: Any) -> None:
    panel.root.get_by_role("listbox", name="Assets").press("Escape")
    panel.root.get_by_label("Search the library").fill("dragon mountain")
    panel.options().nth(3).wait_for(state="detached")
    panel.option("00018_").click()
    panel.button("Open workflow").wait_for()
    panel.root.get_by_text("Prompt", exact=True).wait_for()


def jobs(panel: Any) -> None:
    panel.tab("Jobs")
    panel.option("study_00001_.png").wait_for()


def job(panel: Any) -> None:
    panel.option("failed").click()
    panel.button("Copy error").wait_for()


def workflows(panel: Any) -> None:
    panel.tab("Workflows")
    panel.option("Castle study").wait_for()


def workflow(panel: Any) -> None:
    panel.option("Castle study").click()
    panel.button("Show changes").click()
    panel.root.locator(".ca-diff").wait_for()


VIEWS = [
    library,
    selection,
    detail,
    jobs,
    job,
    workflows,
    workflow,
]  # each starts from the state that the previous one leaves


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.__name__))
def test_no_serious_violations(themed: Any, view: Any, screenshots: Path | None) -> None:
    from axe_playwright_python.sync_playwright import Axe

    view(themed)
    if screenshots is not None:
        themed.page.mouse.move(700, 500)
        box = themed.root.bounding_box()
        clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}
        themed.page.screenshot(path=screenshots / f"panel-{view.__name__}-{themed.theme}.png", clip=clip)
    found = Axe().run(themed.page, context=".ca-root").response["violations"]
    grave = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found if each["impact"] in GRAVE]
    assert grave == []


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
    panel.root.get_by_role("listbox", name="Assets").focus()
    page.keyboard.press("End")
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
    panel.root.get_by_role("tab", name="Jobs").focus()
    page.keyboard.press("Delete")
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
