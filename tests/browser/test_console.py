"""ComfyUI's own page has nothing more to complain of with the project than without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

TAB = "comfy-assets"
HAS_TAB = "tab => window.app.extensionManager.getSidebarTabs().some(each => each.id === tab)"
TOGGLE_TAB = "tab => window.app.extensionManager.sidebarTab.toggleSidebarTab(tab)"
# How long nothing more is asked for until a page counts as settled.
QUIET_MS = 2_000


def fill(base: Path) -> None:
    """An output and an input, the same on every server."""
    for folder in ("output", "input"):
        Image.new("RGB", (64, 32), "teal").save(base / folder / "picture.png")


def settle(page: Any) -> None:
    """Wait until the graph is shown and the page has asked for all that it asks for."""
    page.locator("canvas#graph-canvas").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(QUIET_MS)
    page.wait_for_load_state("networkidle")


def test_the_page_complains_of_nothing_new(
    start: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    with start("without", with_project=False) as server:
        fill(server.base)
        with open_page(server) as (page, before):
            settle(page)
    with start("with") as server:
        fill(server.base)
        server.request("/api/assets/seed", {"roots": ["input", "output"]})
        server.wait_for("/api/assets", lambda found: found["total"] == 2)
        with open_page(server) as (page, troubles):
            settle(page)
            page.screenshot(path=str(tmp_path / "page.png"))
            assert troubles.beyond(before) == {}
            page.wait_for_function(HAS_TAB, arg=TAB)
            page.evaluate(TOGGLE_TAB, TAB)
            page.locator(".ca-root").first.get_by_text("picture.png").first.wait_for()
            settle(page)
            page.screenshot(path=str(tmp_path / "panel.png"))
            assert troubles.beyond(before) == {}
