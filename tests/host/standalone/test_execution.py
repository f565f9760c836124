"""Prompts from submission to history: results, reuse, errors and interrupts."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.queue_ids import queue_ids

GREY: dict[str, Any] = {
    "class_type": "EmptyImage",
    "inputs": {"width": 4, "height": 2, "batch_size": 1, "color": 0x808080},
}


def save(source: str, prefix: str = "out", slot: int = 0) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": [source, slot], "filename_prefix": prefix}}


def message(entry: dict[str, Any], event: str) -> dict[str, Any]:
    found = [data for name, data in entry["status"]["messages"] if name == event]
    assert len(found) == 1, entry["status"]
    return dict(found[0])


async def test_a_picture_goes_through_the_graph_and_carries_the_prompt(server: Any) -> None:
    server.input("in.png", [[[0, 10, 255], [255, 200, 0]]])
    graph = {
        "load": {"class_type": "LoadImage", "inputs": {"image": "in.png"}, "_meta": {"title": "Load"}},
        "invert": {"class_type": "ImageInvert", "inputs": {"image": ["load", 0]}},
        "scale": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["invert", 0],
                "upscale_method": "nearest-exact",
                "width": 4,
                "height": 0,
                "crop": "disabled",
            },
        },
        "save": save("scale", "sub/folder/x"),
    }
    extra = {"extra_pnginfo": {"workflow": {"nodes": [1]}}, "api_key_comfy_org": "secret"}
    entry = await server.run(graph, extra_data=extra)
    assert entry["status"]["status_str"] == "success" and entry["status"]["completed"] is True
    ui = {"filename": "x_00001_.png", "subfolder": "sub/folder", "type": "output"}
    assert entry["outputs"] == {"save": {"images": [ui]}}
    assert entry["meta"]["save"] == {
        "node_id": "save",
        "display_node": "save",
        "parent_node": None,
        "real_node_id": "save",
    }
    (path,) = server.saved(entry, "save")
    with Image.open(path) as image:
        pixels = np.asarray(image)
        text = dict(image.text)
    assert pixels.shape == (2, 4, 3)
    expected = [[255, 245, 0]] * 2 + [[0, 55, 255]] * 2
    assert np.abs(pixels[0].astype(int) - expected).max() <= 1  # levels are cut off, not rounded, as in ComfyUI
    assert {key: json.loads(value) for key, value in text.items()} == {
        "prompt": graph,
        "workflow": {"nodes": [1]},
    }
    assert "secret" not in json.dumps(entry)


async def test_unchanged_nodes_are_not_executed_again(server: Any) -> None:
    server.input("in.png", [[[1, 2, 3]]])
    graph = {
        "a": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
        "b": {"class_type": "ImageInvert", "inputs": {"image": ["a", 0]}},
        "c": save("b", "first"),
        "d": {"class_type": "PreviewImage", "inputs": {"images": ["a", 0]}},
    }
    first = await server.run(graph)
    assert message(first, "execution_cached")["nodes"] == []

    again = await server.run(graph)
    assert message(again, "execution_cached")["nodes"] == ["a", "b", "c", "d"]
    assert again["outputs"] == first["outputs"] and again["meta"] == first["meta"]
    assert len(list((server.base / "output").iterdir())) == 1

    changed = await server.run({**graph, "c": save("b", "second")})
    assert message(changed, "execution_cached")["nodes"] == ["a", "b", "d"]
    assert [path.name for path in server.saved(changed, "c")] == ["second_00001_.png"]

    renamed = {"z": graph["a"], "y": {"class_type": "ImageInvert", "inputs": {"image": ["z", 0]}}}
    other_ids = await server.run({**renamed, "x": save("y", "second")})
    assert message(other_ids, "execution_cached")["nodes"] == ["z", "y", "x"]

    server.input("in.png", [[[9, 9, 9]]])
    os.utime(server.base / "input" / "in.png", ns=(1, 1))
    reloaded = await server.run(graph)
    assert message(reloaded, "execution_cached")["nodes"] == []


async def test_only_what_the_outputs_need_runs(server: Any) -> None:
    graph = {
        "e": GREY,
        "never": {"class_type": "Fail", "inputs": {"image": ["e", 0]}},
        "nonsense": {"class_type": "ImageInvert", "inputs": {"image": ["nowhere", 7]}},
        "s": save("e"),
        "p": {"class_type": "PreviewImage", "inputs": {"images": ["e", 0]}},
    }
    entry = await server.run(graph, partial_execution_targets=["p"])
    assert list(entry["outputs"]) == ["p"]
    assert entry["prompt"][4] == ["p"]
    assert entry["outputs"]["p"]["images"][0]["type"] == "temp"
    entry = await server.run(graph)
    assert message(entry, "execution_cached")["nodes"] == ["e", "p"]
    assert set(entry["outputs"]) == {"s", "p"}


async def test_counters_go_on_and_batches_share_a_prefix(server: Any) -> None:
    pair = {**GREY, "inputs": {**GREY["inputs"], "batch_size": 2}}
    (server.base / "output" / "out_00041_.png").touch()
    entry = await server.run({"e": pair, "s": save("e", "out"), "t": save("e", "%width%x%height%")})
    assert [path.name for path in server.saved(entry, "s")] == ["out_00042_.png", "out_00043_.png"]
    assert [path.name for path in server.saved(entry, "t")] == ["4x2_00001_.png", "4x2_00002_.png"]


async def test_values_arrive_in_the_declared_types(server: Any) -> None:
    inputs = {
        "width": "4",
        "height": 2.9,
        "batch_size": True,
        "color": {"__value__": 255},
        "unknown": ["e", 0],
    }
    entry = await server.run({"e": {"class_type": "EmptyImage", "inputs": inputs}, "s": save("e")})
    (path,) = server.saved(entry, "s")
    with Image.open(path) as image:
        assert image.size == (4, 2) and image.getpixel((0, 0)) == (0, 0, 255)
    typed = entry["prompt"][2]["e"]["inputs"]
    assert typed == {"width": 4, "height": 2, "batch_size": 1, "color": 255, "unknown": ["e", 0]}


async def test_a_node_that_fails_is_reported(server: Any) -> None:
    graph = {"e": GREY, "f": {"class_type": "Fail", "inputs": {"image": ["e", 0]}}, "s": save("f")}
    entry = await server.run(graph)
    assert entry["status"]["status_str"] == "error" and entry["status"]["completed"] is False
    assert entry["outputs"] == {}
    error = message(entry, "execution_error")
    assert "in execute" in "".join(error.pop("traceback"))
    assert error.pop("timestamp") > 0 and error.pop("prompt_id")
    assert error.pop("current_inputs").keys() == {"image"}
    assert error == {
        "node_id": "f",
        "node_type": "Fail",
        "executed": ["e"],
        "exception_message": "it broke\n",
        "exception_type": "LookupError",
        "current_outputs": ["e"],
    }
    assert (await server.run({"e": GREY, "s": save("e")}))["status"]["completed"] is True


@pytest.mark.parametrize(
    "prefix",
    ["../x", "a/../../x", "/x", "C:/x", "C:x", "a\\..\\x", "nul", "a/con.txt", "..", "n\0l", "x" * 300],
)
async def test_a_prefix_that_leads_outside_is_refused(server: Any, prefix: str) -> None:
    entry = await server.run({"e": GREY, "s": save("e", prefix)})
    error = message(entry, "execution_error")
    assert "filename_prefix" in error["exception_message"]
    assert list((server.base / "output").iterdir()) == []


async def test_an_unreadable_picture_is_a_node_error(server: Any) -> None:
    (server.base / "input" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    graph = {"l": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}, "s": save("l")}
    entry = await server.run(graph)
    assert message(entry, "execution_error")["node_id"] == "l"


@pytest.mark.parametrize("named", [False, True])
async def test_interrupt_stops_the_running_prompt_only(server: Any, named: bool) -> None:
    graph = {"e": GREY, "h": {"class_type": "Hold", "inputs": {"image": ["e", 0]}}, "s": save("h")}
    held = await server.submit(graph)
    next_one = await server.submit({"e": GREY, "s": save("e")})
    await server.running(held)
    assert server.host.is_executing()
    assert await server.post("/interrupt", {"prompt_id": next_one}) == (200, None)
    assert queue_ids(server.host.execution).running == (held,)
    if named:
        assert await server.post("/api/interrupt", {"prompt_id": held}) == (200, None)
    else:
        async with server.client.post("/interrupt") as response:
            assert response.status == 200
    entry = await server.finished(held)
    assert entry["status"]["status_str"] == "error"
    data = message(entry, "execution_interrupted")
    assert (data["node_id"], data["node_type"], data["executed"]) == ("h", "Hold", ["e"])
    assert (await server.finished(next_one))["status"]["completed"] is True
    assert not server.host.is_executing()


async def test_interrupting_nothing_does_not_hit_the_next_prompt(server: Any) -> None:
    assert await server.post("/interrupt", {}) == (200, None)
    assert (await server.run({"e": GREY, "s": save("e")}))["status"]["completed"] is True
