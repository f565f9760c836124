"""The pack is installed, updated, disabled, enabled and removed by comfy-cli and ComfyUI-Manager.

``COMFY_CLI`` names the program, and ``COMFYUI_PYTHON`` a Python that has ``comfyui-manager`` as well. They work on a
copy of the ComfyUI and get the pack from a git server on this machine. Other machines are not there.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.files import picture
from support.servers import COMFYUI, ROOT, HttpServer

COMFY_CLI = os.environ.get("COMFY_CLI") or shutil.which("comfy")
PYTHON = os.environ.get("COMFYUI_PYTHON", "")
NAME = "comfy-assets"
TIMEOUT_S = 300


def _has_manager() -> bool:
    command = [PYTHON, "-c", "import importlib.util as u; raise SystemExit(u.find_spec('cm_cli') is None)"]
    return bool(PYTHON) and subprocess.run(command, check=False).returncode == 0


pytestmark = [
    pytest.mark.comfy_cli,
    pytest.mark.comfyui,
    pytest.mark.slow,
    pytest.mark.skipif(not COMFY_CLI, reason="there is no comfy-cli"),
    pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout"),
    pytest.mark.skipif(not _has_manager(), reason="COMFYUI_PYTHON has no comfyui-manager"),
]


class Upstream:
    """A repository with the files of this one, and its address."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = f"{url}/{NAME}.git"
        self._work, self._bare = folder / "work", folder / "served" / f"{NAME}.git"
        listed = git(ROOT, "ls-files", "-z").split("\0")
        for name in filter(None, listed):
            (self._work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self._work / name)
        git(folder, "init", "--quiet", "--initial-branch=main", str(self._work))
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self._bare))
        self.publish("1")

    def publish(self, release: str) -> None:
        """Publish a commit that has ``release`` in a file."""
        (self._work / "RELEASE").write_text(release)
        git(self._work, "add", "--all", "--force")
        git(
            self._work,
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@localhost",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            release,
        )
        git(self._work, "push", "--quiet", str(self._bare), "main")
        git(self._bare, "update-server-info")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("upstream")
    (folder / "served").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Upstream(folder, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


class Workspace:
    """A copy of the ComfyUI, which is its own base directory, and the programs that change it."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "ComfyUI"
        shutil.copytree(str(COMFYUI), self.base, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        for name in ("custom_nodes", "user", "models"):
            shutil.rmtree(self.base / name, ignore_errors=True)
        for name in ("custom_nodes", "user/default", "models/loras", "output"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        self.pack = self.base / "custom_nodes" / NAME
        self._home = folder / "home"
        self._home.mkdir()

    @property
    def release(self) -> str:
        return (self.pack / "RELEASE").read_text()

    def comfy(self, *arguments: str) -> str:
        """What ``comfy node …`` prints."""
        environment = {
            **os.environ,
            "HOME": str(self._home),
            "VIRTUAL_ENV": str(Path(PYTHON).parent.parent),
            "DO_NOT_TRACK": "1",
        }
        command = [str(COMFY_CLI), "--skip-prompt", f"--workspace={self.base}", "node", *arguments]
        done = subprocess.run(
            command, cwd=self.base, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return printed

    def start(self, *options: str) -> HttpServer:
        command = [
            PYTHON,
            str(self.base / "main.py"),
            "--cpu",
            "--disable-api-nodes",
            "--listen",
            "127.0.0.1",
            *options,
        ]
        return HttpServer(self.base, command, {"HOME": str(self._home)})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def give_everything(server: HttpServer) -> None:
    """Make what a user makes: a tag, a collection, a workflow, a setting, a job."""
    (asset,) = server.get("/api/assets?name_contains=a.png").json["assets"]
    assert server.post(f"/api/assets/{asset['id']}/tags", {"tags": ["mine"]}).status == 200
    body = {"name": "Kept", "workflow_json": {"nodes": []}}
    assert server.post("/api/workflows", body).status == 201
    assert server.post("/api/settings", {"Comfy.Kept": True}).status == 200
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
    }
    prompt_id = server.post("/prompt", {"prompt": graph}).json["prompt_id"]
    server.wait_for(f"/api/jobs/{prompt_id}", lambda job: job["status"] == "completed")
    server.wait_for("/api/assets?name_contains=made", lambda page: page["total"] == 1)


def everything(server: HttpServer) -> dict[str, Any]:
    """All of that, with ids."""
    assets = server.get("/api/assets?sort=name&order=asc").json["assets"]
    return {
        "assets": [(each["id"], each["name"], each["tags"]) for each in assets],
        "workflows": [(each["id"], each["name"]) for each in server.get("/api/workflows").json["data"]],
        "jobs": [each["id"] for each in server.get("/api/jobs").json["jobs"]],
        "setting": server.get("/api/settings").json["Comfy.Kept"],
    }


def test_the_life_of_an_installation(workspace: Workspace, upstream: Upstream) -> None:
    """By comfy-cli, which calls the command line of ComfyUI-Manager."""
    (workspace.base / "output" / "a.png").write_bytes(picture(1))
    workspace.comfy("install", upstream.url)
    assert workspace.release == "1"
    with workspace.start() as server:
        server.wait_until_read()
        give_everything(server)
        made = everything(server)
        server.interrupt()
    tags = {name: tags for _, name, tags in made["assets"]}
    assert tags["a.png"] == ["output", "mine"] and "made_00001_.png" in tags
    assert (len(made["workflows"]), len(made["jobs"])) == (1, 1)

    upstream.publish("2")
    workspace.comfy("update", NAME)
    assert workspace.release == "2"
    _same(workspace, made)

    workspace.comfy("disable", NAME)
    assert not workspace.pack.exists()
    _without(workspace)
    workspace.comfy("enable", NAME)
    assert workspace.release == "2"
    _same(workspace, made)

    workspace.comfy("uninstall", NAME)
    assert not list((workspace.base / "custom_nodes").rglob("comfy_assets"))
    _without(workspace)
    workspace.comfy("install", upstream.url)
    _same(workspace, made)


def _same(workspace: Workspace, made: dict[str, Any]) -> None:
    with workspace.start() as server:
        server.wait_until_read()
        assert everything(server) == made
        server.interrupt()


def _without(workspace: Workspace) -> None:
    """ComfyUI starts without the pack; the store stays where it is, and so do the user's own files."""
    with workspace.start() as server:
        server.wait_until_up()
        assert server.get("/api/assets/seed/status").status in (404, 405, 503)
        assert server.get("/api/settings").json["Comfy.Kept"] is True
        server.interrupt()
    user = workspace.base / "user"
    assert (user / "__comfy_assets" / "library.db").is_file()
    (workflow,) = (user / "default" / "workflows").glob("*.json")
    assert json.loads(workflow.read_text())["nodes"] == []
