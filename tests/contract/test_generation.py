"""What made an asset, in its details and for searches: by its file, or by the job that made it."""

from __future__ import annotations

import json
from typing import Any

from support.files import picture

GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 1 << 63, "steps": 8, "cfg": 2.5, "sampler_name": "euler", "scheduler": "normal",
                   "positive": ["6", 0], "negative": ["7", 0], "model": ["10", 0]},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl\\jugger.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a zqfox"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "zqblur"}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8,
                                                  "model": ["4", 0]}},
}  # fmt: skip
MADE = {
    "positive": "a zqfox",
    "negative": "zqblur",
    "models": ["xl/jugger.safetensors"],
    "loras": [{"name": "ink.safetensors", "weight": 0.8}],
    "seed": str(1 << 63),
    "steps": 8,
    "sampler": "euler",
    "scheduler": "normal",
    "cfg": 2.5,
    "tool": "ComfyUI",
}
SOUND = {"2": {"audio": [{"filename": "made.bin", "subfolder": "", "type": "output"}]}}


async def detail(library: Any, api: Any, name: str) -> Any:
    asset = await library.asset(name)
    return await api.get(f"/api/assets/{asset['id']}")


async def test_what_the_file_says(library: Any, api: Any) -> None:
    library.write("output/a.png", picture(1, prompt=json.dumps(GRAPH)))
    library.write("output/b.png", picture(2, parameters="a cat\nSteps: 3, Seed: 5, Version: v1.9"))
    library.write("output/c.png", picture(3))
    await library.scan()
    assert (await detail(library, api, "a.png"))["generation"] == MADE
    assert (await detail(library, api, "b.png"))["generation"] == {
        "positive": "a cat", "seed": "5", "steps": 3, "tool": "A1111",
    }  # fmt: skip
    assert "generation" not in await detail(library, api, "c.png")
    assert not any("generation" in asset for asset in (await api.get("/api/assets"))["assets"])
    assert await api.names(q="prompt:zqfox -prompt:zqblur negative:zqblur") == ["a.png"]
    assert await api.names(q="prompt:zqblur") == []


async def test_what_the_job_of_a_file_without_a_graph_says(library: Any, api: Any, prompts: Any) -> None:
    library.write("output/made.bin", b"no graph")
    job_id = prompts.run(SOUND, graph=GRAPH)
    assert await api.names(q="zqfox") == ["made.bin"]
    await library.scan()  # it is hashed, and nothing is found in it
    found = await detail(library, api, "made.bin")
    assert (found["job_id"], found["generation"]) == (job_id, MADE)
    assert await api.names(q="lora:ink prompt:zqfox") == ["made.bin"]
    # The asset keeps it when the job is removed from the history.
    await api.send("POST", "/api/history", json={"clear": True})
    assert (await api.get("/api/jobs", q="zqfox"))["jobs"] == []
    assert await api.names(q="zqfox") == ["made.bin"]
    assert (await detail(library, api, "made.bin"))["generation"] == MADE
    # Another content without a graph of its own is still the output of the job; one with a graph speaks for itself.
    library.write(
        "output/made.bin", picture(1, prompt=json.dumps({"1": {"class_type": "A", "inputs": {"text": "cat"}}}))
    )
    await library.scan()
    assert await api.names(q="zqfox") == []
    assert await api.names(q="prompt:cat") == ["made.bin"]


async def test_an_output_with_a_graph_is_found_by_that_alone(library: Any, api: Any, prompts: Any) -> None:
    own = {"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a heron"}}}
    library.write("output/made.bin", picture(1, prompt=json.dumps(own)))
    prompts.run(SOUND, graph=GRAPH)
    await library.scan()
    assert await api.names(q="heron") == ["made.bin"]
    assert await api.names(q="zqfox") == []
    rows = await library.services.db.fetch_all("SELECT count(*) FROM asset_graphs")
    assert rows == [(0,)]
