"""What a workflow needs, in the panel: states, links, one click that names a file as the library has it, and undo."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytestmark = pytest.mark.slow

numbers = itertools.count(1)
SOURCE = "https://models.example/resolve/absent.safetensors"


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
    server.wait_for(
        "/api/assets?exclude_tags=missing", lambda page: all("pencil" not in a["name"] for a in page["assets"])
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
