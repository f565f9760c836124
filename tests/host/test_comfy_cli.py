"""``comfy-cli`` against this server, as a hosted one and as one of your own: run, wait, list, cancel, upload, download.

``COMFY_CLI`` names the program if it is not among the installed ones. A home of its own keeps what it remembers.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

PROGRAM = os.environ.get("COMFY_CLI") or shutil.which("comfy")
TIMEOUT_S = 120
START_S = 30
CANCELLED = 130  # its exit status where a job that it waits for is cancelled

pytestmark = [
    pytest.mark.comfy_cli,
    pytest.mark.skipif(not PROGRAM, reason="there is no comfy-cli"),
]

Graph = dict[str, Any]


def picture_graph(picture: str, prefix: str) -> Graph:
    """Saves an uploaded picture again."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": picture}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def slow_graph() -> Graph:
    """Takes longer than it takes to be cancelled."""
    empty = {"width": 32, "height": 32, "batch_size": 1, "color": 0}
    graph: Graph = {"0": {"class_type": "EmptyImage", "inputs": empty}}
    for number in range(1, 151):
        size = {"width": 2000 + number % 2, "height": 2000}
        inputs = {"image": [str(number - 1), 0], "upscale_method": "lanczos", "crop": "disabled", **size}
        graph[str(number)] = {"class_type": "ImageScale", "inputs": inputs}
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["150", 0], "filename_prefix": "slow"}}
    return graph


@dataclass(frozen=True)
class Client:
    """The program, in one of its modes."""

    server: Any
    home: Path
    mode: str

    def ask(self, *arguments: str, given: str | None = None) -> tuple[int, Any]:
        """Its exit status and its answer, with what it is given on standard input."""
        command = [str(PROGRAM), "--skip-prompt", "--json", "--where", self.mode, *arguments]
        done = subprocess.run(
            command, cwd=self.home, env=self._environment(), input=given or "", capture_output=True, text=True,
            encoding="utf-8", timeout=TIMEOUT_S,
        )  # fmt: skip
        assert done.stdout.strip(), (arguments, done.returncode, done.stderr[-2000:])
        return done.returncode, json.loads(done.stdout.strip().splitlines()[-1])

    def told(self, *arguments: str, given: str | None = None) -> Any:
        """The data of an answer that all is well."""
        code, answer = self.ask(*arguments, given=given)
        assert (code, answer["ok"]) == (0, True), answer
        return answer["data"]

    def refused(self, *arguments: str) -> Any:
        """The error of an answer that it is not."""
        code, answer = self.ask(*arguments)
        assert code != 0, answer
        return answer["error"]

    def run(self, graph: Graph, *options: str) -> Any:
        """Submit a graph."""
        file = self.home / f"{uuid.uuid4()}.json"
        file.write_text(json.dumps(graph), encoding="utf-8")
        return self.told("run", "--workflow", str(file), *options)

    def _environment(self) -> dict[str, str]:
        address = f"http://127.0.0.1:{self.server.port}"
        home = str(self.home)
        homes = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME"), home)
        quiet = dict.fromkeys(("DO_NOT_TRACK", "COMFY_NO_WATCH", "COMFY_CLI_NO_REMOTE_REFRESH"), "1")
        cloud = {"COMFY_CLOUD_BASE_URL": address, "COMFY_CLOUD_API_KEY": "any"}
        return {**os.environ, **homes, **quiet, "NO_COLOR": "1"} | (
            cloud if self.mode == "cloud" else {"COMFY_LOCAL_URL": address}
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any]) -> Iterator[Any]:
    with start(tmp_path_factory.mktemp("base")) as running:
        running.wait_until_up()
        running.wait_until_read()
        yield running


@pytest.fixture(params=["cloud", "local"])
def client(request: pytest.FixtureRequest, server: Any, tmp_path: Path) -> Client:
    return Client(server, tmp_path, request.param)


def upload(client: Client, color: str) -> str:
    """Upload a picture of its own; answers its name on the server."""
    file = client.home / f"{uuid.uuid4()}.png"
    Image.new("RGB", (32, 16), color).save(file)
    (uploaded,) = client.told("upload", str(file))["uploads"]
    assert (uploaded["subfolder"], uploaded["type"]) == ("", "input")
    assert (client.server.base / "input" / uploaded["cloud_name"]).read_bytes() == file.read_bytes()
    return str(uploaded["cloud_name"])


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB").tobytes()


def listed(client: Client) -> dict[str, str]:
    """What it lists: the state of each job by id."""
    return {job["prompt_id"]: job["status"] for job in client.told("jobs", "ls", "--limit", "100")["jobs"]}


def test_upload_run_wait_and_download(client: Client) -> None:
    name = upload(client, "teal")
    done = client.run(picture_graph(name, f"cli/{client.mode}"), "--wait")
    assert done["status"] == "completed"
    assert len(done["outputs"]) == 1
    job = done["prompt_id"]
    assert listed(client)[job] == "completed"
    assert client.told("jobs", "status", job)["outputs"] == done["outputs"]
    assert client.told("download", job, "--url-only")["urls"] == done["outputs"]
    (file,) = client.told("download", job, "--out-dir", "got")["files"]
    saved = list((client.server.base / "output" / "cli").glob(f"{client.mode}_*.png"))
    assert Path(file["path"]).read_bytes() == saved[0].read_bytes()
    assert pixels(saved[0].read_bytes()) == pixels((client.server.base / "input" / name).read_bytes())


def test_what_another_submitted_is_listed_and_waited_for(client: Client) -> None:
    graph = picture_graph(upload(client, "maroon"), "other")
    job = client.server.post("/api/prompt", {"prompt": graph}).json["prompt_id"]
    waited = client.told("jobs", "wait", job, "--poll-interval", "0.2", "--timeout", "60")
    assert [(each["prompt_id"], each["status"]) for each in waited["jobs"]] == [(job, "completed")]
    assert client.told("jobs", "watch", job)["status"] == "completed"
    assert listed(client)[job] == "completed"
    piped = json.dumps({"ok": True, "command": "run", "data": {"prompt_id": job}})
    assert len(client.told("download", "--out-dir", "piped", given=piped)["files"]) == 1


def test_cancel(client: Client) -> None:
    first = client.run(slow_graph())["prompt_id"]
    second = client.run(slow_graph())["prompt_id"]
    wait_for_state(client, first, "in_progress")
    found = listed(client)
    assert (found[first], found[second]) == ("running", "pending")
    client.told("jobs", "cancel", second)
    wait_for_state(client, second, "cancelled")
    assert client.told("jobs", "status", first)["status"] == "running"
    client.told("jobs", "cancel", first)
    code, answer = client.ask("jobs", "wait", first, "--poll-interval", "0.2", "--timeout", "60")
    assert (code, answer["error"]["code"]) == (CANCELLED, "cancelled")
    assert client.told("jobs", "status", first)["status"] == "cancelled"
    wait_for_state(client, first, "cancelled")
    if client.mode == "cloud":  # the queue of its local mode forgets what was cancelled before it ran
        assert client.told("jobs", "status", second)["status"] == "cancelled"
        assert client.told("jobs", "cancel", first)["response"] == {"cancelled": False}


def wait_for_state(client: Client, job: str, state: str) -> None:
    """Until the server says so."""
    client.server.wait_for(f"/api/jobs/{job}", lambda body: body["status"] == state, timeout_s=START_S)


def test_what_is_not_there_or_wrong_is_refused(client: Client) -> None:
    unknown = str(uuid.uuid4())
    assert client.refused("jobs", "status", unknown)["code"] == "prompt_not_found"
    assert client.refused("jobs", "cancel", unknown)["code"] == "prompt_not_found"
    assert client.refused("download", unknown)["code"] == "download_job_not_found"
    file = client.home / "graph.json"
    file.write_text(json.dumps(picture_graph("nothing.png", "none")), encoding="utf-8")
    error = client.refused("run", "--workflow", str(file), "--wait")
    assert error["details"]["status"] == 400
    assert "nothing.png" in json.dumps(error["details"])


def test_the_library_of_its_cloud_mode(server: Any, tmp_path: Path) -> None:
    client = Client(server, tmp_path, "cloud")
    name = upload(client, "olive")
    (asset,) = until_read(client, name)
    again = client.told("assets", "library", "ensure", "--hash", asset["hash"], "--tags", "input,again")
    assert again["hash"] == asset["hash"]
    tagged = client.told("assets", "library", "ls", "--tags", "again")["assets"]
    assert [each["id"] for each in tagged] == [again["id"]]
    error = client.refused("assets", "library", "ensure", "--hash", f"blake3:{'0' * 64}")
    assert error["code"] == "asset_not_found"


def until_read(client: Client, name: str) -> list[Any]:
    """The assets of a name, once their content is known."""
    deadline = time.monotonic() + START_S
    while True:
        found: list[Any] = client.told("assets", "library", "ls", "--name", name)["assets"]
        if found and all(each.get("hash") for each in found):
            return found
        assert time.monotonic() < deadline, found
