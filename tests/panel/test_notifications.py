"""Notifications: what they refer to stays where it is and in reach, and they always go away."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

# Put a notification of the panel's own module into the page, visible for a time.
SHOW = """
async visibleMs => {
    const address = document.querySelector('link[href*="/shared/shared.css"]').href.replace('shared.css', '')
    const { Notifications } = await import(address + 'notifications.mjs')
    document.querySelector('#shown')?.remove()
    const notifications = new Notifications(key => key, { visibleMs })
    notifications.element.id = 'shown'
    notifications.element.style.cssText = 'position: fixed; inset: 100px auto auto 700px; width: 300px; z-index: 9999'
    document.querySelector('.ca-root').append(notifications.element)
    notifications.show('Told', { label: 'Take back', action() {} })
}
"""
# Return the boxes of a toolbar's controls, and whether each is what a click on its middle hits.
CONTROLS = """
bar => [...bar.querySelectorAll('button, input')].map(each => {
    const { x, y, width, height } = each.getBoundingClientRect()
    const hit = document.elementFromPoint(x + width / 2, y + height / 2)
    return { x, y, isHit: each.contains(hit) || hit.contains(each) }
})
"""


def test_the_selection_bar_stays_in_place_and_in_reach(panel: Any) -> None:
    panel.option("castle").click(modifiers=["Control"])
    bar = panel.root.locator(".ca-selection")
    before = bar.evaluate(CONTROLS)
    panel.button("Add to favourites").click()
    panel.says("added to favourites")
    after = bar.evaluate(CONTROLS)
    assert len(after) >= 4 and all(each["isHit"] for each in after)
    assert after == before
    panel.root.get_by_role("status").filter(has_text="added to favourites").get_by_label("Close").click()
    panel.button("Clear selection").click()
    panel.option("castle").click()
    panel.button("Favourite").click()
    panel.server.wait_for("/api/assets?metadata_filter=%7B%22favorite%22:true%7D", lambda found: found["total"] == 0)


def test_it_goes_when_its_time_is_over(panel: Any) -> None:
    panel.page.mouse.move(850, 115)  # where it will be: a pointer at rest does not hold it
    panel.page.evaluate(SHOW, 300)
    panel.page.locator("#shown .ca-notification").wait_for(state="detached")


def test_it_stays_under_the_pointer_and_goes_after_it_has_left(panel: Any) -> None:
    panel.page.evaluate(SHOW, 2000)
    notification = panel.page.locator("#shown .ca-notification")
    notification.hover()
    panel.page.evaluate("new Promise(resolve => setTimeout(resolve, 2500))")
    assert notification.count() == 1
    panel.page.mouse.move(850, 600)
    notification.wait_for(state="detached")


def test_the_focus_returns_from_it(panel: Any) -> None:
    search = panel.root.get_by_label("Search the library")
    search.focus()
    panel.page.evaluate(SHOW, 300)
    button = panel.page.locator("#shown").get_by_role("button", name="Take back")
    button.evaluate("button => button.focus()")
    panel.page.evaluate("new Promise(resolve => setTimeout(resolve, 2500))")
    panel.page.keyboard.press("Enter")  # the focus holds it
    button.wait_for(state="detached")
    assert search.evaluate("field => field === document.activeElement")
