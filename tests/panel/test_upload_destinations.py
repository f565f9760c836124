"""Uploads of models and workflows: the panel asks where they belong, and suggests it by their header."""

from __future__ import annotations

import json
from typing import Any

import pytest
from page_scripts import DROP
from panel_graphs import page_graph

pytestmark = pytest.mark.slow


def model(*tensors: str) -> str:
    """Return the text of a small file in the format safetensors with tensors of these names."""
    header = json.dumps({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]} for name in tensors})
    assert len(header) < 128  # one byte in UTF-8
    return chr(len(header)) + "\0" * 7 + header + "x"


def test_a_model_and_a_workflow_ask_where_they_belong(panel: Any, server: Any) -> None:
    panel.page.evaluate(DROP, {"name": "fresh.safetensors", "text": model("unet.lora_up.weight")})
    destination = panel.root.get_by_label("Destination of fresh.safetensors")
    destination.wait_for()
    assert destination.input_value() == "models/loras"
    panel.page.evaluate(DROP, {"name": "coder.safetensors", "text": model("decoder.conv_in.weight")})
    other = panel.root.get_by_label("Destination of coder.safetensors")
    other.wait_for()
    assert other.input_value() == "models/vae"
    other.select_option("input")
    panel.page.evaluate(DROP, {"name": "Painted.json", "text": json.dumps(page_graph("dropped"))})
    saved = panel.root.get_by_label("Destination of Painted.json")
    saved.wait_for()
    assert saved.input_value() == "workflow"
    panel.root.get_by_role("button", name="Upload", exact=True).first.click()
    for name, path in (("fresh", "models/loras/fresh.safetensors"), ("coder", "input/coder.safetensors")):
        query = f"/api/assets?name_contains={name}"
        (asset,) = server.wait_for(query, lambda found: len(found["assets"]) == 1)["assets"]
        assert asset["file_path"] == path
    found = server.wait_for("/api/workflows?name=Painted", lambda found: len(found["data"]) == 1)
    assert found["data"][0]["name"] == "Painted"


def test_other_files_go_to_the_input_folder_without_a_question(panel: Any, server: Any) -> None:
    panel.page.evaluate(DROP, {"name": "facts.json", "text": '{"no": "workflow"}'})
    panel.root.locator(".ca-upload", has_text="facts.json").filter(has_text="done").wait_for()
    assert server.asset("facts.json")["file_path"] == "input/facts.json"
