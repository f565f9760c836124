"""The list of what a scan could not list or read, in the status bar."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

NAMES = ("link_10", "link_9", "link_1")
STATUS = {
    "status": "completed",
    "phase": "idle",
    "on_hold": False,
    "problems": 61,
    "unreadable": 2,
    "problem_details": [
        {"path": f"/base/output/{name}", "code": "broken_link", "detail": "", "message": "in English"} for name in NAMES
    ],
}


@pytest.fixture
def listed(browser: Any, server: Any, open_alone: Any) -> Any:
    """The panel on a server whose last scan had more problems than it names."""
    with open_alone(browser, server, locale="de-AT") as panel:
        panel.page.route("**/api/assets/seed/status", lambda route: route.fulfill(json=STATUS))
        panel.page.reload()
        panel.root.get_by_text("63 Probleme", exact=True).wait_for()
        yield panel


def test_all_problems_are_counted_and_the_first_ones_sorted(listed: Any) -> None:
    listed.root.get_by_text("63 Probleme", exact=True).click()
    assert listed.root.locator(".ca-problems li").all_inner_texts() == [
        "/base/output/link_1: Die Verknüpfung führt ins Leere",
        "/base/output/link_9: Die Verknüpfung führt ins Leere",
        "/base/output/link_10: Die Verknüpfung führt ins Leere",
        "und 58 weitere",
        "Dateien, die nicht gelesen werden konnten: 2",
    ]


def test_escape_and_a_press_outside_close_the_list(listed: Any) -> None:
    summary, entries = listed.root.locator(".ca-problems summary"), listed.root.locator(".ca-problems ul")
    summary.press("Enter")
    entries.wait_for()
    listed.page.keyboard.press("Escape")
    entries.wait_for(state="hidden")
    assert summary.evaluate("element => element === document.activeElement")
    summary.click()
    entries.click()  # a press inside selects text to be copied
    assert entries.is_visible()
    listed.root.get_by_label("Bibliothek durchsuchen").click()
    entries.wait_for(state="hidden")


def test_another_scan_leaves_the_list_open_and_the_focus_where_it_is(listed: Any) -> None:
    summary = listed.root.locator(".ca-problems summary")
    summary.press("Enter")
    listed.page.route("**/api/assets/seed/status", lambda route: route.fulfill(json={**STATUS, "problems": 62}))
    listed.server.request("/api/assets/seed", {})  # its end is announced
    summary.filter(has_text="64 Probleme").wait_for()
    assert listed.root.locator(".ca-problems ul").is_visible()
    assert summary.evaluate("element => element === document.activeElement")
