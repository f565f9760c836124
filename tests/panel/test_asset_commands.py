"""What made an asset, what belongs to it, and its commands: in the details and in menus, by mouse and by keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_scripts import ADD_NODE_TYPES, DRAG_ONTO, GRAPH, KNOWS_PLACE, MENU_EVENT
from panel_graphs import NEGATIVE, POSITIVE, generated, page_graph

pytestmark = pytest.mark.slow

LORA = {"base_model": "SDXL 1.0", "trained_words": ["ink wash", "sumi"], "author": "someone"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_library: Any, serve: Any) -> Iterator[Any]:
    """A server with a picture that has everything, and a described LoRA."""
    from PIL import Image, PngImagePlugin

    base: Path = small_library(tmp_path_factory.mktemp("commands"))
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(generated()))
    info.add_text("workflow", json.dumps(page_graph("fox")))
    Image.new("RGB", (64, 96), (200, 120, 40)).save(base / "output" / "fox.png", pnginfo=info)
    Image.new("RGB", (64, 64), (40, 120, 200)).save(base / "models" / "loras" / "ink_style.preview.png")
    (base / "models" / "loras" / "ink_style.metadata.json").write_text(
        json.dumps({"base_model": LORA["base_model"], "civitai": {"trainedWords": LORA["trained_words"]}})
    )
    Image.new("RGB", (64, 64), (1, 2, 3)).save(base / "input" / "photo.png")
    with serve(base) as running:
        graph = page_graph("needs the LoRA")
        look = {"pos": [0, 400], "size": [280, 120], "flags": {}, "properties": {}, "mode": 0, "order": 3}
        node = {"id": 4, "type": "LoraLoader", "widgets_values": ["ink_style.safetensors", 1, 1], **look}
        running.request(
            "/api/workflows", {"name": "Inky", "workflow_json": {**graph, "nodes": [*graph["nodes"], node]}}
        )
        yield running


@pytest.fixture
def loaders(panel: Any) -> Any:
    """The panel in a page that knows loaders of models, which the standalone host lacks, and an empty graph."""
    panel.page.evaluate(ADD_NODE_TYPES)
    panel.page.evaluate("(app.rootGraph ?? app.graph).clear()")
    return panel


def find(panel: Any, words: str, kind: str = "all") -> Any:
    """Search for the only asset of a kind with these words and return its cell."""
    panel.root.get_by_label("Kind").select_option(kind)
    panel.root.get_by_label("Search the library").fill(words)
    panel.option(words).wait_for()
    panel.count_is(1)
    return panel.option(words)


def menu(panel: Any) -> Any:
    return panel.page.get_by_role("menu")


def choose(panel: Any, name: str) -> None:
    menu(panel).get_by_role("menuitem", name=name, exact=True).click()
    menu(panel).wait_for(state="detached")


def test_prompt_and_settings(panel: Any) -> None:
    find(panel, "fox.png").click()
    detail = panel.root.locator(".ca-detail:not([hidden])")
    detail.get_by_text("Negative prompt", exact=True).wait_for()
    shown = detail.locator(".ca-generation").inner_text()
    models = ("dreamscape_xl.safetensors", "ink_style.safetensors × 0.8")
    for part in (*models, "123456789012345678", "24", "euler", "karras", "6.5", "832 × 1216"):
        assert part in shown, part
    for name, text in (
        ("Copy prompt", POSITIVE),
        ("Copy negative prompt", NEGATIVE),
        ("Copy seed", "123456789012345678"),
    ):
        panel.button(name).click()
        panel.says("copied")
        assert panel.page.evaluate("navigator.clipboard.readText()") == text
    detail.get_by_role("button", name="ink_style.safetensors × 0.8").click()
    panel.count_is(2)  # the LoRA, and what was made with it


def test_a_model_with_its_words_pictures_and_workflows(panel: Any) -> None:
    cell = find(panel, "ink_style", "models")
    assert "SDXL 1.0" in cell.inner_text()
    cell.hover()
    cell.locator(".ca-copy-words").click()
    panel.says("Trigger words copied")
    assert panel.page.evaluate("navigator.clipboard.readText()") == "ink wash, sumi"
    cell.click()
    detail = panel.root.locator(".ca-detail:not([hidden])")
    detail.get_by_text("SDXL 1.0").first.wait_for()
    detail.get_by_text("1 asset made with this").wait_for()
    detail.get_by_text("Used in 1 workflow").wait_for()
    detail.get_by_role("button", name="sumi", exact=True).click()
    panel.says("sumi copied")
    panel.button("fox.png").click()
    detail.locator("h3", has_text="fox.png").wait_for()
    panel.button("Back").click()
    panel.option("ink_style").click()
    panel.button("Inky").click()
    panel.root.locator(".ca-tab-panel:not([hidden]) h3", has_text="Inky").wait_for()


def test_the_menu_by_the_mouse(loaders: Any) -> None:
    cell = find(loaders, "fox.png")
    cell.click(button="right")
    names = menu(loaders).get_by_role("menuitem").all_inner_texts()
    assert names[:5] == ["Details", "View full size", "Open workflow", "Insert as node", "Send to LoadImage"]
    choose(loaders, "Insert as node")
    loaders.says("LoadImage added")
    loaders.canvas_shows("fox.png [output]")
    cell.click(button="right")
    choose(loaders, "Send to LoadImage")
    loaders.says("LoadImage now uses fox.png")
    assert len(loaders.page.evaluate(GRAPH)) == 1
    cell.click(button="right")
    with loaders.page.expect_download() as download:
        choose(loaders, "Export workflow")
    assert download.value.suggested_filename == "fox.json"
    assert json.loads(Path(download.value.path()).read_text())["nodes"]


def test_the_menu_by_the_keyboard(panel: Any) -> None:
    find(panel, "fox.png")
    grid = panel.root.get_by_role("listbox", name="Assets")
    grid.press("Home")
    grid.evaluate(MENU_EVENT)
    menu(panel).wait_for()
    for key, item in (
        ("End", "Move file to trash"),
        ("ArrowDown", "Details"),
        ("c", "Copy prompt"),
        ("c", "Copy path"),
    ):
        panel.page.keyboard.press(key)
        assert panel.page.evaluate("document.activeElement.innerText") == item
    panel.page.keyboard.press("Enter")
    panel.says("Path copied")
    assert panel.page.evaluate("navigator.clipboard.readText()") == "output/fox.png"
    grid.evaluate(MENU_EVENT)
    panel.page.keyboard.press("Escape")
    menu(panel).wait_for(state="detached")
    assert panel.page.evaluate("document.activeElement.getAttribute('role')") == "listbox"


def test_a_lora_goes_behind_the_checkpoint(loaders: Any) -> None:
    loaders.page.evaluate("app.canvas.graph.add(LiteGraph.createNode('CheckpointLoaderSimple')) && null")
    find(loaders, "ink_style", "models").click(button="right")
    choose(loaders, "Use this LoRA")
    loaders.says("LoraLoader added and connected Trigger words copied: ink wash, sumi")
    assert loaders.page.evaluate("navigator.clipboard.readText()") == "ink wash, sumi"
    nodes = loaders.page.evaluate(GRAPH)
    assert nodes["LoraLoader"]["values"][0] == "ink_style.safetensors"
    assert nodes["LoraLoader"]["sources"] == ["CheckpointLoaderSimple", "CheckpointLoaderSimple"]
    # A second one goes behind the first, and whatever used the first uses it now.
    loaders.page.evaluate("app.canvas.deselectAll?.()")
    find(loaders, "film_grain", "models").click(button="right")
    choose(loaders, "Use this LoRA")
    loaders.says("LoraLoader added and connected")
    assert sorted(loaders.page.evaluate("app.canvas.graph.nodes.map(node => node.type)")) == [
        "CheckpointLoaderSimple", "LoraLoader", "LoraLoader",
    ]  # fmt: skip


def test_a_model_dropped_on_the_canvas_and_on_a_loader(loaders: Any) -> None:
    find(loaders, "ink_style", "models")
    loaders.page.evaluate(DRAG_ONTO, {"name": "ink_style", "node": None})
    loaders.says("LoraLoader added")
    find(loaders, "film_grain", "models")
    loaders.page.wait_for_function(KNOWS_PLACE, arg="LoraLoader")
    loaders.page.evaluate(DRAG_ONTO, {"name": "film_grain", "node": "LoraLoader"})
    loaders.says("LoraLoader now uses film_grain.safetensors")
    nodes = loaders.page.evaluate(GRAPH)
    assert len(nodes) == 1 and nodes["LoraLoader"]["values"][0] == "film_grain.safetensors"


def test_a_picture_without_a_workflow_dropped_on_the_canvas_is_not_uploaded(panel: Any, server: Any) -> None:
    panel.page.evaluate("(app.rootGraph ?? app.graph).clear()")
    server.wait_for("/api/assets?name_contains=photo.png", lambda page: page["assets"][0].get("hash"))
    find(panel, "photo.png")
    uploads: list[str] = []
    panel.page.on("request", lambda request: "/upload/" in request.url and uploads.append(request.url))
    panel.page.evaluate(DRAG_ONTO, {"name": "photo.png", "node": None})
    panel.says("LoadImage added")
    assert panel.page.evaluate(GRAPH)["LoadImage"]["values"][0] == "photo.png"
    assert uploads == []
