"""The clicks that the main actions take: at most as many as in the best of the tools that people compare with.

A click, a double click, a drag and a key are one step each. Typing counts nothing, nor does the key that ends it, nor
what comes before an action, such as a search for its asset.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from page_scripts import ADD_IN_SIGHT, ADD_NODE_TYPES, GRAPH, NODE_POINT
from panel_graphs import generated, lasting, page_graph

pytestmark = pytest.mark.slow

TAGGED = 20


@dataclass
class Hand:
    """A user's hand, which counts its steps."""

    panel: Any
    steps: list[str] = field(default_factory=list)

    def click(self, target: Any, **options: Any) -> None:
        self.steps.append(f"click {target}")
        target.click(**options)

    def double_click(self, target: Any) -> None:
        self.steps.append(f"double click {target}")
        target.dblclick(force=True)  # after the first click the details cover the cell

    def press(self, key: str) -> None:
        self.steps.append(f"key {key}")
        self.panel.page.keyboard.press(key)

    def drag(self, target: Any, node: str | None) -> None:
        """Drag to the first node of a type on the canvas, or to its free part."""
        self.steps.append(f"drag {target}")
        x, y = self.panel.page.evaluate(NODE_POINT, node)
        mouse = self.panel.page.mouse
        target.hover()
        mouse.down()
        mouse.move(x - 20, y, steps=4)
        mouse.move(x, y, steps=2)
        mouse.up()

    def write(self, text: str) -> None:
        """Type into the field that has the focus, and end with Enter."""
        self.panel.page.keyboard.type(text)
        self.panel.page.keyboard.press("Enter")


@dataclass(frozen=True)
class Action:
    """An action, the steps that the best tool takes for it, and a function that takes them in the panel.

    The function begins with its preparations, sees that the action has its effect, and takes the steps ``times``.
    """

    name: str
    best: int
    run: Callable[[Any, Hand], None]
    times: int = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any) -> Iterator[Any]:
    """A server with a picture that a LoRA made, and a workflow of two versions."""
    from PIL import Image, PngImagePlugin

    base: Path = small_library(tmp_path_factory.mktemp("clicks"))
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(generated()))
    info.add_text("workflow", json.dumps(page_graph("a fox")))
    Image.new("RGB", (64, 96), (200, 120, 40)).save(base / "output" / "fox.png", pnginfo=info)
    (base / "output" / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    with serve(base) as running:
        made = running.request("/api/workflows", {"name": "Portrait", "workflow_json": page_graph("the first")})
        body = {"base_version": 1, "workflow_json": page_graph("the second")}
        running.request(f"/api/workflows/{made['id']}/versions", body)
        yield running


def find(panel: Any, words: str, count: int = 1) -> Any:
    """Search, and return the first cell."""
    panel.root.get_by_label("Search the library").fill(words)
    panel.count_is(count)
    panel.option(words).wait_for()
    return panel.option(words)


def cell(panel: Any, index: int) -> Any:
    """Return the cell of an asset in the list, after scrolling to it."""
    found = panel.root.locator(f'.ca-grid .ca-cell:not([hidden])[data-index="{index}"]')
    panel.root.locator(".ca-grid").first.evaluate(
        """(grid, index) => {
            const cell = grid.querySelector('.ca-cell')
            const columns = Math.round(grid.clientWidth / cell.offsetWidth)
            grid.scrollTop = Math.floor(index / columns) * cell.offsetHeight
        }""",
        index,
    )
    found.wait_for()
    return found


def viewer_at(panel: Any, name: str) -> None:
    panel.page.locator(".ca-viewer-title", has_text=name).wait_for()


def close_viewer(panel: Any) -> None:
    panel.page.get_by_role("dialog", name="Viewer").press("Escape")
    panel.page.get_by_role("dialog", name="Viewer").wait_for(state="detached")


def empty_graph(panel: Any) -> None:
    panel.page.evaluate(ADD_NODE_TYPES)
    panel.page.evaluate("(app.rootGraph ?? app.graph).clear()")


def full_size_by_mouse(panel: Any, hand: Hand) -> None:
    target = find(panel, "fox.png")
    hand.double_click(target)
    viewer_at(panel, "fox.png")
    close_viewer(panel)


def full_size_by_key(panel: Any, hand: Hand) -> None:
    find(panel, "fox.png")
    panel.root.get_by_role("listbox", name="Assets").focus()
    hand.press("Space")
    viewer_at(panel, "fox.png")
    close_viewer(panel)


def open_first(panel: Any, words: str, count: int) -> list[str]:
    """Show the first of the assets with these words in the viewer; return the names of all in their order."""
    find(panel, words, count)
    panel.root.get_by_role("listbox", name="Assets").press("Space")
    found = panel.server.request(f"/api/assets?q={words}&sort=created_at&order=desc")["assets"]
    names = [str(asset["name"]) for asset in found]
    viewer_at(panel, names[0])
    return names


def next_large(panel: Any, hand: Hand) -> None:
    names = open_first(panel, "knight", 3)
    hand.press("ArrowRight")
    viewer_at(panel, names[1])
    close_viewer(panel)


def rate_in_the_viewer(panel: Any, hand: Hand) -> None:
    names = open_first(panel, "robot", 3)
    for key, expected in (("4", names[1]), ("2", names[2])):
        hand.press(f"Shift+Digit{key}")
        viewer_at(panel, expected)
    close_viewer(panel)
    _ratings_are(panel, names, [4, 2])


def rate_in_the_grid(panel: Any, hand: Hand) -> None:
    names = open_first(panel, "lighthouse", 3)
    close_viewer(panel)
    panel.root.get_by_role("listbox", name="Assets").focus()
    for key in "35":
        hand.press(f"Shift+Digit{key}")
    _ratings_are(panel, names, [3, 5])


def _ratings_are(panel: Any, names: list[str], stars: list[int]) -> None:
    for name, expected in zip(names, stars, strict=False):
        asset = panel.server.asset(name)
        panel.server.wait_for(
            f"/api/assets/{asset['id']}", lambda found, stars=expected: found["user_metadata"].get("rating") == stars
        )


def tag_many(panel: Any, hand: Hand) -> None:
    panel.root.get_by_label("Kind").select_option("output")
    panel.options().first.wait_for()
    hand.click(cell(panel, 0), modifiers=["Control"])
    hand.click(cell(panel, TAGGED - 1), modifiers=["Shift"])
    hand.click(panel.root.locator(".ca-selection input").first)
    hand.write("portfolio")
    panel.server.wait_for("/api/assets?include_tags=portfolio", lambda found: found["total"] == TAGGED)


def throw_away(panel: Any, hand: Hand) -> None:
    names = open_first(panel, "castle", 3)
    for expected in names[1:]:
        hand.press("Delete")
        viewer_at(panel, expected)
    close_viewer(panel)
    panel.count_is(1)


def workflow_by_click(panel: Any, hand: Hand) -> None:
    empty_graph(panel)
    hand.click(find(panel, "fox.png"))
    hand.click(panel.button("Open workflow"))
    panel.canvas_shows("a fox")


def workflow_by_drag(panel: Any, hand: Hand) -> None:
    empty_graph(panel)
    hand.drag(find(panel, "fox.png"), None)
    panel.canvas_shows("a fox")


def into_load_image(panel: Any, hand: Hand) -> None:
    empty_graph(panel)
    panel.page.evaluate(ADD_IN_SIGHT, "LoadImage")
    hand.drag(find(panel, "fox.png"), "LoadImage")
    panel.page.wait_for_function(
        "app.canvas.graph.nodes.some(node => node.widgets?.some(each => String(each.value).includes('fox')))"
    )


def made_with_lora(panel: Any, hand: Hand) -> None:
    panel.root.get_by_label("Kind").select_option("models")
    hand.click(find(panel, "ink_style"))
    panel.root.get_by_text("1 asset made with this").wait_for()
    panel.button("fox.png").wait_for()


def lora_into_graph(panel: Any, hand: Hand) -> None:
    empty_graph(panel)
    panel.root.get_by_label("Kind").select_option("models")
    hand.drag(find(panel, "ink_style"), None)
    panel.says("LoraLoader added")
    assert panel.page.evaluate(GRAPH)["LoraLoader"]["values"][0] == "ink_style.safetensors"


def download_ten(panel: Any, hand: Hand) -> None:
    panel.root.get_by_label("Kind").select_option("output")
    panel.options().first.wait_for()
    hand.click(cell(panel, 0), modifiers=["Control"])
    hand.click(cell(panel, 9), modifiers=["Shift"])
    hand.click(cell(panel, 9), button="right")
    with panel.page.expect_download() as started:
        hand.click(panel.page.get_by_role("menuitem", name="Download as ZIP"))
    with zipfile.ZipFile(started.value.path()) as archive:
        assert len(archive.namelist()) == 10 and archive.testzip() is None


def bring_back(panel: Any, hand: Hand) -> None:
    asset = panel.server.asset("watercolor_forest_with_a_river_00004_.png")
    panel.server.request(f"/api/assets/{asset['id']}?action=trash", method="DELETE")
    hand.click(panel.button("Trash"))
    row = panel.root.get_by_role("region", name="Trash").locator(".ca-cell:not([hidden])", has_text=asset["name"])
    row.hover()
    hand.click(row.get_by_title("Restore"))
    panel.says(f"{asset['name']} restored")
    assert panel.server.asset(asset["name"])["id"] == asset["id"]
    panel.page.keyboard.press("Escape")


def only_videos(panel: Any, hand: Hand) -> None:
    hand.click(panel.button("Filters"))
    kinds = panel.root.get_by_role("region", name="Filters").get_by_role("group", name="Type", exact=True)
    hand.click(kinds.get_by_role("button", name="Videos"))
    panel.count_is(1)
    panel.option("clip.mp4").wait_for()


def cancel_waiting(panel: Any, hand: Hand) -> None:
    jobs = [panel.server.request("/api/prompt", {"prompt": lasting()})["prompt_id"] for _ in range(2)]
    hand.click(panel.root.get_by_role("tab", name="Jobs"))
    row = panel.option("pending")
    row.hover()
    hand.click(row.locator("[data-action=cancel]"))
    panel.server.wait_for(f"/api/jobs/{jobs[1]}", lambda job: job["status"] == "cancelled")
    panel.server.request(f"/api/jobs/{jobs[0]}/cancel", {})
    panel.option("in progress").wait_for(state="detached")


def earlier_version(panel: Any, hand: Hand) -> None:
    empty_graph(panel)
    hand.click(panel.root.get_by_role("tab", name="Workflows"))
    hand.click(panel.option("Portrait"))
    hand.click(panel.button("Open version 1"))
    panel.canvas_shows("the first")


ACTIONS = (
    Action("picture full size", 1, full_size_by_mouse),
    Action("picture full size by key", 1, full_size_by_key),
    Action("next picture large", 1, next_large),
    Action("rate a series, each", 1, rate_in_the_viewer, times=2),
    Action("rate a series in the grid, each", 1, rate_in_the_grid, times=2),
    Action("tag 20 pictures", 3, tag_many),
    Action("throw away bad ones, each", 1, throw_away, times=2),
    Action("workflow of a picture", 2, workflow_by_click),
    Action("workflow of a picture by dragging", 1, workflow_by_drag),
    Action("picture into LoadImage", 1, into_load_image),
    Action("pictures made with a LoRA", 1, made_with_lora),
    Action("LoRA into the graph", 1, lora_into_graph),
    Action("download 10 pictures", 11, download_ten),
    Action("bring back yesterday's delete", 3, bring_back),
    Action("only videos", 2, only_videos),
    Action("cancel a waiting job", 2, cancel_waiting),
    Action("earlier version of a workflow", 3, earlier_version),
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_takes_no_more_steps_than_the_best_tool(panel: Any, action: Action) -> None:
    hand = Hand(panel)
    action.run(panel, hand)
    assert len(hand.steps) <= action.best * action.times, hand.steps


def test_a_folder_is_one_click_away(browser: Any, server: Any, open_alone: Any) -> None:
    """In a wide panel, where the folders are beside the list."""
    with open_alone(browser, server, viewport={"width": 1280, "height": 800}) as own:
        hand = Hand(own)
        hand.click(own.root.get_by_role("tree").locator(".ca-tree-row", has_text="input").first)
        own.root.locator(".ca-place-bar, .ca-place", has_text="input").first.wait_for()
        assert len(hand.steps) == 1
