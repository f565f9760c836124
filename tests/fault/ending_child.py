"""A server that ends without cleaning up, while background work is under way.

Arguments: base directory, how it ends (``returns``, ``interrupted``, ``asyncio``), what is under way (``held``,
``walking``, ``following``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import checkout

base, ending, activity = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
services = checkout.services(base)

from comfy_assets_node.comfy_assets.config import Config  # noqa: E402


def slow_scandir(path: Any, real: Any = os.scandir) -> Any:
    time.sleep(0.05)
    return real(path)


def emit(event: str, data: Any) -> None:
    """Have a prompt executed from the moment that files are to be hashed."""
    if event == "assets.seed.fast_complete":
        services.host.is_busy = True


async def begin() -> None:
    await services.start()
    if activity == "following":
        services.config = Config()
        await services.start_indexing()
        while not any("comfy-assets-watch" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.01)
        return
    if activity == "walking":
        os.scandir = slow_scandir  # type: ignore[assignment]
    else:
        services.host.emit = emit
    services.indexer.start_scan()
    while not (services.indexer.status()["paused"] or os.scandir is slow_scandir):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert services.indexer.status()["status"] == "running"


async def serve() -> None:
    await asyncio.wait_for(begin(), 20)
    print("ready", flush=True)
    await asyncio.sleep(60)


if ending == "asyncio":
    asyncio.run(serve())
else:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.wait_for(begin(), 20))
        print("ready", flush=True)
        if ending == "interrupted":
            # No coroutine: an interrupt before it is awaited would print a warning.
            loop.call_later(60, loop.stop)
            loop.run_forever()
    except KeyboardInterrupt:
        pass  # as ComfyUI does: the loop is left as it is, and the main thread ends
