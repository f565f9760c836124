"""``comfy-assets workflows``."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

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
    head, *lines = out.splitlines()
    assert head.split() == ["DELETED", "VERSIONS", "ID", "NAME"]
    assert lines[0].endswith(f" 1  {later}  (unnamed)") and lines[1].endswith(f" 1  {older}  Größe")
    assert lines[2:] == ["2 deleted workflows, kept for 30 days"]


async def test_list(saving: Saving) -> None:
    for name in ("b", "a", "folder/c"):
        path = saving.library.base / f"user/default/workflows/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    await saving.deleted(name="deleted")
    listed = {each["name"]: each for each in (await saving.library.get("/api/workflows"))["data"]}
    status, out, _ = await saving.run("workflows", "list", "--json", "--sort", "name")
    assert status == 0
    assert [(each["name"], each["path"], each["id"]) for each in json.loads(out)] == [
        (name, f"workflows/{path}", listed[name]["id"])
        for name, path in (("a", "a.json"), ("b", "b.json"), ("c", "folder/c.json"))
    ]
    _, out, _ = await saving.run("workflows", "list", "--sort", "name")
    head, *lines, end = out.splitlines()
    assert head.split() == ["UPDATED", "VERSIONS", "ID", "NAME"] and end == "3 workflows, 3 shown"
    assert [line.split()[-1] for line in lines] == ["a", "b", "folder/c"]
    assert json.loads((await saving.run("workflows", "list", "--json", "--name", "C"))[1])[0]["name"] == "c"
    assert (await saving.run("workflows", "list", "--limit", "1"))[1].endswith("\n3 workflows, 1 shown\n")


async def test_shares(saving: Saving) -> None:
    assert await saving.run("shares", "list") == (0, "0 shares\n", "")
    graph = {"nodes": [], "links": []}
    async with saving.library.client.post("/api/workflows", json={"name": "shown", "workflow_json": graph}) as response:
        saved = await response.json()
    path = f"/api/userdata/{quote(saved['path'], safe='')}/publish"
    async with saving.library.client.post(path, json={"asset_ids": []}) as response:
        published = await response.json()
        assert response.status < 300, published
    status, out, _ = await saving.run("shares", "list", "--json")
    (share,) = json.loads(out)
    assert (status, share["name"], share["workflow_id"], share["version"]) == (0, "shown", saved["id"], 1)
    assert share["share_id"] in (await saving.run("shares", "list"))[1]


async def test_restore(saving: Saving) -> None:
    one, other = await saving.deleted(name="one"), await saving.deleted(name="other")
    status, out, err = await saving.run("workflows", "restore", one.upper(), "no-id", other, one)
    assert status == 3
    assert out.splitlines() == [f"{one}  one", f"{other}  other"]
    assert err.splitlines() == [f"{each}: There is no such deleted workflow." for each in ("no-id", one)]
    assert await saving.ids() == {one, other}
    content = await saving.library.get(f"/api/workflows/{one}/content")
    assert content["workflow_json"] == {}


async def test_restore_by_the_first_characters_of_an_id(saving: Saving) -> None:
    one = await saving.deleted(name="one")
    status, out, _ = await saving.run("workflows", "restore", one[:9])
    assert (status, out) == (0, f"{one}  one\n")


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
