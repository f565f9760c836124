"""Two users of a ComfyUI with ``--multi-user``: queue, history, progress, outputs, uploads and secrets of each."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.servers import COMFYUI

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]

NODES = """
import os, time
import comfy.model_management, folder_paths

class Hold:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "release": ("STRING", {})}}
    def run(self, image, release):
        while not os.path.exists(os.path.join(folder_paths.get_temp_directory(), release)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.01)
        return (image,)

class Speak(Hold):
    OUTPUT_NODE = True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "text": ("STRING", {})}}
    def run(self, image, text):
        assert text.endswith("0123456789abcdef"), text  # the node is given what was sent
        return {"ui": {"text": [text]}, "result": (image,)}

NODE_CLASS_MAPPINGS = {"Hold": Hold, "Speak": Speak}
"""
WAIT_S = 60
SECRET = "my key is comfyui-0123456789abcdef"


def graph(prefix: str, release: str | None = None) -> dict[str, Any]:
    color = uuid.uuid4().int % (1 << 24)
    nodes: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
    if release is not None:
        nodes["h"] = {"class_type": "Hold", "inputs": {"image": ["1", 0], "release": release}}
        nodes["2"]["inputs"]["images"] = ["h", 0]
    return nodes


@dataclass(frozen=True)
class User:
    """Requests of one user."""

    server: Any
    name: str

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.server.get(path, **{"comfy-user": self.name})
        assert answer.status == status, (path, answer)
        return answer.json if answer.body else None

    def post(self, path: str, value: Any, status: int = 200) -> Any:
        answer = self.server.post(path, value, **{"comfy-user": self.name})
        assert answer.status == status, (path, answer)
        return answer.json if answer.body else None

    def submit(self, nodes: Any, **more: Any) -> str:
        extra = {"extra_pnginfo": {"workflow": {"id": self.name, "nodes": [], "secret_note": 5}}}
        return str(self.post("/prompt", {"prompt": nodes, "extra_data": extra, **more})["prompt_id"])

    def state(self, job_id: str, *wanted: str) -> str:
        deadline = time.monotonic() + WAIT_S
        while (state := self.get(f"/api/job/{job_id}/status")["status"]) not in wanted:
            assert time.monotonic() < deadline, (state, self.server.log[-3000:])
            time.sleep(0.02)
        return str(state)

    def outputs(self) -> list[str]:
        assets = self.get("/api/assets?include_tags=output&limit=500")["assets"]
        return sorted(asset["name"] for asset in assets)

    def eventually(self, wanted: list[str]) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.outputs() != wanted:
            assert time.monotonic() < deadline, self.outputs()
            time.sleep(0.05)


class Pair:
    """Ann and Bob, and what holds the queue up."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.ann, self.bob = (
            User(server, server.post("/users", {"username": f"{name}{uuid.uuid4().hex[:6]}"}).json)
            for name in ("ann", "bob")
        )
        self.word = uuid.uuid4().hex

    def hold(self) -> str:
        job_id = self.ann.submit(graph(f"held{self.word}", self.word))
        self.ann.state(job_id, "in_progress")
        return job_id

    def release(self) -> None:
        folder = self.server.base / "temp"
        folder.mkdir(exist_ok=True)
        (folder / self.word).touch()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start_comfyui: Any) -> Iterator[Any]:
    base: Path = tmp_path_factory.mktemp("shared")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "nodes_for_tests.py").write_text(NODES)
    with start_comfyui(base, "--multi-user") as started:
        started.wait_until_up()
        yield started


@pytest.fixture
def pair(server: Any) -> Iterator[Pair]:
    made = Pair(server)
    yield made
    made.release()
    server.wait_for("/prompt", lambda answer: answer["exec_info"]["queue_remaining"] == 0)


@pytest.mark.parametrize("queue", ["/queue", "/api/queue"])
def test_the_queue(pair: Pair, queue: str) -> None:
    ann, bob = pair.ann, pair.bob
    held = pair.hold()
    bobs = bob.submit(graph("bobs"), client_id="page of bob")
    anns = ann.submit(graph("anns"), client_id="page of ann")
    for user, mine in ((ann, {held, anns}), (bob, {bobs})):
        body = user.get(queue)
        items = body["queue_running"] + body["queue_pending"]
        assert [item[1] for item in items] == [held, bobs, anns]
        for item in items:
            assert len(item) == 5 and bool(item[2]) == (item[1] in mine)
        others = {"bobs", "page of bob"} if user is ann else {"anns", "page of ann", ann.name}
        assert [text for text in others if text in json.dumps(body)] == []
    assert ann.post(queue, {"delete": [bobs]}) in (None, {"deleted": []})
    bob.post(queue, {"clear": True})
    assert (bob.state(bobs, "cancelled"), ann.state(anns, "pending")) == ("cancelled", "pending")
    bob.post("/interrupt", {})
    bob.post("/interrupt", {"prompt_id": held})
    time.sleep(0.3)
    assert ann.state(held, "in_progress") == "in_progress"
    ann.post("/interrupt", {})
    ann.state(held, "cancelled")
    ann.state(anns, "completed")


@pytest.mark.parametrize("history", ["/history", "/api/history"])
def test_history_and_outputs(pair: Pair, history: str) -> None:
    ann, bob = pair.ann, pair.bob
    first, second = ann.submit(graph("first")), bob.submit(graph("second"))
    ann.state(first, "completed")
    bob.state(second, "completed")
    assert list(ann.get(history)) == [first] and list(bob.get(history)) == [second]
    assert ann.get(f"{history}/{second}") == {} and list(ann.get(f"{history}/{first}")) == [first]
    entry = ann.get(f"{history}/{first}")[first]
    (image,) = entry["outputs"]["2"]["images"]
    assert entry["status"]["completed"] is True
    ann.eventually([image["filename"]])
    assert image["filename"] not in bob.outputs()
    listed = bob.get("/internal/files/output")
    assert not any(name.startswith(image["filename"]) for name in listed)
    bob.post(history, {"clear": True})
    bob.post(history, {"delete": [first]})
    assert list(ann.get(history)) == [first] and bob.get(history) == {}
    ann.post(history, {"clear": True})
    assert ann.get(history) == {}


def test_secrets(pair: Pair) -> None:
    ann = pair.ann
    nodes = {**graph("secret"), "s": {"class_type": "Speak", "inputs": {"image": ["1", 0], "text": SECRET}}}
    extra = {"extra_pnginfo": {"workflow": {"id": "w", "extra": {"apiKey": SECRET}}}}
    job_id = ann.submit(nodes, extra_data=extra)
    ann.state(job_id, "completed")
    shown = [ann.get(path) for path in (f"/api/jobs/{job_id}", f"/history/{job_id}", f"/api/history_v2/{job_id}")]
    assert shown[0]["outputs"]["s"]["text"] == ["[REDACTED]"]
    assert SECRET not in json.dumps(shown)
    data = pair.server.base / "user" / "__comfy_assets"
    assert not any(SECRET.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_uploads(pair: Pair) -> None:
    def upload(user: User, content: bytes, **fields: str) -> Any:
        parts = [b'--x\r\nContent-Disposition: form-data; name="image"; filename="%s.png"\r\n\r\n' % pair.word.encode()]
        parts += [content, b"\r\n"]
        for name, value in fields.items():
            parts += [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()]
        headers = {"Content-Type": "multipart/form-data; boundary=x", "comfy-user": user.name}
        return user.server.send("POST", "/upload/image", b"".join(parts) + b"--x--\r\n", headers)

    ann, bob = pair.ann, pair.bob
    told = upload(ann, b"anns").json
    assert told["name"] == f"{pair.word}.png"
    file = pair.server.base / "input" / told["name"]
    refused = upload(bob, b"bobs", overwrite="true")
    assert (refused.status, refused.json["code"], file.read_bytes()) == (409, "OTHER_USERS_FILE", b"anns")
    assert [asset["name"] for asset in ann.get("/api/assets?include_tags=input")["assets"]] == [told["name"]]
    assert bob.get("/api/assets?include_tags=input")["assets"] == []
    assert upload(ann, b"other", overwrite="true").status == 200 and file.read_bytes() == b"other"


@pytest.mark.parametrize("count", [2_500])
def test_clearing_one_users_jobs_beside_anothers(pair: Pair, count: int) -> None:
    """One user's jobs leave the queue in one step, and nobody waits for it."""
    held = pair.hold()
    for number in range(count):
        for user in (pair.ann, pair.bob):
            user.submit(graph(f"{number}"))
    worst, done = [0.0], threading.Event()

    def poll() -> None:
        while not done.is_set():
            began = time.monotonic()
            assert pair.server.get("/prompt").status == 200
            worst[0] = max(worst[0], time.monotonic() - began)
            time.sleep(0.01)

    poller = threading.Thread(target=poll)
    poller.start()
    time.sleep(0.5)
    idle, worst[0] = worst[0], 0.0
    began = time.monotonic()
    pair.bob.post("/queue", {"clear": True})
    took = time.monotonic() - began
    time.sleep(0.3)
    done.set()
    poller.join()
    queue = pair.ann.get("/queue")
    assert len(queue["queue_pending"]) == count and queue["queue_running"][0][1] == held
    print(
        f"cleared {count} beside {count} in {took:.3f} s, the worst other request {worst[0]:.3f} s ({idle:.3f} before)"
    )
    assert took < 0.5 + idle and worst[0] < 0.25 + idle
    pair.ann.post("/queue", {"clear": True})
