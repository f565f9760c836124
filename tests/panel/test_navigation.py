"""Folders, collections and saved searches: going there, changing them, and undoing that, by mouse and by keyboard."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

pytestmark = pytest.mark.slow

TIMEOUT_MS = 60_000
FOLDERS = {"output/portraits/studio": 3, "output/portraits/street": 2, "input/references": 1}
TRIO = ("00.png", "10.png", "20.png")
# Return the names of the listed assets, in their order.
NAMES = """
() => [...document.querySelectorAll('.ca-library-body .ca-cell:not([hidden])')]
    .sort((one, other) => one.dataset.index - other.dataset.index).map(each => each.innerText.split('\\n')[0])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any) -> Iterator[Any]:
    base: Path = small_library(tmp_path_factory.mktemp("navigation"))
    for number, (folder, count) in enumerate(FOLDERS.items()):
        (base / folder).mkdir(parents=True)
        for each in range(count):
            Image.new("RGB", (32, 32), (number * 60, each * 60, 90)).save(base / folder / f"{number}{each}.png")
    with serve(base) as running:
        for name in TRIO:
            running.request(f"/api/assets/{running.asset(name)['id']}/tags", {"tags": ["trio"]})
        yield running


class Place:
    """The panel's own page, and its navigation."""

    def __init__(self, page: Any, server: Any) -> None:
        self.page = page
        self.server = server
        self.tree = page.get_by_role("tree", name="Folders and collections")

    def row(self, name: str) -> Any:
        """Return the row of this name; rows with numbers are named by them as well."""
        return self.tree.locator(".ca-tree-row", has=self.page.locator(f".ca-tree-label:text-is({json.dumps(name)})"))

    def count_is(self, count: int) -> None:
        self.page.locator(".ca-total", has_text=f"{count} asset").wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def menu(self, name: str) -> None:
        self.page.get_by_role("menu").get_by_role("menuitem", name=name, exact=True).click()

    def name(self, text: str) -> None:
        """Enter a name into the dialog, which then closes."""
        dialog = self.page.locator(".ca-name-dialog")
        dialog.get_by_label("Name").fill(text)
        self.press("Enter")
        dialog.wait_for(state="detached")

    def says(self, text: str) -> None:
        self.page.locator(".ca-notification", has_text=text).wait_for()

    def lists(self, *names: str) -> None:
        self.page.wait_for_function(f"wanted => ({NAMES})().join() === wanted", arg=",".join(names))

    def select(self, *names: str) -> None:
        for name in names:
            self.page.locator(".ca-cell:not([hidden])", has_text=name).click(modifiers=["Control"])

    def is_gone(self, name: str) -> None:
        self.row(name).wait_for(state="detached")


@pytest.fixture
def opened_page(browser: Any, server: Any) -> Iterator[Callable[..., Place]]:
    """Opens the panel's own page in a window of some size, for a browser that has not seen it yet."""
    contexts = []

    def open_page(width: int = 1200, **options: Any) -> Place:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, locale="en-GB", reduced_motion="reduce", **options
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(server.url + "/assets")
        page.locator(".ca-cell:not([hidden])").first.wait_for()
        return Place(page, server)

    yield open_page
    for context in contexts:
        assert all(page.errors == [] for page in context.pages)
        context.close()
    for collection in server.request("/api/collections")["collections"]:
        server.request(f"/api/collections/{collection['id']}", method="DELETE")
    for search in server.request("/api/saved-searches")["saved_searches"]:
        server.request(f"/api/saved-searches/{search['id']}", method="DELETE")


def test_folders_by_keyboard_and_after_a_reload(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.row("output").wait_for()
    shown = place.tree.locator(".ca-tree-row").all_inner_texts()
    assert [text.split("\n") for text in shown][:5] == [
        ["All assets", "34"],
        ["Folders"],
        ["output", "29"],
        ["input", "2"],
        ["models", "3"],
    ]
    place.tree.focus()
    place.press("ArrowDown", "ArrowDown", "ArrowRight")
    place.row("portraits").wait_for()
    place.press("p", "ArrowRight")
    place.row("street").wait_for()
    place.press("ArrowRight", "ArrowDown", "Enter")  # its first folder, then the second
    place.count_is(3)
    assert place.row("studio").get_attribute("aria-selected") == "true"
    assert place.row("studio").get_attribute("aria-level") == "4"
    place.page.reload()
    place.count_is(3)
    place.row("studio").wait_for()  # the folders above it are open again
    path = place.page.get_by_role("group", name="Current location")
    path.get_by_role("button", name="portraits", exact=True).click()
    place.count_is(5)
    place.page.get_by_label("Kind").select_option("input")  # has nothing in that folder
    place.count_is(2)
    assert path.is_hidden()
    place.row("portraits").click()
    place.page.get_by_label("Search the library").fill("10.png")
    place.count_is(1)
    path.get_by_role("button", name="Leave output/portraits").click()
    place.count_is(1)  # the search stays
    place.row("All assets").click()
    place.count_is(34)
    place.tree.focus()
    place.press("Home", "ArrowDown", "ArrowLeft")
    place.is_gone("output")


def test_numbers_follow_the_files(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.row("input").filter(has_text="2").wait_for()
    asset = place.server.asset("20.png")
    place.server.request(f"/api/assets/{asset['id']}", method="DELETE")
    place.row("input").filter(has_text="1").wait_for()
    place.row("All assets").filter(has_text="33").wait_for()
    place.server.request(f"/api/assets/{asset['id']}/restore", {})
    place.row("All assets").filter(has_text="34").wait_for()


def test_the_life_of_a_collection(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.row("Collections").get_by_role("button", name="New collection…").click()
    place.name("Wall")
    place.row("Wall").filter(has_text="0").wait_for()
    place.row("Collections").get_by_role("button", name="New collection…").click()
    dialog = place.page.locator(".ca-name-dialog")
    dialog.get_by_label("Name").fill("wall")
    place.press("Enter")
    dialog.get_by_role("alert").filter(has_text="There is a collection of this name").wait_for()
    place.press("Escape")
    place.page.get_by_label("Search the library").fill("trio")
    place.count_is(3)
    place.select("00.png", "10.png", "20.png")
    place.page.get_by_role("toolbar").get_by_role("button", name="Add to collection…").click()
    place.menu("Wall")
    place.says("3 assets added to Wall")
    place.row("Wall").filter(has_text="3").wait_for()
    place.row("Wall").click(button="right")
    place.menu("Rename")
    place.name("Living room")
    place.row("All assets").click()
    place.count_is(34)
    place.page.locator(".ca-tag-facets .ca-chip", has_text="loras").wait_for()
    place.row("Living room").click()
    place.count_is(3)
    place.page.locator(".ca-tag-facets .ca-chip", has_text="loras").wait_for(state="detached")
    place.page.reload()
    place.page.get_by_role("group", name="Current location").get_by_text("Living room").wait_for()
    place.count_is(3)
    place.page.locator(".ca-cell:not([hidden])", has_text="10.png").click(button="right")
    place.menu("Remove from collection")
    place.says("1 asset removed from Living room")
    place.count_is(2)
    place.page.locator(".ca-notification").get_by_role("button", name="Undo").click()
    place.count_is(3)
    place.row("Living room").click()
    place.press("Delete")
    place.says("Collection Living room deleted")
    place.count_is(34)  # it was shown
    place.page.locator(".ca-notification").get_by_role("button", name="Undo").click()
    place.row("Living room").filter(has_text="3").wait_for()


def test_a_new_collection_of_the_selection_and_from_a_menu(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.page.get_by_label("Search the library").fill("trio")
    place.count_is(3)
    place.select("00.png", "10.png")
    place.page.get_by_role("toolbar").get_by_role("button", name="Add to collection…").click()
    place.menu("New collection…")
    place.name("Two")
    place.says("2 assets added to Two")
    place.page.get_by_role("button", name="Clear selection").click()
    place.page.locator(".ca-cell:not([hidden])", has_text="20.png").click(button="right")
    place.menu("Add to collection…")
    place.menu("Two")
    place.row("Two").filter(has_text="3").wait_for()
    place.page.locator(".ca-cell:not([hidden])", has_text="20.png").click(button="right")
    place.menu("Add to collection…")
    place.menu("Two")
    place.says("The asset is in Two already")


def test_all_that_is_listed_goes_into_a_collection_in_the_order_of_the_list(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.page.get_by_label("Search the library").fill("trio")
    place.count_is(3)
    for order in ("newest", "oldest"):
        place.page.get_by_label("Sort by").select_option(order)
        place.page.get_by_role("button", name="Actions for all listed assets").click()
        place.menu("Add all to collection…")
        place.menu("New collection…")
        place.name(order)
        place.row(order).filter(has_text="3").wait_for()
    names = []
    for order in ("newest", "oldest"):
        (made,) = place.server.request(f"/api/collections?name_contains={order}")["collections"]
        listed = place.server.request(f"/api/assets?collection={made['id']}&sort=collection&order=asc")["assets"]
        names.append([asset["name"] for asset in listed])
    assert len(names[0]) == 3 and names[0] == names[1][::-1]


def test_dragging_onto_a_collection_and_in_it(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.server.request("/api/collections", {"name": "Wall"})
    place.row("Wall").wait_for()
    place.page.get_by_label("Search the library").fill("trio")
    place.count_is(3)
    place.page.get_by_label("Sort by").select_option("name")
    place.lists("00.png", "10.png", "20.png")
    cell = place.page.locator(".ca-cell:not([hidden])")
    cell.filter(has_text="20.png").drag_to(place.row("Wall"))
    place.row("Wall").filter(has_text="1").wait_for()
    place.select("00.png", "10.png")
    cell.filter(has_text="10.png").drag_to(place.row("Wall"))  # takes both along
    place.row("Wall").filter(has_text="3").wait_for()
    place.row("Wall").click()
    place.lists("20.png", "00.png", "10.png")
    cell.filter(has_text="10.png").drag_to(cell.filter(has_text="20.png"), target_position={"x": 6, "y": 40})
    place.lists("10.png", "20.png", "00.png")
    place.page.get_by_role("listbox", name="Assets").focus()
    place.press("Home", "Alt+ArrowRight")
    place.lists("20.png", "10.png", "00.png")
    place.press("Alt+End")  # the moved one is still the active one
    place.lists("20.png", "00.png", "10.png")
    place.press("Control+z")
    place.lists("20.png", "10.png", "00.png")
    cell.filter(has_text="00.png").click(button="right")
    place.menu("Move to the beginning")
    place.lists("00.png", "20.png", "10.png")
    place.page.get_by_label("Sort by").select_option("name")  # has no places to move to
    place.lists("00.png", "10.png", "20.png")
    place.press("Alt+End")
    place.page.get_by_label("Sort by").select_option("collection")
    place.lists("00.png", "20.png", "10.png")


def test_saved_searches(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    place.page.get_by_label("Search the library").fill("dragon")
    place.count_is(3)
    place.row("Saved searches").get_by_role("button", name="Save this search…").click()
    assert place.page.locator(".ca-name-dialog").get_by_label("Name").input_value() == "dragon"
    place.name("Dragons")
    place.says("Search Dragons saved")
    assert place.row("Dragons").get_attribute("aria-selected") == "true"
    place.row("input").click()  # leaves the search
    place.count_is(2)
    place.row("Dragons").click()
    place.count_is(3)
    assert place.page.get_by_label("Search the library").input_value() == "dragon"
    place.press("F2")
    place.name("Red dragons")
    place.page.get_by_label("Kind").select_option("models")
    place.page.get_by_text("No matching assets").wait_for()
    place.row("Red dragons").click(button="right")
    place.menu("Replace with the current search")
    place.page.wait_for_function(
        "() => document.querySelector('[data-key^=\"search:\"]').getAttribute('aria-selected') === 'true'"
    )
    place.page.reload()
    place.row("Red dragons").click()
    place.page.get_by_text("No matching assets").wait_for()
    place.press("Delete")
    place.is_gone("Red dragons")
    place.page.locator(".ca-notification").get_by_role("button", name="Undo").click()
    place.row("Red dragons").wait_for()


def test_other_windows_follow_saved_searches(opened_page: Callable[..., Place], server: Any) -> None:
    place = opened_page()
    made = server.request("/api/saved-searches", {"name": "Of another window", "query": {"q": "dragon"}})
    place.row("Of another window").wait_for()
    server.request(f"/api/saved-searches/{made['id']}", method="DELETE")
    place.is_gone("Of another window")


def test_a_folder_as_a_zip_file(opened_page: Callable[..., Place], tmp_path: Path) -> None:
    place = opened_page()
    place.row("output").locator(".ca-tree-toggle").click()
    place.row("portraits").click(button="right")
    with place.page.expect_download() as download:
        place.menu("Download as ZIP")
    download.value.save_as(tmp_path / "portraits.zip")
    with zipfile.ZipFile(tmp_path / "portraits.zip") as archive:
        assert len(archive.namelist()) == 5 and "portraits/studio/00.png" in archive.namelist()


def test_a_zip_file_goes_on_after_a_reload(opened_page: Callable[..., Place], tmp_path: Path) -> None:
    place = opened_page()
    running = {"status": "running", "result": {"progress": 0.25}}
    place.page.route("**/api/tasks/*", lambda route: route.fulfill(json=running))
    place.page.get_by_label("Search the library").fill("dragon")
    place.count_is(3)
    place.page.get_by_role("button", name="Actions for all listed assets").click()
    place.menu("Download all as ZIP")
    place.page.get_by_text("25 %").wait_for()
    place.page.reload()
    place.page.get_by_text("25 %").wait_for()
    with place.page.expect_download() as download:
        place.page.unroute("**/api/tasks/*")
    download.value.save_as(tmp_path / "dragons.zip")
    with zipfile.ZipFile(tmp_path / "dragons.zip") as archive:
        assert len(archive.namelist()) == 3
    place.page.reload()
    place.tree.wait_for()
    assert place.page.locator(".ca-upload").count() == 0  # it was downloaded


def test_all_that_is_listed(opened_page: Callable[..., Place], tmp_path: Path) -> None:
    place = opened_page()
    place.page.get_by_label("Search the library").fill("dragon")
    place.count_is(3)
    actions = place.page.get_by_role("button", name="Actions for all listed assets")
    actions.click()
    place.menu("Add all to collection…")
    place.menu("New collection…")
    place.name("Dragons")
    place.says("3 assets added to Dragons")
    place.row("Dragons").filter(has_text="3").wait_for()
    actions.click()
    with place.page.expect_download() as download:
        place.menu("Download all as ZIP")
    download.value.save_as(tmp_path / "dragons.zip")
    with zipfile.ZipFile(tmp_path / "dragons.zip") as archive:
        assert len(archive.namelist()) == 3
    place.press("Control+z")
    place.is_gone("Dragons")


def test_thousands_of_folders(opened_page: Callable[..., Place]) -> None:
    """Only the rows near the view are in the page, and a level is loaded as far as it is seen."""
    place = opened_page()
    asked = []

    def folders(route: Any) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        first = int(query.get("after", ["0"])[0])
        asked.append(first)
        found = [
            {"path": f"output/{n:04}", "name": f"{n:04}", "asset_count": 1, "total_count": 1, "has_folders": False}
            for n in range(first, min(first + 500, 5000))
        ]
        more = {"has_more": True, "next_cursor": str(first + 500)} if first + 500 < 5000 else {"has_more": False}
        route.fulfill(json={"folders": found, **more})

    place.row("output").wait_for()
    place.page.route("**/api/assets/folders?*prefix=output*", folders)
    place.row("output").locator(".ca-tree-toggle").click()
    place.row("0000").wait_for()
    assert asked == [0] and place.tree.locator(".ca-tree-row").count() < 60
    place.tree.focus()
    place.press("ArrowDown", "End")
    for _ in range(12):  # the end moves away while more are loaded
        place.press("End")
        place.page.wait_for_timeout(50)
    place.page.wait_for_function(
        "() => { const tree = document.querySelector('.ca-tree');"
        " tree.scrollTop = tree.scrollHeight - 40 * 28; tree.scrollTop = tree.scrollHeight;"
        " return tree.scrollHeight > 5000 * 28 }"
    )
    assert len(asked) == 10 and place.tree.locator(".ca-tree-row").count() < 60
    place.press("Home")
    place.row("All assets").wait_for()


def test_a_narrow_panel(opened_page: Callable[..., Place]) -> None:
    """The navigation lies over the list until a place is chosen."""
    place = opened_page(360)
    button = place.page.get_by_role("button", name="Folders and collections")
    assert place.tree.is_hidden() and button.get_attribute("aria-expanded") == "false"
    button.click()
    place.row("input").wait_for()
    assert place.page.evaluate("document.activeElement.getAttribute('role')") == "tree"
    place.press("Escape")
    assert place.tree.is_hidden()
    assert place.page.evaluate("document.activeElement.ariaLabel") == "Folders and collections"
    button.click()
    place.page.mouse.click(350, 600)  # beside it, where a picture is
    assert place.tree.is_hidden() and place.page.locator(".ca-grid [aria-selected=true]").count() == 0
    button.click()
    for _ in range(60):  # through every control of the page: none lies under the navigation
        place.press("Tab")
        assert not place.page.evaluate("document.activeElement.closest('.ca-pane') !== null")
    place.row("input").click()
    place.count_is(2)
    assert place.tree.is_hidden()
    assert place.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_collection_that_another_page_deletes(opened_page: Callable[..., Place]) -> None:
    place = opened_page()
    made = place.server.request("/api/collections", {"name": "Short"})
    place.row("Short").click()
    place.page.get_by_role("group", name="Current location").get_by_text("Short").wait_for()
    place.server.request(f"/api/collections/{made['id']}", method="DELETE")
    place.says("The collection does not exist any more")
    place.count_is(34)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_no_serious_violations(opened_page: Callable[..., Place], scheme: str) -> None:
    place = opened_page(color_scheme=scheme)
    place.server.request("/api/collections", {"name": "Wall"})
    place.row("Wall").wait_for()
    place.row("output").locator(".ca-tree-toggle").click()
    place.row("portraits").click()
    place.count_is(5)
    found = [each for each in Axe().run(place.page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert found == []
