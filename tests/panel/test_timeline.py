"""The timeline at the edge of the grid: its days, jumps by pointer and keys, and when it is there."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow
IN_VIEW = """
() => {
    const grid = document.querySelector('.ca-grid')
    const top = grid.getBoundingClientRect().top
    return [...grid.querySelectorAll('.ca-cell:not([hidden])')]
        .filter(cell => cell.getBoundingClientRect().bottom > top + 2)
        .map(cell => Number(cell.dataset.index))
        .sort((one, other) => one - other)
}
"""


@pytest.fixture
def scale(panel: Any) -> Any:
    scale = panel.root.get_by_role("slider", name="Timeline")
    scale.wait_for()
    panel.root.get_by_role("listbox", name="Assets").evaluate("grid => { grid.scrollTop = 0 }")
    return scale


def says(panel: Any, text: str) -> None:
    panel.root.locator(f".ca-timeline[aria-valuetext='{text}']").wait_for()


def test_days_with_their_numbers(panel: Any, scale: Any) -> None:
    days = panel.server.request("/api/assets/days?missing=exclude")["days"]
    assert [day["count"] for day in days] == [24, 4]
    says(panel, "Sep 21, 2026 · 24 assets")
    assert scale.get_attribute("aria-valuemax") == "2"
    scale.press("ArrowDown")
    says(panel, "May 28, 2026 · 4 assets")
    assert 24 in panel.page.evaluate(IN_VIEW) and 0 not in panel.page.evaluate(IN_VIEW)
    scale.press("PageUp")
    says(panel, "Sep 21, 2026 · 24 assets")
    assert panel.page.evaluate(IN_VIEW)[0] == 0
    scale.press("End")
    says(panel, "May 28, 2026 · 4 assets")
    scale.press("Enter")
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).dataset.index"
    assert panel.page.evaluate(active) == "24"  # the first of the day


def test_a_click_jumps_to_the_day(panel: Any, scale: Any) -> None:
    box = scale.bounding_box()
    at = box["x"] + box["width"] / 2
    panel.page.mouse.click(at, box["y"] + box["height"] * 0.97)
    says(panel, "May 28, 2026 · 4 assets")
    assert 24 in panel.page.evaluate(IN_VIEW)
    panel.root.locator(".ca-timeline-label", has_text="May 28, 2026 · 4 assets").wait_for()
    panel.page.mouse.click(at, box["y"] + box["height"] * 0.6)  # in the middle of a day: to its beginning
    says(panel, "Sep 21, 2026 · 24 assets")
    assert panel.page.evaluate(IN_VIEW)[0] == 0


def test_only_where_the_list_is_in_the_order_of_days(panel: Any, scale: Any) -> None:
    panel.root.get_by_label("Sort by").select_option("oldest")
    says(panel, "May 28, 2026 · 4 assets")
    panel.root.get_by_label("Sort by").select_option("name")
    scale.wait_for(state="hidden")
    panel.root.get_by_label("Sort by").select_option("newest")
    scale.wait_for()
    panel.root.get_by_label("Search the library").fill("armour")
    panel.count_is(3)  # all in view: there is nothing to scroll
    scale.wait_for(state="hidden")
