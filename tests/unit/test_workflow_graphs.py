"""References in workflows, and the members of JSON texts with lone surrogates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.graphs import NamedFile
from comfy_assets_node.comfy_assets.json_text import members
from comfy_assets_node.comfy_assets.workflows.document import WorkflowReferences, references_in
from hypothesis import given
from hypothesis import strategies as st

ID = "01234567-89AB-4cde-8f01-23456789abcd"
DIGEST = bytes(range(32))
PHOTO, INK = NamedFile("", "", "photo.png"), NamedFile("", "style", "ink.safetensors")


def widgets(*values: Any) -> dict[str, Any]:
    return {"nodes": [{"id": 1, "widgets_values": list(values)}]}


@pytest.mark.parametrize(
    ("workflow", "files"),
    [
        ({}, set()),
        ({"nodes": []}, set()),
        (widgets("photo.png", "image", 7, None, True), {PHOTO}),
        (widgets("style/ink.safetensors", "style\\ink.safetensors"), {INK}),
        (widgets("made.png [output]"), {NamedFile("output", "", "made.png")}),
        (widgets([["photo.png"]], {"on": True, "lora": "style/ink.safetensors"}), {PHOTO, INK}),
        (widgets([[[[["photo.png"]]]]]), set()),  # deeper than widgets are
        ({"nodes": [{"widgets_values": {"image": "photo.png"}}]}, {PHOTO}),
        ({"nodes": [{"title": "photo.png", "inputs": [{"name": "photo.png"}], "widgets_values": None}]}, set()),
        ({"nodes": [], "definitions": {"subgraphs": [widgets("photo.png")]}}, {PHOTO}),
        ({"1": {"class_type": "LoadImage", "inputs": {"image": "photo.png", "model": ["4", 0]}}}, {PHOTO}),
        ({"nodes": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}}, {PHOTO}),  # a node of that id
        (widgets("a prompt. With a full stop, and more", "no suffix", ".hidden", "x.\nb"), set()),
        (widgets("\ud83d.png"), set()),
    ],
)
def test_files(workflow: Any, files: set[NamedFile]) -> None:
    assert references_in(workflow) == WorkflowReferences(files=frozenset(files))


def test_references() -> None:
    workflow = widgets(f"asset:{ID}", f"blake3:{DIGEST.hex().upper()}", f"asset:{ID}0", "blake3:00", f" asset:{ID}")
    assert references_in(workflow) == WorkflowReferences(asset_ids=frozenset({ID.lower()}), digests=frozenset({DIGEST}))


def test_no_more_than_a_thousand_names() -> None:
    found = references_in(widgets(*(f"{number}.png" for number in range(5000))))
    assert len(found.files) == 1000


keys = st.sampled_from(["nodes", "definitions", "subgraphs", "inputs", "widgets_values", "class_type", "1", "x"])
leaves = st.none() | st.booleans() | st.integers() | st.sampled_from(["photo.png", f"asset:{ID}", ""]) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@given(values)
def test_whatever_a_workflow_holds(workflow: Any) -> None:
    found = references_in(workflow)
    assert PHOTO not in found.files or "photo.png" in json.dumps(workflow)


half = st.text(alphabet=st.sampled_from(["\ud83d", "\udc00", "a", '"', "\\", "{", "}", ",", " "]), max_size=6)
objects = st.dictionaries(half, st.recursive(half | st.integers(), lambda inner: st.lists(inner, max_size=3)))


@given(objects, st.sampled_from([None, 0, 3, "\t\r\n "]))
def test_members(value: Any, indent: Any) -> None:
    text = json.dumps(value, indent=indent)
    found = members(f" {text}\n")
    assert {name: json.loads(part) for name, part in found.items()} == json.loads(text)
    assert all(part in text for part in found.values())


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{", '{"a":}', '{"a":1,}', '{"a":NaN}', '{"a":1} 2', '{"a":-Infinity}']
)
def test_what_has_no_members(text: str) -> None:
    with pytest.raises(ValueError):
        members(text)
