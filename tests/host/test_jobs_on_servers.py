"""Jobs on whole servers that are watched, cancelled at random and killed: the standalone host, and ComfyUI if there is
one (``COMFYUI_PATH`` names a checkout, ``COMFYUI_PYTHON`` the Python that runs it)."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.servers import COMFYUI, HttpServer, make_base, standalone
from support.servers import comfyui as comfyui_with_pack

WAIT_S = 120
ACTIVE = ("pending", "in_progress")
pytestmark = pytest.mark.slow

ORDER = {"pending": 0, "in_progress": 1, "completed": 2, "failed": 2, "cancelled": 2}
SEED = 4

# A pack of nodes for ComfyUI: one waits until it is released, one fails.
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

class Fail(Hold):
    def run(self, image):
        raise LookupError("it broke")

class ShowSecret(Hold):
    OUTPUT_NODE = True
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}, "hidden": {"key": "API_KEY_COMFY_ORG", "extra": "EXTRA_PNGINFO"}}
    def run(self, image, key=None, extra=None):
        return {"ui": {"text": [f"the key is {key}"]}, "result": (image,)}

class FailWithSecret(ShowSecret):
    def run(self, image, key=None, extra=None):
        raise LookupError(f"{key} is no good")

NODE_CLASS_MAPPINGS = {"Hold": Hold, "Fail": Fail, "ShowSecret": ShowSecret, "FailWithSecret": FailWithSecret}
"""


class Client:
    """Requests on a connection of its own."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def send(self, method: str, path: str, value: Any = None) -> tuple[int, bytes]:
        body = None if value is None else json.dumps(value).encode()
        self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = self._connection.getresponse()
        return response.status, response.read()

    def get(self, path: str) -> Any:
        status, body = self.send("GET", path)
        assert status == 200, (path, status, body, self.server.log[-4000:])
        return json.loads(body)

    def post(self, path: str, value: Any = None) -> Any:
        status, body = self.send("POST", path, value)
        assert status == 200, (path, status, body, self.server.log[-4000:])
        return json.loads(body) if body else None

    def submit(self, graph: Any, path: str = "/prompt", **more: Any) -> str:
        return str(self.post(path, {"prompt": graph, **more})["prompt_id"])

    def jobs(self) -> dict[str, Any]:
        """Every job, by its id."""
        found: dict[str, Any] = {}
        after = ""
        while True:
            page = self.get(f"/api/jobs?limit=1000{after}")
            found |= {job["id"]: job for job in page["jobs"]}
            if "next_cursor" not in page["pagination"]:
                assert len(found) == page["pagination"]["total"]
                return found
            after = f"&after={page['pagination']['next_cursor']}"

    def wait_for(self, path: str, condition: Callable[[Any], Any]) -> Any:
        """The first answer that meets the condition."""
        deadline = time.monotonic() + WAIT_S
        while not condition(answer := self.get(path)):
            assert time.monotonic() < deadline, (path, answer)
            time.sleep(0.02)
        return answer

    def wait_until_idle(self) -> None:
        self.wait_for("/api/jobs?status=pending,in_progress&limit=1", lambda page: not page["pagination"]["total"])


def comfyui(base: Path, *options: str, **environment: str) -> HttpServer:
    """ComfyUI with the pack in custom_nodes, and a pack of nodes for tests."""
    (make_base(base) / "custom_nodes" / "nodes_for_tests.py").write_text(NODES)
    return comfyui_with_pack(base, *options, **environment)


def up(server: HttpServer) -> HttpServer:
    """Wait until a server answers, so that a ``with`` block can begin."""
    server.wait_until_up()
    return server


ON_COMFYUI = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]
HOSTS = pytest.mark.parametrize("start", [standalone, pytest.param(comfyui, marks=ON_COMFYUI)])
Start = Callable[..., HttpServer]
numbers = itertools.count(1)


def trivial() -> dict[str, Any]:
    """A graph that takes no time, and that no other job has run."""
    picture = {"width": 8, "height": 8, "batch_size": 1, "color": next(numbers)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def slow(number: int) -> dict[str, Any]:
    """A graph behind which others have to wait."""
    graph = saving(number)
    graph["3"]["inputs"] |= {"width": 2048, "height": 2048}
    return graph


def saving(number: int) -> dict[str, Any]:
    """A graph that takes a moment and saves a picture of this number."""
    scaled = {"image": ["1", 0], "upscale_method": "lanczos", "width": 512, "height": 512, "crop": "disabled"}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 256, "height": 256, "batch_size": 1, "color": number}},
        "3": {"class_type": "ImageScale", "inputs": scaled},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": f"j{number}"}},
    }


@HOSTS
def test_watched_closely_no_job_is_ever_missing_or_goes_backwards(tmp_path: Path, start: Start) -> None:
    count = 500
    ids: list[str] = []
    faults: list[Any] = []
    seen: Counter[str] = Counter()
    is_over = threading.Event()

    server: HttpServer

    def watch(seed: int) -> None:
        chance = random.Random(seed)
        last: dict[str, int] = {}
        with closing(Client(server)) as client:
            while not is_over.is_set():
                if not ids:
                    continue
                job_id = chance.choice(ids[-8:]) if chance.random() < 0.8 else chance.choice(ids)
                path = chance.choice([f"/api/jobs/{job_id}", f"/api/job/{job_id}/status"])
                status, body = client.send("GET", path)
                state = json.loads(body).get("status")
                rank = ORDER.get("failed" if state == "error" else state, -1)
                if status != 200 or rank < last.get(job_id, 0):
                    faults.append((path, status, body, last.get(job_id)))
                last[job_id] = rank
                seen[state] += 1

    def watch_lists() -> None:
        last: dict[str, int] = {}
        with closing(Client(server)) as client:
            while not is_over.is_set():
                told = list(ids)
                page = client.get("/api/jobs?limit=1000")
                found = {job["id"]: ORDER[job["status"]] for job in page["jobs"]}
                missing = [job_id for job_id in told if job_id not in found]
                backwards = [job_id for job_id, rank in found.items() if rank < last.get(job_id, 0)]
                if missing or backwards:
                    faults.append(("list", missing, backwards))
                last = found

    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        watchers = [threading.Thread(target=watch, args=(seed,)) for seed in range(2)]
        watchers.append(threading.Thread(target=watch_lists))
        for watcher in watchers:
            watcher.start()
        try:
            for _ in range(count):
                ids.append(client.submit(trivial()))
            client.wait_until_idle()
        finally:
            is_over.set()
            for watcher in watchers:
                watcher.join(60)
        jobs = client.jobs()
    assert faults == []
    assert Counter(jobs[job_id]["status"] for job_id in ids) == {"completed": count}
    assert set(jobs) == set(ids)
    assert seen["completed"] and sum(seen.values()) > 50


@HOSTS
def test_cancelled_at_random_moments_every_answer_agrees_with_the_end(tmp_path: Path, start: Start) -> None:
    count, chance = 200, random.Random(SEED)
    answers: dict[str, bool] = {}
    waiting: list[str] = []
    is_over = threading.Event()
    server: HttpServer

    def cancel() -> None:
        with closing(Client(server)) as canceller:
            while not is_over.is_set() or waiting:
                if not waiting:
                    time.sleep(0.001)
                    continue
                job_id = waiting.pop(chance.randrange(len(waiting)))
                if chance.random() < 0.3:
                    answer = canceller.post("/api/jobs/cancel", {"job_ids": [job_id]})
                    answers[job_id] = answer["cancelled"] == [job_id]
                else:
                    answers[job_id] = canceller.post(f"/api/jobs/{job_id}/cancel")["cancelled"]
                time.sleep(chance.random() * 0.02)

    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            for _ in range(count):
                waiting.append(client.submit(slow(next(numbers)) if chance.random() < 0.2 else trivial()))
                time.sleep(chance.random() * 0.02)
        finally:
            is_over.set()
            canceller.join(60)
        client.wait_until_idle()
        jobs = client.jobs()
    assert len(answers) == len(jobs) == count
    wrong = {
        job_id: (answers[job_id], job)
        for job_id, job in jobs.items()
        if answers[job_id] != (job["status"] == "cancelled")
    }
    assert wrong == {}
    assert {job["status"] for job in jobs.values()} == {"cancelled", "completed"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
@HOSTS
def test_killed_in_the_middle_of_a_queue(tmp_path: Path, start: Start) -> None:
    chance = random.Random(SEED)
    all_ids: dict[str, int] = {}
    cut_short = 0
    server = start(tmp_path)
    try:
        server.wait_until_up()
        for _ in range(10 if start is comfyui else 5):
            with closing(Client(server)) as client:
                batch = [next(numbers) for _ in range(20)]
                ids = [client.submit(saving(number)) for number in batch]
                all_ids |= dict(zip(ids, batch, strict=True))
                place = chance.randrange(18)
                client.wait_for(f"/api/jobs/{ids[place]}", lambda job: job["status"] not in ACTIVE)
                time.sleep(chance.random() * 0.05)
            server.kill()
            server = start(tmp_path)
            server.wait_until_up()
            with closing(Client(server)) as client:
                client.wait_until_idle()
                jobs = client.jobs()
                check_after_kill(client, jobs, ids)
                assert set(jobs) == set(all_ids)
                cut_short += sum(jobs[job_id]["status"] == "failed" for job_id in ids)
    finally:
        server.kill()
    written = Counter(path.name.partition("_")[0] for path in (tmp_path / "output").iterdir())
    assert set(written.values()) == {1}
    completed = {f"j{number}" for job_id, number in all_ids.items() if jobs[job_id]["status"] == "completed"}
    assert completed <= set(written)
    assert cut_short > 0


def check_after_kill(client: Client, jobs: dict[str, Any], ids: list[str]) -> None:
    """Every job has ended, in the order of submission, one of them with the server; outputs are linked."""
    states = Counter(jobs[job_id]["status"] for job_id in ids)
    assert states["completed"] + states["failed"] == len(ids) and states["failed"] <= 1, states
    starts = [jobs[job_id]["execution_start_time"] for job_id in ids]
    assert starts == sorted(starts)
    for job_id in ids:
        if jobs[job_id]["status"] == "failed":
            assert jobs[job_id]["execution_error"]["exception_type"] == "ServerStopped"
        else:
            body = client.wait_for(f"/api/jobs/{job_id}/assets", lambda body: body["total"])
            (asset,) = body["assets"]
            assert (asset["node_id"], asset["output_key"], asset["output_index"]) == ("2", "images", 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
@HOSTS
def test_a_queue_that_is_not_to_be_restored(tmp_path: Path, start: Start) -> None:
    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        ids = [client.submit(saving(next(numbers))) for _ in range(30)]
        client.wait_for(f"/api/jobs/{ids[0]}", lambda job: job["status"] != "pending")
    with up(start(tmp_path, COMFY_ASSETS_RESTORE_QUEUE="0")) as server, closing(Client(server)) as client:
        jobs = client.jobs()
        assert client.get("/queue")["queue_pending"] == []
        later = client.submit(trivial())
        client.wait_for(f"/api/jobs/{later}", lambda job: job["status"] == "completed")
    states = Counter(jobs[job_id]["status"] for job_id in ids)
    assert set(states) <= {"completed", "failed", "cancelled"} and states["failed"] <= 1
    assert states["cancelled"] > 5
    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        assert {job_id: job["status"] for job_id, job in client.jobs().items() if job_id != later} == {
            job_id: job["status"] for job_id, job in jobs.items()
        }


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@HOSTS
def test_stopped_in_an_orderly_way_what_waits_is_kept(tmp_path: Path, start: Start) -> None:
    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        ids = [client.submit(saving(next(numbers))) for _ in range(20)]
        client.wait_for(f"/api/jobs/{ids[2]}", lambda job: job["status"] not in ACTIVE)
        server.interrupt()
    with up(start(tmp_path)) as server, closing(Client(server)) as client:
        client.wait_until_idle()
        jobs = client.jobs()
    states = Counter(jobs[job_id]["status"] for job_id in ids)
    assert states["completed"] >= 18 and sum(states.values()) == 20
    assert all(len(list((tmp_path / "output").glob(f"j{n}_*"))) <= 1 for n in range(1, next(numbers)))


def holding() -> dict[str, Any]:
    graph = trivial()
    return {
        **graph,
        "h": {"class_type": "Hold", "inputs": {"image": ["1", 0]}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["h", 0]}},
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A ComfyUI with the pack."""
    with comfyui(tmp_path_factory.mktemp("comfyui")) as server:
        server.wait_until_up()
        yield server


@pytest.fixture
def client(server: HttpServer) -> Iterator[Client]:
    """A connection to it; nothing of an earlier test waits or runs."""
    with closing(Client(server)) as client:
        client.post("/queue", {"clear": True})
        client.post("/interrupt")
        client.wait_until_idle()
        yield client


def on_comfyui(test: Any) -> Any:
    for mark in ON_COMFYUI:
        test = mark(test)
    return test


@on_comfyui
@pytest.mark.parametrize("path", ["/prompt", "/api/prompt"])
@pytest.mark.parametrize("client_id", [None, "page"])
def test_a_prompt_is_a_job_at_once(client: Client, path: str, client_id: str | None) -> None:
    more = {"client_id": client_id} if client_id else {}
    job_id = client.submit(saving(next(numbers)), path, workflow_id="wf", **more)
    detail = client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] not in ACTIVE)
    assert (detail["status"], detail["workflow_id"], detail["outputs_count"]) == ("completed", "wf", 1)
    assert detail["create_time"] <= detail["execution_start_time"] <= detail["execution_end_time"]
    body = client.wait_for(f"/api/jobs/{job_id}/assets", lambda body: body["total"])
    assert body["assets"][0]["job_id"] == job_id
    assert body["assets"][0]["hash"].startswith("blake3:")
    detail = client.get(f"/api/history_v2/{job_id}")[job_id]
    assert detail["outputs"] == client.get(f"/history/{job_id}")[job_id]["outputs"]


@on_comfyui
@pytest.mark.parametrize("client_id", [None, "somebody else's page"])
def test_how_far_a_job_is(client: Client, client_id: str | None) -> None:
    job_id = client.submit(holding(), **({"client_id": client_id} if client_id else {}))
    body = client.wait_for(f"/api/jobs/{job_id}/progress", lambda body: "h" in body["nodes"])
    assert body["prompt_id"] == job_id
    assert body["nodes"]["h"] == {"value": 0, "max": 1, "state": "running", "display_node_id": "h"}
    assert body["nodes"].get("1", {}).get("state", "finished") == "finished"  # it may have been kept from before
    assert "2" not in body["nodes"]
    client.post("/interrupt")
    client.wait_until_idle()
    assert client.get(f"/api/jobs/{job_id}/progress") == {"prompt_id": job_id, "nodes": {}}


@on_comfyui
@pytest.mark.parametrize(
    "way",
    ["/interrupt", "/api/interrupt", "/api/interrupt with id", "cancel", "/api/queue delete"],
)
def test_a_running_job_ends_as_cancelled(client: Client, way: str) -> None:
    job_id, behind = client.submit(holding()), client.submit(trivial())
    client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] == "in_progress")
    if way == "cancel":
        assert client.post(f"/api/jobs/{job_id}/cancel") == {"cancelled": True}
    elif way == "/api/queue delete":
        assert client.post("/api/queue", {"delete": [job_id]}) == {"deleted": [job_id]}
    else:
        path, _, named = way.partition(" ")
        client.post(path, {"prompt_id": job_id} if named else {})
    detail = client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] not in ACTIVE)
    assert detail["status"] == "cancelled" and "execution_error" not in detail
    assert client.wait_for(f"/api/jobs/{behind}", lambda job: job["status"] not in ACTIVE)["status"] == "completed"


@on_comfyui
@pytest.mark.parametrize("way", ["delete", "delete the last", "clear", "/api/queue delete", "/api/queue clear"])
def test_a_waiting_job_ends_as_cancelled(client: Client, way: str) -> None:
    held = client.submit(holding())
    client.wait_for(f"/api/jobs/{held}", lambda job: job["status"] == "in_progress")
    others = [] if way == "delete the last" else [client.submit(trivial())]
    job_id = client.submit(trivial())
    path = "/api/queue" if way.startswith("/api") else "/queue"
    body = {"clear": True} if way.endswith("clear") else {"delete": [job_id]}
    client.post(path, body)
    assert client.get(f"/api/jobs/{job_id}")["status"] == "cancelled"
    pending = [] if way.endswith("clear") else others
    assert [item[1] for item in client.get("/queue")["queue_pending"]] == pending
    assert client.get(f"/api/jobs/{held}")["status"] == "in_progress"


@on_comfyui
def test_a_failing_job_tells_why(client: Client) -> None:
    graph = holding()
    graph["h"]["class_type"] = "Fail"
    job_id = client.submit(graph)
    error = client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] == "failed")["execution_error"]
    assert (error["node_id"], error["node_type"]) == ("h", "Fail")
    assert "LookupError" in error["exception_type"] and "it broke" in error["exception_message"]
    assert any("nodes_for_tests" in line for line in error["traceback"])
    assert list(error["current_inputs"]) == ["image"]


@on_comfyui
@pytest.mark.parametrize("kind", ["ShowSecret", "FailWithSecret"])
def test_a_secret_stays_secret(server: HttpServer, client: Client, kind: str) -> None:
    secret = f"comfyui-secret-{random.randrange(10**12)}"
    graph = {**trivial(), "s": {"class_type": kind, "inputs": {"image": ["1", 0]}}}
    job_id = client.submit(graph, extra_data={"api_key_comfy_org": secret})
    detail = client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] not in ACTIVE)
    assert detail["workflow"]["extra_data"]["api_key_comfy_org"] == "[REDACTED]"
    if kind == "ShowSecret":
        assert detail["outputs"]["s"]["text"] == ["the key is [REDACTED]"]
    else:
        assert "[REDACTED] is no good" in detail["execution_error"]["exception_message"]
    data = server.base / "user" / "__comfy_assets"
    assert not any(secret.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert secret not in json.dumps(detail)


@on_comfyui
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"prompt": []}', b'{"prompt": {"1": 5}}', b'{"prompt": {}}'])
@pytest.mark.parametrize("path", ["/prompt", "/api/prompt"])
def test_a_malformed_prompt_is_refused(client: Client, path: str, body: bytes) -> None:
    client._connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = client._connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 400
    assert set(answer) == {"error", "node_errors"}


@on_comfyui
@pytest.mark.parametrize("text", ['"\\ud83d"', "NaN", "1e999", "1" * 30])
def test_an_odd_prompt_harms_no_other(client: Client, text: str) -> None:
    body = json.dumps({"prompt": trivial(), "extra_data": {"odd": "$"}}).replace('"$"', text)
    client._connection.request("POST", "/prompt", body.encode(), {"Content-Type": "application/json"})
    response = client._connection.getresponse()
    job_id = json.loads(response.read())["prompt_id"]
    assert response.status == 200
    assert client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] not in ACTIVE)["status"] == "completed"
    other = client.submit(trivial())
    assert client.wait_for(f"/api/jobs/{other}", lambda job: job["status"] not in ACTIVE)["status"] == "completed"


@on_comfyui
def test_what_the_page_reads_of_the_queue(client: Client) -> None:
    page: dict[str, Any] = {
        "client_id": "page",
        "extra_data": {"extra_pnginfo": {"workflow": {"id": "w", "nodes": []}}},
    }
    held, waiting = client.submit(holding(), **page), client.submit(trivial(), **page)
    client.wait_for(f"/api/jobs/{held}", lambda job: job["status"] == "in_progress")
    stock, ours = client.get("/queue"), client.get("/api/queue")
    assert [item[1] for item in stock["queue_pending"]] == [item[1] for item in ours["queue_pending"]] == [waiting]
    for item in ours["queue_running"] + ours["queue_pending"]:
        assert (item[3]["client_id"], item[3]["extra_pnginfo"]["workflow"]["id"], item[4]) == ("page", "w", ["2"])
    assert [item[:2] for item in stock["queue_running"]] == [item[:2] for item in ours["queue_running"]]
    hosted = client.server.get("/api/queue", **{"X-API-Key": "comfyui-0123456789"}).json
    assert [[item[0], item[1], item[3]] for item in hosted["queue_running"] + hosted["queue_pending"]] == [
        [1, held, ["2"]],
        [2, waiting, ["2"]],
    ]


@on_comfyui
def test_history_removed_by_the_page_stays_removed(client: Client) -> None:
    job_id = client.submit(trivial())
    client.wait_for(f"/api/jobs/{job_id}", lambda job: job["status"] == "completed")
    client.post("/history", {"delete": [job_id]})
    assert client.send("GET", f"/api/jobs/{job_id}")[0] == 404
    other = client.submit(trivial())
    client.wait_for(f"/api/jobs/{other}", lambda job: job["status"] == "completed")
    assert client.post("/api/history", {"delete": [other]}) == {"deleted": [other]}
    assert client.get(f"/history/{other}") == {}


@on_comfyui
def test_after_a_restart_the_page_shows_jobs_from_before(tmp_path: Path) -> None:
    with comfyui(tmp_path) as server, closing(Client(server)) as client:
        server.wait_until_up()
        ids = [client.submit(saving(next(numbers)), extra_data={"api_key_comfy_org": "comfyui-key"}) for _ in range(5)]
        client.wait_until_idle()
        before = client.get("/history")
    with comfyui(tmp_path) as server, closing(Client(server)) as client:
        server.wait_until_up()
        assert {job["status"] for job in client.jobs().values()} == {"completed"}
        history = client.get("/history")
        newest = client.submit(trivial())
        client.wait_until_idle()
        assert newest in client.get("/history")
        reads_jobs = (Path(COMFYUI or "") / "comfy_execution" / "jobs.py").exists()
        assert bool(history) != reads_jobs
        if not reads_jobs:
            assert list(history) == ids
            for job_id in ids:
                assert history[job_id]["outputs"] == before[job_id]["outputs"]
                assert history[job_id]["status"] == before[job_id]["status"]
                assert history[job_id]["prompt"][1:3] == before[job_id]["prompt"][1:3]
                assert list(history[job_id]["prompt"][3]) == list(before[job_id]["prompt"][3])
