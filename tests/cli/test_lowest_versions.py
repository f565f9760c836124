"""The pack with the lowest versions that its requirements accept: another pack may have installed these."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support import media_files
from support.files import picture
from support.servers import ROOT, copy_pack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="the lowest version of numpy has no wheel for this Python"),
]

PYAV = "av==14.0"  # ComfyUI brings it along, the requirements do not name it
VIDEOS = {
    "clip.mpg": ("mpeg", "mpeg2video"),
    "clip.m2v": ("mpeg2video", "mpeg2video"),
    "clip.ts": ("mpegts", "mpeg2video"),
}

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import comfy_assets_node
for module in pkgutil.walk_packages(comfy_assets_node.__path__, "comfy_assets_node."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def run(*command: str | Path) -> str:
    """Return the output of a command that must succeed without a word on its error output."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def lowest_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with nothing but the lowest versions of the requirements."""
    folder = tmp_path_factory.mktemp("lowest")
    venv.create(folder / "venv", with_pip=True, symlinks=os.name != "nt")
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    lowest = [*(ROOT / "requirements.txt").read_text().replace(">=", "==").split(), PYAV]
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary", ":all:"]
    subprocess.run([*pip, *lowest], check=True, timeout=300)
    return python


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("ComfyUI")
    for name in ("models/loras", "input", "output"):
        (base / name).mkdir(parents=True)
    (base / "output" / "a.png").write_bytes(picture(1))
    for name, (container, codec) in VIDEOS.items():
        (base / "output" / name).write_bytes(media_files.video(container, codec))
    copy_pack(base / "custom_nodes" / "comfy_assets_node")
    return base


def test_every_module_is_imported(lowest_python: Path, comfyui: Path) -> None:
    run(lowest_python, "-W", "ignore", "-c", IMPORT_ALL, comfyui / "custom_nodes")


def test_a_library_is_scanned(lowest_python: Path, comfyui: Path) -> None:
    pack = comfyui / "custom_nodes" / "comfy_assets_node"
    run(lowest_python, pack, "scan", "--base-directory", comfyui)
    shown = json.loads(run(lowest_python, pack, "assets", "list", "--json", "--base-directory", comfyui))
    found = {each["name"]: each["mime_type"] for each in shown if each["hash"].startswith("blake3:")}
    assert found == {"a.png": "image/png", "clip.mpg": "video/mpeg", "clip.m2v": "video/mpeg", "clip.ts": "video/mp2t"}
