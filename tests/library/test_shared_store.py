"""Two servers on one store, as when somebody starts a second one by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.app import Services
from comfy_assets_node.comfy_assets.assets.index import scanner
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.host.standalone import StandaloneHost


@pytest.mark.parametrize("round_", range(3))
async def test_two_scans_at_once_leave_one_row_for_each_file(
    make_library: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, round_: int
) -> None:
    monkeypatch.setattr(scanner, "_BATCH_FOLDERS", 2 + round_)
    first, second = await make_library(), await make_library()
    for number in range(120):
        first.write(f"output/{number % 20}/{number}.png", b"%d" % number)
    statuses = await asyncio.gather(first.scan(), second.scan())
    assert [s["status"] for s in statuses] == ["completed", "completed"]
    assert sum(s["created"] for s in statuses) == 120
    found = await first.assets()
    assert len(found) == len({a["file_path"] for a in found}) == 120
    assert all(a["hash"] for a in found)
    assert await second.assets() == found
    counts = await first.services.db.fetch_all(
        "SELECT asset_count, (SELECT count(*) FROM assets a WHERE a.tag_set_id = s.id) FROM tag_sets s"
    )
    assert all(kept == real for kept, real in counts)


async def test_a_second_server_leaves_the_tasks_of_the_first_alone(tmp_path: Path) -> None:
    first, second, third = (Services(StandaloneHost(tmp_path), Config(scan_on_start=False)) for _ in range(3))
    is_over = asyncio.Event()

    async def work(_: Any) -> None:
        await is_over.wait()

    async def status() -> list[Any]:
        return await first.db.fetch_all("SELECT status FROM tasks WHERE name = 'long'")

    for services in (first, second):
        services.watch_queue()
        await services.start()
        if services is first:
            task, _ = first.tasks.start("long", work)
            await asyncio.sleep(0.1)
    try:
        assert await status() == [("running",)]
        is_over.set()
        await task.done.wait()
        assert await status() == [("completed",)]
    finally:
        await second.stop()
    # What a server that has ended left running is ended by the next.
    async with first.db.transaction() as tx:
        await tx.execute("UPDATE tasks SET status = 'running', completed_at = NULL, instance = 2")
    third.watch_queue()
    await third.start()
    try:
        assert await status() == [("failed",)]
    finally:
        await third.stop()
        await first.stop()


async def test_both_follow_a_move(make_library: Callable[..., Any]) -> None:
    first, second = await make_library(), await make_library()
    for number in range(40):
        first.write(f"output/old/{number}.png", b"%d" % number)
    await first.scan()
    ids = {a["id"] for a in await first.assets()}
    (first.base / "output/old").rename(first.base / "input/new")
    await asyncio.gather(first.scan(), second.scan())
    found = await first.assets()
    assert {a["id"] for a in found} == ids
    assert all(a["tags"] == ["input"] for a in found)
