"""Every view of the panel in the sidebar, in a wide tab of its own and on a phone: accessible, whole, within reach.

``PANEL_SCREENSHOTS`` names a folder for pictures of all of them. In ``docs``, those that the documentation shows are
replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import panel_views
import pytest
from gallery import make_gallery
from page_scripts import BEFORE_TABS, LAYOUT, PLACES
from panel_views import VIEWS, View, fill
from PIL import Image

pytestmark = pytest.mark.slow

NOTIFIED = (panel_views.library, panel_views.detail, panel_views.viewer, panel_views.compare)
# Put the focus where the keys work: on the first of these that is there.
FOCUS_WITHIN = """
() => [...document.querySelectorAll('dialog:modal, .ca-detail:not([hidden]), .ca-grid')]
    .find(each => each.checkVisibility({ visibilityProperty: true }))?.focus()
"""
# The timeline shows its day for a moment after the list has moved.
NO_LABEL = """
() => ![...document.querySelectorAll('.ca-timeline-label')]
    .some(each => each.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
"""
GRAVE = {"serious", "critical"}
SURFACES = (("sidebar", "light"), ("sidebar", "dark"), ("wide", "dark"), ("phone", "light"))
OTHERS = (("wide", "light"), ("phone", "dark"))  # for their pictures
OPTIONS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[Any]:
    with serve(make_gallery(tmp_path_factory.mktemp("gallery"))) as running:
        fill(running)
        yield running


@pytest.fixture(scope="module", params=(*SURFACES, *OTHERS), ids="-".join)
def surface(
    request: Any, server: Any, browser: Any, open_panel: Any, open_alone: Any, screenshots: Path | None
) -> Iterator[Any]:
    """The panel on one of the surfaces, in one of the themes."""
    name, theme = request.param
    if request.param in OTHERS and screenshots is None:
        pytest.skip("PANEL_SCREENSHOTS names no folder")
    if name == "sidebar":
        server.request("/api/settings/Comfy.ColorPalette", theme)
        opening = open_panel(browser, server, locale="en-GB")
    else:
        opening = open_alone(browser, server, color_scheme=theme, **OPTIONS[name])
    with opening as panel:
        panel.page.set_default_timeout(30_000)
        panel.place = f"{name}-{theme}"
        yield panel


@pytest.fixture
def panel(surface: Any, reset: str) -> Any:
    """The panel as it is when it is opened."""
    surface.page.evaluate(reset)
    surface.lists_everything()
    return surface


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.__name__))
def test_view(panel: Any, view: View, screenshots: Path | None) -> None:
    from axe_playwright_python.sync_playwright import Axe

    view(panel)
    panel.page.evaluate("Promise.all(document.getAnimations().map(each => each.finished.catch(() => {})))")
    if screenshots is not None:
        save_screenshot(panel, screenshots, f"panel-{view.__name__.replace('_', '-')}-{panel.place}.png")
    assert panel.page.evaluate(LAYOUT) == []
    found = Axe().run(panel.page, context=[[".ca-root"]]).response["violations"]
    grave = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found if each["impact"] in GRAVE]
    assert grave == []
    if panel.page.get_by_role("menu").count() == 0:  # in a menu, the arrows move
        for _ in range(panel.page.evaluate(BEFORE_TABS) + 2):
            panel.page.keyboard.press("Tab")
        assert panel.page.evaluate("unreached()") == []
    assert panel.errors == []


def settled_places(panel: Any) -> Any:
    """Return where the controls are, once they have stayed there for a second: details are loaded last."""
    places = panel.page.evaluate(PLACES)
    for _ in range(30):
        panel.page.wait_for_timeout(1000)
        before, places = places, panel.page.evaluate(PLACES)
        if places == before:
            return places
    raise AssertionError("the controls keep moving")


@pytest.mark.parametrize(
    ("view", "cause"),
    [
        *((view, lambda panel: panel.page.keyboard.press("Control+z")) for view in NOTIFIED),
        (panel_views.job, lambda panel: panel.button("Copy error").click()),
    ],
)
def test_a_notification_moves_and_covers_nothing_and_goes(panel: Any, view: View, cause: Any) -> None:
    view(panel)
    # On the canvas, or in the corner of the own page: older pages show a preview of a tab below the pointer.
    panel.page.mouse.move(*((1100, 600) if panel.place.startswith("sidebar") else (2, 2)))
    panel.page.evaluate("document.querySelectorAll('.ca-notifications .ca-icon-button').forEach(each => each.click())")
    panel.page.evaluate(FOCUS_WITHIN)
    panel.page.wait_for_load_state("networkidle")
    before = settled_places(panel)
    cause(panel)
    notification = panel.page.locator(".ca-notifications .ca-notification")
    notification.wait_for()
    assert panel.page.evaluate(LAYOUT) == []
    assert panel.page.evaluate(PLACES) == before
    notification.wait_for(state="detached")


def save_screenshot(panel: Any, folder: Path, name: str) -> None:
    """Save a picture of the panel, or of the page if a dialog covers it, as a small file."""
    shown = folder / "panel.md"
    if shown.exists() and not re.search(re.escape(name), shown.read_text() + (folder.parent / "README.md").read_text()):
        return
    panel.page.wait_for_function(NO_LABEL)
    if panel.place.startswith("sidebar") and panel.page.locator("dialog:modal").count() == 0:
        box = panel.root.bounding_box()
        extra = 200 if panel.page.get_by_role("menu").count() else 0  # a menu may lie beside the sidebar
        clip = {"x": box["x"], "y": box["y"], "width": box["width"] + extra, "height": box["height"]}
        panel.page.screenshot(path=folder / name, clip=clip)
    else:
        panel.page.screenshot(path=folder / name)
    with Image.open(folder / name) as image:
        image.convert("RGB").quantize(256).save(folder / name, optimize=True)
