"""Indexes a library for search, a few assets at a time, saying when it begins and ends. Argument: base directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import checkout


async def main() -> None:
    services = checkout.services(Path(sys.argv[1]))
    from comfy_assets_node.comfy_assets.search import index

    index._BATCH = 10
    await services.start()
    print("begin", flush=True)
    await services.search.catch_up()
    await services.stop()
    print("completed", flush=True)


asyncio.run(main())
