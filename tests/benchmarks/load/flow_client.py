"""A client that alone works on its workflows: through the API, as the page does, and on the disk.

After each deed it knows the versions, the name and the file of its workflow. Where there was no answer, it looks what
has become of it, and that must be one or the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import uuid
from pathlib import Path

from asking import Answer, Asker, Unanswered, in_userdata
from client import Client, Deed
from notes import FlowNote, Json

URL = "/api/workflows"


class FlowClient(Client):
    """Creates, saves, forks, renames, moves, edits, deletes and brings back workflows, and publishes them."""

    def __init__(self, ask: Asker, chance: random.Random) -> None:
        super().__init__(ask, chance)
        self._own: list[FlowNote] = []
        self._templates: set[str | None] = set()  # ids in several graphs: deleted ones are not known again by these

    def deeds(self) -> list[tuple[int, Deed]]:
        return [
            (4, self.create),
            (8, self.save),
            (2, self.fork),
            (3, self.rename),
            (2, self.delete),
            (4, self.page_creates),
            (8, self.page_saves),
            (4, self.page_moves),
            (2, self.page_deletes),
            (2, self.page_brings_back),
            (3, self.edit_outside),
            (2, self.move_outside),
            (1, self.delete_outside),
            (3, self.publish),
            (3, self.read),
        ]

    # Through the API

    async def create(self) -> None:
        """A new workflow, which becomes a file of its name."""
        name, text = self.unique(), self.text()
        await self._add(name, text, "create", URL, {"name": name, "workflow_json": text})

    async def fork(self) -> None:
        """A new workflow that begins with a version of another."""
        flow = self._any()
        if flow is not None:
            number, name = self.chance.choice(list(flow.versions)), self.unique()
            body = {"source_version": number, "name": name}
            self._templates.add(flow.versions[number].get("id"))
            await self._add(name, flow.versions[number], "fork", f"{URL}/{flow.id}/fork", body)

    async def _add(self, name: str, text: Json, kind: str, path: str, body: Json) -> None:
        try:
            answer = await self.ask.ask(kind, "POST", path, json=body)
        except Unanswered:
            found = await self._named(name)
            if found is not None:
                flow = await self._begin(found["id"], f"{name}.json", name, text, None)
                await self.ask.until(lambda: self._is_written(flow), f"the file {flow.path} is not written")
            raise
        if self.must(answer.status == 201, f"{kind} is answered", answer):
            flow = await self._begin(answer.json["id"], f"{name}.json", name, text, None)
            await self._check_file(flow)

    async def _named(self, name: str) -> Json | None:
        found = (await self.ask.learn("list", f"{URL}?name={name}&limit=100")).json["data"]
        exact = [each for each in found if each["name"] == name]
        self.must(len(exact) <= 1, f"there are several workflows named {name}:", exact)
        return exact[0] if exact else None

    async def _begin(self, flow_id: str, path: str, name: str, text: Json, graph_id: str | None) -> FlowNote:
        flow = FlowNote(flow_id, path, name, {1: text}, graph_id)
        self._own.append(flow)
        self.notes.flows.append(flow)
        content = await self.ask.learn("content", f"{URL}/{flow.id}/versions/1")
        is_exact = content.status == 200 and content.json["workflow_json"] == text
        self.must(is_exact, f"the first version of {flow.id} is answered", content.status)
        return flow

    async def save(self) -> None:
        """The next version."""
        flow = self._any()
        if flow is None:
            return
        text = self.text(flow.graph_id)
        body = {"base_version": flow.latest, "workflow_json": text}
        try:
            answer = await self.ask.ask("version", "POST", f"{URL}/{flow.id}/versions", json=body)
        except Unanswered:
            await self._learn_version(flow, text)
            raise
        if self.must(answer.status == 201, f"version {flow.latest + 1} of {flow.id} is answered", answer):
            self.must(answer.json["version"] == flow.latest + 1, f"a version of {flow.id} is", answer.json)
            flow.versions[answer.json["version"]] = text
            await self._check_file(flow)

    async def _learn_version(self, flow: FlowNote, text: Json) -> None:
        """Whether the latest version is now the one with this text, or is still the one before."""
        content = await self.ask.learn("content", f"{URL}/{flow.id}/content")
        if not self.must(content.status == 200, f"{flow.id} is answered", content):
            return
        held = (content.json["version"], content.json["workflow_json"])
        before, after = (flow.latest, flow.versions[flow.latest]), (flow.latest + 1, text)
        if self.must(held in (before, after), f"{flow.id} holds neither what it did nor what was saved:", held[0]):
            flow.versions[held[0]] = held[1]

    async def rename(self) -> None:
        """Another name, which its file takes."""
        flow, name = self._any(), self.unique()
        if flow is None:
            return
        path = _beside(flow.path, f"{name}.json")
        try:
            answer = await self.ask.ask("rename", "PATCH", f"{URL}/{flow.id}", json={"name": name})
        except Unanswered:
            found = await self.ask.learn("workflow", f"{URL}/{flow.id}")
            self.must(found.status == 200 and found.json["name"] in (flow.name, name), "a name after a kill is", found)
            if found.status == 200 and found.json["name"] == name:
                await self.ask.until(lambda: self._is_at(flow, path), f"the file of {flow.id} is not renamed to {path}")
                flow.name, flow.path = name, path
            raise
        if self.must(answer.status == 200 and answer.json["name"] == name, "a new name is answered", answer):
            await self.ask.until(lambda: self._is_at(flow, path), f"the file of {flow.id} is not renamed to {path}")
            flow.name, flow.path = name, path
            await self._check_file(flow)

    async def delete(self) -> None:
        """Delete a workflow, and its file with it."""
        flow = self._any()
        if flow is None:
            return
        try:
            answer = await self.ask.ask("delete workflow", "DELETE", f"{URL}/{flow.id}")
        except Unanswered:
            flow.is_deleted = (await self.ask.learn("workflow", f"{URL}/{flow.id}")).status == 404
            if flow.is_deleted:
                await self.ask.until(lambda: self._is_no_file(flow.path), f"the file of deleted {flow.id} stays")
            raise
        flow.is_deleted = self.must(answer.status == 204, f"deleting {flow.id} is answered", answer)
        what = f"the file of {flow.id} is there after it was deleted"
        if self.may_be_late():
            await self.ask.until(lambda: self._is_no_file(flow.path), what)
        else:
            self.must(await self._is_no_file(flow.path), what)

    async def read(self) -> None:
        """A list, and any version of a workflow."""
        await self.ask.ask("list workflows", "GET", f"{URL}?limit=50&sort=update_time")
        flow = self._any()
        if flow is not None:
            number = self.chance.choice(list(flow.versions))
            answer = await self.ask.ask("content", "GET", f"{URL}/{flow.id}/versions/{number}")
            is_exact = answer.status == 200 and answer.json["workflow_json"] == flow.versions[number]
            self.must(is_exact, f"version {number} of {flow.id} is answered {answer.status}, or other")

    async def publish(self) -> None:
        """Publish the latest version; it is seen as it was then, whatever becomes of the workflow."""
        flow = self._any()
        if flow is None:
            return
        path, text = in_userdata(flow.path) + "/publish", flow.versions[flow.latest]
        try:
            answer = await self.ask.ask("publish", "POST", path, json={"asset_ids": []})
        except Unanswered:
            share_id = (await self.ask.learn("publish info", path)).json["share_id"]
            if share_id:
                await self._shown(flow, share_id, [text] if flow.share is None else [text, flow.share[1]])
            raise
        if self.must(answer.status == 200, f"publishing {flow.id} is answered", answer):
            await self._shown(flow, answer.json["share_id"], [text])

    async def _shown(self, flow: FlowNote, share_id: str, texts: list[Json]) -> None:
        """What a share shows is one of the texts."""
        shown = await self.ask.learn("share", f"{URL}/published/{share_id}")
        is_exact = shown.status == 200 and shown.json["workflow_json"] in texts
        if self.must(is_exact, f"the share of {flow.id} is answered {shown.status}, or other"):
            flow.share = (share_id, shown.json["workflow_json"])

    # As the page does

    async def page_creates(self) -> None:
        """A new file; it is a workflow before the page has its answer."""
        graph_id = str(uuid.uuid4()) if self.chance.random() < 0.7 else None
        name, text = self.unique(), self.text(graph_id)
        path = f"sub/{name}.json" if self.chance.random() < 0.3 else f"{name}.json"
        try:
            answer = await self._page_saves(path, text)
        except Unanswered:
            if await self._wrote(path, None, text):
                await self._find_new(path, name, text, graph_id)
            raise
        if self.must(answer.status == 200, "the page's new file is answered", answer):
            await self._find_new(path, name, text, graph_id, is_there=True)

    async def _find_new(self, path: str, name: str, text: Json, graph_id: str | None, is_there: bool = False) -> None:
        """The workflow that a file has become; within some seconds, or at once if the page was answered."""

        async def is_known() -> bool:
            return await self._named(name) is not None

        is_there = is_there and not self.may_be_late()
        if is_there and not self.must(await is_known(), f"the page's new file {path} is no workflow"):
            return
        if await self.ask.until(is_known, f"the file {path} does not become a workflow"):
            found = await self._named(name)
            if found is not None:
                self.must(graph_id in (None, found["id"]), f"{path} is not known by the id in it", found["id"])
                await self._begin(found["id"], path, name, text, graph_id)

    async def page_saves(self) -> None:
        """The page saves a workflow that it has open; sometimes it has not changed."""
        flow = self._any()
        if flow is None:
            return
        is_same = self.chance.random() < 0.2
        text = flow.versions[flow.latest] if is_same else self.text(flow.graph_id)
        try:
            answer = await self._page_saves(flow.path, text)
        except Unanswered:
            if await self._wrote(flow.path, flow.versions[flow.latest], text) and not is_same:
                await self._learn_saved(flow, text)
            raise
        if self.must(answer.status == 200, f"the page's save of {flow.id} is answered", answer):
            if not is_same:
                flow.versions[flow.latest + 1] = text
            await self._check_latest(flow)

    async def _learn_saved(self, flow: FlowNote, text: Json) -> None:
        """A text that is in the file is the latest version for whoever asks."""
        flow.versions[flow.latest + 1] = text
        await self._check_latest(flow)

    async def _wrote(self, path: str, before: Json | None, after: Json) -> bool:
        """Whether a save without an answer is on the disk. A ComfyUI may have been killed in the middle of writing:
        then the page saves again, as whoever sits before it does."""
        while True:
            await self.ask.server.up.wait()
            held = self._held(path)
            if held == json.dumps(after).encode():
                return True
            if held == (json.dumps(before).encode() if before is not None else None):
                return False
            if before is not None and held is not None and _parsed(held) == before:
                return False
            is_cut = held is not None and json.dumps(after).encode().startswith(held)
            if not self.must(self.ask.server.is_comfyui and is_cut, f"the file {path} holds half of something", held):
                return False
            try:
                await self._page_saves(path, after)
            except Unanswered:
                continue

    async def page_moves(self) -> None:
        """The page renames a file; it stays the same workflow."""
        flow, name = self._any(), self.unique()
        if flow is None:
            return
        path = self.chance.choice(["", "sub/", "other/"]) + f"{name}.json"
        try:
            answer = await self.ask.ask("page moves", "POST", f"{in_userdata(flow.path)}/move/{_encoded(path)}")
        except Unanswered:
            await self.ask.server.up.wait()
            if self._file(path).exists():
                await self._has_moved(flow, path, name)
            raise
        if self.must(answer.status == 200, f"the page's move of {flow.path} is answered", answer):
            if self.may_be_late():
                await self._has_moved(flow, path, name)
            flow.path, flow.name = path, name
            await self._check_latest(flow)

    async def _has_moved(self, flow: FlowNote, path: str, name: str) -> None:
        """The same workflow is known by its new name in a while."""

        async def is_known() -> bool:
            answer = await self.ask.learn("workflow", f"{URL}/{flow.id}")
            return answer.status == 200 and answer.json["name"] == name

        await self.ask.until(is_known, f"{flow.id}, moved from {flow.path} to {path}, is not known by its new name")
        flow.path, flow.name = path, name

    async def page_deletes(self) -> None:
        """The page deletes a file, and so its workflow."""
        flow = self._any()
        if flow is None:
            return
        try:
            answer = await self.ask.ask("page deletes", "DELETE", in_userdata(flow.path))
        except Unanswered:
            await self.ask.server.up.wait()
            if not self._file(flow.path).exists():
                await self._is_gone(flow)
            raise
        if self.must(answer.status == 204, f"the page's deleting of {flow.path} is answered", answer):
            if self.may_be_late():
                await self._is_gone(flow)
                return
            flow.is_deleted = True
            found = await self.ask.learn("workflow", f"{URL}/{flow.id}")
            self.must(found.status == 404, f"{flow.id}, whose file the page has deleted, is answered", found.status)

    async def _is_gone(self, flow: FlowNote) -> None:
        """A workflow whose file is not there is deleted in a while."""

        async def is_deleted() -> bool:
            return (await self.ask.learn("workflow", f"{URL}/{flow.id}")).status == 404

        await self.ask.until(is_deleted, f"{flow.id}, whose file {flow.path} is gone, stays")
        flow.is_deleted = True

    async def page_brings_back(self) -> None:
        """The page saves a deleted file anew: by the id in it, it is the same workflow with all its versions."""
        deleted = [f for f in self._own if f.is_deleted and f.graph_id and f.graph_id not in self._templates]
        if not deleted:
            return
        flow = self.chance.choice(deleted)
        text = self.text(flow.graph_id)
        try:
            answer = await self._page_saves(flow.path, text)
        except Unanswered:
            if await self._wrote(flow.path, None, text):
                await self._comes_back(flow, text)
            raise
        if self.must(answer.status == 200, "the page's save of a deleted file is answered", answer):
            flow.is_deleted = False
            flow.versions[flow.latest + 1] = text
            await self._check_latest(flow)

    async def _comes_back(self, flow: FlowNote, text: Json) -> None:
        async def is_back() -> bool:
            return (await self.ask.learn("workflow", f"{URL}/{flow.id}")).status == 200

        if await self.ask.until(is_back, f"{flow.id} does not come back with its file {flow.path}"):
            flow.is_deleted = False
            await self._learn_saved(flow, text)

    async def _page_saves(self, path: str, text: Json) -> Answer:
        content = json.dumps(text).encode()
        options = {"data": content, "headers": {"Content-Type": "application/json"}}
        return await self.ask.ask("page saves", "POST", f"{in_userdata(path)}?overwrite=true", **options)

    # On the disk

    async def edit_outside(self) -> None:
        """Another program writes the file; who asks for the workflow is shown that at once."""
        flow = self._any()
        if flow is None:
            return
        text, path = self.text(flow.graph_id), self._file(flow.path)
        content = json.dumps(text).encode()
        if self.chance.random() < 0.5:
            half = len(content) // 2
            with path.open("wb", buffering=0) as file:  # seen half written by whoever looks now
                file.write(content[:half])
                await asyncio.sleep(self.chance.random() / 10)
                file.write(content[half:])
        else:
            passing = path.with_name(f".{path.name}")
            passing.write_bytes(content)
            passing.replace(path)
        self.notes.write(self.ask.who, kind="edit outside", flow=flow.id, path=flow.path, text=text["n"])
        flow.versions[flow.latest + 1] = text
        await self._check_latest(flow)

    async def move_outside(self) -> None:
        """A file manager renames the file."""
        flow, name = self._any(), self.unique()
        if flow is None:
            return
        path = self.chance.choice(["", "sub/"]) + f"{name}.json"
        target = self._file(path)
        target.parent.mkdir(exist_ok=True)
        self._file(flow.path).rename(target)
        self.notes.write(self.ask.who, kind="move outside", flow=flow.id, path=path)
        await self._has_moved(flow, path, name)

    async def delete_outside(self) -> None:
        """A file manager removes the file."""
        flow = self._any()
        if flow is None:
            return
        self._file(flow.path).unlink()
        self.notes.write(self.ask.who, kind="delete outside", flow=flow.id, path=flow.path)
        await self._is_gone(flow)

    # What is so

    async def _check_latest(self, flow: FlowNote) -> None:
        """The workflow is there, its latest version as noted; in a while, if the store could not be written."""
        if self.may_be_late():
            await self.ask.until(lambda: self._is_latest(flow), f"{flow.id} ({flow.path}) has no version {flow.latest}")
            return
        content = await self.ask.learn("content", f"{URL}/{flow.id}/content")
        if self.must(content.status == 200, f"{flow.id} ({flow.path}) is answered", content):
            held = content.json["version"]
            is_exact = held == flow.latest and content.json["workflow_json"] == flow.versions[flow.latest]
            self.must(is_exact, f"{flow.id}: version {held} is the latest, not {flow.latest}, or it is other")

    async def _is_latest(self, flow: FlowNote) -> bool:
        content = await self.ask.learn("content", f"{URL}/{flow.id}/content")
        if content.status != 200 or content.json["version"] != flow.latest:
            return False
        return bool(content.json["workflow_json"] == flow.versions[flow.latest])

    async def _check_file(self, flow: FlowNote) -> None:
        """The file holds the latest version, or soon does: while others use the folder, it is written later."""
        what = f"the file {flow.path} of {flow.id} does not hold version {flow.latest}"
        await self.ask.until(lambda: self._is_written(flow), what)

    async def _is_written(self, flow: FlowNote) -> bool:
        held = self._held(flow.path)
        return held is not None and _parsed(held) == flow.versions[flow.latest]

    async def _is_at(self, flow: FlowNote, path: str) -> bool:
        """Return whether the file is there under its new name, and the server knows that."""
        found = await self.ask.learn("workflow", f"{URL}/{flow.id}")
        return self._file(path).exists() and bool(found.json.get("path") == f"workflows/{path}")

    async def _is_no_file(self, path: str) -> bool:
        return not self._file(path).exists()

    def _file(self, path: str) -> Path:
        return self.ask.workflows / path

    def _held(self, path: str) -> bytes | None:
        try:
            return self._file(path).read_bytes()
        except FileNotFoundError:
            return None

    def text(self, graph_id: str | None = None) -> Json:
        """A workflow that no other is like; with the id that its page gives it."""
        text: Json = {"n": self.unique(), "nodes": [], "links": [], "filling": "x" * self.chance.randrange(20_000)}
        return {**text, "id": graph_id} if graph_id is not None else text

    def _any(self) -> FlowNote | None:
        """One that is not deleted; there are never very many."""
        there = [flow for flow in self._own if not flow.is_deleted]
        return self.chance.choice(there) if there else None


def _parsed(content: bytes) -> Json | None:
    try:
        parsed: Json = json.loads(content)
    except ValueError:
        return None
    return parsed


def _beside(path: str, name: str) -> str:
    folder = os.path.dirname(path)
    return f"{folder}/{name}" if folder else name


def _encoded(path: str) -> str:
    return in_userdata(path).removeprefix("/api/userdata/")
