"""postAssetsFromWorkflow: the assets that a graph names, as pages ask for them before they publish it."""

from __future__ import annotations

from typing import Any

import pytest
from support.files import picture


@pytest.fixture
async def shelf(library: Any) -> dict[str, dict[str, Any]]:
    for number, name in enumerate(("input/a.png", "input/sub/b.png", "output/c.png", "input/unused.png")):
        library.write(name, picture(number))
    library.write("models/checkpoints/m.safetensors", b"m" * 20)
    await library.scan()
    return {asset["name"]: asset for asset in await library.assets()}


def graph(*values: Any) -> dict[str, Any]:
    """A prompt whose nodes have these inputs."""
    return {str(n): {"class_type": "Load", "inputs": {"file": value}} for n, value in enumerate(values)}


async def found(api: Any, workflow: Any, **more: Any) -> list[dict[str, Any]]:
    body = {"workflow_api_json": workflow, **more}
    return list((await api.send("POST", "/api/assets/from-workflow", json=body)).json["assets"])


async def test_what_a_graph_names(api: Any, shelf: dict[str, dict[str, Any]]) -> None:
    c = shelf["c.png"]
    values = ["a.png", "sub/b.png", f"asset:{c['id']}", "m.safetensors", "none.png", "text", 5, ["0", 0]]
    needed = await found(api, graph(*values))
    assert [asset["name"] for asset in needed] == ["a.png", "b.png", "c.png", "m.safetensors"]
    for asset in needed:
        assert asset["id"] == shelf[asset["name"]]["id"] and asset["in_library"] and not asset["public"]
        assert asset["model"] == (asset["name"] == "m.safetensors")
        assert asset["storage_url"] == f"/api/assets/{asset['id']}/content"
    assert [asset["name"] for asset in await found(api, graph(c["hash"], "c.png [output]"))] == ["c.png"]
    saved = {"nodes": [{"id": 1, "type": "LoadImage", "widgets_values": ["a.png", "image"]}], "version": 0.4}
    assert [asset["name"] for asset in await found(api, saved)] == ["a.png"]
    assert await found(api, {}) == []
    # They can be published as they are.
    assert len(await found(api, graph("a.png"), owned=True)) == 1
    assert await found(api, graph("a.png"), owned=False) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"workflow_api_json": []}, "workflow_api_json"),
        ({"workflow_api_json": "{}"}, "workflow_api_json"),
        ({"workflow_api_json": None}, "workflow_api_json"),
        ({"workflow_api_json": {}, "owned": "yes"}, "owned"),
    ],
)
async def test_requests_that_are_refused(api: Any, body: Any, field: str | None) -> None:
    answer = (await api.send("POST", "/api/assets/from-workflow", 400, json=body)).json
    assert (answer["code"], answer.get("details", {}).get("field")) == ("INVALID_BODY", field)


async def test_what_others_have_is_not_found(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("anns.png", "all.png"):
        library.write(f"input/{name}", picture(len(name)))
    await library.scan()
    await hand_of(library).belongs("anns.png", "ann", "input")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    anns = {a["name"]: a for a in (await ann.get("/api/assets"))["assets"]}["anns.png"]
    named = graph("anns.png", "all.png", f"asset:{anns['id']}", anns["hash"])
    assert [asset["name"] for asset in await found(ann, named)] == ["all.png", "anns.png"]
    assert [asset["name"] for asset in await found(bob, named)] == ["all.png"]
    assert [asset["name"] for asset in await found(ann, named, owned=True)] == ["anns.png"]
    assert [asset["name"] for asset in await found(ann, named, owned=False)] == ["all.png"]
