"""The archive of the Comfy registry: servers that have it alone work, and comfy-cli makes the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.registry import archive_files, unpack
from support.servers import COMFYUI, ROOT, HttpServer, make_base

COMFY_CLI = os.environ.get("COMFY_CLI") or shutil.which("comfy")
_SERVE = """
import comfy_assets_node
from comfy_assets_node.comfy_assets.cli import main
print(comfy_assets_node.__file__)
main()
"""
_PAGES = ("/health", "/api/assets", "/api/docs", "/api/openapi.json", "/assets")

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs a clone of the repository, and git"
)


@pytest.mark.slow
def test_a_server_of_the_archive_alone(tmp_path: Path) -> None:
    package = tmp_path / "packed" / "comfy_assets_node"
    unpack(ROOT, package)
    command = [sys.executable, "-c", _SERVE, "serve"]
    base = make_base(tmp_path / "base")
    (base / "output/a.txt").write_text("a")
    with HttpServer(base, command, {"PYTHONPATH": str(package.parent), "PYTHONUNBUFFERED": "1"}) as server:
        server.wait_until_read()
        assert str(package) in server.log
        assert server.get("/api/assets").json["total"] == 1
        assert {path: server.get(path).status for path in _PAGES} == dict.fromkeys(_PAGES, 200)
        scripts = [name.removeprefix("web/") for name in archive_files(ROOT) if name.startswith("web/")]
        assert [name for name in scripts if server.get(f"/extensions/comfy-assets/{name}").status != 200] == []


@pytest.mark.comfy_cli
@pytest.mark.comfyui
@pytest.mark.skipif(not COMFY_CLI, reason="there is no comfy-cli")
@pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH names no ComfyUI checkout")
def test_the_archive_of_comfy_cli_in_a_comfyui(tmp_path: Path, start_plain_comfyui: Any) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {**os.environ, "HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    packed = subprocess.run(
        [str(COMFY_CLI), "--skip-prompt", "node", "pack"], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert packed.returncode == 0, packed.stdout + packed.stderr
    assert "Warning" not in packed.stdout + packed.stderr
    base = make_base(tmp_path / "base")
    with zipfile.ZipFile(clone / "node.zip") as archive:
        assert sorted(archive.namelist()) == sorted(archive_files(clone))
        archive.extractall(base / "custom_nodes" / "comfy-assets")
    with start_plain_comfyui(base) as server:
        server.wait_until_read()
        assert server.get("/api/assets").status == 200
        assert server.get("/extensions/comfy-assets/comfy_assets.js").status == 200
        assert "comfy-assets could not start" not in server.log
