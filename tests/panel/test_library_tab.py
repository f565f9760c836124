"""The library tab: browse, search, edit, compare, drag, upload, delete, restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from page_scripts import DRAG, DROP

ASSETS = 28  # 24 images, three models, one file that is no image


def test_all_assets_with_thumbnails(panel: Any) -> None:
    panel.count_is(ASSETS)
    panel.options().locator("img.ca-loaded").first.wait_for()
    labels = panel.options().evaluate_all("cells => cells.map(cell => cell.getAttribute('aria-label'))")
    assert all(labels) and len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("words", "count"), [("armour", 3), ("dragon mountain", 3), ("ink_style", 1), ("dreamscape", 1), ("zebra", 0)]
)
def test_search_while_typing(panel: Any, words: str, count: int) -> None:
    panel.count_is(ASSETS)
    panel.root.get_by_label("Search the library").press_sequentially(words)
    panel.count_is(count)
    if count == 0:
        panel.root.get_by_text("No matching assets").wait_for()


def test_only_some_pictures_are_compared_at_once(panel: Any) -> None:
    """Each is loaded at full size."""
    panel.options().first.click(modifiers=["Control"])
    panel.root.get_by_role("listbox", name="Assets").press("Control+a")
    panel.root.locator(".ca-selection-count", has_text="28").wait_for()
    panel.button("Compare").click()
    panel.says("Select at most 24 pictures and videos")
    assert panel.page.get_by_role("dialog").count() == 0
    panel.options().first.click(modifiers=["Control"])
    panel.button("Compare").click()
    panel.page.get_by_role("dialog", name="Compare", exact=True).press("Escape")


def test_tags_filter_the_list_and_each_other(panel: Any) -> None:
    panel.root.get_by_label("Kind").select_option("models")
    panel.count_is(3)
    chips = panel.root.locator(".ca-tag-facets .ca-chip")
    chips.filter(has_text="loras").click()
    panel.count_is(2)
    panel.root.locator(".ca-chip[aria-pressed=true]", has_text="loras").wait_for()
    assert chips.filter(has_text="checkpoints").count() == 0  # no asset has both
    panel.root.locator(".ca-chip[aria-pressed=true]").click()
    panel.count_is(3)


def test_tags_take_two_rows_until_all_are_asked_for(panel: Any, server: Any) -> None:
    """As many as the width has room for; a chosen one always shows."""
    asset = server.request("/api/assets?limit=1")["assets"][0]["id"]
    names = [f"tag of some length {number:02}" for number in range(24)]
    server.request(f"/api/assets/{asset}/tags", {"tags": names})
    facets = panel.root.locator(".ca-tag-facets")
    chips = facets.locator(".ca-chip:visible")
    rows = "chips => new Set(chips.map(chip => chip.offsetTop)).size"
    more = facets.locator(".ca-more")
    try:
        more.wait_for()
        assert chips.evaluate_all(rows) == 2
        hidden = int(more.inner_text().split()[0])
        assert facets.locator("[data-tag]").count() == hidden + chips.count() - 1
        more.click()
        assert chips.evaluate_all(rows) > 2 and more.get_attribute("aria-expanded") == "true"
        chips.filter(has_text=names[-1]).click()
        facets.locator("[aria-pressed=true]", has_text=names[-1]).wait_for()
        more.click()
        assert chips.evaluate_all(rows) == 2
        assert facets.locator("[aria-pressed=true]", has_text=names[-1]).is_visible()
        place = panel.root.locator("xpath=..")
        narrow = chips.count()
        place.evaluate("element => { element.style.width = '900px' }")
        panel.page.wait_for_function(
            "count => document.querySelectorAll('.ca-tag-facets .ca-chip:not([hidden])').length > count",
            arg=narrow,
        )
        assert chips.evaluate_all(rows) == 2
        place.evaluate("element => { element.style.width = '' }")
    finally:
        facets.locator("[aria-pressed=true]").click()
        server.request(f"/api/assets/{asset}/tags", {"tags": names}, "DELETE")
        more.wait_for(state="hidden")


def test_sorting_and_list_view(panel: Any) -> None:
    panel.count_is(ASSETS)
    panel.root.get_by_label("Kind").select_option("output")
    panel.root.get_by_label("Sort by").select_option("name")
    panel.button("Show as a list").click()
    panel.option("castle_on_a_cliff_at_dusk_00000_").wait_for()
    first = panel.options().evaluate_all(
        "cells => cells.sort((a, b) => a.dataset.index - b.dataset.index).slice(0, 2).map(cell => cell.innerText)"
    )
    assert [text.splitlines()[0][:6] for text in first] == ["castle", "castle"]
    assert "kB" in first[0] and "2026" in first[0]
    panel.button("Show as a list").click()


def test_properties_of_an_asset(panel: Any) -> None:
    panel.option("lighthouse_in_a_storm").click()
    detail = panel.root.locator(".ca-detail:not([hidden])")
    detail.get_by_text("lighthouse in a storm", exact=True).wait_for()
    name = detail.locator("h3").inner_text()
    text = detail.inner_text()
    asset = panel.server.asset(name)
    for part in (" × 512", "image/png", asset["file_path"], asset["hash"][-8:]):
        assert part in text, part
    terms = detail.locator("dt").all_inner_texts()
    assert (asset["metadata"]["format"], asset["metadata"]["kind"]) == ("png", "image")
    assert "Type" in terms and not {"Format", "Kind"} & set(terms)  # which would repeat the type
    panel.button("Copy hash").click()
    panel.says("copied")
    assert panel.page.evaluate("navigator.clipboard.readText()") == asset["hash"]
    panel.page.keyboard.press("Escape")
    assert detail.count() == 0
    assert panel.page.evaluate("document.activeElement.getAttribute('role')") == "listbox"


def test_editing_tags_name_and_rating(panel: Any) -> None:
    name = "robot_in_a_flower_field_00021_.png"
    before = panel.server.asset(name)
    panel.root.get_by_label("Search the library").fill("00021")
    panel.count_is(1)
    panel.option("robot").click()
    field = panel.root.get_by_role("combobox", name="Add tags…").or_(panel.root.get_by_label("Add tags…"))
    field.first.fill("client a, best")
    field.first.press("Enter")
    panel.button("Remove client a").click()
    panel.button("Favourite").click()
    panel.root.get_by_role("radio", name="4 stars").check()
    panel.button("Rename").click()
    panel.root.get_by_label("Name", exact=True).fill("renamed.png")
    panel.page.keyboard.press("Enter")
    query = "/api/assets?name_contains=renamed"
    after = panel.server.wait_for(
        query, lambda found: found["assets"] and len(found["assets"][0]["user_metadata"]) == 2
    )["assets"][0]
    assert after["tags"] == ["output", "best"]
    assert after["user_metadata"] == {"favorite": True, "rating": 4}
    assert (after["id"], after["file_path"]) == (before["id"], before["file_path"])
    panel.button("Back").click()
    panel.root.get_by_label("Search the library").fill("")
    panel.button("Filters").click()
    panel.root.get_by_role("group", name="Favourite").get_by_role("button", name="Favourites").click()
    panel.count_is(1)
    panel.option("renamed.png").wait_for()


@pytest.mark.parametrize(
    ("label", "said", "is_kept"),
    [("Move file to trash", " moved to the trash", False), ("Remove from library (keep file)", " is kept", True)],
)
def test_both_ways_to_delete_and_undo(panel: Any, label: str, said: str, is_kept: bool) -> None:
    panel.count_is(ASSETS)
    panel.option("watercolor_forest").click()
    name = panel.root.locator(".ca-detail h3").inner_text()
    file = Path(panel.server.base / panel.server.asset(name)["file_path"])
    panel.root.locator(".ca-detail").get_by_role("button", name=label).click()
    panel.says(said)
    panel.count_is(ASSETS - 1)
    assert file.exists() == is_kept
    panel.button("Undo").click()
    panel.says(" restored")
    panel.count_is(ASSETS)
    assert panel.server.asset(name)["name"] == name and file.exists()


def test_tagging_a_selection_by_keyboard(panel: Any) -> None:
    panel.root.get_by_label("Search the library").fill("knight")
    panel.count_is(3)
    panel.root.get_by_role("listbox", name="Assets").press("Control+a")
    panel.root.locator(".ca-selection-count", has_text="3 selected").wait_for()
    tags = panel.root.locator(".ca-selection input")
    tags.fill("armoured")
    tags.press("Enter")
    panel.says("3 assets tagged armoured")
    assert panel.server.request("/api/assets?include_tags=armoured")["total"] == 3
    panel.button("Undo").click()
    panel.server.wait_for("/api/assets?include_tags=armoured", lambda found: found["total"] == 0)


def test_data_of_a_drag(panel: Any) -> None:
    panel.option("cat_looking").wait_for()
    data = panel.page.evaluate(DRAG, "cat_looking")
    info = json.loads(data["application/x-comfy-asset-info"])
    assert info.keys() == {"filename", "subfolder", "type", "display_name"}
    assert (info["subfolder"], info["type"]) == ("2026-11", "output")
    url = urlsplit(data["text/uri-list"])
    assert url.path == "/api/view" and parse_qs(url.query) == {
        key: [info[key]] for key in ("filename", "subfolder", "type")
    }
    assert data["text/uri-list"].startswith(panel.server.url)


def test_opening_an_embedded_workflow(panel: Any) -> None:
    panel.option("lighthouse_in_a_storm").click()
    panel.button("Open workflow").click()
    panel.canvas_shows("lighthouse in a storm")


def test_uploading_dropped_files(panel: Any, server: Any) -> None:
    panel.count_is(ASSETS)
    panel.page.evaluate(DROP, {"name": "notes.txt", "text": "some notes"})
    panel.root.locator(".ca-upload", has_text="done").wait_for()
    panel.count_is(ASSETS + 1)
    uploaded = server.asset("notes.txt")
    assert Path(server.base / uploaded["file_path"]).read_text() == "some notes"
    panel.page.evaluate(DROP, {"name": "broken.safetensors", "text": "no model"})
    panel.root.get_by_role("alert").filter(has_text="broken.safetensors").get_by_role("button").click()
    server.request(f"/api/assets/{uploaded['id']}", method="DELETE")
    panel.count_is(ASSETS)


def test_panel_survives_other_sidebar_tabs(panel: Any) -> None:
    panel.root.get_by_label("Search the library").fill("castle")
    panel.count_is(3)
    for _ in range(2):
        panel.page.evaluate("app.extensionManager.sidebarTab.toggleSidebarTab('node-library')")
        panel.page.locator(".ca-root").wait_for(state="detached")
        panel.page.evaluate("app.extensionManager.sidebarTab.toggleSidebarTab('comfy-assets')")
    panel.count_is(3)
    panel.option("castle_on").wait_for()


def test_untrusted_names_are_text(panel: Any, server: Any) -> None:
    name = "<img src=x onerror=window.hacked=1>.png"
    asset = server.asset("quiet_street_in_the_rain_00003_.png")
    server.request(f"/api/assets/{asset['id']}", {"name": "x<b>y", "user_metadata": {"<i>": name}}, "PUT")
    panel.root.get_by_label("Search the library").fill("x<b>y")
    panel.count_is(1)
    panel.option("x<b>y").click()
    panel.root.locator(".ca-detail summary", has_text="Your metadata").click()
    panel.root.locator(".ca-document", has_text=name).wait_for()
    assert panel.page.evaluate("window.hacked") is None
    server.request(f"/api/assets/{asset['id']}", {"name": asset["name"], "user_metadata": {}}, "PUT")


def test_another_order_begins_at_the_top(panel: Any) -> None:
    panel.root.get_by_role("listbox", name="Assets").press("End")
    panel.page.wait_for_function("document.querySelector('.ca-grid').scrollTop > 500")
    panel.root.get_by_label("Sort by").select_option("name")
    panel.option("broken.png").wait_for()  # the first
    panel.root.locator('.ca-cell:not([hidden])[data-index="0"]').first.wait_for()
    assert panel.page.evaluate("document.querySelector('.ca-grid').scrollTop") == 0


def test_a_cell_shows_what_changes_without_the_asset(panel: Any, server: Any) -> None:
    """The number of copies changes as other files are read, and no time of the asset with it."""
    page = server.request("/api/assets?q=castle&missing=exclude&sort=created_at&order=desc")
    panel.page.route("**/api/assets?*", lambda route: route.fulfill(json=page))
    panel.root.get_by_label("Search the library").fill("castle")
    panel.count_is(3)
    other = server.asset("ink_style.safetensors")["id"]
    page["assets"][0]["copies"] = 7
    server.request(f"/api/assets/{other}/tags", {"tags": ["told"]})  # the list is loaded again
    panel.option("7 copies").wait_for()
    server.request(f"/api/assets/{other}/tags", {"tags": ["told"]}, "DELETE")
