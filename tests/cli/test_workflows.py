"""``comfy-assets workflows``."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.cli import main

DAY_MS = 86_400_000


class Saving:
    """A library whose workflows are saved and deleted over HTTP, and a way to run the command beside it."""

    def __init__(self, library: Any, capture: pytest.CaptureFixture[str]) -> None:
        self.library = library
        self.capture = capture

    async def deleted(self, days_ago: int = 0, **members: Any) -> str:
        """Save a workflow that was deleted some days ago, and return its id."""
        async with self.library.client.post("/api/workflows", json={"workflow_json": {}, **members}) as response:
            workflow_id = str((await response.json())["id"])
        async with self.library.client.delete(f"/api/workflows/{workflow_id}") as response:
            assert response.status == 204
        async with self.library.services.db.transaction() as tx:
            sql = "UPDATE workflows SET deleted_at = deleted_at - ? WHERE uuid = ?"
            assert await tx.execute(sql, (days_ago * DAY_MS, workflow_id)) == 1
        return workflow_id

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output and errors of the command."""
        self.capture.readouterr()
        base = ["--base-directory", str(self.library.base)]
        status = await asyncio.to_thread(main, [*arguments, *base])
        return status, *self.capture.readouterr()

    async def ids(self) -> set[str]:
        """Return the ids of existing workflows."""
        return {each["id"] for each in (await self.library.get("/api/workflows"))["data"]}


@pytest.fixture
async def saving(library: Any, capsys: pytest.CaptureFixture[str]) -> Saving:
    return Saving(library, capsys)


async def test_deleted(saving: Saving) -> None:
    older, later = await saving.deleted(2, name="Größe"), await saving.deleted()
    status, out, _ = await saving.run("workflows", "deleted", "--json")
    assert status == 0
    first, second = json.loads(out)
    when = [entry.pop("deleted_at") for entry in (first, second)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) for text in when) and when[0] > when[1]
    assert first == {"id": later, "owner": "default", "latest_version": 1}
    assert second == {"id": older, "name": "Größe", "owner": "default", "latest_version": 1}
    _, out, _ = await saving.run("workflows", "deleted")
    lines = out.splitlines()
    assert lines[0].startswith(later) and lines[0].endswith("1 version  (unnamed)")
    assert lines[1].startswith(older) and lines[1].endswith("  Größe")
    assert lines[2:] == ["2 deleted workflows, kept for 30 days"]


async def test_restore(saving: Saving) -> None:
    one, other = await saving.deleted(name="one"), await saving.deleted(name="other")
    status, out, err = await saving.run("workflows", "restore", one.upper(), "no-id", other, one)
    assert status == 3
    assert out.splitlines() == [f"{one}  one", f"{other}  other"]
    assert err.splitlines() == [f"{each}: There is no such deleted workflow." for each in ("no-id", one)]
    assert await saving.ids() == {one, other}
    content = await saving.library.get(f"/api/workflows/{one}/content")
    assert content["workflow_json"] == {}


async def test_a_server_that_starts_removes_what_was_deleted_long_ago(saving: Saving, make_library: Any) -> None:
    kept, gone = await saving.deleted(29), await saving.deleted(31)
    await saving.library.services.stop()
    await make_library()
    status, out, err = await saving.run("workflows", "restore", kept, gone)
    assert (status, out, err) == (
        3,
        f"{kept}  (unnamed)\n",
        f"{gone}: There is no such deleted workflow.\n",
    )
