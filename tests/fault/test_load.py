"""A short run of the load and its faults: clients at work, files changing, the server killed once; then the audit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = Path(__file__).resolve().parents[1] / "benchmarks" / "load"


@pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody rename or remove what the server is reading")
def test_what_was_answered_under_load_is_there_after_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, str(LOAD), "--seconds", "4", "--kills", "1", "--clients", "12"]
    command += ["--folder", str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert "nothing is amiss" in done.stdout
