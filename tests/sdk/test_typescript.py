"""The official TypeScript SDK, in one run of Node.js; each of its cases is a test here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.sdk import SdkServer, forget_gates
from support.typescript import find_sdk

pytestmark = pytest.mark.slow

CASES = Path(__file__).resolve().parent / "typescript" / "cases.mjs"
NAMES = re.findall(r'^  async "([^"]+)"\(\)', CASES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def faults(shared_server: SdkServer, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str | None]:
    """What was wrong in each case."""
    sdk = find_sdk()
    if isinstance(sdk, str):
        pytest.skip(sdk)
    run = subprocess.run(
        [sdk.node, CASES, sdk.folder, shared_server.gates, tmp_path_factory.mktemp("files")],
        env={**os.environ, "COMFY_BASE_URL": shared_server.http.url},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    shared_server.empty_queue()
    forget_gates(shared_server)
    assert run.returncode == 0, run.stderr[-4000:]
    return {each["name"]: each["fault"] for each in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", NAMES)
def test_the_typescript_sdk_works(name: str, faults: Mapping[str, str | None]) -> None:
    assert faults[name] is None, faults[name]


def test_every_case_is_a_test(faults: Mapping[str, str | None]) -> None:
    assert list(faults) == NAMES and len(NAMES) >= 10
