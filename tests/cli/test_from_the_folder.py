"""The commands of a pack that lies in custom_nodes: run from its folder, which pip has not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT, copy_pack
from support.windows import allowed_s


def run(*arguments: str, cwd: Path, options: tuple[str, ...] = ("-s",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=allowed_s(60))


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    """A ComfyUI whose pack has a name with spaces and dots, as ZIP files and clones may give it."""
    base = tmp_path / "Comfy UI"
    for name in ("models/loras", "input", "output"):
        (base / name).mkdir(parents=True)
    (base / "output" / "a.txt").write_text("a")
    copy_pack(base / "custom_nodes" / "comfy-assets v0.1 (1)")
    return base


def test_a_library_is_scanned(comfyui: Path) -> None:
    pack = "custom_nodes/comfy-assets v0.1 (1)"
    scanned = run(pack, "scan", cwd=comfyui)
    assert (scanned.returncode, scanned.stderr) == (0, ""), scanned
    # The Python of the portable version ignores variables and the current folder, as one with -I does.
    listed = run(str(comfyui / pack), "assets", "list", "--json", cwd=comfyui / "output", options=("-I",))
    assert [each["name"] for each in json.loads(listed.stdout)] == ["a.txt"], listed.stderr


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ModuleNotFoundError('No module named msgspec', name='msgspec')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT), "status"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs the package msgspec" in done.stderr
    assert f'"{sys.executable}" -m pip install -r "{ROOT / "requirements.txt"}"' in done.stderr
