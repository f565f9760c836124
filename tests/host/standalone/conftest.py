"""A running standalone host, and a client that submits prompts to it and waits for what comes of them."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run
from PIL import Image
from support.queue_ids import queue_ids

WAIT_S = 10.0


class Hold(Node):
    """Waits, in small steps, until it is interrupted or the input folder holds a file named ``release``."""

    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}, "optional": {"salt": ("INT", {"default": 0})}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        deadline = time.monotonic() + WAIT_S
        while not (self.folders.input / "release").exists():
            run.progress(1, 2)
            time.sleep(0.005)
            assert time.monotonic() < deadline, "nobody released the node"
        return Result((inputs["image"],))


class Fail(Node):
    """Raises."""

    returns = ("IMAGE",)

    def input_types(self) -> InputTypes:
        return {"required": {"image": ("IMAGE",)}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        raise LookupError("it broke")


class Standalone:
    """The host of a test, its base directory, and its HTTP client."""

    def __init__(self, base: Path, host: StandaloneHost, client: TestClient[Any, Any]) -> None:
        self.base, self.host, self.client = base, host, client

    async def json(self, path: str) -> Any:
        async with self.client.get(path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.client.post(path, json=body) as response:
            text = await response.text()
            return response.status, await response.json() if text else None

    async def submit(self, graph: Any, **more: Any) -> str:
        status, body = await self.post("/prompt", {"prompt": graph, **more})
        assert status == 200, body
        return str(body["prompt_id"])

    async def finished(self, prompt_id: str) -> dict[str, Any]:
        """The history entry, once there is one."""

        async def entry() -> Any:
            return (await self.json(f"/history/{prompt_id}")).get(prompt_id)

        return await eventually(entry)

    async def run(self, graph: Any, **more: Any) -> dict[str, Any]:
        return await self.finished(await self.submit(graph, **more))

    async def running(self, prompt_id: str) -> None:
        async def is_running() -> bool:
            return prompt_id in queue_ids(self.host.execution).running

        await eventually(is_running)

    async def page(self, sid: str = "page") -> ClientWebSocketResponse:
        """A websocket that has read its first message."""
        socket = await self.client.ws_connect(f"/ws?clientId={sid}")
        assert (await socket.receive_json(timeout=WAIT_S))["data"]["sid"] == sid
        return socket

    def input(self, name: str, pixels: Any) -> None:
        (self.base / "input" / name).write_bytes(png(pixels))

    def release(self) -> None:
        (self.base / "input" / "release").touch()

    def saved(self, entry: dict[str, Any], node_id: str) -> list[Path]:
        images = entry["outputs"][node_id]["images"]
        return [self.base / each["type"] / each["subfolder"] / each["filename"] for each in images]


async def eventually(ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := await ask()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
    return answer


def png(pixels: Any) -> bytes:
    """A PNG file of an array [height, width(, channels)]."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def host(tmp_path: Path) -> StandaloneHost:
    host = StandaloneHost(tmp_path)
    host.nodes.register("Hold", Hold)
    host.nodes.register("Fail", Fail)
    return host


@pytest.fixture
async def server(tmp_path: Path, host: StandaloneHost, aiohttp_client: Any) -> Standalone:
    return Standalone(tmp_path, host, await aiohttp_client(host.application()))
