"""What listeners of the execution queue are told while a whole server executes prompts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt, SubmittedPrompt

EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 1, "height": 1, "batch_size": 1, "color": 0}}
SAVE: dict[str, Any] = {"class_type": "SaveImage", "inputs": {"images": ["e", 0], "filename_prefix": "a"}}
HOLD = {"class_type": "Hold", "inputs": {"image": ["e", 0]}}
FAIL = {"class_type": "Fail", "inputs": {"image": ["e", 0]}}
QUICK = {"e": EMPTY, "out": SAVE}


def behind(node: Any) -> dict[str, Any]:
    """A graph whose output waits for this node."""
    return {"e": EMPTY, "n": node, "out": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["n", 0]}}}


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.results: dict[str, FinishedPrompt] = {}

    def is_free(self, prompt_id: str) -> bool:
        return True

    def submitted(self, prompt: SubmittedPrompt) -> None:
        self.told.append(("submitted", prompt.prompt_id))

    def started(self, prompt_id: str) -> None:
        self.told.append(("started", prompt_id))

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        self.told.append(("shown", prompt_id, node_id, sorted(output)))

    def completing(self, prompt_id: str) -> None:
        pass

    def interrupting(self, prompt_id: str) -> None:
        self.told.append(("interrupting", prompt_id))

    def finished(self, prompt: FinishedPrompt) -> None:
        self.results[prompt.prompt_id] = prompt
        self.told.append(("finished", prompt.prompt_id))

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        self.told += [("dropped", prompt_id) for prompt_id in prompt_ids]

    async def until_finished(self, prompt_id: str) -> FinishedPrompt:
        deadline = time.monotonic() + 10
        while prompt_id not in self.results:
            await asyncio.sleep(0.005)
            assert time.monotonic() < deadline
        return self.results[prompt_id]


class Raising:
    """A listener whose every method fails."""

    def _fail(self, *_: object) -> None:
        raise RuntimeError("a listener's own fault")

    submitted = started = shown = completing = interrupting = finished = dropped = _fail


@pytest.fixture
def listener(host: Any) -> Listener:
    """Watches the host's queue, behind one that raises."""
    listener = Listener()
    host.execution.watch(Raising())
    host.execution.watch(listener)
    return listener


@pytest.mark.parametrize("client_id", [None, "page"])
async def test_a_prompt_from_its_beginning_to_its_end(server: Any, listener: Listener, client_id: str | None) -> None:
    more = {"client_id": client_id} if client_id else {}
    for _ in range(2):  # the second time every node's output is that of the first
        prompt_id = await server.submit(QUICK, **more)
        result = await listener.until_finished(prompt_id)
        shown = [("shown", "out", ["images"])] if client_id else []  # where no page listens it is not told
        kinds = [("submitted",), ("started",), *shown, ("finished",)]
        assert [(name, *rest) for name, told_id, *rest in listener.told if told_id == prompt_id] == kinds
        assert result.outputs["out"]["images"][0]["type"] == "output"
        assert result.status is not None and result.status["completed"] is True
        assert result.meta["out"]["node_id"] == "out"


async def test_a_prompt_that_fails(server: Any, listener: Listener) -> None:
    result = await listener.until_finished(await server.submit(behind(FAIL)))
    assert [told[0] for told in listener.told] == ["submitted", "started", "finished"]
    assert result.status is not None and result.status["status_str"] == "error"
    assert [event for event, _ in result.status["messages"]][-1] == "execution_error"


@pytest.mark.parametrize("path", ["/interrupt", "/api/interrupt"])
async def test_a_prompt_that_is_interrupted(server: Any, listener: Listener, path: str) -> None:
    prompt_id = await server.submit(behind(HOLD))
    await server.running(prompt_id)
    assert await server.post(path, {}) == (200, None)
    result = await listener.until_finished(prompt_id)
    assert [told[0] for told in listener.told] == ["submitted", "started", "interrupting", "finished"]
    assert result.status is not None
    assert [event for event, _ in result.status["messages"]][-1] == "execution_interrupted"


async def test_prompts_that_are_taken_out_of_the_queue(server: Any, listener: Listener) -> None:
    held = await server.submit(behind(HOLD))
    await server.running(held)
    a, b, c = [await server.submit(QUICK) for _ in range(3)]
    await server.post("/queue", {"delete": [b, held, "unknown"]})
    await server.post("/queue", {"clear": True})
    await server.post("/queue", {"clear": True})
    assert listener.told[-3:] == [("dropped", b), ("dropped", a), ("dropped", c)]
    server.release()
    await listener.until_finished(held)
    assert [told for told in listener.told if told[0] == "started"] == [("started", held)]


async def test_a_prompt_that_is_refused_is_not_told_of(server: Any, listener: Listener) -> None:
    for body in ({}, {"prompt": {}}, {"prompt": QUICK, "prompt_id": "no-uuid"}, {"prompt": {"1": {}}}):
        assert (await server.post("/prompt", body))[0] == 400
    assert listener.told == []
