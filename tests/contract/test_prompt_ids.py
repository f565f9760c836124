"""The ids that clients give to prompts: one job at a time has an id, and one user for good; and ids of any spelling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.execution import SubmittedPrompt
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost
from comfy_assets_node.comfy_assets.plugin import attach
from held_node import Hold
from yarl import URL

ID = "00000000-0000-4000-8000-0000000000ab"
EMPTY: dict[str, Any] = {"class_type": "EmptyImage", "inputs": {"width": 2, "height": 2, "batch_size": 1, "color": 0}}
SAVE: dict[str, Any] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}}
GRAPH: dict[str, Any] = {"1": EMPTY, "2": SAVE}
HELD: dict[str, Any] = {
    "1": EMPTY,
    "h": {"class_type": "Hold", "inputs": {"image": ["1", 0]}},
    "2": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["h", 0]}},
}
BOTH_PATHS = pytest.mark.parametrize("path", ["/api/prompt", "/prompt"])
OVER = ("completed", "failed", "cancelled")


class PromptServer:
    def __init__(self, base: Path, services: Any, client: Any) -> None:
        self.base, self.services, self.client = base, services, client

    async def ask(self, method: str, path: str, user: str | None = None, **options: Any) -> tuple[int, Any]:
        headers = {} if user is None else {"comfy-user": user}
        async with self.client.request(method, path, headers=headers, **options) as response:
            return response.status, await response.json()

    async def submit(self, graph: Any, user: str | None = None, path: str = "/api/prompt", **more: Any) -> int:
        """Send a prompt under ID; answers the status."""
        status, body = await self.ask("POST", path, user, json={"prompt": graph, "prompt_id": ID, **more})
        if status != 200:
            assert (status, body["error"]["type"], body["node_errors"]) == (400, "prompt_id_in_use", {})
            assert body["error"]["extra_info"] == {"field": "prompt_id"}
        return status

    async def until(self, *states: str, user: str | None = None) -> Any:
        deadline = time.monotonic() + 20
        while True:
            status, job = await self.ask("GET", f"/api/jobs/{ID}", user)
            if status == 200 and job["status"] in states:
                return job
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.01)

    def release(self) -> None:
        (self.base / "input" / "release").touch()

    async def users(self, *names: str) -> list[str]:
        return [(await self.ask("POST", "/users", json={"username": name}))[1] for name in names]


@pytest.fixture
async def make_server(tmp_path: Path, aiohttp_client: Any) -> AsyncIterator[Callable[..., Any]]:
    async def make(*, multi_user: bool = False) -> PromptServer:
        host = StandaloneHost(tmp_path, multi_user=multi_user)
        host.nodes.register("Hold", Hold)
        services = attach(host, Config(scan_on_start=False))
        client = await aiohttp_client(host.application())
        await services.ready()
        return PromptServer(tmp_path, services, client)

    yield make


@BOTH_PATHS
async def test_an_id_that_is_active_is_refused(make_server: Any, path: str) -> None:
    server = await make_server()
    assert await server.submit(HELD, path=path) == 200
    await server.until("in_progress")
    assert await server.submit(GRAPH, path=path) == 400
    assert await server.submit(HELD, path=path) == 400
    server.release()
    job = await server.until(*OVER)
    assert job["status"] == "completed" and "h" in job["workflow"]["prompt"]
    assert await server.submit(GRAPH, path=path) == 200  # it is over: the id can be used again
    job = await server.until(*OVER)
    assert "h" not in job["workflow"]["prompt"]
    assert (await server.ask("GET", "/api/jobs"))[1]["pagination"]["total"] == 1
    (asset,) = (await server.ask("GET", f"/api/jobs/{ID}/assets"))[1]["assets"]
    assert asset["job_id"] == ID


async def test_an_id_that_waits_is_refused_and_cancelled_once(make_server: Any) -> None:
    server = await make_server()
    await server.ask("POST", "/api/prompt", json={"prompt": HELD})
    assert await server.submit(GRAPH) == 200
    assert await server.submit(GRAPH) == 400
    assert (await server.ask("POST", f"/api/jobs/{ID}/cancel"))[1] == {"cancelled": True}
    assert (await server.until(*OVER))["status"] == "cancelled"
    queue = (await server.ask("GET", "/api/queue"))[1]
    assert queue["queue_pending"] == []
    server.release()


async def test_of_many_at_once_one_is_taken(make_server: Any) -> None:
    server = await make_server()
    statuses = await asyncio.gather(*(server.submit(HELD, number=float(n)) for n in range(12)))
    assert sorted(statuses) == [200] + [400] * 11
    server.release()
    await server.until("completed")


async def test_a_prompt_that_is_refused_takes_no_id(make_server: Any) -> None:
    server = await make_server()
    body = {"prompt": {"1": {"class_type": "None", "inputs": {}}}, "prompt_id": ID}
    assert (await server.ask("POST", "/api/prompt", json=body))[0] == 400
    assert await server.submit(GRAPH) == 200
    await server.until("completed")


@pytest.mark.parametrize("prompt_id", ["", " ", "a\nb", "\ud800", "x" * 300, "a\0b", 123, True, [], {"a": 1}])
@BOTH_PATHS
async def test_ids_under_which_no_job_can_be_asked_for(make_server: Any, path: str, prompt_id: Any) -> None:
    server = await make_server()
    status, body = await server.ask("POST", path, json={"prompt": GRAPH, "prompt_id": prompt_id})
    assert (status, body["error"]["type"], body["node_errors"]) == (400, "invalid_prompt_id", {})
    assert (await server.ask("GET", "/api/jobs"))[1]["pagination"]["total"] == 0


@pytest.mark.parametrize("state", ["in_progress", "pending", "completed", "cancelled", "removed"])
@BOTH_PATHS
async def test_nobody_takes_over_another_users_id(make_server: Any, state: str, path: str) -> None:
    server = await make_server(multi_user=True)
    ann, bob = await server.users("ann", "bob")
    if state in ("pending", "cancelled"):
        await server.ask("POST", "/api/prompt", bob, json={"prompt": HELD})
    assert await server.submit(GRAPH if state in ("completed", "removed") else HELD, ann) == 200
    if state == "cancelled":
        await server.ask("POST", f"/api/jobs/{ID}/cancel", ann)
    await server.until("completed" if state == "removed" else state, user=ann)
    if state == "removed":
        assert (await server.ask("POST", "/api/history", ann, json={"delete": [ID]}))[1] == {"deleted": [ID]}
    before = await server.ask("GET", f"/api/jobs/{ID}", ann)
    assert await server.submit(GRAPH, bob, path=path) == 400
    assert await server.submit(HELD, bob, path=path) == 400
    assert (await server.ask("GET", f"/api/jobs/{ID}", bob))[0] == (404 if state == "removed" else 403)
    assert (await server.ask("POST", f"/api/jobs/{ID}/cancel", bob))[0] == 404
    assert (await server.ask("POST", "/api/jobs/cancel", bob, json={"job_ids": [ID]}))[0] == 404
    assert (await server.ask("POST", "/api/queue", bob, json={"delete": [ID]}))[1] == {"deleted": []}
    assert (await server.ask("POST", "/api/history", bob, json={"delete": [ID]}))[1] == {"deleted": []}
    assert await server.ask("GET", f"/api/jobs/{ID}", ann) == before
    server.release()
    if state == "removed":
        assert await server.submit(GRAPH, ann) == 200
    if state != "cancelled":
        assert (await server.until(*OVER, user=ann))["status"] == "completed"


SPELLINGS = [
    "my-job-1",
    "00000000000040008000000000000abc",
    "00000000-0000-4000-8000-000000000ABC",
    "{00000000-0000-4000-8000-000000000abc}",
    "ünïcode/ß and space",
    "a" * 200,
]


@pytest.mark.parametrize("job_id", SPELLINGS)
@pytest.mark.parametrize("is_running", [True, False])
async def test_ids_of_any_spelling(library: Any, job_id: str, is_running: bool) -> None:
    """As older servers take them."""
    queue = library.host.execution
    graph = {"2": {"class_type": "SaveImage", "inputs": {}}}

    async def post(path: str | URL, **options: Any) -> Any:
        async with library.client.post(path, **options) as response:
            assert response.status == 200, (path, await response.text())
            return None if response.content_type != "application/json" else await response.json()

    def submit() -> None:
        queue.submit(SubmittedPrompt(0, job_id, graph, {}, ["2"]))
        if is_running:
            queue.start()

    async def end() -> None:
        if is_running:
            queue.finish({}, {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {}]]})
        assert (await library.get(url))["status"] == "cancelled"

    def is_stopped() -> bool:
        return job_id in queue.interrupted if is_running else queue.waiting == []

    path = f"/api/jobs/{quote(job_id, safe='')}"
    url, cancel = URL(path, encoded=True), URL(f"{path}/cancel", encoded=True)
    submit()
    assert (await library.get(url))["id"] == job_id
    assert await post(cancel) == {"cancelled": True} and is_stopped()
    await end()
    assert await post(cancel) == {"cancelled": False}
    ways: list[tuple[str, Any]] = [
        ("/api/jobs/cancel", {"job_ids": [job_id]}),
        ("/api/queue", {"delete": [job_id]}),
        ("/api/interrupt", {"prompt_id": job_id}),
        ("/api/interrupt", {}),
    ]
    for way, body in ways:
        if way == "/api/interrupt" and body and not is_running:
            continue
        queue.interrupted.clear()
        submit()
        answer = await post(way, json=body)
        assert is_stopped(), way
        assert answer is None or job_id in next(iter(answer.values()))
        await end()
    assert await post("/api/history", json={"delete": [job_id]}) == {"deleted": [job_id]}
    await library.get(url, 404)


async def test_a_uuid_is_found_in_other_spellings_than_its_own(library: Any) -> None:
    queue = library.host.execution
    queue.submit(SubmittedPrompt(0, ID, {"2": {"class_type": "X", "inputs": {}}}, {}, ["2"]))
    for spelling in (ID.upper(), ID.replace("-", "")):
        assert (await library.get(f"/api/jobs/{spelling}"))["id"] == ID
    async with library.client.post(f"/api/jobs/{ID.upper()}/cancel") as response:
        assert await response.json() == {"cancelled": True}


async def test_an_id_of_half_a_character_is_recorded(library: Any) -> None:
    queue = library.host.execution
    queue.submit(SubmittedPrompt(0, "x\ud83d", {"2": {"class_type": "X", "inputs": {}}}, {}, ["2"]))
    (job,) = (await library.get("/api/jobs"))["jobs"]
    queue.start()
    async with library.client.post("/api/jobs/cancel", json={"job_ids": [job["id"]]}) as response:
        assert await response.json() == {"cancelled": [job["id"]]}
    assert queue.interrupted == ["x\ud83d"]
    queue.finish({}, None)
    assert (await library.get("/api/jobs"))["jobs"][0]["status"] == "cancelled"
