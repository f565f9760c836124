"""Real ComfyUI servers beside node packs that hold the queue up, break it, or are gone after a restart."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.servers import COMFYUI

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]
Start = Callable[..., Any]
WAIT_S = 90
ACTIVE = ("pending", "in_progress")
LONGEST_S = 1.5  # an answer while a pack sleeps for twice as long; the machine may be busy

NODES = """
import os, time
import comfy.model_management, folder_paths

class Hold:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}
    def run(self, image):
        while not os.path.exists(os.path.join(folder_paths.get_input_directory(), "release")):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.01)
        return (image,)

NODE_CLASS_MAPPINGS = {"Hold": Hold}
"""

# Wraps ``task_done`` on the class and, once everything is loaded, on the queue; ``/odd/MODE`` says what they do.
ODD = """
import asyncio, time
from aiohttp import web
import execution
from server import PromptServer

server = PromptServer.instance
queue = server.prompt_queue
mode = ["plain"]

def misbehave():
    if mode[0] == "sleep":
        time.sleep(3)
    elif mode[0] == "wait for the loop":
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), server.loop).result(timeout=30)

before_on_class = execution.PromptQueue.task_done
def on_class(self, *args, **kwargs):
    before_on_class(self, *args, **kwargs)
    misbehave()
    if mode[0] == "raise":
        raise LookupError("a pack's own fault")
execution.PromptQueue.task_done = on_class

async def wrap_the_object(app):
    before = queue.task_done
    def on_object(*args, **kwargs):
        if mode[0] == "swallow":
            return
        before(*args, **kwargs)
        misbehave()
        if mode[0] == "raise outside":
            raise LookupError("a pack's own fault")
    queue.task_done = on_object
server.app.on_startup.append(wrap_the_object)

@server.routes.get("/odd/{mode}")
async def set_mode(request):
    mode[0] = request.match_info["mode"]
    return web.json_response(mode[0])

@server.routes.post("/odd/deep")
async def put_deep(request):
    value = 1
    for _ in range(700):
        value = [value]
    graph = {"7": {"class_type": "PreviewImage", "inputs": {"images": value}}}
    item = (server.number, (await request.json())["prompt_id"], graph, {}, ["7"])
    queue.put((*item, {}) if "process_item" in before_on_class.__code__.co_varnames else item)
    return web.json_response({})

NODE_CLASS_MAPPINGS = {}
"""


MODES = ("plain", "sleep", "wait for the loop", "raise", "raise outside", "swallow", "plain")


def picture(colour: int, *, held: bool = False) -> dict[str, Any]:
    """A graph that saves a picture, with a node of the pack in it if it is ``held``."""
    graph: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": colour}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
    }
    if held:
        graph["h"] = {"class_type": "Hold", "inputs": {"image": ["1", 0]}}
        graph["2"]["inputs"]["images"] = ["h", 0]
    return graph


def submit(server: Any, graph: Any) -> str:
    answer = server.post("/prompt", {"prompt": graph})
    assert answer.status == 200, answer
    return str(answer.json["prompt_id"])


def ended(server: Any, job_id: str) -> Any:
    return server.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] not in ACTIVE, WAIT_S)


@contextmanager
def asked_all_the_time(server: Any) -> Iterator[list[float]]:
    """How long answers of the server take that need its queue, while the block goes on."""
    taken: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for path in ("/queue", "/prompt", "/api/queue"):
                started = time.monotonic()
                server.get(path)
                taken.append(time.monotonic() - started)
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join(WAIT_S)


def test_a_pack_that_is_gone_after_a_restart(tmp_path: Path, start_comfyui: Start, start_plain_comfyui: Start) -> None:
    (tmp_path / "custom_nodes").mkdir()
    pack = tmp_path / "custom_nodes" / "nodes_for_tests.py"
    pack.write_text(NODES)
    with start_comfyui(tmp_path) as server:
        server.wait_until_up()
        before = submit(server, picture(1))
        ended(server, before)
        running = submit(server, picture(2, held=True))
        server.wait_for(f"/api/jobs/{running}", lambda job: job["status"] == "in_progress")
        waiting = [submit(server, picture(3 + number, held=True)) for number in range(3)]
        (tmp_path / "input" / "there.png").write_bytes((tmp_path / "output" / "made_00001_.png").read_bytes())
        graph = picture(7)
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": "there.png"}}
        loading, healthy = submit(server, graph), submit(server, picture(8))
        server.interrupt()
    pack.unlink()
    (tmp_path / "input" / "there.png").unlink()
    with start_plain_comfyui(tmp_path) as server:
        server.wait_until_up()
        for job_id in waiting:
            job = ended(server, job_id)
            assert job["status"] == "failed"
            error = job["execution_error"]
            told = (error["node_id"], error["node_type"], error["exception_type"])
            assert told == ("h", "Hold", "MissingNodeType")
            assert "Node h (Hold)" in error["exception_message"]
        assert ended(server, running)["execution_error"]["exception_type"] == "ServerStopped"
        refused = ended(server, loading)
        assert (refused["status"], refused["execution_error"]["node_type"]) == ("failed", "LoadImage")
        assert "there.png" in refused["execution_error"]["exception_message"]
        assert ended(server, healthy)["status"] == "completed"
        assert ended(server, submit(server, picture(9)))["status"] == "completed"
        assert server.get("/prompt").json["exec_info"]["queue_remaining"] == 0
        states = {before: "success", running: "error", waiting[0]: "error", healthy: "success"}
        for prefix, (job_id, state) in ((prefix, each) for prefix in ("", "/api") for each in states.items()):
            entry = server.get(f"{prefix}/history/{job_id}").json[job_id]
            assert entry["status"]["status_str"] == state
            assert entry["prompt"][1] == job_id
        assert "Exception in thread" not in server.log


def test_packs_that_hold_the_end_of_a_prompt_up_or_break_it(tmp_path: Path, start_comfyui: Start) -> None:
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "custom_nodes" / "nodes_for_tests.py").write_text(NODES)
    (tmp_path / "custom_nodes" / "odd.py").write_text(ODD)
    with start_comfyui(tmp_path) as server:
        server.wait_until_up()
        for colour, mode in enumerate(MODES):
            server.get(f"/odd/{mode.replace(' ', '%20')}")
            with asked_all_the_time(server) as taken:
                job_ids = [submit(server, picture(10 * colour + number)) for number in range(2)]
                for job_id in job_ids:
                    job = ended(server, job_id)
                    assert (job["status"], job["outputs_count"]) == ("completed", 1), (mode, job)
            assert max(taken) < LONGEST_S, (mode, max(taken))
        deep = str(uuid.uuid4())
        server.post("/odd/deep", {"prompt_id": deep})
        job = ended(server, deep)
        assert (job["status"], job["execution_error"]["exception_type"]) == ("failed", "PromptTooDeep")
        assert job["execution_error"]["node_id"] == "7"
        nested: Any = 1
        for _ in range(700):
            nested = [nested]
        graph = {**picture(90), "3": {"class_type": "PreviewAny", "inputs": {"source": nested}}}
        assert server.post("/prompt", {"prompt": graph}).status == 400
        held = submit(server, picture(91, held=True))
        server.wait_for(f"/api/jobs/{held}", lambda job: job["status"] == "in_progress")
        started = time.monotonic()
        assert server.post("/api/interrupt", {}).status == 200
        assert time.monotonic() - started < LONGEST_S
        assert ended(server, held)["status"] == "cancelled"
        assert ended(server, submit(server, picture(92)))["status"] == "completed"
        assert "Exception in thread" not in server.log
