"""Jobs of Comfy API v2 on whole servers: the standalone host, and ComfyUI if there is one."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.servers import COMFYUI, HttpServer, comfyui, make_base

pytestmark = [
    pytest.mark.slow,
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]

JOBS = "/api/v2/jobs"
KEY = "sk-partner-0123456789abcdef"
NODES = """
import os, time
import comfy.model_management, comfy.utils, folder_paths
from PIL import Image

class Steps:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}
    def run(self, image):
        bar = comfy.utils.ProgressBar(100)
        step = 0
        while not os.path.exists(os.path.join(folder_paths.get_input_directory(), "release")):
            comfy.model_management.throw_exception_if_processing_interrupted()
            step = min(step + 1, 99)
            bar.update_absolute(step, 100, ("JPEG", Image.new("RGB", (16, 16), (step, 0, 0)), 8))
            time.sleep(0.01)
        return {}

class Words:
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"names": ("*",)}, "hidden": {"key": "API_KEY_COMFY_ORG"}}
    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True
    def run(self, names, key=None):
        return {"ui": {"text": (str(names), "a key" if key else "no key")}}

NODE_CLASS_MAPPINGS = {"Steps": Steps, "Words": Words}
"""


def painted(color: int) -> dict[str, Any]:
    size = {"width": 16, "height": 16, "batch_size": 1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
    }


# Two nodes away from any output, so that every version of the server saves the image first.
STEPS: dict[str, Any] = {
    "3": painted(9)["1"],
    "4": {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}},
    "s": {"class_type": "Steps", "inputs": {"image": ["4", 0]}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    base = make_base(tmp_path_factory.mktemp("v2"))
    (base / "custom_nodes" / "nodes_for_tests.py").write_text(NODES)
    with comfyui(base) as server:
        server.base = base  # type: ignore[attr-defined]
        server.wait_until_up()
        server.wait_for(JOBS, lambda body: True)
        yield server


def release(server: Any, *, hold: bool = False) -> None:
    """Let ``Steps`` end, or let later ones wait."""
    path: Path = server.base / "input" / "release"
    path.unlink(missing_ok=True)
    if not hold:
        path.touch()


def post(server: HttpServer, workflow: Any, status: int = 201, **members: Any) -> Any:
    answer = server.post(JOBS, {"workflow": workflow, **members})
    assert answer.status == status, (answer.json, server.log[-3000:])
    return answer.json


def end(server: HttpServer, job_id: str) -> Any:
    return server.wait_for(f"{JOBS}/{job_id}?wait=5", lambda job: job["completed_at"] is not None)


def events(server: HttpServer, job_id: str, found: list[tuple[str, Any]]) -> None:
    """Read a stream to its end."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("GET", f"{JOBS}/{job_id}/events")
        response = connection.getresponse()
        assert response.status == 200
        name = ""
        while line := response.readline().decode().rstrip("\n") or not response.isclosed():
            if line is True:
                continue
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))


def test_progress_previews_and_outputs_of_a_job(server: HttpServer) -> None:
    release(server)
    end(server, post(server, painted(1))["id"])
    release(server, hold=True)
    job = post(server, {**painted(1), **STEPS})
    found: list[tuple[str, Any]] = []
    reading = threading.Thread(target=events, args=(server, job["id"], found))
    reading.start()
    deadline = time.monotonic() + 60
    while len([name for name, _ in found if name == "preview"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running = server.get(f"{JOBS}/{job['id']}").json
    release(server)
    reading.join(60)
    assert not reading.is_alive()
    progress = running["progress"]
    assert (running["status"], progress["nodes_done"], progress["nodes_total"]) == ("running", 4, 5)
    assert (progress["current_node_class"], progress["steps"]) == ("Steps", 100)
    assert [output["name"][:4] for output in running["outputs"]] == ["made"]  # before its slow sibling ends
    values = [data["value"] for name, data in found if name == "progress"]
    assert values == sorted(values) and values[-1] == 1 and len(values) > 2
    previews = [data for name, data in found if name == "preview"]
    assert previews[0]["node_id"] == "s"
    with Image.open(io.BytesIO(base64.b64decode(previews[0]["data_base64"]))) as picture:
        assert picture.size == (8, 8)
    assert [data["id"] for name, data in found if name == "output"] == [each["id"] for each in running["outputs"]]
    assert [data["status"] for name, data in found if name == "status"][-2:] == ["running", "succeeded"]
    assert found[-1][0] == "status"


def test_assets_texts_and_credentials(server: HttpServer) -> None:
    release(server)
    [made] = end(server, post(server, painted(2))["id"])["outputs"]
    value = {"__type": "core/ASSET", "info": {"id": made["id"]}}
    load = {"class_type": "LoadImage", "inputs": {"image": value}}
    save = painted(2)["2"]
    assert end(server, post(server, {"1": load, "2": save})["id"])["status"] == "succeeded"
    words = {"w": {"class_type": "Words", "inputs": {"names": [value, value]}}}
    job = end(server, post(server, words, extra_data={"api_key_comfy_org": KEY})["id"])
    texts = [server.get(f"/api/v2/assets/{each['id']}/content").body.decode() for each in job["outputs"]]
    name = f"{made['name']} [output]"
    assert texts == [str([name, name]), "a key"]
    base: Path = server.base  # type: ignore[attr-defined]
    time.sleep(1.5)  # until the recorder has written
    held = [path for path in base.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert held == []


def test_refusals(server: HttpServer) -> None:
    assert post(server, {"1": {"class_type": "No", "inputs": {}}}, 422)["error"]["code"] == "invalid_workflow"
    error = post(server, {"2": painted(1)["2"]}, 422)["error"]
    assert error["code"] == "invalid_workflow"
    assert post(server, {"nodes": [], "links": []}, 422)["error"]["code"] == "workflow_format_ui"
    value = {"__type": "core/ASSET", "info": {"id": "11111111-1111-4111-8111-111111111111"}}
    load = {"class_type": "LoadImage", "inputs": {"image": value}}
    assert post(server, {"1": load, "2": painted(1)["2"]}, 422)["error"]["code"] == "missing_asset"


def test_cancellation(server: HttpServer) -> None:
    release(server, hold=True)
    running, waiting = post(server, {**painted(3), **STEPS}), post(server, painted(4))
    server.wait_for(f"{JOBS}/{running['id']}", lambda job: job["status"] == "running")
    assert server.get(f"{JOBS}/{waiting['id']}").json["queue_position"] == 1
    for job in (waiting, running):
        assert server.post(f"{JOBS}/{job['id']}/cancel", {}).json["status"] in ("canceling", "canceled")
    assert [end(server, job["id"])["status"] for job in (running, waiting)] == ["canceled", "canceled"]


def test_a_failing_node(server: HttpServer) -> None:
    broken = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../../x"}}
    error = end(server, post(server, {"1": painted(5)["1"], "2": broken})["id"])["error"]
    assert (error["code"], error["node_id"], error["class_type"]) == ("node_execution_error", "2", "SaveImage")
    assert error["message"] and error["traceback"]
