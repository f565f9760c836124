"""Whatever the page, the API and a file manager do, in any order: files and workflows are one, no version is lost."""

from __future__ import annotations

import asyncio
import json
import posixpath
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.db.compression import decompress
from comfy_assets_node.comfy_assets.host.base import HostFolders
from comfy_assets_node.comfy_assets.host.testing import MemoryHost
from comfy_assets_node.comfy_assets.models import WorkflowEdit, WorkflowFilter, WorkflowPage
from comfy_assets_node.comfy_assets.plugin import attach
from comfy_assets_node.comfy_assets.workflows.service import WorkflowDetails, restore_workflow
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.models import run_model

OWNER = "default"
IDS = (None, str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), "no uuid")

path = st.sampled_from(["a.json", "b.json", "sub/a.json", "sub/c.app.json"])
text = st.tuples(st.integers(0, 2), st.integers(0, len(IDS) - 1))
which = st.integers(0, 5)
name = st.sampled_from(["a", "b", "new"])
by_page = st.booleans()
step = st.one_of(
    st.tuples(st.just("save"), by_page, path, text),
    st.tuples(st.just("save"), by_page, path, text),
    st.tuples(st.just("move"), by_page, path, path),
    st.tuples(st.just("remove"), by_page, path),
    st.tuples(st.just("create"), name, text),
    st.tuples(st.just("version"), which, text, st.booleans()),
    st.tuples(st.just("fork"), which),
    st.tuples(st.just("rename"), which, name),
    st.tuples(st.just("delete"), which),
    st.tuples(st.just("restore"), which),
    st.tuples(st.just("restart")),
)


def text_of(number: tuple[int, int]) -> bytes:
    value: dict[str, Any] = {"nodes": [], "number": number[0]}
    own = IDS[number[1]]
    return json.dumps(value if own is None else {**value, "id": own}).encode()


def id_in(text: bytes) -> str | None:
    return json.loads(text).get("id")


class Expected:
    """The expected state of a workflow; ``deleted`` numbers the deletions in their order."""

    def __init__(self, path: str, name: str, versions: list[bytes]) -> None:
        self.path, self.name, self.versions = path, name, versions
        self.deleted = 0

    @property
    def own(self) -> str | None:
        return id_in(self.versions[-1])


def name_in(path: str) -> str:
    return posixpath.basename(path).removesuffix(".json").removesuffix(".app")


class WorkflowFileModel:
    """The expected state, and services over a folder with the actual state."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.host: Any = None
        self.services: Any = None
        self.workflows: dict[str, Expected] = {}
        self.deletions = 0

    async def begin(self) -> None:
        self.host = MemoryHost(self._base / "user" / "__comfy_assets", HostFolders((), (), self._base), None)
        self.services = attach(self.host, Config(scan_on_start=False))
        await self.services.start()

    async def end(self) -> None:
        await self.services.stop()

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    @property
    def folder(self) -> Path:
        return self.host.user_directory(OWNER) / "workflows"

    @property
    def live(self) -> dict[str, Expected]:
        return {each.path: each for each in self.workflows.values() if not each.deleted}

    def id_of(self, expected: Expected) -> str:
        return next(key for key, each in self.workflows.items() if each is expected)

    def pick(self, index: int) -> tuple[str, Expected] | None:
        return list(self.workflows.items())[index % len(self.workflows)] if self.workflows else None

    def bury(self, expected: Expected) -> None:
        self.deletions += 1
        expected.deleted = self.deletions

    def free(self, name: str, ending: str, folder: str, but: str = "") -> str:
        number = 0
        while True:
            found = posixpath.join(folder, f"{name}{f' ({number})' if number else ''}{ending}")
            if found == but or not (self.folder / found).exists():
                return found
            number += 1

    async def look(self, path: str | None = None, new: str | None = None) -> None:
        """Synchronize after a request of the page, or after changes by a file manager."""
        files = self.services.workflow_sync
        if path is not None and new is not None:
            async with files.lock(OWNER):
                await files.sync_move(OWNER, path, new)
        elif path is not None:
            async with files.lock(OWNER):
                await files.sync_file(OWNER, path)
        else:
            for _ in range(2):
                await files.sync_all(OWNER)

    async def save(self, by_page: bool, path: str, number: tuple[int, int]) -> None:
        file, text = self.folder / path, text_of(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
        await self.look(path if by_page else None)
        await self.saved(path, text)

    async def saved(self, path: str, text: bytes) -> None:
        there = self.live.get(path)
        own = id_in(text)
        if there is None:
            there = self.again(path, own, text)
        if there is None:
            (found,) = [key for key in await self.ids() if key not in self.workflows]
            if own in IDS[1:3] and own not in self.workflows:
                assert found == own
            self.workflows[found] = Expected(path, name_in(path), [text])
            return
        if there.deleted:
            there.path, there.name, there.deleted = path, name_in(path), 0
        if there.versions[-1] != text:
            there.versions.append(text)

    def again(self, path: str, own: str | None, text: bytes) -> Expected | None:
        """Return the deleted workflow that a file restores."""
        if own is not None and any(each.own == own for each in self.live.values()):
            return None
        buried = [each for each in self.workflows.values() if each.deleted and each.own == own]
        buried = [each for each in buried if each.path == path or (own is not None and text in each.versions)]
        return max(buried, key=lambda each: each.deleted, default=None)

    async def move(self, by_page: bool, path: str, new: str) -> None:
        if path not in self.live or path == new:
            return
        moved, there = self.live[path], self.live.get(new)
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.folder / path, self.folder / new)
        await self.look(*((path, new) if by_page else ()))
        if by_page or there is None:
            if there is not None:
                self.bury(there)
            moved.path, moved.name = new, name_in(new)
        else:  # another program's write to a changed file is an edit of that file
            self.bury(moved)
            await self.saved(new, moved.versions[-1])

    async def remove(self, by_page: bool, path: str) -> None:
        if path not in self.live:
            return
        there = self.live[path]
        (self.folder / path).unlink()
        await self.look(path if by_page else None)
        self.bury(there)

    async def create(self, name: str, number: tuple[int, int]) -> None:
        path = self.free(name, ".json", "")
        made = await self.services.workflows.create(WorkflowDetails(name), text_of(number), OWNER)
        self.workflows[made.id] = Expected(path, name, [text_of(number)])

    async def version(self, index: int, number: tuple[int, int], is_killed: bool) -> None:
        """Save through the API; perhaps the server dies before it has written the file."""
        picked = self.pick(index)
        if picked is None or picked[1].deleted:
            return
        workflow_id, expected = picked
        if is_killed:
            self.services.workflow_sync.write = nothing
        base = len(expected.versions)
        await self.services.workflows.create_version(workflow_id, base, text_of(number), OWNER)
        expected.versions.append(text_of(number))
        if is_killed:
            await self.restart()
            await self.look()

    async def fork(self, index: int) -> None:
        picked = self.pick(index)
        if picked is None or picked[1].deleted:
            return
        workflow_id, expected = picked
        source = await self.services.workflows.get(workflow_id, OWNER)
        ending = ".app.json" if source.default_view == "app" else ".json"
        path = self.free(expected.name, ending, "")
        made = await self.services.workflows.fork(workflow_id, 1, None, OWNER)
        self.workflows[made.id] = Expected(path, expected.name, [expected.versions[0]])

    async def rename(self, index: int, name: str) -> None:
        picked = self.pick(index)
        if picked is None or picked[1].deleted:
            return
        workflow_id, expected = picked
        source = await self.services.workflows.get(workflow_id, OWNER)
        ending = ".app.json" if source.default_view == "app" else ".json"
        if name != expected.name:
            expected.path = self.free(name, ending, posixpath.dirname(expected.path), expected.path)
        expected.name = name
        await self.services.workflows.update(workflow_id, WorkflowEdit(name=name), OWNER)

    async def delete(self, index: int) -> None:
        picked = self.pick(index)
        if picked is None or picked[1].deleted:
            return
        await self.services.workflows.delete(picked[0], OWNER)
        self.bury(picked[1])

    async def restore(self, index: int) -> None:
        picked = self.pick(index)
        if picked is None or not picked[1].deleted:
            return
        workflow_id, expected = picked
        source = await restore_workflow(self.services.db, workflow_id)
        if expected.path in self.live:
            ending = ".app.json" if source.default_view == "app" else ".json"
            expected.path = self.free(expected.name, ending, "")
        expected.deleted = 0
        await self.look()

    async def ids(self) -> set[str]:
        page = await self.services.workflows.list(WorkflowFilter(OWNER), WorkflowPage(limit=100))
        return {each.id for each in page.items}

    async def compare(self) -> None:
        rows = await self.services.db.fetch_all("SELECT uuid, name, path, deleted_at IS NOT NULL FROM workflows")
        assert {row[0]: (row[1], row[2], bool(row[3])) for row in rows} == {
            key: (each.name, each.path, each.deleted > 0) for key, each in self.workflows.items()
        }
        found: dict[str, list[bytes]] = {key: [] for key in self.workflows}
        for key, body in await self.services.db.fetch_all(
            "SELECT w.uuid, d.body FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id"
            " JOIN documents d ON d.id = v.document_id ORDER BY v.version"
        ):
            found[key].append(decompress(body))
        assert found == {key: each.versions for key, each in self.workflows.items()}
        files = {
            each.relative_to(self.folder).as_posix(): each.read_bytes()
            for each in self.folder.rglob("*")
            if each.is_file()
        }
        assert files == {path: each.versions[-1] for path, each in self.live.items()}


async def nothing(row_id: int) -> None:
    """In place of writing a file."""


async def follow(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = WorkflowFileModel(Path(folder))
        await run_model(model, steps, after_each=("compare",), at_end=("restart", "look", "compare"))


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(step, max_size=20))
@example([("create", "a", (0, 0)), ("version", 0, (1, 0), True), ("delete", 0), ("restore", 0)])
@example([("save", True, "a.json", (0, 1)), ("move", False, "a.json", "b.json"), ("remove", True, "b.json")])
def test_files_and_workflows_are_one(steps: list[Any]) -> None:
    asyncio.run(follow(steps))
