"""Nothing opens a file of the store, whatever link, name or operation leads to it; the server keeps its locks on it.

A process that opens and closes a file loses its POSIX locks on it, so what is asked here is whether it still has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.requests import multipart
from support.servers import COMFYUI, JsonServer, comfyui_command, copy_pack, standalone_command

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no locks that a reader loses")

# In another process, as locks are those of a process. SQLite's shared lock is on 510 bytes behind the pending byte.
_ASK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
        print("lost")
    except OSError:
        print("held")
"""
JSON = {"Content-Type": "application/json"}


class Base(JsonServer):
    """A server on a base directory with every kind of link to the store."""

    @property
    def store(self) -> Path:
        return self.base / "user" / "__comfy_assets" / "library.db"

    def locks(self) -> str:
        run = subprocess.run([sys.executable, "-c", _ASK, str(self.store)], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    def answer(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture(scope="module", params=["standalone", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    base = tmp_path_factory.mktemp("base")
    for kind in (
        "models/checkpoints",
        "models/classifiers",
        "input",
        "output",
        "temp",
        "custom_nodes",
        "user/default/workflows",
    ):
        (base / kind).mkdir(parents=True)
    command = standalone_command("--own-page")
    if request.param == "comfyui":
        if COMFYUI is None:
            pytest.skip("COMFYUI_PATH names no ComfyUI")
        copy_pack(base / "custom_nodes" / "comfy-assets")
        command = comfyui_command()
    server = Base(base, command, {"COMFY_ASSETS_FOLLOW": "0"})
    try:
        server.wait_until_up("/api/assets", lambda _: True)
        make_links(base)
        yield server
    finally:
        server.kill()


def make_links(base: Path) -> None:
    """A link to the folder, one above it, links and further names of the file, where each operation looks for files."""
    user, data = base / "user", base / "user" / "__comfy_assets"
    for folder in (base / "input", base / "output", base / "models" / "classifiers", user / "default"):
        (folder / "userlnk").symlink_to(user)
        (folder / "data").symlink_to(data)
        (folder / "sym.png").symlink_to(data / "library.db")
        os.link(data / "library.db", folder / "hard.png")
        os.link(data / "library.db-shm", folder / "hard-shm.png")
    for name in ("x.safetensors", "hard.safetensors"):
        os.link(data / "library.db", base / "models" / "checkpoints" / name)
    os.link(data / "library.db", user / "default" / "workflows" / "hard.json")


NAMES = (
    "userlnk/__comfy_assets/library.db",
    "userlnk/__comfy_assets/library.db-wal",
    "userlnk/default/../__comfy_assets/library.db",
    "data/library.db",
    "data/queue/1.lock",
    "sym.png",
    "hard.png",
    "hard-shm.png",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["input", "output"])
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_viewing(server: Base, name: str, kind: str, prefix: str) -> None:
    folder, _, file = name.rpartition("/")
    for query in (
        f"filename={name}&type={kind}",
        f"filename={file}&subfolder={folder}&type={kind}",
        f"filename={name}%20[{kind}]",
        f"filename={name.replace('/', '%2F')}&type={kind}&preview=webp;50",
        f"filename={name}&type={kind}&channel=a",
        f"filename={name}&type={kind}&res=64",
    ):
        for method in ("GET", "HEAD"):
            status, body = server.answer(method, f"{prefix}/view?{query}")
            assert status in (400, 403, 404), (query, status)
            assert b"SQLite" not in body
    assert server.locks() == "held"


@pytest.mark.parametrize("name", ["userlnk/__comfy_assets/library.db", "data/library.db", "sym.png", "hard.png"])
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_user_files(server: Base, name: str, prefix: str) -> None:
    quoted = name.replace("/", "%2F")
    before = server.store.stat().st_ino
    for method, path in (
        ("GET", quoted),
        ("HEAD", quoted),
        ("GET", quoted.replace("%", "%25")),
        ("POST", quoted),
        ("DELETE", quoted),
        ("POST", f"{quoted}/move/elsewhere.json"),
        ("POST", f"other.json/move/{quoted}"),
    ):
        body = b"{}" if method == "POST" else None
        status, answer = server.answer(method, f"{prefix}/userdata/{path}", body, **JSON)
        assert status in (400, 403, 404), (method, path, status)
        assert b"SQLite" not in answer
    assert (server.locks(), server.store.stat().st_ino) == ("held", before)


def form(filename: str, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A form with a picture."""
    return multipart([*fields.items(), ("image", (filename, b"bytes"))])


@pytest.mark.parametrize("path", ["/upload/image", "/api/upload/image", "/upload/mask", "/api/upload/mask"])
@pytest.mark.parametrize(
    ("subfolder", "filename"),
    [
        ("userlnk/__comfy_assets", "library.db"),
        ("data", "library.db"),
        ("data", "new.png"),
        ("data/new/folder", "new.png"),
        ("userlnk/default", "new.css"),
        ("", "sym.png"),
        ("", "hard.png"),
    ],
)
def test_uploading(server: Base, path: str, subfolder: str, filename: str) -> None:
    before = sorted(server.store.parent.rglob("*"))
    for overwrite in ("true", ""):
        body, headers = form(
            filename,
            subfolder=subfolder,
            overwrite=overwrite,
            original_ref='{"filename":"hard.png","type":"input"}',
        )
        status, answer = server.answer("POST", path, body, **headers)
        assert status in (400, 403), answer
    assert sorted(server.store.parent.rglob("*")) == before
    assert not list((server.base / "user").rglob("new*"))
    assert server.locks() == "held"


def test_a_link_of_the_user_to_another_disk_takes_uploads(server: Base, tmp_path: Path) -> None:
    (server.base / "input" / "other").symlink_to(tmp_path)
    body, headers = form("a.png", subfolder="other")
    assert server.answer("POST", "/upload/image", body, **headers)[0] == 200
    assert (tmp_path / "a.png").read_bytes() == b"bytes"


@pytest.mark.parametrize("name", NAMES)
def test_prompts(server: Base, name: str) -> None:
    for kind in ("", " [output]"):
        graph = {
            "1": {"class_type": "LoadImage", "inputs": {"image": name + kind}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        }
        for path in ("/prompt", "/api/prompt"):
            body = json.dumps({"prompt": graph}).encode()
            status, answer = server.answer("POST", path, body, **JSON)
            assert status == 400, answer
    assert server.locks() == "held"


def test_scanning_and_hashing(server: Base) -> None:
    """What a scan lists is never one of the store's files; so nothing of it is hashed, exported or linked."""
    server.request("/api/assets/seed", {"roots": ["input", "output", "models"], "wait": True})
    (server.base / "input" / "new.txt").write_text("new")
    server.request("/api/assets/seed", {"roots": ["input", "output", "models"], "wait": True})
    found = server.wait_for("/api/assets?limit=500", lambda found: any(a.get("hash") for a in found["assets"]))
    names = {asset["name"] for asset in found["assets"]}
    assert "new.txt" in names
    assert not names & {"sym.png", "hard.png", "hard-shm.png", "x.safetensors", "hard.safetensors", "library.db"}
    assert server.locks() == "held"


def test_workflow_files(server: Base) -> None:
    """A further name of the store's file among the user's workflows is no workflow."""
    found = server.request("/api/workflows?limit=100")
    assert "hard" not in {each["name"] for each in found["data"]}
    assert server.locks() == "held"


def test_the_test_can_fail(server: Base, tmp_path: Path) -> None:
    """Locks are lost in a process that reads the file: asked of one of our own."""
    code = (
        "import sqlite3, subprocess, sys\n"
        "c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode = WAL'); c.execute('CREATE TABLE a (b)')\n"
        "ask = lambda: subprocess.run([sys.executable, '-c', *sys.argv[:0:-1]], capture_output=True, text=True)\n"
        "print(ask().stdout.strip()); open(sys.argv[1], 'rb').close(); print(ask().stdout.strip())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.db"), _ASK], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["held", "lost"]
