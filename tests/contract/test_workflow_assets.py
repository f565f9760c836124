"""From workflows to the assets that they name (postAssetsFromWorkflow), and back (listWorkflows with ``asset_id``)."""

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
        ({}, "workflow_api_json"),
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


async def naming(api: Any, asset_id: str, **query: Any) -> list[str]:
    """Names of the workflows that name an asset."""
    page = await api.get("/api/workflows", asset_id=asset_id, **query)
    assert page["pagination"]["total"] == len(page["data"])
    return sorted(workflow["name"] for workflow in page["data"])


async def test_the_workflows_that_name_an_asset(library: Any, api: Any, shelf: dict[str, dict[str, Any]]) -> None:
    async def save(name: str, *values: Any) -> Any:
        body = {"name": name, "workflow_json": graph(*values)}
        return (await api.send("POST", "/api/workflows", 201, json=body)).json

    await save("loads", "a.png", "m.safetensors")
    await save("by hash", shelf["a.png"]["hash"])
    former = await save("no more", "a.png")
    body = {"base_version": 1, "workflow_json": graph("sub/b.png")}
    await api.send("POST", f"/api/workflows/{former['id']}/versions", 201, json=body)
    deleted = await save("deleted", "a.png")
    await api.send("DELETE", f"/api/workflows/{deleted['id']}", 204)
    ids = {name: asset["id"] for name, asset in shelf.items()}
    assert await naming(api, ids["a.png"]) == ["by hash", "loads"]
    assert await naming(api, ids["a.png"], name="hash") == ["by hash"]
    assert await naming(api, ids["m.safetensors"]) == ["loads"]
    assert await naming(api, ids["b.png"]) == ["no more"]
    library.write("output/copy.png", picture(0))
    await library.scan()
    assert await naming(api, (await library.asset("copy.png"))["id"]) == ["by hash", "loads"]
    for unknown in (ids["unused.png"], "00000000-0000-4000-8000-000000000000", "no id"):
        assert await naming(api, unknown) == []


async def test_workflows_and_assets_of_others_are_not_named(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    for name in ("anns.png", "all.png"):
        library.write(f"input/{name}", picture(len(name)))
    await library.scan()
    await hand_of(library).belongs("anns.png", "ann", "input")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    ids = {asset["name"]: asset["id"] for asset in (await ann.get("/api/assets"))["assets"]}
    for name, user in (("anns", ann), ("bobs", bob)):
        body = {"name": name, "workflow_json": graph("anns.png", "all.png")}
        await user.send("POST", "/api/workflows", 201, json=body)
    assert await naming(ann, ids["all.png"]) == ["anns"] == await naming(ann, ids["anns.png"])
    assert await naming(bob, ids["all.png"]) == ["bobs"]
    assert await naming(bob, ids["anns.png"]) == []
