"""Lists that change while a pointer is pressed or a key is about to act: the entry that the user means is taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from panel_graphs import page_graph

pytestmark = pytest.mark.slow

SEARCH_MS = 600  # longer than the panel waits for the next key
# As the last key before the press, whose search begins after it.
TYPE = """
(field, text) => {
    field.value = text
    field.dispatchEvent(new Event('input'))
}
"""
numbers = itertools.count(1)


@pytest.fixture
def workflows(panel: Any, server: Any) -> Iterator[Any]:
    """Saves workflows, which a search for the word finds, and shows them; the latest is the first."""
    word = f"pressed{next(numbers)}"
    made: list[str] = []

    def save(name: str) -> str:
        body = {"name": f"{word} {name}", "workflow_json": page_graph(name)}
        made.append(server.request("/api/workflows", body)["id"])
        return made[-1]

    for name in ("first", "second"):
        save(name)
    panel.tab("Workflows")
    with panel.page.expect_response(lambda response: f"name={word}" in response.url):
        panel.root.get_by_label("Search workflows by name").fill(word)
    panel.options().nth(2).wait_for(state="detached")
    panel.option("second").wait_for()
    yield save
    for each in made:
        server.request(f"/api/workflows/{each}", method="DELETE")


def press(panel: Any, entry: Any) -> None:
    """Move to the middle of an entry and press the button of the mouse."""
    entry.hover()
    panel.page.mouse.down()


def shows(panel: Any, name: str) -> None:
    panel.root.locator(".ca-tab-panel:not([hidden]) .ca-detail").get_by_role("heading", name=name).wait_for()


def test_an_entry_that_is_pressed_when_a_search_begins_is_opened(panel: Any, workflows: Any) -> None:
    press(panel, panel.option("first"))
    panel.root.get_by_label("Search workflows by name").evaluate(TYPE, "nothing is named so")
    panel.page.wait_for_timeout(SEARCH_MS)
    panel.page.mouse.up()
    shows(panel, "first")
    panel.button("Back").click()
    panel.root.get_by_text("No matching workflows").wait_for()


def test_an_entry_that_is_pressed_when_others_come_is_opened(panel: Any, workflows: Any) -> None:
    with panel.page.expect_response("**/api/workflows?*"):
        press(panel, panel.option("second"))
        workflows("third")
    panel.page.wait_for_timeout(200)  # the answer has been read
    panel.page.mouse.up()
    shows(panel, "second")
    panel.button("Back").click()
    panel.option("third").wait_for()


def test_keys_act_on_the_entry_that_was_chosen(panel: Any, workflows: Any) -> None:
    panel.root.get_by_role("listbox", name="Workflows").press("Home")
    workflows("third")
    panel.option("third").wait_for()
    panel.page.keyboard.press("Enter")
    shows(panel, "second")


def test_an_entry_keeps_its_element_when_the_list_is_searched(panel: Any, workflows: Any) -> None:
    """Otherwise a pointer or a screen reader on the element would be left with a hidden one."""
    panel.option("second").evaluate("cell => { cell.dataset.marked = '' }")
    with panel.page.expect_response(lambda response: "second" in response.url):
        panel.root.get_by_label("Search workflows by name").press_sequentially(" second")
    panel.options().nth(1).wait_for(state="detached")
    panel.root.locator("[data-marked]", has_text="second").wait_for()


def test_a_late_answer_does_not_replace_a_later_one(panel: Any, workflows: Any) -> None:
    held: list[Any] = []

    def answer(route: Any) -> None:
        if route.request.method != "GET" or held:
            route.continue_()
        else:
            held.append(route)

    panel.option("first").click()
    shows(panel, "first")
    panel.page.route("**/api/workflows/*", answer)
    star = panel.root.locator(".ca-tab-panel:not([hidden]) .ca-star-button")
    star.click()
    while not held:
        panel.page.wait_for_timeout(20)
    with panel.page.expect_response("**/content"):
        star.click()
    panel.root.locator(".ca-star-button.ca-on").wait_for()
    late = held[0].fetch()
    held[0].fulfill(response=late, json={**late.json(), "name": "Late"})
    panel.page.wait_for_timeout(SEARCH_MS)
    shows(panel, "first")
