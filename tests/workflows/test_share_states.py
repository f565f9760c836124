"""Any sequence of publishing, withdrawing, changing and deleting leaves the shares of a plain model."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import AssetInUseError, ShareNotFoundError, WorkflowNotFoundError
from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import AssetFilter, PageRequest, WorkflowEdit
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.comfy_assets.workflows.service import WorkflowDetails, restore_workflow
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.models import run_model

OWNER = "default"
FILES = ("a.bin", "b.bin", "c.bin")

which = st.integers(0, 1)
step = st.one_of(
    st.tuples(st.just("publish"), which, st.sets(st.sampled_from(FILES))),
    st.tuples(st.just("publish"), which, st.sets(st.sampled_from(FILES))),
    st.tuples(st.just("withdraw"), which),
    st.tuples(st.just("save"), which, st.integers(0, 3)),
    st.tuples(st.just("rename"), which, st.sampled_from(["one", "two"])),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("restore"), which),
    st.tuples(st.just("drop"), st.sampled_from(FILES)),
    st.tuples(st.just("restart")),
)


def text_of(number: int) -> bytes:
    return json.dumps({"nodes": [], "number": number}).encode()


@dataclass
class Expected:
    """The expected state of a workflow; ``snapshot`` is the published text, name and files."""

    id: str
    name: str = "one"
    path: str = ""
    texts: list[bytes] = field(default_factory=lambda: [text_of(0)])
    is_deleted: bool = False
    share: str | None = None
    snapshot: tuple[bytes, str, set[str]] | None = None


class ShareModel:
    """Two workflows and three files: the expected state, and services with the actual state."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._services: Any = None
        self.workflows: list[Expected] = []
        self.assets: dict[str, str] = {}
        self.ended: set[str] = set()  # share ids that were withdrawn

    async def begin(self) -> None:
        folders = HostFolders((LibraryFolder("input", self._base / "input"),), (self._base / "user",), None)
        self._services = attach(MemoryHost(self._base / "user", folders, None), Config(scan_on_start=False))
        await self._services.start()

    async def fill(self) -> None:
        (self._base / "input").mkdir()
        for name in FILES:
            (self._base / "input" / name).write_bytes(name.encode())
        scan, _ = self._services.indexer.start_scan()
        await scan.done.wait()
        await self._services.indexer.finish()
        page = await self._services.assets.list(AssetFilter(OWNER), PageRequest())
        self.assets = {asset.name: asset.id for asset in page.items}
        for _ in range(2):
            made = await self._services.workflows.create(WorkflowDetails("one"), text_of(0), OWNER)
            self.workflows.append(Expected(made.id))

    async def file(self, index: int) -> str:
        """Return the path of a workflow's file, or its former path if it was deleted."""
        expected = self.workflows[index]
        rows = await self._services.db.fetch_all(
            "SELECT path FROM workflows WHERE uuid = ? AND deleted_at IS NULL", (expected.id,)
        )
        if rows:
            expected.path = rows[0][0]
        return f"workflows/{expected.path}"

    async def end(self) -> None:
        await self._services.stop()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    async def publish(self, index: int, names: set[str]) -> None:
        expected = self.workflows[index]
        ids = [self.assets[name] for name in sorted(names)]
        publishing = self._services.shares.publish(await self.file(index), ids, OWNER)
        if expected.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await publishing
            return
        share_id = (await publishing).share.snapshot.share_id
        assert share_id == expected.share or (expected.share is None and share_id not in self.ended)
        expected.share, expected.snapshot = share_id, (expected.texts[-1], expected.name, set(names))

    async def withdraw(self, index: int) -> None:
        expected = self.workflows[index]
        withdrawing = self._services.shares.withdraw(await self.file(index), OWNER)
        if expected.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await withdrawing
        elif expected.share is None:
            with pytest.raises(ShareNotFoundError):
                await withdrawing
        else:
            await withdrawing
            self.ended.add(expected.share)
            expected.share = expected.snapshot = None

    async def save(self, index: int, number: int) -> None:
        expected = self.workflows[index]
        if not expected.is_deleted:
            base = len(expected.texts)
            await self._services.workflows.create_version(expected.id, base, text_of(number), OWNER)
            expected.texts.append(text_of(number))

    async def rename(self, index: int, name: str) -> None:
        expected = self.workflows[index]
        if not expected.is_deleted:
            await self._services.workflows.update(expected.id, WorkflowEdit(name=name), OWNER)
            expected.name = name

    async def delete(self, index: int) -> None:
        expected = self.workflows[index]
        if not expected.is_deleted:
            await self._services.workflows.delete(expected.id, OWNER)
            expected.is_deleted = True

    async def restore(self, index: int) -> None:
        expected = self.workflows[index]
        if expected.is_deleted:
            await restore_workflow(self._services.db, expected.id)
            await self._services.workflow_sync.sync_all(OWNER)
            expected.is_deleted = False

    async def drop(self, name: str) -> None:
        """Delete an asset, which only a share that is served prevents, and bring it back."""
        users = {
            each.share for each in self.workflows if not each.is_deleted and each.snapshot and name in each.snapshot[2]
        }
        deleting = self._services.trash.delete(self.assets[name], OWNER)
        if users:
            with pytest.raises(AssetInUseError) as refusal:
                await deleting
            assert {use["id"] for use in refusal.value.details["used_by"]} == users  # type: ignore[index]
        else:
            await deleting
            await self._services.trash.restore(self.assets[name])

    async def look(self) -> None:
        for each in self.workflows:
            if each.share is None or each.is_deleted:
                continue
            snapshot = await self._services.shares.snapshot(each.share)
            assert (snapshot.text, snapshot.name, {a.path for a in snapshot.assets}) == each.snapshot
            shared = await self._services.shares.get(each.share, OWNER, 1 << 20)
            assert shared.in_library == {asset.id for asset in snapshot.assets}
        hidden = {each.share for each in self.workflows if each.is_deleted and each.share is not None}
        for share_id in self.ended | hidden:
            with pytest.raises(ShareNotFoundError):
                await self._services.shares.snapshot(share_id)
        ((shares,),) = await self._services.db.fetch_all("SELECT count(*) FROM shares")
        assert shares == sum(each.share is not None for each in self.workflows)
        ((loose,),) = await self._services.db.fetch_all(
            "SELECT count(*) FROM asset_uses WHERE used_by NOT IN (SELECT share_id FROM shares)"
        )
        assert loose == 0


async def follow(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await run_model(ShareModel(Path(folder)), [("fill",), *steps], after_each=("look",))


@settings(max_examples=examples(12, 30), deadline=None)
@given(st.lists(step, max_size=20))
@example([("publish", 0, {"a.bin"}), ("delete", 0), ("drop", "a.bin"), ("restore", 0), ("drop", "a.bin")])
@example([("publish", 0, {"a.bin"}), ("save", 0, 1), ("publish", 0, {"b.bin"}), ("drop", "a.bin"), ("withdraw", 0)])
def test_shares_are_what_the_model_says(steps: list[Any]) -> None:
    asyncio.run(follow(steps))
