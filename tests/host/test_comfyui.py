"""The pack in a real ComfyUI: ``COMFYUI_PATH`` names a checkout, ``COMFYUI_PYTHON`` the Python that runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")

pytestmark = [
    pytest.mark.comfyui,
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
]
# Names that a clone may have, dots and spaces included.
FOLDER_NAME = "comfy-assets v0.1 (copy)"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10


class Server:
    """A ComfyUI process on a base directory of its own."""

    def __init__(self, base: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = base
        self.log = base / "server.log"
        self.process = subprocess.Popen(
            [
                os.environ.get("COMFYUI_PYTHON", sys.executable),
                str(Path(COMFYUI or "") / "main.py"),
                "--cpu",
                "--disable-api-nodes",
                "--listen",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--base-directory",
                str(base),
                *options,
            ],
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
        )

    def wait_until_up(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/system_stats")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"ComfyUI did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def request(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of a GET, or of a POST when there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data,
            {"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> Any:
        """The JSON answer to a GET."""
        return json.loads(self.request(path)[1])

    def wait_for(self, path: str, condition: Any, timeout: float = 60) -> Any:
        """The first answer that meets the condition."""
        deadline = time.monotonic() + timeout
        while True:
            answer = self.get(path)
            if condition(answer):
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)

    def interrupt(self) -> float:
        """Ctrl-C; answers the seconds until the process has ended."""
        # Python loses an interrupt that comes just when it forgets a task, as it does when the last request is over.
        time.sleep(0.1)
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_TIMEOUT_S)
        return time.monotonic() - started


def model_bytes() -> bytes:
    """A safetensors file of one tensor."""
    text = json.dumps({"w": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


def make_base(base: Path, files: int) -> Path:
    """A base directory with the pack in custom_nodes, some models, and an extra folder of outputs."""
    for name in ("models/loras/style", "input", "output/old", "custom_nodes", "user", "temp"):
        (base / name).mkdir(parents=True)
    (base / "models/loras/style/ink.safetensors").write_bytes(model_bytes())
    (base / "input/photo.jpg").write_bytes(b"not really a picture")
    for number in range(files):
        (base / f"output/old/{number:05d}.txt").write_text(str(number))
    ignored = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", "tests", ".hypothesis", "build")
    shutil.copytree(ROOT, base / "custom_nodes" / FOLDER_NAME, ignore=ignored)
    return base


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the pack, whose first scan has ended."""
    server = Server(make_base(tmp_path_factory.mktemp("comfyui"), 20))
    try:
        server.wait_until_up()
        server.wait_for("/api/assets/seed/status", lambda s: s["status"] == "completed" and s["phase"] == "idle")
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def test_the_library_is_listed(server: Server) -> None:
    page = server.get("/api/assets?limit=500")
    names = {asset["name"] for asset in page["assets"]}
    assert {"ink.safetensors", "photo.jpg", "00000.txt"} <= names
    (model,) = [asset for asset in page["assets"] if asset["name"] == "ink.safetensors"]
    assert model["tags"] == ["models", "loras", "model_type:loras"]
    assert model["loader_path"] == "style/ink.safetensors"
    assert model["hash"].startswith("blake3:")
    assert not any("custom_nodes" in asset.get("file_path", "") for asset in page["assets"])


def test_the_stock_page_and_routes_are_there(server: Server) -> None:
    status, page = server.request("/")
    assert status == 200
    assert b"<html" in page.lower()
    assert "EmptyImage" in server.get("/object_info/EmptyImage")
    assert server.request("/health") == (200, b"OK")


def test_the_store_is_below_the_user_directory(server: Server) -> None:
    assert (server.base / "user" / "__comfy_assets" / "library.db").exists()
    assert server.request("/api/userdata/__comfy_assets%2Flibrary.db")[0] in (400, 403, 404)


def test_an_unknown_path_is_the_stock_servers(server: Server) -> None:
    status, body = server.request("/api/assets-of-another-kind")
    assert status == 404
    assert b'"code"' not in body


def test_cross_site_requests_are_refused(server: Server) -> None:
    assert server.request("/api/assets/prune", {}, {"Origin": "http://evil.example"})[0] == 403


def test_a_prompt_runs_beside_it_and_its_output_is_found(server: Server) -> None:
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made/blue"}},
    }
    status, body = server.request("/prompt", {"prompt": graph})
    assert status == 200, body
    prompt_id = json.loads(body)["prompt_id"]
    server.wait_for(f"/history/{prompt_id}", lambda history: prompt_id in history)
    assert server.request("/api/assets/seed", {"roots": ["output"]})[0] == 200
    page = server.wait_for("/api/assets?name_contains=blue_0", lambda p: p["assets"] and "hash" in p["assets"][0])
    metadata = server.get(f"/api/assets/{page['assets'][0]['id']}")["metadata"]
    assert (metadata["width"], metadata["height"]) == (32, 16)
    assert metadata["prompt"]["2"]["class_type"] == "SaveImage"


def test_the_disk_is_followed(server: Server) -> None:
    places = {"models/loras/style": ".safetensors", "input": ".jpg", "output/new folder": ".txt"}
    for folder, suffix in places.items():
        path = server.base / folder / f"followed{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{folder} of its own".encode())
    page = server.wait_for("/api/assets?name_contains=followed", lambda p: len(p["assets"]) == 3, timeout=10)
    ids = {asset["file_path"]: asset["id"] for asset in page["assets"]}
    (server.base / "input/followed.jpg").rename(server.base / "output/moved.jpg")
    page = server.wait_for("/api/assets?name_contains=moved.jpg", lambda p: p["assets"], timeout=10)
    assert page["assets"][0]["id"] == ids["input/followed.jpg"]
    assert "missing" not in page["assets"][0]["tags"]
    (server.base / "output/moved.jpg").unlink()
    server.wait_for("/api/assets?name_contains=moved.jpg", lambda p: "missing" in p["assets"][0]["tags"], timeout=10)
    assert len(server.get("/api/assets?name_contains=followed")["assets"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal of POSIX")
@pytest.mark.parametrize("moment", ["while it scans", "at rest"])
def test_ctrl_c_ends_the_server(tmp_path: Path, moment: str) -> None:
    server = Server(make_base(tmp_path / "base", 3000 if moment == "while it scans" else 3))
    try:
        server.wait_until_up()
        if moment == "at rest":
            server.wait_for("/api/assets/seed/status", lambda s: s["status"] == "completed")
        assert server.interrupt() < 3
        log = server.log.read_text(errors="replace")
        assert "never retrieved" not in log
        assert "was destroyed but it is pending" not in log
    finally:
        server.process.kill()
        server.process.wait()


def test_a_second_copy_of_the_pack_stays_idle(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", 1)
    shutil.copytree(base / "custom_nodes" / FOLDER_NAME, base / "custom_nodes" / "comfy_assets_again")
    server = Server(base)
    try:
        server.wait_until_up()
        server.wait_for("/api/assets", lambda page: page["total"] == 3)
        assert "installed twice" in server.log.read_text(errors="replace")
    finally:
        server.process.kill()
        server.process.wait()


def test_the_server_starts_when_the_store_cannot(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", 1)
    (base / "user" / "__comfy_assets").write_text("a file where the folder should be")
    server = Server(base)
    try:
        server.wait_until_up()
        assert server.request("/health")[0] == 503
        assert server.request("/api/assets")[0] == 500
        assert server.request("/")[0] == 200
        assert "library is unavailable" in server.log.read_text(errors="replace")
    finally:
        server.process.kill()
        server.process.wait()


def test_an_unknown_user_is_refused(tmp_path: Path) -> None:
    server = Server(make_base(tmp_path / "base", 1), "--multi-user")
    try:
        server.wait_until_up()
        assert server.request("/api/assets", headers={"comfy-user": "nobody"})[0] == 401
        status, body = server.request("/users", {"username": "alice"})
        assert status == 200
        status, page = server.request("/api/assets", headers={"comfy-user": json.loads(body)})
        assert status == 200
        assert json.loads(page)["assets"] is not None
    finally:
        server.process.kill()
        server.process.wait()
