"""A client that tries everything on what belongs to another user: it must see nothing of it, and change nothing.

That nothing has changed is found by the audit, which holds the server by the other user's notes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from asking import Asker
from client import Client, Deed
from faults import waiting_graph
from notes import Json, Notes

HIDDEN = (403, 404)
LISTS = (
    "/api/assets?limit=500",
    "/api/tags?limit=500",
    "/api/jobs?limit=100",
    "/api/history_v2?max_items=100",
    "/api/queue",
    "/api/workflows?limit=100",
    "/api/userdata?dir=workflows&recurse=true",
)
# Method, the end of the path, and the body of every request that takes the id of an asset, a workflow or a job.
ASSET: tuple[tuple[str, str, Json | None], ...] = (
    ("GET", "", None),
    ("GET", "/content", None),
    ("PUT", "", {"name": "taken"}),
    ("POST", "/tags", {"tags": ["taken"]}),
    ("DELETE", "/tags", {"tags": ["t0"]}),
    ("DELETE", "", None),
    ("POST", "/restore", None),
)
WORKFLOW: tuple[tuple[str, str, Json | None], ...] = (
    ("GET", "", None),
    ("GET", "/content", None),
    ("GET", "/versions/1", None),
    ("PATCH", "", {"name": "taken"}),
    ("POST", "/versions", {"base_version": 1, "workflow_json": {"taken": True}}),
    ("POST", "/fork", {"source_version": 1, "name": "taken"}),
    ("DELETE", "", None),
)
JOB: tuple[tuple[str, str, Json | None], ...] = (
    ("GET", "", None),
    ("GET", "/assets", None),
    ("POST", "/cancel", None),
)
PAGE: tuple[tuple[str, Json], ...] = (
    ("/api/queue", {"delete": []}),
    ("/api/history", {"delete": []}),
)


class Stranger(Client):
    """Knows the ids of the others by their notes."""

    pause_s = 0.1

    def __init__(self, ask: Asker, chance: random.Random, others: Sequence[Notes]) -> None:
        super().__init__(ask, chance)
        self._others = others

    def deeds(self) -> list[tuple[int, Deed]]:
        return [(3, self.look), (3, self.try_asset), (3, self.try_workflow), (3, self.try_job), (2, self.take_job)]

    async def look(self) -> None:
        """Every answer is searched for what is another's."""
        await self.ask.ask("list", "GET", self.chance.choice(LISTS))

    async def try_asset(self) -> None:
        """Any operation on an asset, deleted or not."""
        ids = [*self._other().assets]
        if ids:
            await self._try(f"/api/assets/{self.chance.choice(ids)}", self.chance.choice(ASSET))

    async def try_workflow(self) -> None:
        """Any operation on a workflow, deleted or not."""
        ids = [flow.id for flow in self._other().flows]
        if ids:
            await self._try(f"/api/workflows/{self.chance.choice(ids)}", self.chance.choice(WORKFLOW))

    async def try_job(self) -> None:
        """Any operation on a job, over or not; those that take several ids skip it."""
        ids = [*self._other().jobs]
        if not ids:
            return
        job_id = self.chance.choice(ids)
        await self._try(f"/api/jobs/{job_id}", self.chance.choice(JOB))
        path, body = self.chance.choice(PAGE)
        answer = await self.ask.ask("stranger", "POST", path, json={**body, "delete": [job_id]})
        is_so = answer.status in HIDDEN or (answer.status == 200 and job_id.encode() not in answer.body)
        self.must(is_so, f"POST {path} with another's job is answered", answer)

    async def take_job(self) -> None:
        """A prompt under the id of another's job, which nobody removes meanwhile."""
        ids = [job.id for job in self._other().jobs.values() if "interrupter" in job.owner]
        if ids:
            body = {"prompt": waiting_graph(0.0), "prompt_id": self.chance.choice(ids)}
            answer = await self.ask.ask("stranger", "POST", "/api/prompt", json=body)
            self.must(
                400 <= answer.status < 500, f"a prompt with the id of another's job {body['prompt_id']} is", answer
            )

    async def _try(self, path: str, operation: tuple[str, str, Json | None]) -> None:
        method, end, body = operation
        answer = await self.ask.ask("stranger", method, path + end, **({} if body is None else {"json": body}))
        self.must(answer.status in HIDDEN, f"{method} {path}{end} of another is answered", answer)

    def _other(self) -> Notes:
        return self.chance.choice(self._others)
