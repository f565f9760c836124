"""The viewer over the whole page, the keys for culling, the comparison, and the position while pictures arrive."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from viewer_library import NEWEST_S, PICTURES, add_picture, make_viewer_library

pytestmark = pytest.mark.slow
ACTIVE = """
() => document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))?.title
"""
# Where the first whole cell in view lies, and its name.
PLACE = """
() => {
    const grid = document.querySelector('.ca-grid').getBoundingClientRect()
    const cells = [...document.querySelectorAll('.ca-grid .ca-cell:not([hidden])')]
    const [first] = cells.map(cell => ({ name: cell.title, box: cell.getBoundingClientRect() }))
        .filter(({ name, box }) => name && box.top >= grid.top)
        .sort((one, other) => one.box.top - other.box.top || one.box.left - other.box.left)
    return [first.name, Math.round(first.box.left), Math.round(first.box.top)]
}
"""
# The size of a picture on the screen, in px.
SHOWN_SIZE = "image => { const box = image.getBoundingClientRect(); return [box.width, box.height, box.left, box.top] }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[Any]:
    with serve(make_viewer_library(tmp_path_factory.mktemp("viewer"))) as running:
        yield running


class ViewerPage:
    """The viewer as a user sees it."""

    def __init__(self, panel: Any) -> None:
        self.page = panel.page
        self.dialog = panel.page.get_by_role("dialog", name="Viewer")

    def is_at(self, name: str) -> None:
        self.dialog.locator(".ca-viewer-title", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def image(self) -> Any:
        return self.dialog.locator(".ca-viewer-stage img")

    def zoomed_size(self) -> list[float]:
        found: list[float] = self.image.evaluate(SHOWN_SIZE)
        return found


def search(panel: Any, words: str, count: int) -> None:
    panel.root.get_by_label("Search the library").fill(words)
    panel.count_is(count)


def view(panel: Any, name: str) -> ViewerPage:
    """Open the viewer by a double click on a cell."""
    panel.option(name).dblclick(force=True)
    viewer = ViewerPage(panel)
    viewer.is_at(name)
    return viewer


def test_keys_and_clicks_open_it_and_escape_returns_to_the_cell(panel: Any) -> None:
    page = panel.page
    viewer = view(panel, "picture_03.png")
    viewer.press("ArrowRight", "ArrowRight", "ArrowLeft")
    viewer.is_at("picture_04.png")
    viewer.press("Escape")
    viewer.dialog.wait_for(state="detached")
    assert page.evaluate(ACTIVE) == "picture_04.png"
    viewer.press("ArrowRight", " ")
    viewer.is_at("picture_05.png")
    viewer.press(" ")
    viewer.dialog.wait_for(state="detached")
    assert page.evaluate(ACTIVE) == "picture_05.png"
    viewer.press("Enter")
    panel.root.locator(".ca-preview img").click()
    viewer.is_at("picture_05.png")
    viewer.dialog.get_by_role("button", name="Next asset").click()
    viewer.is_at("picture_06.png")
    viewer.press("Escape")
    panel.root.locator(".ca-detail h3", has_text="picture_06.png").wait_for()


def test_zoom_by_wheel_keys_and_double_click(panel: Any) -> None:
    viewer = view(panel, "picture_00.png")
    viewer.image.wait_for()
    stage = viewer.dialog.locator(".ca-viewer-stage")
    box = stage.bounding_box()
    width, height, left, top = viewer.zoomed_size()
    assert height == pytest.approx(box["height"], abs=1) or width == pytest.approx(box["width"], abs=1)
    point = (left + width * 0.25, top + height * 0.25)
    viewer.page.mouse.move(*point)
    viewer.page.mouse.wheel(0, -400)
    viewer.page.wait_for_function(f"document.querySelector('.ca-zoomed') !== null && {width}")
    larger, higher, x, y = viewer.zoomed_size()
    assert larger > width * 1.3
    # The point below the mouse stays below it.
    assert (point[0] - x) / larger == pytest.approx(0.25, abs=0.01)
    assert (point[1] - y) / higher == pytest.approx(0.25, abs=0.01)
    viewer.page.mouse.down()
    viewer.page.mouse.move(point[0] + 40, point[1] + 30)
    viewer.page.mouse.up()
    assert viewer.zoomed_size()[2:] == pytest.approx([x + 40, y + 30], abs=1)
    viewer.press("z")  # fit
    assert viewer.zoomed_size() == pytest.approx([width, height, left, top], abs=1)
    viewer.press("z")  # one px of the picture is one of the screen
    assert viewer.zoomed_size()[:2] == pytest.approx([512, 512], abs=1)
    stage.dblclick(force=True)
    assert viewer.zoomed_size()[:2] == pytest.approx([width, height], abs=1)
    viewer.press("Escape")


def test_pinch_and_swipe(panel: Any) -> None:
    viewer = view(panel, "picture_02.png")
    viewer.image.wait_for()
    touch = """
    ([type, id, x, y]) => document.querySelector('.ca-viewer-stage').dispatchEvent(new PointerEvent(type, {
        pointerId: id, pointerType: 'touch', clientX: x, clientY: y, bubbles: true, button: 0 }))
    """
    # Made-up pointers cannot be captured.
    viewer.page.evaluate("document.querySelector('.ca-viewer-stage').setPointerCapture = () => {}")

    def move(*steps: tuple[str, int, int, int]) -> None:
        for step in steps:
            viewer.page.evaluate(touch, list(step))

    move(("pointerdown", 1, 700, 400), ("pointermove", 1, 560, 405), ("pointerup", 1, 560, 405))
    viewer.is_at("picture_03.png")
    viewer.image.wait_for()
    width = viewer.zoomed_size()[0]
    move(("pointerdown", 1, 400, 400), ("pointerdown", 2, 500, 400), ("pointermove", 2, 600, 400))
    move(("pointerup", 1, 400, 400), ("pointerup", 2, 600, 400))
    assert viewer.zoomed_size()[0] == pytest.approx(2 * width, rel=0.02)
    viewer.press("Escape")


def test_large_pictures_show_a_thumbnail_first_and_then_the_file(panel: Any) -> None:
    """Also where the thumbnail takes longer than the viewer waits before it loads the file."""
    requests: list[str] = []
    held: list[Any] = []
    panel.page.on("request", lambda request: requests.append(request.url))
    panel.page.route(re.compile("/view.*res=1024"), lambda route: held.append(route))
    search(panel, "large.jpg", 1)
    viewer = view(panel, "large.jpg")
    panel.page.wait_for_timeout(1000)
    for route in held:
        route.continue_()
    viewer.image.wait_for()
    viewer.page.wait_for_function("document.querySelector('.ca-picture img')?.naturalWidth > 0")
    viewer.page.wait_for_load_state("networkidle")
    viewer.press("z")
    viewer.page.wait_for_function("document.querySelector('.ca-picture img')?.naturalWidth === 3000")
    assert viewer.zoomed_size()[:2] == pytest.approx([3000, 2000], abs=1)
    of_picture = [url for url in requests if "/view?" in url and "large.jpg" in url and "res=256" not in url]
    assert "res=1024" in of_picture[0] and "res=" not in of_picture[-1]
    viewer.press("Escape")


def test_the_next_picture_is_there_at_once(panel: Any) -> None:
    """By the clock of the page, from the key to the first frame with the picture."""
    viewer = view(panel, "picture_08.png")
    viewer.image.wait_for()
    panel.page.wait_for_load_state("networkidle")
    times = panel.page.evaluate(
        """async () => {
            const times = []
            for (let step = 0; step < 5; step += 1) {
                await new Promise(done => setTimeout(done, 300))
                const begun = performance.now()
                const options = { key: 'ArrowRight', bubbles: true }
                document.querySelector('dialog').dispatchEvent(new KeyboardEvent('keydown', options))
                const shown = () => document.querySelector('.ca-viewer-stage img')?.complete
                while (!shown()) await new Promise(requestAnimationFrame)
                times.push(performance.now() - begun)
            }
            return times
        }"""
    )
    viewer.is_at("picture_13.png")
    assert sorted(times)[2] < 150, times
    viewer.press("Escape")


def colours(shown: Any) -> list[tuple[int, tuple[int, int, int]]]:
    """The colours of an element on the screen, with the number of their pixels."""
    picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
    found: Any = picture.getcolors(picture.width * picture.height)
    return list(found)


@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("clip.webm", "video.ca-player"),
        ("song.flac", "audio.ca-player"),
        ("notes.txt", ".ca-text-view pre"),
        ("graph.json", ".ca-text-view pre"),
        ("moving.gif", ".ca-picture img"),
        ("shape.glb", ".ca-solid canvas"),
        ("cube.stl", ".ca-solid canvas"),
        ("splats.ply", ".ca-solid canvas"),
        ("cloud.splat", ".ca-viewer-message"),
        ("empty.stl", ".ca-viewer-message"),
        ("cut.png", ".ca-viewer-message"),
    ],
)
def test_every_kind_of_file(panel: Any, name: str, selector: str) -> None:
    search(panel, name, 1)
    viewer = view(panel, name)
    shown = viewer.dialog.locator(selector)
    shown.wait_for()
    match name:
        case "clip.webm" | "song.flac":
            panel.page.wait_for_function("player => player.readyState >= 2", arg=shown.element_handle())
            assert shown.get_attribute("controls") is not None
        case "notes.txt":
            assert 200_000 < len(shown.inner_text()) <= 256 * 1024
            viewer.dialog.get_by_text("The first 262 kB of").wait_for()
        case "graph.json":
            assert '"a graph in a file"' in shown.inner_text() and shown.inner_text().count("\n") > 20
            viewer.dialog.get_by_role("button", name="Open workflow").click()
            panel.canvas_shows("a graph in a file")
        case "moving.gif":
            assert "res=" not in shown.get_attribute("src")
        case "shape.glb":
            assert "3D file" in str(panel.option(name).get_attribute("aria-label"))
            before = shown.screenshot()
            found = Image.open(io.BytesIO(before)).convert("RGB").quantize(8).getcolors()
            assert found is not None and len(found) > 3
            box = shown.bounding_box()
            panel.page.mouse.move(box["x"] + 300, box["y"] + 300)
            panel.page.mouse.down()
            panel.page.mouse.move(box["x"] + 500, box["y"] + 340, steps=3)
            panel.page.mouse.up()
            assert shown.screenshot() != before  # it has turned
        case "cube.stl":
            greys = [colour for count, colour in colours(shown) if count > 1000 and max(colour) > 100]
            assert len(greys) > 1  # its sides are lit from one direction
        case "splats.ply":
            assert any(red > green + 60 and red > blue + 60 for _, (red, green, blue) in colours(shown))
        case "cut.png" | "empty.stl" | "cloud.splat":
            viewer.dialog.get_by_text("This browser cannot show the file").wait_for()
    viewer.press("Escape")
    viewer.dialog.wait_for(state="detached")


def test_a_missing_file_shows_a_message(panel: Any, server: Any) -> None:
    path = server.base / "output/gone.txt"
    path.write_text("soon gone")
    server.request("/api/assets/seed", {})
    server.wait_for("/api/assets?name_contains=gone.txt", lambda found: found["total"] == 1)
    search(panel, "gone.txt", 1)
    path.unlink()
    viewer = view(panel, "gone.txt")
    viewer.dialog.locator(".ca-text-view .ca-failure, .ca-viewer-message").first.wait_for()
    viewer.press("Escape")
    server.request("/api/assets/seed", {})
    server.wait_for("/api/assets?name_contains=gone.txt&exclude_tags=missing", lambda found: found["total"] == 0)


def test_rates_favourites_deletes_and_undo(panel: Any, server: Any) -> None:
    viewer = view(panel, "picture_04.png")
    viewer.press("4", "f", "ArrowRight", "2", "Delete")
    viewer.is_at("picture_06.png")
    viewer.dialog.get_by_text("picture_05.png moved to the trash").wait_for()
    marked = server.wait_for(
        f"/api/assets/{server.asset('picture_04.png')['id']}", lambda asset: len(asset["user_metadata"]) == 2
    )
    assert marked["user_metadata"] == {"rating": 4, "favorite": True}
    panel_total = server.request("/api/assets?limit=1&exclude_tags=missing")["total"]
    viewer.press("Control+z")
    viewer.dialog.get_by_text("picture_05.png restored").wait_for()
    assert server.request("/api/assets?limit=1&exclude_tags=missing")["total"] == panel_total + 1
    assert server.asset("picture_05.png")["user_metadata"] == {"rating": 2}
    viewer.press("Control+z", "Control+z", "Control+z")
    viewer.dialog.get_by_text("Undone: rating of picture_04.png").wait_for()
    assert [server.asset(f"picture_{number}.png").get("user_metadata") or {} for number in ("04", "05")] == [{}, {}]
    viewer.press("Control+z")
    viewer.dialog.get_by_text("Nothing to undo").wait_for()
    viewer.press("Escape")


def test_keys_in_the_grid(panel: Any, server: Any) -> None:
    page = panel.page
    page.evaluate("() => { const graph = app.rootGraph ?? app.graph; graph.add(LiteGraph.createNode('EmptyImage')) }")
    nodes = page.evaluate("(app.rootGraph ?? app.graph).nodes.length")
    field = panel.root.get_by_label("Search the library")
    field.fill("picture")
    panel.count_is(PICTURES)
    field.press("5")  # text, and no rating
    field.fill("picture")
    panel.count_is(PICTURES)
    field.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(ACTIVE) == "picture_01.png"
    page.keyboard.press("3")
    panel.option("picture_01.png").locator(".ca-summary", has_text="★★★").wait_for()
    page.keyboard.press("F2")
    panel.root.get_by_label("Name", exact=True).fill("chosen.png")
    page.keyboard.press("Enter")
    server.wait_for("/api/assets?name_contains=chosen", lambda found: found["total"] == 1)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").get_by_text("favourite on or off").wait_for()
    page.keyboard.press("Escape")
    for _ in range(2):
        page.keyboard.press("Control+z")
    panel.says("Undone: rating of picture_01.png")
    assert server.asset("picture_01.png").get("user_metadata", {}) == {}
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    assert page.evaluate("(app.rootGraph ?? app.graph).nodes.length") == nodes  # the page's own undo did nothing


def test_keys_after_a_click_beside_the_controls(panel: Any, server: Any) -> None:
    """They belong to the panel, as the grid's do."""
    asset = server.asset("picture_03.png")
    panel.option("picture_03.png").click(modifiers=["Control"])
    panel.page.keyboard.press("3")
    server.wait_for(f"/api/assets/{asset['id']}", lambda found: found["user_metadata"] == {"rating": 3})
    panel.button("Clear selection").click()
    beside = panel.root.locator(".ca-total")
    beside.click()
    panel.page.keyboard.press("Control+z")
    panel.says("Undone: rating")
    server.wait_for(f"/api/assets/{asset['id']}", lambda found: not found.get("user_metadata"))
    beside.click()
    panel.page.keyboard.press("/")
    search_box = panel.root.get_by_label("Search the library")
    assert search_box.evaluate("field => field === document.activeElement")
    beside.click()
    panel.page.keyboard.press("y")  # means nothing; after a key, browsers show what has the focus
    assert beside.evaluate("() => getComputedStyle(document.activeElement).boxShadow") == "none"


def test_properties_are_shown_once(panel: Any, server: Any) -> None:
    """A file that cannot be shown has a card with its properties, unless the information beside it has them."""
    (server.base / "output/weights.bin").write_bytes(bytes(1000))
    server.request("/api/assets/seed", {})
    server.wait_for("/api/assets?name_contains=weights.bin", lambda found: found["total"] == 1)
    search(panel, "weights.bin", 1)
    viewer = view(panel, "weights.bin")
    viewer.dialog.locator(".ca-card-view").wait_for()
    headings = viewer.dialog.get_by_role("heading", name="Properties")
    information = viewer.dialog.locator(".ca-viewer-info")
    for is_shown in (True, False, True):
        information.wait_for(state="visible" if is_shown else "hidden")
        headings.wait_for()
        assert headings.count() == 1
        viewer.press("i")
    viewer.press("i")
    viewer.press("Escape")
    (server.base / "output/weights.bin").unlink()  # the places of later tests count without it
    server.request("/api/assets/seed", {})
    panel.count_is(0)


def test_the_menu_and_the_information_of_the_viewer(panel: Any, server: Any) -> None:
    viewer = view(panel, "picture_02.png")
    viewer.image.wait_for()
    viewer.dialog.locator(".ca-viewer-stage").click(button="right")
    panel.page.get_by_role("menuitem", name="Move file to trash").click()
    viewer.is_at("picture_03.png")
    viewer.press("Control+z")
    viewer.dialog.get_by_text("picture_02.png restored").wait_for()
    viewer.dialog.get_by_role("button", name="Copy prompt").click()
    viewer.dialog.get_by_text("Prompt copied").wait_for()
    viewer.dialog.get_by_role("button", name="ink_world").click()
    viewer.dialog.wait_for(state="detached")
    panel.count_is(server.request("/api/assets?q=model:ink_world&exclude_tags=missing")["total"])


def test_delete_in_the_details_goes_on_to_the_next(panel: Any, server: Any) -> None:
    panel.option("picture_10.png").click()
    panel.root.locator(".ca-detail h3", has_text="picture_10.png").wait_for()
    panel.page.keyboard.press("Delete")
    panel.root.locator(".ca-detail h3", has_text="picture_11.png").wait_for()
    panel.says("picture_10.png moved to the trash")
    panel.page.keyboard.press("Control+z")
    panel.says("picture_10.png restored")
    panel.lists_everything()
    panel.page.keyboard.press("ArrowLeft")
    panel.root.locator(".ca-detail h3", has_text="picture_10.png").wait_for()


@pytest.mark.parametrize("action", ["trash", "remove"])
def test_what_another_window_deletes_leaves_the_details_and_the_viewer(panel: Any, server: Any, action: str) -> None:
    viewer = view(panel, "picture_12.png")
    asset = server.asset("picture_12.png")
    server.request("/api/assets/batch", {"action": "rate", "rating": 3, "ids": [asset["id"]], "wait": 10})
    viewer.dialog.get_by_role("radio", name="3 stars", checked=True).wait_for()
    made = server.request("/api/assets/batch", {"action": action, "ids": [asset["id"]], "wait": 10})
    viewer.is_at("picture_13.png")
    viewer.dialog.get_by_text("picture_12.png: The asset does not exist any more.").wait_for()
    viewer.press("Escape")
    server.request(f"/api/assets/batch/{made['batch_id']}/undo", {"wait": 10})
    server.request("/api/assets/batch", {"action": "rate", "rating": 0, "ids": [asset["id"]], "wait": 10})
    panel.lists_everything()
    panel.option("picture_12.png").click()
    panel.root.locator(".ca-detail h3", has_text="picture_12.png").wait_for()
    made = server.request("/api/assets/batch", {"action": action, "ids": [asset["id"]], "wait": 10})
    panel.says("picture_12.png: The asset does not exist any more.")
    panel.root.locator(".ca-detail").wait_for(state="hidden")
    server.request(f"/api/assets/batch/{made['batch_id']}/undo", {"wait": 10})
    panel.lists_everything()


def test_a_video_plays_under_the_mouse(panel: Any) -> None:
    panel.page.emulate_media(reduced_motion="no-preference")
    search(panel, "clip.webm", 1)
    cell = panel.option("clip.webm")
    cell.locator(".ca-length", has_text="0:02").wait_for()
    cell.hover()
    cell.locator("video.ca-loaded").wait_for()
    assert cell.locator("video").evaluate("video => [video.muted, video.paused]") == [True, False]
    panel.root.get_by_label("Search the library").hover()
    cell.locator("video").wait_for(state="detached")
    panel.page.emulate_media(reduced_motion="reduce")


def test_comparing_many_with_one_zoom_and_a_table(panel: Any) -> None:
    page = panel.page
    for number in (0, 1, 2, 3):
        panel.option(f"picture_0{number}.png").click(modifiers=["Control"])
    panel.button("Compare").click()
    dialog = page.get_by_role("dialog", name="Compare", exact=True)
    images = dialog.locator(".ca-compare-stage img")
    images.nth(3).wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('.ca-compare-stage img')].every(image => image.complete && image.naturalWidth)"
    )
    before = images.evaluate_all("images => images.map(image => image.getBoundingClientRect().width)")
    box = dialog.locator(".ca-compare-stage").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_function("document.querySelectorAll('dialog .ca-zoomed').length === 4")
    after = images.evaluate_all("images => images.map(image => image.getBoundingClientRect().width)")
    factors = [large / small for large, small in zip(after, before, strict=True)]
    assert factors == pytest.approx([factors[0]] * 4, rel=0.001) and factors[0] > 1.2
    table = dialog.get_by_role("region", name="Differences")
    for row in ("Prompt", "Seed", "Model", "LoRAs"):
        table.get_by_role("rowheader", name=row, exact=True).wait_for()
    assert table.get_by_role("rowheader", name="Steps").count() == 0
    assert set(table.locator("mark").all_inner_texts()) >= {"snow,", "forest,", "grey", "wolf"}
    table.get_by_text("The same for all").click()
    table.get_by_text("Euler a").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_comparing_two_with_a_slider(panel: Any) -> None:
    for number in (1, 2):  # of different shapes
        panel.option(f"picture_0{number}.png").click(modifiers=["Control"])
    panel.button("Compare").click()
    dialog = panel.page.get_by_role("dialog", name="Compare", exact=True)
    dialog.get_by_role("button", name="Slider").click()
    slider = dialog.get_by_role("slider")
    slider.press("ArrowRight")
    assert float(slider.input_value()) > 50
    box = dialog.locator(".ca-compare-layers").bounding_box()
    panel.page.mouse.move(box["x"] + box["width"] * float(slider.input_value()) / 100, box["y"] + 50)
    panel.page.mouse.down()
    panel.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
    panel.page.mouse.up()
    assert float(slider.input_value()) == pytest.approx(25, abs=1)
    panel.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def add_and_wait(panel: Any, server: Any, first: int, count: int) -> None:
    """Add pictures, and wait until the panel lists them."""
    total = server.request("/api/assets?limit=1&exclude_tags=missing")["total"]
    for number in range(first, first + count):
        add_picture(server.base, number, NEWEST_S + 10 + number)
    server.request("/api/assets/seed", {})
    panel.count_is(total + count)


def test_the_view_stays_while_pictures_arrive(panel: Any, server: Any) -> None:
    page = panel.page
    grid = panel.root.locator(".ca-grid").first
    grid.evaluate("grid => { grid.scrollTop = 3 * 180 }")
    page.wait_for_function("document.querySelector('.ca-grid').scrollTop > 500")
    panel.options().locator("img.ca-loaded").first.wait_for()
    before = page.evaluate(PLACE)
    add_and_wait(panel, server, 0, 3)
    assert page.evaluate(PLACE) == before
    panel.button("3 new").wait_for()
    viewer = view(panel, before[0])
    add_and_wait(panel, server, 3, 1)
    viewer.is_at(before[0])
    index = int(viewer.dialog.locator(".ca-viewer-position").inner_text().split()[0])
    assert index == int(before[0][8:10]) + 1 + 4
    viewer.press("ArrowRight")
    viewer.is_at(f"picture_{int(before[0][8:10]) + 1:02d}.png")
    viewer.press("Escape")
    panel.button("4 new").click()
    panel.option("added_03.png").wait_for()
    assert grid.evaluate("grid => grid.scrollTop") == 0
    panel.root.locator(".ca-new-items").wait_for(state="hidden")


def test_no_serious_violations(panel: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def check() -> None:
        found = Axe().run(panel.page, context="dialog").response["violations"]
        grave = [
            (each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
        assert grave == []

    for theme in ("dark", "light"):
        panel.page.evaluate("theme => app.extensionManager.setting.set('Comfy.ColorPalette', theme)", theme)
        viewer = view(panel, "picture_06.png")
        viewer.image.wait_for()
        viewer.dialog.get_by_text("Negative prompt").wait_for()
        check()
        viewer.press("?")
        check()
        viewer.press("Escape", "Escape")
        panel.root.get_by_role("listbox", name="Assets").focus()
        for number in range(5):
            panel.option(f"picture_0{number}.png").click(modifiers=["Control"])
        panel.button("Compare").click()
        panel.page.get_by_role("region", name="Differences").wait_for()
        check()
        viewer.press("Escape")
        panel.page.evaluate("document.querySelector('.ca-selection [aria-label=\"Clear selection\"]').click()")
