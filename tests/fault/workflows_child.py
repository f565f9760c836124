"""Save versions of workflows endlessly, several at a time, and print the confirmed ones.

Argument: base directory.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import checkout


def text_of(workflow: int, number: int) -> bytes:
    """Return the text of a version, long enough to fill several pages of the store."""
    return b'{"workflow": %d, "number": %d, "filling": "%s"}' % (workflow, number, b"%d " % number * 3000)


async def write(services: Any, workflow: int) -> None:
    from comfy_assets_node.comfy_assets.workflows.service import WorkflowDetails

    service = services.workflows
    made = await service.create(WorkflowDetails(f"workflow {workflow}"), text_of(workflow, 1), "ann")
    print("saved", made.id, workflow, 1, flush=True)
    number = 1
    while True:
        await service.create_version(made.id, number, text_of(workflow, number + 1), "ann")
        number += 1
        print("saved", made.id, workflow, number, flush=True)


async def main() -> None:
    services = checkout.services(Path(sys.argv[1]))
    await services.start()
    print("begin", flush=True)
    await asyncio.gather(*(write(services, workflow) for workflow in range(4)))


asyncio.run(main())
