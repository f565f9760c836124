"""What is wrong with a prompt, by table: the answer's status, its type, and which input is blamed."""

from __future__ import annotations

from typing import Any

import pytest

EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 4, "batch_size": 1, "color": 0}}


def empty(**changed: Any) -> dict[str, Any]:
    return {**EMPTY, "inputs": {**EMPTY["inputs"], **changed}}


def show(source: Any) -> dict[str, Any]:
    return {"class_type": "PreviewImage", "inputs": {"images": source}}


def graph(node: Any, source: Any = None) -> dict[str, Any]:
    return {"n": node, "out": show(source or ["n", 0])}


def scale(**changed: Any) -> dict[str, Any]:
    inputs = {
        "image": ["e", 0],
        "upscale_method": "area",
        "width": 1,
        "height": 1,
        "crop": "center",
        **changed,
    }
    return {"e": EMPTY, "n": {"class_type": "ImageScale", "inputs": inputs}, "out": show(["n", 0])}


LOAD = {"class_type": "LoadImage", "inputs": {"image": "nobody.png"}}

# graph -> node to blame, input to blame, type of its error
INPUT_ERRORS = [
    (graph(empty(width=0)), "n", "width", "value_smaller_than_min"),
    (graph(empty(width=-(10**30))), "n", "width", "value_smaller_than_min"),
    (graph(empty(width=16385)), "n", "width", "value_bigger_than_max"),
    (graph(empty(width="wide")), "n", "width", "invalid_input_type"),
    (graph(empty(width=None)), "n", "width", "invalid_input_type"),
    (graph(empty(width={})), "n", "width", "invalid_input_type"),
    (
        graph({"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "color": 0}}),
        "n",
        "batch_size",
        "",
    ),
    (graph({"class_type": "ImageInvert"}), "n", "image", "required_input_missing"),
    (graph({"class_type": "ImageInvert", "inputs": {"image": "text"}}), "n", "image", "invalid_input_type"),
    (scale(upscale_method="magic"), "n", "upscale_method", "value_not_in_list"),
    (scale(crop=None), "n", "crop", "value_not_in_list"),
    (graph(EMPTY, ["n"]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, ["n", 0, 0]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, ["n", "0"]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, [0, 0]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, ["gone", 0]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, ["n", 1]), "out", "images", "bad_linked_input"),
    (graph(EMPTY, ["n", -1]), "out", "images", "bad_linked_input"),
    (graph(LOAD, ["n", 1]), "out", "images", "return_type_mismatch"),
    (graph(LOAD), "n", "image", "custom_validation_failed"),
    (graph({**LOAD, "inputs": {"image": "../x.png"}}), "n", "image", "custom_validation_failed"),
    (graph({**LOAD, "inputs": {"image": "x.png [nowhere]"}}), "n", "image", "custom_validation_failed"),
    (graph({**LOAD, "inputs": {"image": 5}}), "n", "image", "custom_validation_failed"),
]


@pytest.mark.parametrize(("prompt", "blamed", "name", "kind"), INPUT_ERRORS)
async def test_an_input_is_blamed(server: Any, prompt: Any, blamed: str, name: str, kind: str) -> None:
    status, body = await server.post("/prompt", {"prompt": prompt})
    assert status == 400
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    assert body["error"].keys() == {"type", "message", "details", "extra_info"} and body["error"]["details"]
    entry = body["node_errors"][blamed]
    assert entry["dependent_outputs"] == ["out"] and entry["class_type"] == prompt[blamed]["class_type"]
    found = {(error["type"], error["extra_info"]["input_name"]) for error in entry["errors"]}
    assert (kind or "required_input_missing", name) in found
    assert await server.json("/queue") == {"queue_running": [], "queue_pending": []}


async def test_error_details_keep_stock_fields(server: Any) -> None:
    _, body = await server.post("/prompt", {"prompt": graph(empty(width=0))})
    (error,) = body["node_errors"]["n"]["errors"]
    assert error["details"] == "width"
    assert error["extra_info"] == {
        "input_name": "width",
        "input_config": ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}],
        "received_value": 0,
    }
    _, body = await server.post("/prompt", {"prompt": graph(LOAD, ["n", 1])})
    (error,) = body["node_errors"]["out"]["errors"]
    assert error["details"] == "images, received_type(MASK) mismatch input_type(IMAGE)"
    assert error["extra_info"]["received_type"] == "MASK"
    assert error["extra_info"]["linked_node"] == ["n", 1]


def invert(source: str) -> dict[str, Any]:
    return {"class_type": "ImageInvert", "inputs": {"image": [source, 0]}}


async def test_cycles_are_named(server: Any) -> None:
    prompt = {
        "a": invert("b"),
        "b": invert("a"),
        "self": invert("self"),
        "out": show(["a", 0]),
        "2": show(["self", 0]),
    }
    status, body = await server.post("/prompt", {"prompt": prompt})
    assert status == 400
    cycles = {
        node_id: [(error["type"], error["extra_info"]["cycle_nodes"]) for error in entry["errors"]]
        for node_id, entry in body["node_errors"].items()
    }
    both = [("dependency_cycle", ["a", "b"])]
    assert cycles == {"a": both, "b": both, "self": [("dependency_cycle", ["self"])]}


async def test_a_long_chain_is_no_recursion(server: Any) -> None:
    prompt = {"0": EMPTY} | {str(i): invert(str(i - 1)) for i in range(1, 3000)} | {"out": show(["2999", 0])}
    entry = await server.run(prompt)
    assert entry["status"]["completed"] is True


async def test_sound_outputs_run_without_the_rest(server: Any) -> None:
    prompt = {"e": EMPTY, "good": show(["e", 0]), "bad": {"class_type": "PreviewImage", "inputs": {}}}
    status, body = await server.post("/prompt", {"prompt": prompt})
    assert status == 200 and list(body["node_errors"]) == ["bad"]
    entry = await server.finished(body["prompt_id"])
    assert list(entry["outputs"]) == ["good"]


NODE = {"class_type": "EmptyImage", "inputs": {}}
GOOD = {"e": EMPTY, "out": show(["e", 0])}

# body -> type of the error
REFUSED = [
    (b"", "invalid_prompt"),
    (b"{", "invalid_prompt"),
    (b"\xff", "invalid_prompt"),
    (b"[]", "invalid_prompt"),
    (b"null", "invalid_prompt"),
    (b'{"prompt": NaN}', "invalid_prompt"),
    (b'{"prompt": {}, "number": 1e999}', "invalid_prompt"),
    (b"[" * 100_000, "invalid_prompt"),
    ({}, "no_prompt"),
    ({"prompt": None}, "invalid_prompt"),
    ({"prompt": 5}, "invalid_prompt"),
    ({"prompt": []}, "invalid_prompt"),
    ({"prompt": {"1": 5}}, "invalid_prompt"),
    ({"prompt": {"1": None}}, "invalid_prompt"),
    ({"prompt": {"1": {"class_type": "EmptyImage", "inputs": []}}}, "invalid_prompt"),
    ({"prompt": {}}, "prompt_no_outputs"),
    ({"prompt": {"1": NODE}}, "prompt_no_outputs"),
    ({"prompt": GOOD, "partial_execution_targets": ["e"]}, "prompt_no_outputs"),
    ({"prompt": GOOD, "partial_execution_targets": []}, "prompt_no_outputs"),
    ({"prompt": GOOD, "partial_execution_targets": "out"}, "invalid_prompt"),
    ({"prompt": {"1": {"inputs": {}}}}, "missing_node_type"),
    ({"prompt": {"1": {"class_type": "KSampler", "inputs": {}}}}, "missing_node_type"),
    ({"prompt": {"1": {"class_type": ["x"], "inputs": {}, "_meta": 3}}}, "missing_node_type"),
    ({"prompt": GOOD, "number": "first"}, "invalid_prompt"),
    ({"prompt": GOOD, "extra_data": [1]}, "invalid_prompt"),
    ({"prompt": GOOD, "client_id": 7}, "invalid_prompt"),
    ({"prompt": GOOD, "prompt_id": 7}, "invalid_prompt"),
    ({"prompt": GOOD, "prompt_id": "mine"}, "invalid_prompt_id"),
    ({"prompt": GOOD, "prompt_id": "6F9619FF-8B86-D011-B42D-00CF4FC964FF"}, "invalid_prompt_id"),
]


@pytest.mark.parametrize(("body", "kind"), REFUSED)
async def test_a_body_is_refused_and_nothing_is_queued(server: Any, body: Any, kind: str) -> None:
    sent = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with server.client.post("/api/prompt", **sent) as response:
        answer = await response.json()
    assert response.status == 400
    assert answer["error"]["type"] == kind and answer["error"]["message"]
    assert answer["node_errors"] == {}
    assert await server.json("/history") == {}


async def test_a_missing_node_type_names_the_node(server: Any) -> None:
    prompt = {"7": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "My sampler"}}}
    _, body = await server.post("/prompt", {"prompt": prompt})
    assert body["error"]["extra_info"] == {
        "node_id": "7",
        "class_type": "KSampler",
        "node_title": "My sampler",
    }
    assert body["error"]["details"] == "Node ID '#7'"


async def test_optional_parts_may_be_null(server: Any) -> None:
    nulls = dict.fromkeys(("number", "client_id", "extra_data", "prompt_id", "partial_execution_targets"))
    entry = await server.run(GOOD, **nulls)
    assert entry["prompt"][3].keys() == {"create_time"}


async def test_a_prompt_keeps_the_id_it_was_given(server: Any) -> None:
    mine = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    assert await server.submit(GOOD, prompt_id=mine) == mine
    assert (await server.finished(mine))["prompt"][1] == mine
