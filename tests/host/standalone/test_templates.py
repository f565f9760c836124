"""The templates of the page's dialog: all of them can be run here."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from comfy_assets_node.comfy_assets.host.standalone.templates import DEFAULT_TEMPLATE, TEMPLATES

NAMES = [template.name for template in TEMPLATES]


def prompt_of(page_graph: dict[str, Any], node_types: dict[str, Any]) -> dict[str, Any]:
    """The graph as the page submits it: widgets get their values in order, links name a node and its output."""
    links = {link[0]: [str(link[1]), link[2]] for link in page_graph["links"]}
    prompt = {}
    for node in page_graph["nodes"]:
        linked = {each["name"]: links[each["link"]] for each in node["inputs"]}
        required = node_types[node["type"]]["input"]["required"]
        values = iter(node["widgets_values"])
        widgets = {name: next(values) for name in required if name not in linked}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": {**widgets, **linked}}
    return prompt


async def listed(server: Any) -> list[str]:
    (category,) = await server.json("/templates/index.json")
    # Pages before 1.53 open the dialog at the essential category of this title and show nothing if it has another.
    assert (category["moduleName"], category["title"], category["isEssential"]) == ("default", "Getting Started", True)
    return [each["name"] for each in category["templates"]]


async def test_the_index(server: Any) -> None:
    """The template that opens a picture is listed once there is one."""
    assert await listed(server) == [name for name in NAMES if name != "your_picture"]
    server.input("mine.png", [[[9, 9, 9]]])
    assert await listed(server) == NAMES and NAMES[0] == DEFAULT_TEMPLATE
    assert await server.json("/templates/index_logo.json") == {}


@pytest.mark.parametrize("name", NAMES)
async def test_each_can_be_run(server: Any, name: str) -> None:
    server.input("mine.png", [[[9, 9, 9]] * 4] * 2)
    graph = await server.json(f"/templates/{name}.json")
    assert graph["last_node_id"] == len(graph["nodes"]) and graph["last_link_id"] == len(graph["links"])
    for link_id, source, slot, target, place, kind in graph["links"]:
        nodes = {node["id"]: node for node in graph["nodes"]}
        output, wanted = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert link_id in output["links"] and link_id == wanted["link"] and kind == output["type"] == wanted["type"]
    prompt = prompt_of(graph, await server.json("/object_info"))
    entry = await server.run(prompt)
    assert entry["status"]["status_str"] == "success" and entry["outputs"]


async def test_pictures(server: Any) -> None:
    for name in NAMES:
        async with server.client.get(f"/templates/{name}-1.svg") as response:
            assert (response.status, response.content_type) == (200, "image/svg+xml")
            assert ElementTree.fromstring(await response.text()).tag.endswith("svg")


@pytest.mark.parametrize("path", ["none.json", "none-1.svg", "..%2Findex.json", "plain_picture.png", "index.de.json"])
async def test_others(server: Any, path: str) -> None:
    async with server.client.get(f"/templates/{path}") as response:
        assert response.status == 404
