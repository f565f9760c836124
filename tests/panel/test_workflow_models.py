"""What a workflow needs, in the panel: states, links, one click that names a file as the library has it, and undo."""

from __future__ import annotations

import itertools
import re
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.slow

numbers = itertools.count(1)
SOURCE = "https://models.example/resolve/absent.safetensors"
NEWEST = "lighthouse_in_a_storm_00023_.png"


def graph(*files: tuple[str, str], models: Any = None) -> dict[str, Any]:
    """Return a graph of the page whose nodes load these files."""
    nodes = [
        {"id": at, "type": kind, "pos": [0, 90 * at], "size": [280, 80], "flags": {}, "order": at, "mode": 0,
         "widgets_values": [name, 1, 1], "properties": {"models": models or []}}
        for at, (kind, name) in enumerate(files, 1)
    ]  # fmt: skip
    return {"last_node_id": 9, "last_link_id": 0, "nodes": nodes, "links": [], "groups": [], "version": 0.4}


@pytest.fixture
def workflow(server: Any) -> Any:
    """A workflow with a present model, one that was renamed since, a missing one, and an input in another folder."""
    number = next(numbers)
    old, new = (server.base / "models" / "loras" / f"{name}_{number}.safetensors" for name in ("sketch", "pencil"))
    old.write_bytes((server.base / "models" / "loras" / "film_grain.safetensors").read_bytes() + bytes([number]))
    picture = server.base / "input" / "deep" / f"pose_{number}.png"
    picture.parent.mkdir(exist_ok=True)
    picture.write_bytes(next((server.base / "output" / "2026-11").glob("castle*00000_.png")).read_bytes())
    server.request("/api/assets/seed", {"roots": ["models", "input"]})
    asset = server.wait_for(f"/api/assets?name_contains={old.name}", lambda page: _is_read(page["assets"]))["assets"][0]
    stated = [{"name": "absent.safetensors", "url": SOURCE, "directory": "checkpoints"}]
    body = graph(
        ("LoraLoader", old.name),
        ("LoraLoader", "ink_style.safetensors"),
        ("CheckpointLoaderSimple", "absent.safetensors"),
        ("LoadImage", picture.name),
        models=stated,
    )
    made = server.request("/api/workflows", {"name": f"Needs {number}", "workflow_json": body})
    old.rename(new)
    server.request("/api/assets/seed", {"roots": ["models"]})
    server.wait_for(f"/api/assets/{asset['id']}", lambda found: found["file_path"].endswith(new.name))
    yield {**made, "old": old.name, "new": new.name}
    new.unlink()
    picture.unlink()
    server.request("/api/assets/seed", {"roots": ["models", "input"]})
    left = (new.name, picture.name)
    server.wait_for(
        "/api/assets?exclude_tags=missing", lambda page: all(asset["name"] not in left for asset in page["assets"])
    )


def _is_read(assets: list[Any]) -> bool:
    return bool(assets) and "hash" in assets[0]


def row(panel: Any, name: str) -> Any:
    """Return the row of a file that the workflow needs."""
    return panel.root.locator(".ca-requirement", has_text=name)


def test_what_a_workflow_needs(panel: Any, server: Any, workflow: Any) -> None:
    panel.open_workflow(workflow["name"])
    panel.root.get_by_role("heading", name="Models", exact=True).wait_for()
    panel.root.get_by_text("1 missing · 1 found elsewhere · 1 present").wait_for()
    assert row(panel, "absent.safetensors").get_attribute("data-status") == "missing"
    link = row(panel, "absent.safetensors").get_by_role("link")
    assert link.get_attribute("href") == SOURCE and "noopener" in str(link.get_attribute("rel"))
    assert row(panel, "ink_style").get_attribute("data-status") == "present"
    panel.root.get_by_role("heading", name="Input files").wait_for()
    row(panel, "pose_").get_by_text("A file of this name is at input/deep/").wait_for()
    row(panel, workflow["old"]).get_by_text(f"Present as models/loras/{workflow['new']}").wait_for()
    row(panel, workflow["old"]).get_by_role("button", name=f"Use {workflow['new']}").click()
    panel.says("1 name changed in version 2")
    panel.root.locator(".ca-notifications .ca-notification").hover()  # it stays as long as that
    row(panel, workflow["new"]).wait_for()
    assert row(panel, workflow["new"]).get_attribute("data-status") == "present"
    values = _values(server, workflow)
    assert workflow["new"] in values and workflow["old"] not in values
    panel.button("Undo").click()
    panel.says("Version 1 restored as version 3")
    row(panel, workflow["old"]).wait_for()
    assert workflow["old"] in _values(server, workflow)
    # A present model leads to its details, and Back returns to the list of assets.
    row(panel, "ink_style").get_by_role("button").click()
    panel.root.get_by_role("dialog", name="Asset").get_by_role("heading", name="ink_style").wait_for()


def _values(server: Any, workflow: Any) -> list[str]:
    content = server.request(f"/api/workflows/{workflow['id']}/content")
    return [node["widgets_values"][0] for node in content["workflow_json"]["nodes"]]


def test_a_bundle_is_exported_and_imported(panel: Any, server: Any, tmp_path: Any) -> None:
    body = graph(("LoraLoader", "ink_style.safetensors"), ("LoadImage", "nowhere.png"))
    made = server.request("/api/workflows", {"name": "To give away", "workflow_json": body})
    panel.open_workflow("To give away")
    panel.button("Export bundle").click()
    dialog = panel.page.get_by_role("dialog", name="Export To give away")
    dialog.get_by_label("Include model files").check()
    with panel.page.expect_download() as download:
        dialog.get_by_role("button", name="Export", exact=True).click()
    dialog.get_by_text("1 of 1 file included").wait_for()
    dialog.get_by_role("button", name="Close").last.click()
    bundle = tmp_path / "given.zip"
    download.value.save_as(bundle)
    assert download.value.suggested_filename.startswith("To-give-away-")
    server.request(f"/api/workflows/{made['id']}", method="DELETE")
    panel.button("Back").click()
    with panel.page.expect_file_chooser() as chooser:
        panel.button("Import bundle").click()
    chooser.value.set_files(bundle)
    dialog = panel.page.get_by_role("dialog", name="Import given.zip")
    dialog.get_by_text("1 already there · 0 added · 0 missing").wait_for()
    dialog.get_by_role("button", name="Show workflow").click()
    panel.root.get_by_role("heading", name="To give away").wait_for()
    # A file that is no bundle is refused in words, and changes nothing.
    bad = tmp_path / "bad.zip"
    bad.write_bytes(bundle.read_bytes()[:-40])
    panel.button("Back").click()
    with panel.page.expect_file_chooser() as chooser:
        panel.button("Import bundle").click()
    chooser.value.set_files(bad)
    dialog = panel.page.get_by_role("dialog", name="Import bad.zip")
    dialog.get_by_role("alert").get_by_text("Could not import the bundle. Nothing was changed.").wait_for()
    dialog.get_by_text("it is no zip archive, or not a complete one").wait_for()
    dialog.get_by_role("button", name="Close").last.click()


def test_unused_models_and_copies(panel: Any, server: Any) -> None:
    source = server.base / "models" / "loras" / "film_grain.safetensors"
    copy = server.base / "models" / "loras" / "grain_copy.safetensors"
    copy.write_bytes(source.read_bytes())
    server.request("/api/assets/seed", {"roots": ["models"]})
    server.wait_for("/api/assets?name_contains=grain_copy", lambda page: _is_read(page["assets"]))
    try:
        panel.root.get_by_label("Kind").select_option("models")
        panel.option("grain_copy").get_by_text("2 copies").wait_for()
        panel.root.get_by_role("button", name=re.compile(r"^\d+ unused models · ")).click()
        panel.root.get_by_text("No saved workflow, share or recorded job names them.").wait_for()
        panel.option("ink_style").wait_for(state="detached")  # workflows name it
        panel.root.get_by_role("button", name=re.compile("^checkpoints: 1 · ")).click()
        panel.option("grain_copy").wait_for(state="detached")
        panel.option("dreamscape").wait_for()
        panel.root.get_by_role("button", name=re.compile("^checkpoints: 1 · ")).click()
        panel.option("grain_copy").click()
        panel.root.get_by_text("1 more copy").wait_for()
        panel.button("Back").click()
        panel.button("Show all models").click()
        panel.option("ink_style").wait_for()
    finally:
        copy.unlink()
        server.request("/api/assets/seed", {"roots": ["models"]})
        path = "/api/assets?include_tags=models&exclude_tags=missing"
        server.wait_for(path, lambda page: all("grain_copy" not in asset["name"] for asset in page["assets"]))


def test_addresses_for_others_and_the_folder_on_the_desktop(opening: Any, server: Any) -> None:
    made = server.request("/api/workflows", {"name": "Shared out", "workflow_json": graph(("LoadImage", "x.png"))})
    path = quote(made["path"], safe="")
    share = server.request(f"/api/userdata/{path}/publish", {"asset_ids": []})["share_id"]
    port = int(server.url.rpartition(":")[2].strip("/"))
    place = {"addresses": ["192.168.7.9", "fd00::9"], "port": port, "open_to_network": True, "can_open_folders": True}
    shown: list[str] = []

    def show(route: Any) -> None:
        shown.append(route.request.url)
        route.fulfill(status=204)

    routes = {"**/api/network": lambda route: route.fulfill(json=place), "**/show-in-folder": show}
    with opening(routes) as page:
        root = page.locator(".ca-root").first
        root.locator(".ca-cell", has_text=NEWEST).first.click(button="right")
        page.get_by_role("menuitem", name="Open folder").click()
        page.wait_for_function("() => document.querySelectorAll('[role=menuitem]').length === 0")
        root.get_by_role("tab", name="Workflows").click()
        root.get_by_label("Search workflows by name").fill("Shared out")
        root.get_by_role("option", name="Shared out").first.click()
        link = root.locator(".ca-share-link")
        link.get_by_text("The address of this page works on this machine only.").wait_for()
        assert link.locator("code").inner_text() == f"http://192.168.7.9:{port}/?share={share}"
        link.get_by_label("Address for other machines").select_option(index=1)
        assert link.locator("code").inner_text() == f"http://[fd00::9]:{port}/?share={share}"
        link.get_by_label("Address for other machines").select_option(index=2)
        assert link.locator("code").inner_text() == f"{server.url.rstrip('/')}/?share={share}"
    assert len(shown) == 1 and server.asset(NEWEST)["id"] in shown[0]
    # This server listens on this machine alone, and has no desktop.
    with opening({}) as page:
        root = page.locator(".ca-root").first
        root.locator(".ca-cell", has_text=NEWEST).first.click(button="right")
        page.get_by_role("menuitem", name="Copy path").wait_for()
        assert page.get_by_role("menuitem", name="Open folder").count() == 0
        page.keyboard.press("Escape")
        root.get_by_role("tab", name="Workflows").click()
        root.get_by_label("Search workflows by name").fill("Shared out")
        root.get_by_role("option", name="Shared out").first.click()
        root.get_by_text("Other machines cannot open this link").wait_for()
