"""Headings of days in the grid: where they are, moving and selecting across them, and a view that stays where it is."""

from __future__ import annotations

from typing import Any

import pytest
from panel_graphs import saving

pytestmark = pytest.mark.slow

NEWER, OLDER = 24, 4  # assets of the two days
# Compare the geometry with rows that are laid out one after the other. Returns what differs.
GEOMETRY = """
async url => {
    const { GridGeometry } = await import(url)
    const wrong = []
    let seed = 1
    const random = below => (seed = seed * 48271 % 2147483647) % below
    for (let round = 0; round < 300; round += 1) {
        const geometry = new GridGeometry()
        const [columns, rowHeight, heading] = [1 + random(6), 10 + random(30), random(3) * 10]
        const counts = Array.from({ length: 1 + random(6) }, () => 1 + random(15))
        const count = counts.reduce((sum, each) => sum + each, 0)
        geometry.count = count
        geometry.height = 20 + random(200)
        geometry.setShape(columns, rowHeight)
        geometry.lead = random(columns)
        const starts = counts.map((_, at) => counts.slice(0, at).reduce((sum, each) => sum + each, 0))
        geometry.setGroups(heading === 0 ? [] : starts, heading)
        const rows = [] // of items, each with its place
        let top = 0
        for (const [at, size] of (heading === 0 ? [count] : counts).entries()) {
            top += heading
            let item = rows.reduce((sum, row) => sum + row.items.length, 0)
            let free = columns - (at === 0 ? geometry.lead : 0)
            for (let left = size; left > 0; free = columns) {
                const length = Math.min(left, free)
                rows.push({ top, first: columns - free, items: Array.from({ length }, (_, each) => item + each) })
                item += length, left -= length, top += rowHeight
            }
        }
        const check = (what, found, wanted) => {
            if (found !== wanted) wrong.push(`${round} ${what}: ${found} instead of ${wanted}`)
        }
        check('height', geometry.fullHeight, top)
        rows.forEach((row, at) => row.items.forEach((item, place) => {
            check(`top of ${item}`, geometry.topOf(item), row.top)
            check(`column of ${item}`, geometry.columnOf(item), row.first + place)
            check(`first at ${row.top}`, geometry.firstAt(row.top + rowHeight - 1), row.items[0])
            const in_row = other => other.items.find((_, each) => other.first + each === row.first + place)
            const up = rows[at - 1], down = rows[at + 1]
            const nearest = other =>
                in_row(other) ?? (row.first + place < other.first ? other.items[0] : other.items.at(-1))
            check(`up from ${item}`, geometry.keyTarget('ArrowUp', item), up ? nearest(up) : 0)
            check(`down from ${item}`, geometry.keyTarget('ArrowDown', item), down ? nearest(down) : count - 1)
        }))
        const offset = random(top)
        const [first, last] = geometry.range(offset)
        const seen = rows.filter(row => row.top + rowHeight > offset && row.top < offset + geometry.height)
        for (const item of seen.flatMap(row => row.items)) check(`sees ${item}`, first <= item && item <= last, true)
        check('range', first >= 0 && last < count, true)
    }
    return wrong.slice(0, 10)
}
"""
# Return the texts of the headings in view, from top to bottom.
HEADINGS = """
() => [...document.querySelectorAll('.ca-tab-panel:not([hidden]) .ca-grid-heading:not([hidden])')]
    .sort((one, other) => one.getBoundingClientRect().top - other.getBoundingClientRect().top)
    .map(each => each.textContent)
"""
ACTIVE = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.dataset.index"
# Return the place of the first cell that is in view as a whole, and of what it shows.
FIRST_IN_VIEW = """
() => {
    const top = document.querySelector('.ca-grid').getBoundingClientRect().top
    const place = cell => {
        const { x, y } = cell.getBoundingClientRect()
        return { name: cell.title, x, y: y - top }
    }
    const cells = [...document.querySelectorAll('.ca-grid .ca-cell:not([hidden])')].map(place).filter(({ y }) => y >= 0)
    return cells.sort((one, other) => one.y - other.y || one.x - other.x)[0]
}
"""


def box(panel: Any, index: int) -> Any:
    cell = panel.root.locator(f'.ca-grid .ca-cell:not([hidden])[data-index="{index}"]').first
    cell.wait_for()
    return cell.bounding_box()


def has_headings(panel: Any, *parts: str) -> None:
    """Wait until the headings near the view contain these texts."""
    panel.page.wait_for_function(
        f"parts => {{ const found = ({HEADINGS})(); return found.length === parts.length"
        " && parts.every((part, at) => found[at].includes(part)) }",
        arg=parts,
    )


def test_the_geometry_is_that_of_rows_one_after_the_other(panel: Any, server: Any) -> None:
    module = f"{server.url}/extensions/comfy-assets/panel/shared/grid_geometry.mjs"
    assert panel.page.evaluate(GEOMETRY, module) == []


def test_a_day_begins_a_row_below_its_heading(panel: Any) -> None:
    grid = panel.root.get_by_role("listbox", name="Assets")
    has_headings(panel, "September 21")
    first = panel.root.locator('.ca-cell[data-index="0"]').first
    assert "September 21" in first.get_attribute("aria-description")
    grid.press("End")
    has_headings(panel, "May 28")
    assert panel.page.evaluate(ACTIVE) == str(NEWER + OLDER - 1)
    panel.root.get_by_label("Sort by").select_option("oldest")
    has_headings(panel, "May 28", "September 21")
    left = box(panel, 0)["x"]
    assert box(panel, OLDER)["x"] == left and box(panel, OLDER)["y"] > box(panel, OLDER - 1)["y"] + 60
    panel.button("Show as a list").click()
    has_headings(panel, "May 28", "September 21")
    panel.root.get_by_label("Sort by").select_option("name")
    has_headings(panel)
    assert box(panel, 0)["y"] < box(panel, 1)["y"]


def test_keys_and_ranges_go_across_days(panel: Any) -> None:
    keys = panel.page.keyboard
    panel.root.get_by_label("Sort by").select_option("oldest")
    has_headings(panel, "May 28", "September 21")
    columns = sum(box(panel, index)["y"] == box(panel, 0)["y"] for index in range(OLDER))
    panel.root.get_by_role("listbox", name="Assets").press("Home")
    for _ in range((OLDER - 1) // columns + 1):  # down over the rows of the first day
        keys.press("ArrowDown")
    assert panel.page.evaluate(ACTIVE) == str(OLDER)
    keys.press("ArrowUp")
    assert panel.page.evaluate(ACTIVE) == str((OLDER - 1) // columns * columns)
    keys.press("Home")
    keys.press("x")
    keys.press("Shift+End")
    panel.root.get_by_text(f"{NEWER + OLDER} selected").wait_for()
    keys.press("Escape")
    keys.press("Home")
    panel.root.locator(".ca-grid-heading:not([hidden])").first.click(force=True)  # is no asset
    assert panel.root.locator(".ca-detail:not([hidden])").count() == 0
    assert panel.root.locator(".ca-selection:not([hidden])").count() == 0


def test_the_view_stays_while_assets_come_and_go(panel: Any, server: Any) -> None:
    page = panel.page
    has_headings(panel, "September 21")
    page.evaluate("document.querySelector('.ca-grid').scrollTop = 700")
    page.wait_for_function(f"({FIRST_IN_VIEW})()?.name !== ''")
    before = page.evaluate(FIRST_IN_VIEW)
    server.run(saving("headed"))
    panel.button("1 new").wait_for()
    panel.count_is(NEWER + OLDER + 1)
    assert page.evaluate(FIRST_IN_VIEW) == before
    asset = server.asset("headed_00001_.png")
    server.request(f"/api/assets/{asset['id']}?action=trash", method="DELETE")
    panel.count_is(NEWER + OLDER)
    assert page.evaluate(FIRST_IN_VIEW) == before
    page.evaluate("document.querySelector('.ca-grid').scrollTop = 0")
    has_headings(panel, "September 21")
    server.request(f"/api/trash/{asset['id']}", method="DELETE")


def test_late_days_do_not_move_the_view(browser: Any, server: Any, open_alone: Any) -> None:
    held: list[Any] = []
    with open_alone(browser, server, viewport={"width": 700, "height": 500}) as panel:
        has_headings(panel, "September 21")
        panel.page.route("**/api/assets/days?*", lambda route: held.append(route))
        panel.root.get_by_label("Kind").select_option("output")
        panel.count_is(NEWER)
        panel.options().locator("img.ca-loaded").nth(3).wait_for()
        has_headings(panel)
        panel.page.evaluate("document.querySelector('.ca-grid').scrollTop = 300")
        panel.page.wait_for_function(f"() => ({FIRST_IN_VIEW})()?.name !== ''")
        before = panel.page.evaluate(FIRST_IN_VIEW)
        held.pop().continue_()
        panel.page.wait_for_function("() => document.querySelector('.ca-grid').scrollTop > 300")  # below the heading
        assert panel.page.evaluate(FIRST_IN_VIEW) == before
