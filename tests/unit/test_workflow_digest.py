"""The digest by which a submitted graph is recognized as a saved workflow."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db.job_links import LinkCandidate
from comfy_assets_node.comfy_assets.workflows.document import graph_digest, graph_id
from comfy_assets_node.comfy_assets.workflows.job_links import GraphIdentity, choose

SAVED: dict[str, Any] = {
    "id": "6b8f4ea0-0f2d-4c3e-9c55-5f1f1f1d4b01",
    "last_node_id": 2,
    "nodes": [
        {
            "id": 1,
            "type": "Load",
            "pos": [0, 0],
            "mode": 0,
            "inputs": [
                {"localized_name": "Bild", "name": "image", "type": "COMBO", "widget": {"name": "image"}, "link": None}
            ],
            "outputs": [{"localized_name": "BILD", "name": "IMAGE", "links": [7]}],
            "widgets_values": ["photo.png"],
        },
        {
            "id": 2,
            "type": "Scale",
            "inputs": [
                {"name": "width", "widget": {"name": "width"}, "link": None},
                {"localized_name": "Bild", "name": "image", "link": 7},
            ],
            "widgets_values": [512],
        },
    ],
    "links": [[7, 1, 0, 2, 1, "IMAGE"]],
    "definitions": {"subgraphs": [{"id": "s", "nodes": [{"id": 1, "type": "Note"}], "links": [{"id": 3}]}]},
    "extra": {"ds": {"scale": 1}},
}


def submitted() -> dict[str, Any]:
    """Return the graph as the page submits it."""
    graph = copy.deepcopy(SAVED)
    for node in graph["nodes"]:
        node["inputs"] = [each for each in node["inputs"] if each["link"] is not None]
        for slot in (*node["inputs"], *node.get("outputs", ())):
            slot.pop("localized_name", None)
    graph["links"][0][4] = 0
    graph["extra"] = {"ds": {"scale": 2}, "frontendVersion": "1.49.6"}
    graph["nodes"].reverse()
    graph["nodes"][0]["pos"] = [10, 10]
    return graph


def test_what_the_page_changes_of_its_own_changes_nothing() -> None:
    assert graph_digest(submitted()) == graph_digest(SAVED)
    assert graph_id(SAVED) == SAVED["id"]


def change(**members: Any) -> dict[str, Any]:
    graph = submitted()
    graph["nodes"][0].update(members)
    return graph


@pytest.mark.parametrize(
    "graph",
    [
        change(mode=4),
        change(type="Crop"),
        change(widgets_values=[513]),
        change(inputs=[]),
        change(id=3),
        {**submitted(), "links": [[7, 1, 1, 2, 0, "IMAGE"]]},
        {**submitted(), "definitions": {}},
        {},
        {"1": {"class_type": "Load", "inputs": {}}},
    ],
)
def test_what_is_executed_otherwise_is_another(graph: dict[str, Any]) -> None:
    assert graph_digest(graph) != graph_digest(SAVED)


@pytest.mark.parametrize("graph", [{"nodes": [None, 3, {}]}, {"nodes": [], "links": [3, [1], {}]}, {"nodes": {}}])
def test_strange_graphs_have_one(graph: dict[str, Any]) -> None:
    assert len(graph_digest(graph)) == 32


@pytest.mark.parametrize("found", [None, 3, "", "x" * 129, "a\nb", ["a"], "00000000-0000-0000-0000-000000000000"])
def test_what_is_no_id(found: Any) -> None:
    assert graph_id({"id": found}) is None


A1, A2, B1 = LinkCandidate("a", "a1", b"1"), LinkCandidate("a", "a2", b"2"), LinkCandidate("b", "b1", b"3")


@pytest.mark.parametrize(
    ("named", "graph", "found", "chosen"),
    [
        ("a", GraphIdentity("a", b"1"), [A2, A1, B1], ("a", "a1")),
        ("a", GraphIdentity("a", b"3"), [A2, A1, B1], ("b", "b1")),
        ("a", GraphIdentity("a", b"9"), [A2, A1, B1], ("a", None)),
        ("g", GraphIdentity("g", b"9"), [B1, A1], ("b", None)),
        ("a", GraphIdentity("g", b"3"), [A2, A1, B1], ("a", None)),
        ("a", GraphIdentity(None, b"2"), [A2, A1, B1], ("a", "a2")),
        ("a", None, [A2, A1], ("a", None)),
        ("g", None, [A2, A1], ("g", None)),
    ],
)
def test_the_workflow_of_a_job(
    named: str, graph: Any, found: list[LinkCandidate], chosen: tuple[str, str | None]
) -> None:
    assert choose(named, graph, found) == chosen
