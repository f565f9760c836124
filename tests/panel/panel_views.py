"""The views of the panel over the gallery: functions that show each, from the state in which the panel is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from page_scripts import DROP
from panel_graphs import failing, page_graph

View = Callable[[Any], None]
QUEUE_LENGTH = 3
STACK_SIZE = 3
WITHOUT_PROMPT = QUEUE_LENGTH + STACK_SIZE  # the newest pictures
COLLECTIONS = ("Calendar 2027", "For the print shop: landscapes in the light of the evening", "Portfolio")
SEARCHES = {
    "Best of the studies": {"q": "soft light", "rating": "4..", "folder": "output/studies"},
    "Videos of the last month": {"kind": "video", "created_days": 30},
}


def fill(server: Any) -> None:
    """Give the server jobs, saved workflows, tags and marks, so that no view is empty."""
    made = server.request("/api/workflows", {"name": "Landscape study", "workflow_json": page_graph("hills at dusk")})
    graph = page_graph("hills at dawn, fog in the valley", 30, with_lora=True)
    server.request(f"/api/workflows/{made['id']}/versions", {"base_version": 1, "workflow_json": graph})
    for name in ("Portrait", "Upscale twice"):
        server.request("/api/workflows", {"name": name, "workflow_json": page_graph(name)})
    server.request("/api/workflows", {"name": "From elsewhere", "workflow_json": naming_models(server)})
    for number in range(1, QUEUE_LENGTH + 1):
        body = {"prompt": copying(number), "workflow_id": made["id"]}
        job = server.request("/api/prompt", body)["prompt_id"]
        server.wait_for(f"/api/jobs/{job}", lambda found: found["status"] == "completed")
    server.run(failing())
    server.run(several())
    assets = server.request("/api/assets?include_tags=output&limit=20&sort=created_at&order=desc")["assets"]
    for place, asset in enumerate(assets):
        tags = ["client", *(["best"] if place % 3 == 0 else []), *(["print"] if place % 5 == 0 else [])]
        server.request(f"/api/assets/{asset['id']}/tags", {"tags": tags})
        if place % 4 == 1:
            server.request(f"/api/assets/{asset['id']}", {"user_metadata": {"favorite": True, "rating": 4}}, "PUT")
    collect(server, assets)
    throw_away(server)


def collect(server: Any, assets: list[Any]) -> None:
    """Make collections of some assets, and save searches."""
    for number, name in enumerate(COLLECTIONS, 2):
        ids = [asset["id"] for asset in assets[STACK_SIZE::number]]
        server.request("/api/collections", {"name": name, "asset_ids": ids})
    for name, query in SEARCHES.items():
        server.request("/api/saved-searches", {"name": name, "query": query})


def throw_away(server: Any) -> None:
    """Delete the oldest pictures, one in the way that keeps the file."""
    oldest = server.request("/api/assets?include_tags=output&limit=4&sort=created_at&order=asc")["assets"]
    for place, asset in enumerate(oldest):
        action = "trash" if place else "remove"
        server.request(f"/api/assets/{asset['id']}?action={action}", method="DELETE")


def copying(number: int) -> dict[str, Any]:
    """Return a graph that saves a reference picture anew."""
    load = {"class_type": "LoadImage", "inputs": {"image": f"reference_{number}.png"}}
    return {"1": load, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "hills"}}}


def several() -> dict[str, Any]:
    """Return a graph whose outputs are a stack."""
    graph: dict[str, Any] = {}
    for number in range(1, STACK_SIZE + 1):
        load = {"class_type": "LoadImage", "inputs": {"image": f"reference_{QUEUE_LENGTH + number}.png"}}
        inputs = {"images": [str(number), 0], "filename_prefix": "series"}
        graph |= {str(number): load, str(number + STACK_SIZE): {"class_type": "SaveImage", "inputs": inputs}}
    return graph


def naming_models(server: Any) -> dict[str, Any]:
    """Return a graph that names a model of the library, one in another folder, and one that is missing."""
    models = server.request("/api/assets?include_tags=models,loras&limit=2")["assets"]
    names = [models[0]["loader_path"], f"elsewhere/{models[1]['name']}", "absent.safetensors"]
    source = {"name": names[2], "url": "https://models.example/absent.safetensors", "directory": "loras"}
    nodes = [
        {"id": at, "type": "LoraLoader", "widgets_values": [name, 1, 1], "properties": {"models": [source]}}
        for at, name in enumerate(names, 1)
    ]
    return {"nodes": nodes, "links": [], "version": 0.4}


def library(panel: Any) -> None:
    panel.root.locator(".ca-grid").first.evaluate("grid => { grid.scrollTop = 0 }")
    panel.options().locator("img.ca-loaded").nth(3).wait_for()


def as_list(panel: Any) -> None:
    panel.button("Show as a list").click()
    library(panel)


def filters(panel: Any) -> None:
    panel.button("Filters").click()
    section = panel.root.get_by_role("region", name="Filters")
    section.get_by_role("button", name=re.compile(r"^Images\W+\d")).wait_for()


def selection(panel: Any) -> None:
    """Several assets selected, and a notification over the bar."""
    library(panel)
    for place in (0, 1, 3):
        _cell(panel, place).locator("[data-check]").click(force=True)
    panel.root.locator(".ca-selection").get_by_role("button", name="favourites").click()
    panel.says("favourites")


def context_menu(panel: Any) -> None:
    library(panel)
    _cell(panel, 1).click(button="right")
    panel.page.get_by_role("menu").wait_for()


def detail(panel: Any) -> None:
    library(panel)
    panel.option("northern_coast_night_04").click()
    panel.root.locator(".ca-generation").wait_for()
    panel.root.locator(".ca-preview img").evaluate("picture => picture.decode()")


def model(panel: Any) -> None:
    panel.root.get_by_label("Kind").select_option("models")
    panel.option("ink_wash").click()
    panel.root.get_by_text("made with this").wait_for()


def unused_models(panel: Any) -> None:
    panel.root.get_by_label("Kind").select_option("models")
    panel.root.get_by_role("button", name=re.compile(r"^\d+ unused model")).click()
    panel.button("Show all models").wait_for()


def folders(panel: Any) -> None:
    """The tree of folders, opened, with collections and saved searches below it."""
    tree = _navigation(panel)
    tree.press("Home")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        panel.page.keyboard.press(key)
    _row(tree, "landscapes").wait_for()


def folder(panel: Any) -> None:
    folders(panel)
    _row(_navigation(panel), "landscapes").click()
    panel.root.get_by_role("group", name="Current location").get_by_text("landscapes").wait_for()
    library(panel)


def collection(panel: Any) -> None:
    """A collection in its own order."""
    _row(_navigation(panel), "Portfolio").click()
    panel.root.get_by_role("group", name="Current location").get_by_text("Portfolio").wait_for()
    panel.root.get_by_label("Sort by").select_option("collection")
    library(panel)


def collection_menu(panel: Any) -> None:
    _row(_navigation(panel), "Portfolio").click(button="right")
    panel.page.get_by_role("menuitem", name="Delete collection").wait_for()


def stacks(panel: Any) -> None:
    """The assets of each job as one card, one of them selected."""
    panel.button("Stack by job").click()
    card = panel.option("series_")
    card.locator("img.ca-loaded").wait_for()
    card.locator("[data-check]").click(force=True)
    panel.root.get_by_text(f"{STACK_SIZE} selected").wait_for()


def stack_menu(panel: Any) -> None:
    panel.button("Stack by job").click()
    panel.option("series_").click(button="right")
    panel.page.get_by_role("menu").wait_for()


def stack(panel: Any) -> None:
    """The assets of one job, opened from its card."""
    panel.button("Stack by job").click()
    panel.option("series_").click()
    panel.count_is(STACK_SIZE)
    panel.options().locator("img.ca-loaded").nth(STACK_SIZE - 1).wait_for()


def trash(panel: Any) -> None:
    """The trash, with an entry selected."""
    _open_trash(panel)
    panel.root.locator(".ca-trash .ca-cell:not([hidden])").nth(1).click()
    panel.root.get_by_role("toolbar", name="Selected in the trash").wait_for()


def trash_confirmation(panel: Any) -> None:
    _open_trash(panel)
    panel.button("Empty trash…").click()
    panel.page.get_by_role("dialog", name="Empty the trash?").wait_for()


def _open_trash(panel: Any) -> None:
    panel.root.locator(".ca-list-head").get_by_role("button", name="Trash").click()
    panel.root.locator(".ca-trash .ca-cell:not([hidden])").nth(1).wait_for()


def _navigation(panel: Any) -> Any:
    """Return the tree of folders and collections, once it is shown."""
    tree = panel.root.get_by_role("tree", name="Folders and collections")
    if not tree.is_visible():
        panel.button("Folders and collections").click()
    _row(tree, "output").wait_for()
    return tree


def _row(tree: Any, name: str) -> Any:
    return tree.locator(".ca-tree-row", has=tree.page.locator(f".ca-tree-label:text-is('{name}')"))


def upload_question(panel: Any) -> None:
    name = "fresh.safetensors"
    header = '{"unet.lora_up.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    panel.page.evaluate(DROP, {"name": name, "text": chr(len(header)) + "\0" * 7 + header + "x"})
    panel.root.get_by_label(f"Destination of {name}").wait_for()


def viewer(panel: Any) -> None:
    library(panel)
    panel.root.get_by_role("listbox", name="Assets").press("Home")
    for _ in range(WITHOUT_PROMPT + 2):
        panel.page.keyboard.press("ArrowRight")
    panel.page.keyboard.press(" ")
    dialog = panel.page.get_by_role("dialog", name="Viewer")
    dialog.locator(".ca-picture img").evaluate("picture => picture.decode()")
    if (panel.page.viewport_size or {"width": 1280})["width"] > 800:
        dialog.get_by_text("Negative prompt").wait_for()


def viewer_menu(panel: Any) -> None:
    viewer(panel)
    panel.page.locator(".ca-viewer-stage").click(button="right")
    panel.page.get_by_role("menu").wait_for()


def viewer_notice(panel: Any) -> None:
    viewer(panel)
    panel.page.keyboard.press("Control+z")
    panel.page.get_by_role("dialog", name="Viewer").locator(".ca-notification").wait_for()


def compare(panel: Any) -> None:
    library(panel)
    for place in range(WITHOUT_PROMPT, WITHOUT_PROMPT + 4):
        _cell(panel, place).locator("[data-check]").click(force=True)
    panel.button("Compare").click()
    panel.page.get_by_role("region", name="Differences").wait_for()
    panel.page.wait_for_function(
        "[...document.querySelectorAll('.ca-compare-stage img')].every(image => image.complete && image.naturalWidth)"
    )


def keys(panel: Any) -> None:
    panel.root.get_by_role("listbox", name="Assets").press("?")
    panel.page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()


def jobs(panel: Any) -> None:
    panel.tab("Jobs")
    panel.option("Landscape study").wait_for()


def jobs_confirmation(panel: Any) -> None:
    jobs(panel)
    panel.button("Clear finished").click()
    panel.root.get_by_role("button", name="Remove the records of").wait_for()


def job(panel: Any) -> None:
    panel.tab("Jobs")
    panel.option("failed").click()
    panel.button("Copy error").wait_for()


def job_outputs(panel: Any) -> None:
    panel.tab("Jobs")
    panel.option("completed").click()
    panel.root.get_by_text(f"{STACK_SIZE} outputs", exact=True).wait_for()
    panel.root.locator(".ca-detail:not([hidden]) img").first.evaluate("picture => picture.decode()")


def workflows(panel: Any) -> None:
    panel.tab("Workflows")
    panel.option("Landscape study").wait_for()


def workflow(panel: Any) -> None:
    workflows(panel)
    panel.option("Landscape study").click()
    panel.button("Show changes").click()
    panel.root.locator(".ca-diff").wait_for()


def requirements(panel: Any) -> None:
    workflows(panel)
    panel.option("From elsewhere").click()
    panel.root.locator(".ca-requirement[data-status=missing]").wait_for()


def bundle_export(panel: Any) -> None:
    requirements(panel)
    panel.button("Export bundle").click()
    panel.page.get_by_role("dialog", name="Export From elsewhere").wait_for()


def workflow_confirmation(panel: Any) -> None:
    workflows(panel)
    panel.option("Portrait").click()
    panel.root.locator(".ca-detail:not([hidden])").get_by_role("button", name="Delete").click()
    panel.root.locator(".ca-detail:not([hidden]) .ca-danger").first.wait_for()


def _cell(panel: Any, index: int) -> Any:
    return panel.root.locator(f'.ca-grid .ca-cell:not([hidden])[data-index="{index}"]').first


VIEWS: tuple[View, ...] = (
    library,
    as_list,
    filters,
    selection,
    context_menu,
    detail,
    model,
    unused_models,
    folders,
    folder,
    collection,
    collection_menu,
    stacks,
    stack_menu,
    stack,
    trash,
    trash_confirmation,
    upload_question,
    viewer,
    viewer_menu,
    viewer_notice,
    compare,
    keys,
    jobs,
    jobs_confirmation,
    job,
    job_outputs,
    workflows,
    workflow,
    requirements,
    bundle_export,
    workflow_confirmation,
)
