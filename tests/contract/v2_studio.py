"""A standalone host for tests of the jobs of Comfy API v2, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import v2_nodes
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from support.v2 import V2Api

JOBS = "/api/v2/jobs"
PAINT: Mapping[str, Any] = {
    "class_type": "EmptyImage",
    "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 7},
}
SAVE: Mapping[str, Any] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}}
TRIVIAL: Mapping[str, Any] = {"1": PAINT, "2": SAVE}
"""Paints an image of one colour and saves it."""
WAITING: Mapping[str, Any] = {"w": {"class_type": "Wait", "inputs": {}}}


@dataclass(frozen=True)
class Studio:
    """A standalone host with nodes for tests, and requests to it."""

    base: Path
    host: StandaloneHost
    services: Any
    api: V2Api

    def as_user(self, user: str) -> Studio:
        """The same, with requests of this user."""
        return replace(self, api=self.api.with_headers(**{"comfy-user": user}))

    async def post(self, workflow: Any = TRIVIAL, status: int = 201, headers: Any = None, **members: Any) -> Any:
        """The response to a submission: the job, or the error."""
        body = {"workflow": workflow, **members}
        answer = await self.api.send("POST", JOBS, status, json=body, headers=headers or {})
        return answer.json if status == 201 else answer.error

    async def get(self, job_id: str, wait: float = 0) -> Any:
        return (await self.api.send("GET", f"{JOBS}/{job_id}?wait={wait}")).json

    async def run(self, workflow: Any = TRIVIAL, **members: Any) -> Any:
        """A job from its submission to its end."""
        job = await self.post(workflow, **members)
        return await self.end(job["id"])

    async def end(self, job_id: str) -> Any:
        """The job when it has ended."""
        for _ in range(10):
            job = await self.get(job_id, wait=5)
            if job["completed_at"] is not None:
                return job
        raise AssertionError(job)

    async def until(self, job_id: str, status: str) -> Any:
        """The job once it is in this state."""
        for _ in range(500):
            job = await self.get(job_id)
            if job["status"] == status:
                return job
            await asyncio.sleep(0.01)
        raise AssertionError(job)

    def release(self) -> None:
        """Let ``Wait`` end."""
        (self.base / "input" / "release").touch()


def painted(color: int, prefix: str = "made") -> dict[str, Any]:
    """A trivial workflow of another colour or name."""
    return {
        "1": {**PAINT, "inputs": {**PAINT["inputs"], "color": color}},
        "2": {**SAVE, "inputs": {**SAVE["inputs"], "filename_prefix": prefix}},
    }


Make = Callable[..., Awaitable[Studio]]


async def serve(base: Path, aiohttp_client: Any, *, multi_user: bool = False, **config: Any) -> Studio:
    """Serve over a folder; the end of the client stops the server."""
    host = StandaloneHost(base, multi_user=multi_user)
    v2_nodes.register(host.nodes)
    services = attach(host, Config(scan_on_start=False, idle_thumbnails=False, follow=False, **config))
    client = await aiohttp_client(host.application())
    await services.ready()
    return Studio(base, host, services, V2Api(client))
