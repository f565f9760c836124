"""Publishing from the panel: included and missing assets, the link in ComfyUI's page, unpublishing."""

from __future__ import annotations

import itertools
import re
import urllib.error
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from page_scripts import ON_CANVAS
from panel_graphs import page_graph

pytestmark = pytest.mark.slow
PICTURE = "castle_on_a_cliff_at_dusk_00000_.png"
# The first version of comfyui-frontend-package that opens share links.
OPENS_SHARES = (1, 42)
numbers = itertools.count(1)


def graph_with_assets(text: str) -> dict[str, Any]:
    """Return a graph that loads an image and names a model."""
    graph = page_graph(text)
    look: dict[str, Any] = {"pos": [0, 400], "size": [280, 120], "flags": {}, "properties": {}, "mode": 0}
    loader = {"id": 4, "type": "LoadImage", "order": 3, "widgets_values": [f"2026-11/{PICTURE} [output]", "image"]}
    model = {"id": 5, "type": "LoraLoader", "order": 4, "widgets_values": ["ink_style.safetensors", 1, 1]}
    graph["nodes"] += [{**loader, **look}, {**model, **look}]
    return {**graph, "last_node_id": 5}


@pytest.fixture
def workflow(server: Any) -> Any:
    body = {"name": f"Shared: {next(numbers)}?", "workflow_json": graph_with_assets("for others")}
    return server.request("/api/workflows", body)


@pytest.fixture
def tab(workflow: Any, panel: Any) -> Any:
    panel.open_workflow(workflow["name"])
    panel.button("Publish").wait_for()
    return panel


def need(tab: Any, name: str) -> Any:
    """Return the row of an asset that the workflow needs."""
    return tab.root.locator(".ca-dependency", has_text=name)


def link(tab: Any) -> str:
    """Return the link of the published workflow."""
    return str(tab.root.locator(".ca-share-link code").inner_text())


def share(tab: Any) -> Any:
    """Return the publication under the link."""
    (share_id,) = parse_qs(urlsplit(link(tab)).query)["share"]
    return tab.server.request(f"/api/workflows/published/{share_id}")


def test_included_and_missing_assets(tab: Any) -> None:
    for name in (PICTURE, "ink_style"):
        assert need(tab, name).get_by_role("checkbox").is_checked()
    need(tab, "ink_style").get_by_role("checkbox").uncheck()
    need(tab, "ink_style").get_by_text("recipients will not have it").wait_for()
    tab.button("Publish").click()
    tab.says("Workflow published")
    assert [asset["name"] for asset in share(tab)["assets"]] == [PICTURE]
    need(tab, "ink_style").get_by_role("checkbox").check()
    tab.button("Publish again").click()
    tab.page.wait_for_function("() => document.querySelectorAll('.ca-share-link').length === 1")
    before = link(tab)
    path = f"/api/workflows/published/{before.rpartition('=')[2]}"
    tab.server.wait_for(path, lambda found: len(found["assets"]) == 2)
    tab.button("Copy link").click()
    tab.says("Link copied")
    assert tab.page.evaluate("navigator.clipboard.readText()") == before == link(tab)


def test_a_missing_file_cannot_be_included(tab: Any, server: Any, workflow: Any) -> None:
    asset = server.asset(PICTURE)
    path = server.base / asset["file_path"]
    hidden = server.base / "away.png"
    path.rename(hidden)
    try:
        server.request("/api/assets/seed", {"roots": ["output"]})
        server.wait_for(f"/api/assets/{asset['id']}", lambda found: "missing" in found["tags"])
        tab.button("Back").click()
        tab.option(workflow["name"]).click()
        need(tab, PICTURE).get_by_text("file missing: recipients will not have it").wait_for()
        assert need(tab, PICTURE).get_by_role("checkbox").is_disabled()
        tab.button("Publish").click()
        tab.says("Workflow published")
        assert [each["name"] for each in share(tab)["assets"]] == ["ink_style.safetensors"]
    finally:
        hidden.rename(path)
        server.request("/api/assets/seed", {"roots": ["output"]})
        server.wait_for(f"/api/assets/{asset['id']}", lambda found: "missing" not in found["tags"])


def test_the_link_opens_until_unpublished(tab: Any, browser: Any, server: Any) -> None:
    tab.button("Publish").click()
    tab.says("Workflow published")
    published = share(tab)
    version = tab.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= OPENS_SHARES:
        _open_share(browser, link(tab), published["name"])
    tab.button("Unpublish").click()
    tab.says("Workflow unpublished")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        server.request(f"/api/workflows/published/{published['share_id']}")
    tab.button("Publish").wait_for()
    assert tab.root.locator(".ca-share-link").count() == 0


def _open_share(browser: Any, url: str, name: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto(url, wait_until="domcontentloaded")
        dialog = page.get_by_role("dialog")
        # The page replaces characters that file names cannot have.
        dialog.get_by_text(name.replace(":", "_")).first.wait_for()
        dialog.get_by_role("button", name="Open workflow").click()
        page.wait_for_function(ON_CANVAS, arg="for others")
    finally:
        context.close()
