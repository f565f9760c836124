"""What workflows need: there, under another name or in another folder, or missing; and naming it otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.db.workflow_requirements import ExpectedContent, expect_contents
from comfy_assets_node.comfy_assets.workflows.requirements import FileKey, named_in, replace_names, web_link
from hypothesis import given, settings
from hypothesis import strategies as st
from support.files import picture

LINK = "https://models.example/flux.safetensors?download=true"
HUGE = 2**80 + 1  # a seed beyond numbers of JavaScript


def node(node_type: str, *values: Any, models: Any = None) -> dict[str, Any]:
    properties = {} if models is None else {"properties": {"models": models}}
    return {"id": 1, "type": node_type, "widgets_values": list(values), **properties}


def saved(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodes": [*nodes], "links": [], "version": 0.4, **more}


async def save(api: Any, workflow: Any, name: str = "one") -> str:
    body = {"name": name, "workflow_json": workflow}
    return str((await api.send("POST", "/api/workflows", 201, json=body)).json["id"])


async def needs(api: Any, workflow_id: str, **query: Any) -> dict[str, Any]:
    body = await api.get(f"/api/workflows/{workflow_id}/requirements", **query)
    return {each["name"]: each for each in body["requirements"]}


async def relink(api: Any, workflow_id: str, status: int, base: int, *links: dict[str, Any]) -> Any:
    body = {"base_version": base, "links": [*links]}
    return (await api.send("POST", f"/api/workflows/{workflow_id}/relink", status, json=body)).json


@pytest.fixture
async def shelf(library: Any) -> Any:
    library.write("models/checkpoints/there.safetensors", b"there")
    library.write("models/checkpoints/sdxl/moved.safetensors", b"moved")
    library.write("models/loras/ink.safetensors", b"ink")
    library.write("models/vae/odd.safetensors", b"odd")
    library.write("input/a.png", picture(1))
    library.write("input/sub/b.png", picture(2))
    await library.scan()
    return library


async def test_every_state_of_a_file(shelf: Any, api: Any) -> None:
    flux = {"name": "flux.safetensors", "url": LINK, "directory": "diffusion_models", "hash_type": "SHA256"}
    workflow = await save(
        api,
        saved(
            node("CheckpointLoaderSimple", "there.safetensors"),
            node("CheckpointLoaderSimple", "moved.safetensors"),
            node("CheckpointLoaderSimple", "odd.safetensors"),
            node("UNETLoader", "flux.safetensors", models=[flux, {"name": "x", "url": "javascript:alert(1)"}]),
            node("LoadImage", "a.png", "image"),
            node("LoadImage", "b.png", "image"),
            node("CLIPTextEncode", "a photo, v1.5 of it. Made by me", "1.5"),
        ),
    )
    body = await api.get(f"/api/workflows/{workflow}/requirements")
    assert body["version"] == 1
    order = [(each["kind"], each["name"], each["status"]) for each in body["requirements"]]
    assert order == [
        ("model", "odd.safetensors", "missing"),  # a VAE of the name is not a checkpoint
        ("model", "flux.safetensors", "missing"),
        ("model", "moved.safetensors", "elsewhere"),
        ("model", "there.safetensors", "present"),
        ("input", "b.png", "elsewhere"),
        ("input", "a.png", "present"),
    ]
    found = {each["name"]: each for each in body["requirements"]}
    assert found["there.safetensors"]["asset"]["file_path"] == "models/checkpoints/there.safetensors"
    assert found["flux.safetensors"]["links"] == [LINK] and found["flux.safetensors"]["matches"] == []
    assert found["flux.safetensors"]["stated_category"] == "diffusion_models"
    assert found["flux.safetensors"]["node_types"] == ["UNETLoader"]
    [match] = found["moved.safetensors"]["matches"]
    assert (match["match"], match["value"]) == ("name", str(Path("sdxl", "moved.safetensors")))
    assert found["b.png"]["matches"][0]["value"] == "sub/b.png"


async def test_a_file_that_was_renamed_is_found_by_its_content(shelf: Any, api: Any) -> None:
    workflow = await save(api, saved(node("LoraLoader", "ink.safetensors", 1.0, HUGE), id=None, extra={"x": 1.10}))
    folder = shelf.base / "models/loras"
    (folder / "ink.safetensors").rename(folder / "ink-v2.safetensors")
    await shelf.scan()
    found = (await needs(api, workflow))["ink.safetensors"]
    [match] = found["matches"]
    assert (found["status"], match["match"], match["value"]) == ("elsewhere", "hash", "ink-v2.safetensors")
    link = {"name": "ink.safetensors", "asset_id": match["asset"]["id"]}
    body = await relink(api, workflow, 201, 1, link)
    assert (body["version"], body["latest_version"]) == (2, 2)
    content = await api.get(f"/api/workflows/{workflow}/content")
    assert content["workflow_json"]["nodes"][0]["widgets_values"] == ["ink-v2.safetensors", 1.0, HUGE]
    assert content["workflow_json"]["extra"] == {"x": 1.1}
    assert content["dependency_asset_ids"] == [match["asset"]["id"]]
    assert (await needs(api, workflow))["ink-v2.safetensors"]["status"] == "present"
    # The version before is as it was.
    assert (await needs(api, workflow, version=1))["ink.safetensors"]["status"] == "elsewhere"


async def test_a_copy_stands_in_for_a_file_that_is_gone(shelf: Any, api: Any) -> None:
    shelf.write("models/loras/copies/other.safetensors", b"ink")
    await shelf.scan()
    workflow = await save(api, {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors"}}})
    (shelf.base / "models/loras/ink.safetensors").unlink()
    await shelf.scan()
    [match] = (await needs(api, workflow))["ink.safetensors"]["matches"]
    assert (match["match"], match["value"]) == ("hash", str(Path("copies", "other.safetensors")))


async def test_the_hash_that_a_bundle_states(shelf: Any, api: Any) -> None:
    workflow = await save(api, saved(node("LoraLoader", "style/fine.safetensors")))
    ink = next(each for each in await shelf.assets() if each["name"] == "ink.safetensors")
    digest = bytes.fromhex(ink["hash"].removeprefix("blake3:"))
    async with shelf.services.db.transaction() as tx:
        row = (await tx.fetch_all("SELECT id FROM workflows WHERE uuid = ?", (workflow,)))[0][0]
        await expect_contents(tx, row, [ExpectedContent("style/fine.safetensors", "loras", digest, 3)])
    found = (await needs(api, workflow))["style/fine.safetensors"]
    assert (found["matches"][0]["match"], found["matches"][0]["value"]) == ("hash", "ink.safetensors")
    assert (found["size"], found["hashes"]) == (3, [ink["hash"]])


async def test_relinks_that_are_refused_change_nothing(shelf: Any, api: Any) -> None:
    workflow = await save(api, saved(node("LoraLoader", "gone.safetensors"), node("LoadImage", "a.png")))
    ids = {each["name"]: each["id"] for each in await shelf.assets()}
    unknown = "00000000-0000-7000-8000-000000000000"
    for status, base, name, asset_id, field in (
        (409, 2, "gone.safetensors", ids["ink.safetensors"], None),
        (422, 1, "other.safetensors", ids["ink.safetensors"], "links[0].name"),
        (422, 1, "gone.safetensors", ids["there.safetensors"], "links[0].asset_id"),  # no LoRA
        (422, 1, "gone.safetensors", ids["a.png"], "links[0].asset_id"),
        (404, 1, "gone.safetensors", unknown, None),
    ):
        error = await relink(api, workflow, status, base, {"name": name, "asset_id": asset_id})
        assert error.get("details", {}).get("field") == field
    assert (await api.get(f"/api/workflows/{workflow}"))["latest_version"] == 1
    await api.get(f"/api/workflows/{workflow}/requirements?version=2", 404)


async def test_what_others_have_is_not_offered(make_library: Any, api_of: Any, hand_of: Any) -> None:
    library = await make_library(users=frozenset({"ann", "bob"}))
    library.write("models/loras/sub/ink.safetensors", b"ink")
    await library.scan()
    await hand_of(library).belongs("ink.safetensors", "ann", "models", "loras", "model_type:loras")
    ann, bob = (api_of(library).as_user(user) for user in ("ann", "bob"))
    graph = saved(node("LoraLoader", "ink.safetensors"))
    assert (await needs(ann, await save(ann, graph)))["ink.safetensors"]["status"] == "elsewhere"
    mine = await save(bob, graph)
    assert (await needs(bob, mine))["ink.safetensors"]["status"] == "missing"
    anns = (await ann.get("/api/assets", include_tags="models"))["assets"][0]["id"]
    await relink(bob, mine, 404, 1, {"name": "ink.safetensors", "asset_id": anns})


@pytest.mark.parametrize(
    ("url", "is_link"),
    [
        ("https://a.example/x", True),
        ("http://a.example", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//a.example/x", False),
        ("https:///x", False),
        ("https://[", False),
        ("https://a.example/\nx", False),
        ("https://a.example/" + "x" * 3000, False),
        (5, False),
    ],
)
def test_only_links_of_the_web_are_shown(url: Any, is_link: bool) -> None:
    assert (web_link(url) is not None) == is_link


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["a.safetensors", "b.png"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["nodes", "widgets_values", "properties", "models", "name", "url", "inputs", "definitions"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_graph_can_be_read(workflow: Any) -> None:
    found = named_in(workflow)
    before = json.dumps(workflow)
    assert replace_names(workflow, {FileKey("z.png"): "y"}) == set() and json.dumps(workflow) == before
    keys = {each.key for each in found}
    assert replace_names(workflow, dict.fromkeys(keys, "text without a suffix")) == keys
    assert named_in(workflow) == []
