"""A child process: ``comfy-assets serve`` from the checkout, with the nodes of the test packs that are placed.

The standalone host loads no packs, so their nodes are registered here. In place of the pack that blocks ``task_done``
there is a listener of finished prompts that blocks the worker in the same ways.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2] / "fault"))
from checkout import load

load()
from comfy_assets_node.comfy_assets.cli import main, store  # noqa: E402
from comfy_assets_node.comfy_assets.host.execution import FinishedPrompt  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost  # noqa: E402
from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, Result, Run  # noqa: E402

STEP_S = 0.02
SLEEP_S = 2.0
LOOP_S = 10.0
SLEEPS, WAITS = 0.05, 0.2


class Waiting(Node):
    """Waits for some seconds, or until its prompt is interrupted."""

    output_node = True

    def input_types(self) -> InputTypes:
        return {"required": {"seconds": ("FLOAT", {"default": 1.0}), "word": ("STRING", {"default": ""})}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        end = time.monotonic() + inputs["seconds"]
        while time.monotonic() < end:
            run.check()
            time.sleep(STEP_S)
        return Result()


class Passing(Node):
    """Does nothing."""

    output_node = True

    def input_types(self) -> InputTypes:
        return {"required": {"word": ("STRING", {"default": ""})}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result()


NODES: dict[str, tuple[str, type[Node]]] = {
    "load_waiting": ("LoadWaiting", Waiting),
    "load_passing": ("LoadPassing", Passing),
}


class HostWithPacks(StandaloneHost):
    """The standalone host with what the packs beside it stand for."""

    def __init__(self, base_directory: Path, **options: Any) -> None:
        super().__init__(base_directory, **options)
        placed = base_directory / "custom_nodes"
        for pack, (class_type, node) in NODES.items():
            if (placed / pack).is_dir():
                self.nodes.register(class_type, node)
        if (placed / "load_hostile").is_dir():
            self.on_finished(self._block)
        self._chance = random.Random(7)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, *args: Any, **options: Any) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(*args, **options)

    def _block(self, finished: FinishedPrompt) -> None:
        """Wait for the event loop now and then, and sleep."""
        if self._loop is not None and self._chance.random() < WAITS:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(LOOP_S)
        if self._chance.random() < SLEEPS:
            time.sleep(SLEEP_S)


if __name__ == "__main__":
    store.StandaloneHost = HostWithPacks  # type: ignore[misc]
    sys.exit(main(sys.argv[1:]))
