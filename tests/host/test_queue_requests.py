"""Requests about the queue of a ComfyUI whose methods other packs hold up, and with thousands of prompts in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from comfy_assets_node.comfy_assets.host.comfyui_queue import ComfyUIQueue
from comfy_assets_node.comfy_assets.host.prompt_problems import unchecked
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.jobs.submission import JobSubmission, submitting
from comfy_assets_node.comfy_assets.plugin import attach
from comfyui_queue import ExecutionStatus, FakeServer, NewQueue

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "SaveImage", "inputs": {}}}


class ComfyUI:
    """A server process: ComfyUI's queue, the project, and no worker."""

    def __init__(self, base: Path, users: frozenset[str] | None) -> None:
        self.server = FakeServer(NewQueue)
        self.native = self.server.prompt_queue
        self.interrupt: Callable[[], object] = lambda: None
        folders = HostFolders((LibraryFolder("output", base / "output"),), (base / "user",))
        self.host = MemoryHost(base / "user" / "__comfy_assets", folders, users)
        self.host.execution = ComfyUIQueue(  # type: ignore[assignment]
            self.server, lambda: self.interrupt(), lambda prompt: None, 0, unchecked
        )
        self.client: Any = None

    async def start(self, aiohttp_client: Any) -> ComfyUI:
        self.services = attach(self.host, Config(scan_on_start=False))
        assert self.host.plugin is not None
        await asyncio.wait_for(self.host.plugin.on_serving(), 30)
        assert self.services.problem is None
        app = web.Application(middlewares=[self.host.plugin.middleware])
        self.client = await aiohttp_client(app)
        return self

    def submit(self, number: int, owner: str = "") -> str:
        prompt_id = f"00000000-0000-4000-8000-{number:012}"
        with submitting(JobSubmission(owner)):
            self.native.put((number, prompt_id, GRAPH, {}, ["2"], {}))
        return prompt_id

    def end(self, item_id: int) -> None:
        self.native.task_done(item_id, {"outputs": {}, "meta": {}}, status=ExecutionStatus("success", True, []))

    async def post(self, path: str, body: Any, user: str | None = None) -> Any:
        headers = {} if user is None else {"comfy-user": user}
        async with self.client.post(path, json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json() if await response.read() else None

    async def states(self, user: str | None = None) -> dict[str, str]:
        headers = {} if user is None else {"comfy-user": user}
        async with self.client.get("/api/jobs", params={"limit": 1000}, headers=headers) as response:
            return {job["id"]: job["status"] for job in (await response.json())["jobs"]}


@pytest.fixture
async def start(tmp_path: Path, aiohttp_client: Any) -> AsyncIterator[Callable[..., Any]]:
    """Starts servers over a folder; ``prepare`` is called before the project takes hold of the queue."""
    started: list[ComfyUI] = []

    async def start_server(
        users: frozenset[str] | None = None, prepare: Callable[[ComfyUI], None] | None = None
    ) -> ComfyUI:
        (tmp_path / "output").mkdir(exist_ok=True)
        server = ComfyUI(tmp_path, users)
        started.append(server)
        if prepare is not None:
            prepare(server)
        return await server.start(aiohttp_client)

    yield start_server
    for server in started:
        await server.services.stop()


def needs_the_loop(server: ComfyUI, *names: str) -> list[str]:
    """Wrap methods of the queue like a pack that asks the event loop for something and waits; return what is called.

    On the loop's own thread that would never end.
    """
    loop, called = asyncio.get_running_loop(), []

    def wrapper(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            assert threading.current_thread() is not threading.main_thread(), name
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)
            return before(*args, **kwargs)

        return call

    for name in names:
        setattr(server.native, name, wrapper(name, getattr(server.native, name)))
    server.interrupt = wrapper("interrupt", server.interrupt)
    return called


REMOVING = ("delete_queue_item", "wipe_history", "delete_history_item")


async def test_packs_that_wait_for_the_event_loop(start: Callable[..., Any]) -> None:
    server = await start()
    called = needs_the_loop(server, *REMOVING)
    running, *waiting = [server.submit(number) for number in range(6)]
    ended = [server.submit(number) for number in (-2, -1)]
    for _ in ended:
        _, item_id = server.native.get()
        server.end(item_id)
    _, item_id = server.native.get()

    async def requests() -> None:
        assert await server.post("/api/queue", {"delete": [waiting[0]]}) == {"deleted": [waiting[0]]}
        assert await server.post(f"/api/jobs/{waiting[1]}/cancel", {}) == {"cancelled": True}
        await server.post("/api/jobs/cancel", {"job_ids": [waiting[2]]})
        await server.post("/api/interrupt", {})
        await server.post("/api/queue", {"clear": True})
        assert await server.post("/api/history", {"delete": [ended[0]]}) == {"deleted": [ended[0]]}
        await server.post("/api/history", {"clear": True})

    await asyncio.wait_for(requests(), 30)
    assert set(called) == {"interrupt", "delete_queue_item", "delete_history_item"}
    assert await server.states() == {running: "in_progress"}
    server.end(item_id)
    assert await server.states() == {running: "cancelled"}


async def test_a_pack_that_waits_for_the_event_loop_when_prompts_return(start: Callable[..., Any]) -> None:
    first = await start()
    ids = [first.submit(number) for number in range(3)]
    await first.services.stop()
    called: list[list[str]] = []
    again = await start(prepare=lambda server: called.append(needs_the_loop(server, "put")))
    assert called == [["put"] * 3]
    assert [item[1] for item in sorted(again.native.queue)] == ids
    assert set((await again.states()).values()) == {"pending"}


async def test_one_users_waiting_jobs_are_cleared_beside_anothers(start: Callable[..., Any]) -> None:
    server = await start(users=frozenset({"ann", "bob"}))
    count = 2500
    for number in range(2 * count):
        server.submit(number, "bob" if number % 2 else "ann")
    await server.states("ann")  # all are in the store by now
    del server.server.sent[:]
    # Processor time: other programs do not count.
    pauses: list[float] = []
    over = asyncio.Event()

    async def watch() -> None:
        while not over.is_set():
            started = time.process_time()
            await asyncio.sleep(0.001)
            pauses.append(time.process_time() - started)

    watching = asyncio.create_task(watch())
    started = time.process_time()
    assert await server.post("/api/queue", {"clear": True}, "bob") == {"cleared": True}
    taken = time.process_time() - started
    over.set()
    await watching
    assert server.server.sent == ["status"]
    left = {item[1] for item in server.native.queue}
    assert len(left) == count and left == {f"00000000-0000-4000-8000-{n:012}" for n in range(0, 2 * count, 2)}
    assert set((await server.states("bob")).values()) == {"cancelled"}
    assert set((await server.states("ann")).values()) == {"pending"}
    assert taken < 2
    assert max(pauses) < 0.5
