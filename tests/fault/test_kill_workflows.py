"""``kill -9`` while versions are saved: every confirmed version is stored, and every stored version is complete."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comfy_assets_node.comfy_assets.db.connection import Database
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import WorkflowFilter, WorkflowPage
from comfy_assets_node.comfy_assets.workflows.service import WorkflowService
from comfy_assets_node.comfy_assets.workflows.sync import WorkflowSync

pytestmark = pytest.mark.slow

KILLS = 6
SEED = 5


def text_of(workflow: int, number: int) -> bytes:
    """Return the text of a version as the child saves it."""
    return b'{"workflow": %d, "number": %d, "filling": "%s"}' % (workflow, number, b"%d " % number * 3000)


def killed_while_saving(base: Path, seconds: float) -> list[tuple[str, int, int]]:
    """The versions that were confirmed before the child was killed: id, workflow and number."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("workflows_child.py")), str(base)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begin\n"
    time.sleep(seconds)  # the moment of the kill
    assert child.poll() is None
    child.kill()
    output, _ = child.communicate()
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return [(workflow_id, int(workflow), int(number)) for _, workflow_id, workflow, number in lines]


async def assert_whole(base: Path, saved: list[tuple[str, int, int]]) -> None:
    db = await Database.open(base / "user" / "library.db")
    host = MemoryHost(base / "user", HostFolders(()))
    try:
        assert await db.fetch_all("PRAGMA foreign_key_check") == []
        files = WorkflowSync(db, host, 20 << 20)
        service = WorkflowService(db, files)
        for workflow_id, workflow, number in saved:
            assert (await service.content(workflow_id, "ann", number)).text == text_of(workflow, number)
        page = await service.list(WorkflowFilter("ann"), WorkflowPage(limit=100))
        assert page.total == len(page.items)
        for found in page.items:
            workflow = int((found.name or "").removeprefix("workflow "))
            for number in range(1, found.latest_version + 1):
                assert (await service.content(found.id, "ann", number)).text == text_of(workflow, number)
            _, versions = await service.versions(found.id, "ann", 10_000, 0)
            assert len(versions) == found.latest_version
        await assert_written(files, service, host.user_directory("ann") / "workflows")
    finally:
        await db.close()


async def assert_written(files: WorkflowSync, service: WorkflowService, folder: Path) -> None:
    """Check that a synchronization updates every file and leaves none without a workflow."""
    await files.sync_all("ann")
    page = await service.list(WorkflowFilter("ann"), WorkflowPage(limit=100))
    texts = sorted([(await service.content(found.id, "ann")).text for found in page.items])
    assert sorted(path.read_bytes() for path in folder.glob("[!.]*")) == texts


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_what_was_answered_is_there(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    for kind in ("models/loras", "input", "output"):
        (tmp_path / kind).mkdir(parents=True)
    saved: list[tuple[str, int, int]] = []
    for _ in range(KILLS):
        saved += killed_while_saving(tmp_path, 0.05 + chance.random() / 4)
        asyncio.run(assert_whole(tmp_path, saved))
    assert len(saved) > 5 * KILLS
