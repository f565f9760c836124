"""Clients of the official Python SDK for a server, and the graphs that its tests submit."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any
from unittest.mock import patch

from comfy_low.models import Job as JobModel
from comfy_low.transport import ComfyLow
from comfy_sdk import AsyncOutput, Comfy, Event, Job, Output, OutputReady, StatusChange
from PIL import Image

from .servers import HttpServer, comfyui, make_base

SDK_TESTS = Path(__file__).resolve().parents[1] / "sdk"
ENDS = frozenset({"succeeded", "canceled", "failed", "expired"})
WAIT_S = 60.0
JOB_KEYS = frozenset(JobModel.model_fields) - {"metrics"}
"""What every job has, whatever its state; ``metrics`` is optional."""

Graph = dict[str, Any]


def standalone_with_nodes(base: Path, *options: str, **environment: str) -> HttpServer:
    """The standalone host with the nodes of the tests."""
    command = [sys.executable, str(SDK_TESTS / "standalone_child.py"), "serve", *options]
    return HttpServer(make_base(base), command, environment)


def comfyui_with_nodes(base: Path, *options: str, **environment: str) -> HttpServer:
    """A ComfyUI with the pack and the nodes of the tests."""
    nodes = make_base(base) / "custom_nodes" / "sdk_nodes"
    if not nodes.exists():
        copytree(SDK_TESTS / "pack", nodes, ignore=ignore_patterns("__pycache__"))
    return comfyui(base, *options, **environment)


def gates_of(base: Path) -> Path:
    """The folder whose files are the open gates of a server on this base directory."""
    gates = base.with_name(base.name + "-gates")
    gates.mkdir(parents=True, exist_ok=True)
    return gates


def make_client(url: str, key: str | None = None, timeout: float = 30.0) -> Comfy:
    """A client of the server. The SDK takes the address from the environment alone."""
    with patch.dict(os.environ, {"COMFY_BASE_URL": url}):
        os.environ.pop("COMFY_API_KEY", None)
        return Comfy(api_key=key, timeout=timeout)


def low(client: Comfy) -> ComfyLow:
    """The client's layer of single requests."""
    return client._low


@dataclass
class SdkServer:
    """A server with the nodes of the tests, a client of it, and its gates."""

    http: HttpServer
    gates: Path
    client: Comfy

    def submit(self, graph: Graph, **options: Any) -> Job:
        return self.client.submit(self.client.workflows.from_json(graph), **options)

    def run(self, graph: Graph, **options: Any) -> Job:
        return self.client.run(self.client.workflows.from_json(graph), timeout=WAIT_S, **options)

    def open(self, gate: str) -> None:
        """Let the nodes behind the gate end."""
        (self.gates / gate).touch()

    @contextmanager
    def held(self, **inputs: Any) -> Iterator[Job]:
        """A running job that ends when the block does."""
        gate = word()
        job = self.submit(work(gate, **inputs))
        try:
            wait_for(job, "running")
            yield job
        finally:
            self.open(gate)
        job.wait(WAIT_S)

    def raw_job(self, job_id: str) -> bytes:
        """The body of a job."""
        answer = self.http.get(f"/api/v2/jobs/{job_id}")
        assert answer.status == 200, answer
        return answer.body

    def empty_queue(self) -> None:
        """Cancel everything, and wait until nothing runs."""
        deadline = time.monotonic() + WAIT_S
        while True:
            queue = self.http.get("/queue").json
            if not queue["queue_running"] and not queue["queue_pending"]:
                return
            self.http.post("/queue", {"clear": True})
            self.http.post("/interrupt", {})
            assert time.monotonic() < deadline, queue
            time.sleep(0.02)


def word() -> str:
    """A word that no other graph has."""
    return secrets.token_hex(6)


def wait_for(job: Job, *states: str) -> Job:
    """The job, once it has one of the states; fails if it ends otherwise."""
    deadline = time.monotonic() + WAIT_S
    while True:
        # Asked for by its id: the job's own address waits for its end.
        job._model = job._low.get_job(job.id)
        if job.status in states:
            return job
        assert job.status not in ENDS, f"{job.id} ended {job.status}: {job.error}"
        assert time.monotonic() < deadline, job.status
        time.sleep(0.01)


def picture(prefix: str = "sdk", *, color: int | None = None, size: int = 16) -> Graph:
    """A picture of one colour, by default one that no other graph has."""
    color = secrets.randbelow(1 << 24) if color is None else color
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": size, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def load_picture(image: Any, prefix: str = "loaded") -> Graph:
    """An input picture, saved again."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def work(gate: str = "", *, steps: int = 1, preview: bool = False, deaf: bool = False) -> Graph:
    """One node that takes some steps and then waits for the gate."""
    inputs = {"steps": steps, "gate": gate, "preview": preview, "deaf": deaf, "word": word()}
    return {"1": {"class_type": "SdkWork", "inputs": inputs}}


def picture_file() -> bytes:
    """A PNG of 8 x 8 pixels that no other file equals."""
    stream = BytesIO()
    Image.frombytes("RGB", (8, 8), secrets.token_bytes(192)).save(stream, "PNG")
    return stream.getvalue()


def content_of(output: Output | AsyncOutput) -> bytes:
    """The bytes of an output of an event, whose type leaves open which client it is of."""
    assert isinstance(output, Output)
    return output.to_bytes()


def one_node(class_type: str, **inputs: Any) -> Graph:
    return {"1": {"class_type": class_type, "inputs": inputs}}


def events_of(job: Job, limit_s: float = WAIT_S) -> list[Event]:
    """All events of a job until its end."""
    deadline = time.monotonic() + limit_s
    found: list[Event] = []
    for event in job.events():
        found.append(event)
        assert time.monotonic() < deadline, found[-20:]
    return found


def statuses(events: list[Event]) -> list[str]:
    """The states that events tell, each once."""
    told = [event.status for event in events if isinstance(event, StatusChange)]
    return [state for index, state in enumerate(told) if index == 0 or told[index - 1] != state]


def output_ids(events: list[Event]) -> list[str]:
    """The ids of the outputs that events tell, in their order."""
    return [event.output.id for event in events if isinstance(event, OutputReady)]


def check_job(body: bytes) -> JobModel:
    """Parse a job as the SDK does, but without converting anything; every key must be there."""
    job = JobModel.model_validate_json(body, strict=True)
    missing = JOB_KEYS - job.model_fields_set
    assert not missing, f"a job that is {job.status.value} lacks {missing}"
    return job


def is_error(answer: Any, status: int, code: str | None = None) -> Mapping[str, Any]:
    """The error in an answer, which must be the envelope of this API."""
    assert answer.status == status, (answer.status, answer.body[:1000])
    assert answer.headers.get("X-Comfy-Request-Id"), answer.headers.items()
    body = answer.json
    assert set(body) == {"error"}, body
    error: Mapping[str, Any] = body["error"]
    assert set(error) == {"code", "message", "details"}, error
    assert isinstance(error["message"], str) and error["message"]
    assert error["details"] is None or isinstance(error["details"], dict)
    assert code is None or error["code"] == code, error
    return error


@contextmanager
def server_with_client(start: Any, base: Path, *options: str, key: str | None = None) -> Iterator[SdkServer]:
    """Start a server on the base directory, with a client; end both."""
    gates = gates_of(base)
    environment = {
        "SDK_TEST_GATES": str(gates),
        "COMFY_ASSETS_IDLE_THUMBNAILS": "0",
        "COMFY_ASSETS_MAX_UPLOAD_MB": "300",
    }
    http = start(base, *options, **environment)
    with http:
        http.wait_until_up()
        with closing(make_client(http.url, key)) as client:
            yield SdkServer(http, gates, client)


def forget_gates(server: SdkServer) -> None:
    """Close all gates."""
    for gate in server.gates.iterdir():
        with suppress(FileNotFoundError):
            gate.unlink()
