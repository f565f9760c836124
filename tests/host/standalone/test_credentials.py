"""What the standalone host itself shows of credentials: nothing, though its prompts are executed with them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt, SubmittedPrompt
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run

SECRET = "comfyui-0123456789abcdef"
HIDDEN = "[REDACTED]"


class Speak(Node):
    """Says what it was given, or raises it."""

    output_node = True
    heard: list[Any]

    def input_types(self) -> InputTypes:
        return {"required": {"text": ("STRING", {}), "fails": ("BOOLEAN", {})}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        self.heard.append(inputs["text"])
        while not (self.folders.input / "release").exists():
            run.check()
        if inputs["fails"]:
            raise LookupError(f"{inputs['text']} is no good")
        return Result((), {"text": [inputs["text"]]})


class Listener:
    """Keeps what the queue tells of prompts that are submitted."""

    def __init__(self) -> None:
        self.told: list[SubmittedPrompt] = []

    def submitted(self, prompt: SubmittedPrompt) -> None:
        self.told.append(prompt)

    def started(self, prompt_id: str) -> None: ...

    def shown(self, prompt_id: str, node_id: str, output: Any) -> None: ...

    def completing(self, prompt_id: str) -> None: ...

    def interrupting(self, prompt_id: str) -> None: ...

    def finished(self, prompt: FinishedPrompt) -> None: ...

    def dropped(self, prompt_ids: Any) -> None: ...


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("place", [{"api_key_comfy_org": SECRET}, {"deep": [{"apiKey": SECRET}]}])
async def test_queue_history_and_log(
    server: Any, caplog: pytest.LogCaptureFixture, place: dict[str, Any], fails: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    Speak.heard = []
    listener = Listener()
    server.host.nodes.register("Speak", Speak)
    server.host.execution.watch(listener)
    graph = {"1": {"class_type": "Speak", "inputs": {"text": f"it is {SECRET}", "fails": fails}}}
    prompt_id = await server.submit(graph, extra_data=place)
    shown = [await server.json("/queue"), await server.json("/api/queue")]
    server.release()
    while not (entry := await server.json(f"/history/{prompt_id}")):
        await asyncio.sleep(0.01)
    assert Speak.heard == [f"it is {SECRET}"]
    assert entry[prompt_id]["status"]["completed"] is not fails
    shown += [entry, await server.json("/api/history")]
    assert SECRET not in json.dumps(shown) and HIDDEN in json.dumps(entry)
    assert SECRET not in caplog.text
    (told,) = listener.told
    assert told.secrets == {SECRET} and SECRET not in json.dumps(told.extra_data)
