"""Any sequence of operations on workflows has the result of a plain model, and no version ever changes."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import (
    VersionConflictError,
    WorkflowNotFoundError,
    WorkflowVersionNotFoundError,
)
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import Workflow, WorkflowEdit, WorkflowFilter, WorkflowPage
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.comfy_assets.workflows.service import WorkflowDetails, purge_workflows, restore_workflow
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.models import run_model

OWNERS = ("ann", "bob")
VIEWS = ("workflow", "app")

which = st.integers(0, 7)
text = st.integers(0, 3)  # few, so that texts repeat
name = st.sampled_from(["alpha", "Alpha 2", "ÄRGER", "straße"])
step = st.one_of(
    st.tuples(st.just("create"), st.integers(0, 1), name, text, st.sampled_from(VIEWS)),
    st.tuples(st.just("save"), which, text, st.integers(-1, 1)),
    st.tuples(st.just("save"), which, text, st.just(0)),
    st.tuples(st.just("race"), which, text, st.integers(2, 5)),
    st.tuples(st.just("fork"), which, st.integers(0, 4)),
    st.tuples(st.just("rename"), which, name),
    st.tuples(st.just("turn"), which, st.sampled_from(VIEWS)),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("restore"), which),
    st.tuples(st.just("purge"), st.booleans()),
    st.tuples(st.just("look")),
    st.tuples(st.just("restart")),
)


def text_of(number: int) -> bytes:
    return json.dumps({"nodes": [], "number": number}).encode()


class Expected:
    """The expected state of a workflow; ``versions`` are texts."""

    def __init__(self, owner: str, name: str, view: str, versions: list[bytes], source: Any = None) -> None:
        self.owner, self.name, self.view, self.versions, self.source = owner, name, view, versions, source
        self.is_deleted = False
        self.version_ids: list[str] = []


class WorkflowModel:
    """The expected state, and services with the actual state."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._services: Any = None
        self.workflows: dict[str, Expected] = {}

    async def begin(self) -> None:
        host = MemoryHost(self._base / "user", HostFolders((), (), self._base), None)
        self._services = attach(host, Config(scan_on_start=False))
        await self._services.start()

    async def end(self) -> None:
        await self._services.stop()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    @property
    def service(self) -> Any:
        return self._services.workflows

    def pick(self, index: int) -> tuple[str, Expected] | None:
        return list(self.workflows.items())[index % len(self.workflows)] if self.workflows else None

    async def note(self, made: Workflow, expected: Expected) -> None:
        self.workflows[made.id] = expected
        first = await self.service.content(made.id, expected.owner)
        expected.version_ids.append(first.version.id)

    async def create(self, owner: int, name: str, number: int, view: Any) -> None:
        made = await self.service.create(WorkflowDetails(name, None, view), text_of(number), OWNERS[owner])
        await self.note(made, Expected(OWNERS[owner], name, view, [text_of(number)]))

    async def save(self, index: int, number: int, beside: int) -> None:
        if (picked := self.pick(index)) is None:
            return
        workflow_id, expected = picked
        latest = len(expected.versions)
        saving = self.service.create_version(workflow_id, latest + beside, text_of(number), expected.owner)
        if expected.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await saving
        elif beside:
            with pytest.raises(VersionConflictError) as refusal:
                await saving
            assert refusal.value.details == {"base_version": latest + beside, "latest_version": latest}
        else:
            saved = await saving
            assert (saved.version.number, saved.workflow.latest_version) == (latest + 1, latest + 1)
            expected.versions.append(text_of(number))
            expected.version_ids.append(saved.version.id)

    async def race(self, index: int, number: int, writers: int) -> None:
        """Several save at once."""
        if (picked := self.pick(index)) is None or picked[1].is_deleted:
            return
        workflow_id, expected = picked
        base = len(expected.versions)
        texts = [text_of(number + writer) for writer in range(writers)]
        saving = (self.service.create_version(workflow_id, base, each, expected.owner) for each in texts)
        outcomes = await asyncio.gather(*saving, return_exceptions=True)
        won = [(outcome, each) for outcome, each in zip(outcomes, texts, strict=True) if hasattr(outcome, "version")]
        assert len(won) == 1
        assert sum(isinstance(outcome, VersionConflictError) for outcome in outcomes) == writers - 1
        expected.versions.append(won[0][1])
        expected.version_ids.append(won[0][0].version.id)

    async def fork(self, index: int, number: int) -> None:
        if (picked := self.pick(index)) is None:
            return
        workflow_id, source = picked
        forking = self.service.fork(workflow_id, number, None, source.owner)
        if source.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await forking
        elif not 0 < number <= len(source.versions):
            with pytest.raises(WorkflowVersionNotFoundError):
                await forking
        else:
            made_of = (workflow_id, source.version_ids[number - 1])
            forked = Expected(source.owner, source.name, source.view, [source.versions[number - 1]], made_of)
            await self.note(await forking, forked)

    async def change(self, index: int, change: WorkflowEdit, **members: str) -> None:
        if (picked := self.pick(index)) is None:
            return
        workflow_id, expected = picked
        changing = self.service.update(workflow_id, change, expected.owner)
        if expected.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await changing
        else:
            await changing
            vars(expected).update(members)

    async def rename(self, index: int, name: str) -> None:
        await self.change(index, WorkflowEdit(name=name), name=name)

    async def turn(self, index: int, view: Any) -> None:
        await self.change(index, WorkflowEdit(default_view=view), view=view)

    async def delete(self, index: int) -> None:
        if (picked := self.pick(index)) is None:
            return
        workflow_id, expected = picked
        deleting = self.service.delete(workflow_id, expected.owner)
        if expected.is_deleted:
            with pytest.raises(WorkflowNotFoundError):
                await deleting
        else:
            await deleting
            expected.is_deleted = True

    async def restore(self, index: int) -> None:
        if (picked := self.pick(index)) is None:
            return
        workflow_id, expected = picked
        restoring = restore_workflow(self._services.db, workflow_id)
        if expected.is_deleted:
            assert (await restoring).id == workflow_id
            expected.is_deleted = False
        else:
            with pytest.raises(WorkflowNotFoundError):
                await restoring

    async def purge(self, is_late: bool) -> None:
        """Thirty days after the last deletion, or a moment before."""
        now = time.time_ns() // 1_000_000 + (31 if is_late else 29) * 86_400_000
        gone = [key for key, expected in self.workflows.items() if expected.is_deleted] if is_late else []
        assert await purge_workflows(self._services.db, now) == len(gone)
        for key in gone:
            del self.workflows[key]

    async def look(self) -> None:
        for workflow_id, expected in self.workflows.items():
            if expected.is_deleted:
                with pytest.raises(WorkflowNotFoundError):
                    await self.service.get(workflow_id, expected.owner)
                continue
            await self.compare(workflow_id, expected)
        for owner in OWNERS:
            await self.compare_lists(owner)
        ((documents,),) = await self._services.db.fetch_all("SELECT count(*) FROM documents")
        assert documents == len({each for expected in self.workflows.values() for each in expected.versions})

    async def compare(self, workflow_id: str, expected: Expected) -> None:
        found = await self.service.get(workflow_id, expected.owner)
        source = (found.forked_from_id, found.forked_from_version_id)
        assert (found.name, found.default_view, found.latest_version) == (
            expected.name,
            expected.view,
            len(expected.versions),
        )
        assert source == (expected.source or (None, None))
        for number, wanted in enumerate(expected.versions, 1):
            content = await self.service.content(workflow_id, expected.owner, number)
            assert (content.text, content.version.id) == (wanted, expected.version_ids[number - 1])
        _, listed = await self.service.versions(workflow_id, expected.owner, 100, 0)
        assert [saved.version.id for saved in listed] == expected.version_ids[::-1]

    async def compare_lists(self, owner: str) -> None:
        own = {key: each for key, each in self.workflows.items() if each.owner == owner and not each.is_deleted}
        for view in (None, *VIEWS):
            for part in ("", "ALPHA", "strasse", "ärg"):
                wanted = {
                    key
                    for key, each in own.items()
                    if view in (None, each.view) and part.casefold() in each.name.casefold()
                }
                page = await self.service.list(WorkflowFilter(owner, part, view), WorkflowPage("name", "asc", 100))  # type: ignore[arg-type]
                assert ({each.id for each in page.items}, page.total) == (wanted, len(wanted))
                keys = [each.name.casefold() for each in page.items]
                assert keys == sorted(keys)


async def follow(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await run_model(WorkflowModel(Path(folder)), steps, at_end=("look", "restart", "look"))


@settings(max_examples=examples(20, 50), deadline=None)
@given(st.lists(step, max_size=25))
@example(
    [("create", 0, "alpha", 0, "app"), ("save", 0, 1, 0), ("fork", 0, 1), ("delete", 0), ("fork", 0, 1), ("look",)]
)
@example([("create", 0, "alpha", 0, "app"), ("race", 0, 0, 5), ("turn", 0, "workflow"), ("delete", 0), ("delete", 0)])
def test_what_is_there_is_what_the_model_says(steps: list[Any]) -> None:
    asyncio.run(follow(steps))
