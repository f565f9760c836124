"""Scans and hashes a library to the end, saying when it begins and when it has ended. Argument: base directory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import checkout


async def main() -> None:
    services = checkout.services(Path(sys.argv[1]))
    print("begin", flush=True)
    await services.start()
    task, _ = services.indexer.start_scan()
    await task.done.wait()
    await services.indexer.finish()
    status = services.indexer.status()
    await services.stop()
    print(status["status"], flush=True)


asyncio.run(main())
