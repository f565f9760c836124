"""The filters of the library: choices with counts, ranges, chips, and what a reload restores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

pytestmark = pytest.mark.slow
ASSETS = 28  # 24 images, three models, one file that is no image


@pytest.fixture(scope="module", autouse=True)
def rated(server: Any) -> None:
    """Rate six of the pictures with one to five stars, and make two of them favourites."""
    found = server.request("/api/assets?include_tags=output&sort=name&limit=6")["assets"]
    for number, asset in enumerate(found):
        facts = {"rating": number % 5 + 1, "favorite": number < 2}
        server.request(f"/api/assets/{asset['id']}", {"user_metadata": facts}, "PUT")


@pytest.fixture
def filters(panel: Any) -> Iterator[Any]:
    panel.button("Filters").click()
    section = panel.root.get_by_role("region", name="Filters")
    section.get_by_role("group", name="Type").get_by_text("24").or_(section.get_by_text("25")).first.wait_for()
    yield section
    panel.root.locator(".ca-filtered button").evaluate_all("found => found.forEach(each => each.click())")


def choice(filters: Any, group: str, name: str) -> Any:
    return filters.get_by_role("group", name=group, exact=True).get_by_role("button", name=name)


def test_choices_have_exact_counts_and_combine(panel: Any, filters: Any) -> None:
    facets = panel.server.request("/api/assets/facets?missing=exclude")
    shown = filters.get_by_role("group", name="Rating").locator(".ca-chip").all_inner_texts()
    stars = facets["ratings"]
    sums = [sum(stars[str(each)] for each in range(least, 6)) for least in range(1, 6)]
    assert [int(text.split()[-1]) for text in shown] == [*sums, stars["none"]]
    choice(filters, "Rating", "★ 2+").click()
    panel.count_is(sums[1])
    choice(filters, "Favourite", "Favourites").click()
    panel.count_is(1)
    videos = choice(filters, "Type", "Videos")
    assert "ca-dimmed" in videos.get_attribute("class")
    videos.click()  # without any, but it can be chosen
    panel.root.get_by_text("No matching assets").wait_for()
    choice(filters, "Type", "Images").click()  # both kinds
    panel.count_is(1)
    assert panel.button("Filters: 3 active").is_visible()


def test_chips_remove_filters_one_by_one_or_all(panel: Any, filters: Any) -> None:
    choice(filters, "Rating", "★ 5").click()
    choice(filters, "Workflow", "With workflow").click()
    panel.count_is(1)
    assert panel.root.get_by_text("Filtered", exact=True).is_visible()
    panel.button("Remove filter: With workflow").press("Enter")
    assert panel.page.evaluate("document.activeElement.ariaLabel") == "Remove filter: ★ 5"
    panel.button("Clear all").click()
    panel.count_is(ASSETS)
    assert not panel.root.get_by_text("Filtered", exact=True).is_visible()
    assert panel.root.locator(".ca-active-filter").count() == 0
    assert filters.locator("[aria-pressed=true]").count() == 0


def test_ranges(panel: Any, filters: Any) -> None:
    def value(name: str, text: str) -> Any:
        field = filters.get_by_label(name, exact=True)
        field.fill(text)
        field.blur()
        return field

    value("Width: from", "600")
    panel.count_is(8)
    least = value("Width: to", "500")
    filters.get_by_role("alert").get_by_text("The first value is larger than the second.").wait_for()
    assert least.get_attribute("aria-invalid") == "true"
    panel.count_is(8)  # the query stays as it was
    value("Width: to", "")
    panel.button("Remove filter: Width from 600 px").click()
    panel.count_is(ASSETS)
    assert filters.get_by_label("Width: from", exact=True).input_value() == ""
    choice(filters, "Created", "Today").click()
    panel.button("Remove filter: Today").wait_for()
    value("Days: from", "2026-01-31")  # replaces the choice
    panel.button("Remove filter: From Jan 31, 2026").wait_for()
    assert panel.root.locator(".ca-active-filter").count() == 1


def test_names_with_commas(panel: Any, filters: Any) -> None:
    """Base models are named by whoever trained them."""
    names = ["Pony, Flux\\ and more", "Sketch"]

    facets = panel.server.request("/api/assets/facets?missing=exclude")
    facets["base_models"] = [{"name": name, "count": 1} for name in names]
    panel.page.route("**/api/assets/facets?*", lambda route: route.fulfill(json=facets))
    filters.press("Escape")
    panel.button("Filters").click()
    for place, name in enumerate(names):
        with panel.page.expect_request(lambda request: "/api/assets?" in request.url) as request:
            choice(filters, "Base model", name).click()
        (sent,) = parse_qs(urlsplit(request.value.url).query)["base_model"]
        assert sent == ["Pony\\, Flux\\\\ and more", "Pony\\, Flux\\\\ and more,Sketch"][place]
    panel.button("Remove filter: Pony, Flux\\ and more, Sketch").click()
    panel.count_is(ASSETS)


def test_escape_returns_to_the_button(panel: Any, filters: Any) -> None:
    assert Axe().run(panel.page, context=".ca-root").response["violations"] == []
    filters.press("Escape")
    filters.wait_for(state="hidden")
    assert panel.page.evaluate("document.activeElement.ariaLabel") == "Filters"


def test_a_reload_restores_the_list(browser: Any, server: Any, open_by_name: Any) -> None:
    with open_by_name(browser, server, "/assets") as panel:
        page = panel.page
        panel.root.get_by_label("Kind").select_option("output")
        panel.root.get_by_label("Sort by").select_option("name")
        panel.button("Show as a list").click()
        panel.root.get_by_label("Search the library").fill("castle")
        panel.count_is(3)
        panel.button("Filters").click()
        choice(panel.root, "Rating", "No rating").click()
        left = server.request("/api/assets?q=castle&rating=none&include_tags=output")["total"]
        panel.count_is(left)
        page.reload()
        panel.count_is(left)
        assert panel.root.get_by_label("Search the library").input_value() == "castle"
        assert panel.root.get_by_label("Kind").input_value() == "output"
        assert panel.root.get_by_label("Sort by").input_value() == "name"
        assert panel.button("Show as a list").get_attribute("aria-pressed") == "true"
        assert panel.root.get_by_text("Filtered", exact=True).is_visible()
        panel.button("Clear all").click()
        panel.count_is(ASSETS)
        panel.tab("Jobs")
        page.reload()
        panel.root.get_by_role("tab", name="Jobs", selected=True).wait_for()
        page.evaluate(
            "localStorage['comfy-assets.library'] = JSON.stringify({ filters: [1], sort: 'by moon', tags: 3 })"
        )
        panel.tab("Library")
        page.reload()
        panel.count_is(ASSETS)
