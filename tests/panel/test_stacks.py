"""Stacks: the pictures of one job as one card, opened and left again, and selected as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from panel_graphs import empty_image

pytestmark = pytest.mark.slow
ASSETS = 28
SIZES = {"pair": 2, "quartet": 4}


@pytest.fixture(scope="module", autouse=True)
def jobs(server: Any) -> dict[str, str]:
    """Run a job that makes two pictures and one that makes four. Returns their ids."""
    found = {}
    for name, size in SIZES.items():
        save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": name}}
        picture = empty_image(size)
        picture["inputs"]["batch_size"] = size
        found[name] = server.run({"1": picture, "2": save})
        server.wait_for(f"/api/assets?job_id={found[name]}", lambda body, size=size: body["total"] == size)
    return found


@pytest.fixture
def stacks(panel: Any) -> Iterator[Any]:
    panel.button("Stack by job").click()
    entries_are(panel, ASSETS + len(SIZES))
    yield panel
    panel.root.locator(".ca-selection [aria-label='Clear selection']").evaluate_all("all => all[0]?.click()")


def entries_are(panel: Any, count: int) -> None:
    panel.root.locator(".ca-total", has_text=f"{count} entries").wait_for()


def selected_are(panel: Any, count: int) -> None:
    panel.root.locator(".ca-selection-count", has_text=f"{count} selected").wait_for()


def test_a_stack_is_opened_and_left(stacks: Any) -> None:
    card = stacks.option("quartet_")
    assert card.locator(".ca-stack-count").inner_text() == "4"
    assert card.get_attribute("aria-label").endswith("stack of 4")
    assert not stacks.option("castle").locator(".ca-stack-count").is_visible()
    index = int(card.get_attribute("data-index"))
    card.dblclick()  # the second click reaches none of the pictures in it
    stacks.count_is(4)
    assert stacks.root.locator(".ca-detail:not([hidden])").count() == 0
    assert stacks.button("Clear all").is_visible()
    stacks.page.keyboard.press("Enter")
    stacks.root.get_by_role("dialog", name="Asset").wait_for()
    stacks.page.keyboard.press("Escape")
    stacks.page.keyboard.press("Escape")  # back to the stacks
    entries_are(stacks, ASSETS + 2)
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.dataset.index"
    stacks.page.wait_for_function(f"{active} === '{index}'")
    stacks.page.keyboard.press("Enter")
    stacks.count_is(4)
    stacks.button("Back to the stacks").click()
    entries_are(stacks, ASSETS + 2)
    stacks.button("Stack by job").click()
    stacks.count_is(ASSETS + 6)


def test_selecting_a_stack_selects_all_of_it(stacks: Any, jobs: dict[str, str]) -> None:
    quartet, pair = stacks.option("quartet_"), stacks.option("pair_")
    quartet.locator(".ca-check").click(force=True)
    selected_are(stacks, 4)
    pair.click()
    selected_are(stacks, 6)
    assert quartet.get_attribute("aria-selected") == "true"
    pair.click()
    selected_are(stacks, 4)
    tags = stacks.root.locator(".ca-selection input")
    tags.fill("foursome")
    tags.press("Enter")
    stacks.server.wait_for("/api/assets?include_tags=foursome", lambda found: found["total"] == 4)
    found = stacks.server.request("/api/assets?include_tags=foursome")["assets"]
    assert {asset["job_id"] for asset in found} == {jobs["quartet"]}
    quartet.click()
    stacks.root.locator(".ca-selection").wait_for(state="hidden")
    stacks.root.get_by_role("listbox", name="Assets").press("Control+a")
    selected_are(stacks, ASSETS + 6)


def test_keys_and_the_menu_apply_to_all_of_a_stack(stacks: Any, jobs: dict[str, str]) -> None:
    page, server = stacks.page, stacks.server
    members = f"/api/assets?job_id={jobs['quartet']}"

    def marks(name: str) -> list[Any]:
        return [(asset["user_metadata"] or {}).get(name) for asset in server.request(members)["assets"]]

    stacks.root.get_by_role("listbox", name="Assets").press("Home")
    for _ in range(ASSETS):
        if "quartet" in page.evaluate("document.querySelector('.ca-grid .ca-active').title"):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    stacks.says("4 assets rated 4")
    assert marks("rating") == [4] * 4
    page.keyboard.press("Control+z")
    server.wait_for(f"{members}&rating=4", lambda found: found["total"] == 0)
    for is_on in (True, None):  # the mark of the one on top decides what the key does
        state = ":not(.ca-favourite)" if is_on else ".ca-favourite"
        stacks.root.locator(f".ca-grid .ca-active{state}").first.wait_for()
        page.keyboard.press("f")
        wanted = 4 if is_on else 0
        server.wait_for(f"{members}&favorite=true", lambda found, wanted=wanted: found["total"] == wanted)
    stacks.option("quartet_").click(button="right")
    page.get_by_role("menu", name="stack of 4").get_by_role("menuitem", name="Open stack").click()
    stacks.count_is(4)
    page.keyboard.press("Escape")
    entries_are(stacks, ASSETS + 2)


def test_deleting_a_stack_says_how_many_it_has(stacks: Any, jobs: dict[str, str]) -> None:
    page, server = stacks.page, stacks.server
    stacks.option("pair_").click(button="right")
    page.get_by_role("menuitem", name="Move file to trash").click()
    question = page.get_by_role("dialog", name="Move the files of 2 assets to the trash?")
    question.get_by_role("button", name="Cancel").click()
    assert server.request(f"/api/assets?job_id={jobs['pair']}")["total"] == 2
    stacks.option("pair_").click(button="right")
    page.get_by_role("menuitem", name="Move file to trash").click()
    question.get_by_role("button", name="Move file to trash").click()
    stacks.says("2 assets moved to the trash")
    entries_are(stacks, ASSETS + 1)
    assert server.request(f"/api/assets?job_id={jobs['pair']}")["total"] == 0
    page.keyboard.press("Control+z")
    stacks.says("2 assets restored")
    entries_are(stacks, ASSETS + 2)
    assert server.request(f"/api/assets?job_id={jobs['pair']}")["total"] == 2


def test_a_stack_is_dragged_as_a_whole(browser: Any, server: Any, open_alone: Any, jobs: dict[str, str]) -> None:
    made = server.request("/api/collections", {"name": "Series"})
    with open_alone(browser, server, viewport={"width": 1200, "height": 800}) as panel:
        panel.button("Stack by job").click()
        entries_are(panel, ASSETS + len(SIZES))
        row = panel.root.locator(".ca-tree-row", has_text="Series")
        for name in SIZES:
            panel.option(f"{name}_").drag_to(row)
            panel.says(f"{SIZES[name]} assets added to Series")
        row.filter(has_text="6").wait_for()
        row.click()
        entries_are(panel, len(SIZES))
        panel.root.get_by_label("Sort by").select_option("collection")  # in which stacks cannot be moved
        panel.root.get_by_role("listbox", name="Assets").press("Home")
        panel.page.keyboard.press("Alt+ArrowRight")
        panel.option("quartet_").click(button="right")
        panel.page.get_by_role("menuitem", name="Remove from collection").click()
        panel.says("4 assets removed from Series")
        panel.root.locator(".ca-total", has_text="1 entry").wait_for()
    found = server.request(f"/api/assets?collection={made['id']}")["assets"]
    assert {asset["job_id"] for asset in found} == {jobs["pair"]} and len(found) == 2
    server.request(f"/api/collections/{made['id']}", method="DELETE")


def test_filters_decide_what_a_stack_has(stacks: Any, jobs: dict[str, str]) -> None:
    first = stacks.server.request(f"/api/assets?job_id={jobs['quartet']}&sort=name&order=desc")["assets"][:2]
    for asset in first:
        stacks.server.request(f"/api/assets/{asset['id']}", {"user_metadata": {"rating": 3}}, "PUT")
    stacks.root.get_by_label("Search the library").fill("rating:3")
    stacks.root.locator(".ca-total", has_text="1 entry").wait_for()
    card = stacks.options().first
    assert card.locator(".ca-stack-count").inner_text() == "2"
    card.locator(".ca-check").click(force=True)
    selected_are(stacks, 2)
