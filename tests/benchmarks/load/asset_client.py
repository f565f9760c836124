"""A client that alone works on its assets, and so knows after each deed how they must be."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath

import aiohttp
from asking import Answer, Asker, Unanswered
from blake3 import blake3
from client import Client, Deed
from notes import AssetNote, Json

OWN_TAGS = ("t0", "t1", "t2", "t3", "t4")
PLACES = {"input": ["input"], "output": ["output"], "models/loras": ["models", "loras"]}


class AssetClient(Client):
    """Uploads, refers, reads, edits, deletes, restores; and moves and removes its files behind the server's back."""

    def __init__(self, ask: Asker, chance: random.Random, sources: Sequence[bytes]) -> None:
        """``sources`` are contents of files that nobody changes, to which it may refer."""
        super().__init__(ask, chance)
        self._sources = sources
        self._own: list[AssetNote] = []

    def deeds(self) -> list[tuple[int, Deed]]:
        return [
            (6, self.look),
            (8, self.upload),
            (2, self.upload_again),
            (2, self.refer),
            (6, self.tag),
            (4, self.edit),
            (4, self.read),
            (3, self.delete_or_restore),
            (1, self.move_outside),
            (1, self.vanish_outside),
        ]

    async def look(self) -> None:
        """Lists and searches; what it has just uploaded is found by its name."""
        paths = [
            "/api/assets?limit=50",
            "/api/tags?limit=100",
            "/api/assets/tags/refine",
            "/api/assets?limit=20&sort=name",
        ]
        await self.ask.ask("list", "GET", self.chance.choice(paths))
        note = self._any()
        if note is not None:
            answer = await self.ask.ask("search", "GET", f"/api/assets?name_contains={note.name}")
            ids = [each["id"] for each in answer.json["assets"]]
            self.must(note.id in ids, "a search by name does not find", note.id)

    async def upload(self) -> None:
        """A new file, with an id of our own by which it can be asked for."""
        folder, tags = self.chance.choice(list(PLACES.items()))
        suffix = ".ckpt" if folder.startswith("models") else ".bin"
        name, content = self.unique() + suffix, self.chance.randbytes(self.chance.randrange(1, 60_000))
        note = AssetNote(str(uuid.uuid4()), digest_of(content), content, name)
        note.tags, note.metadata = {self.chance.choice(OWN_TAGS)}, {"n": self._count}
        form = _form(note, [*tags, *note.tags])
        self.ask.server.uploading[name] = time.monotonic()
        try:
            answer = await self.ask.ask("upload", "POST", "/api/assets", data=form)
        except Unanswered:
            answer = await self.ask.learn("asset", f"/api/assets/{note.id}")
            if answer.status == 404:
                raise
        if self.must(answer.status in (200, 201), "an upload is answered", answer):
            self._take(note, answer)
            self._check(note, answer.json)

    def _take(self, note: AssetNote, answer: Answer) -> None:
        self._own.append(note)
        note.path = answer.json["file_path"]
        self.notes.assets[note.id] = note

    async def upload_again(self) -> None:
        """What is there already, or whose file has vanished: the asset that it was is the answer."""
        note = self._any(present=None)
        if note is None or note.path is None:
            return
        again = AssetNote(str(uuid.uuid4()), note.hash, note.content, "again-" + PurePosixPath(note.path).name)
        tags = next(tags for folder, tags in PLACES.items() if note.path.startswith(folder))
        try:
            answer = await self.ask.ask("upload again", "POST", "/api/assets", data=_form(again, tags))
        except Unanswered:
            note.is_unsure |= not note.is_present
            raise
        if self.must(answer.status in (200, 201), "an upload of what is there is answered", answer):
            self.must(answer.json["id"] == note.id, f"content of {note.id} is uploaded again as", answer.json["id"])
            note.lies_at(answer.json["file_path"])
            note.is_present = True
            self._check(note, answer.json)

    async def refer(self) -> None:
        """An asset of content that others have, without a file of its own."""
        content = self.chance.choice(self._sources)
        body = {
            "hash": digest_of(content),
            "tags": ["input"],
            "name": self.unique(),
            "user_metadata": {"n": self._count},
        }
        answer = await self.ask.ask("from hash", "POST", "/api/assets/from-hash", json=body)
        if answer.status == 404:
            return  # not read yet
        if self.must(answer.status in (200, 201), "a reference is answered", answer):
            self.must(answer.json["hash"] == body["hash"], "a reference has another hash", answer.json["id"])
            if answer.status == 201 and self.must(answer.json["id"] not in self.notes.assets, "a reference is not new"):
                note = AssetNote(answer.json["id"], str(body["hash"]), content, str(body["name"]))
                note.metadata = {"n": self._count}
                self.notes.assets[note.id] = note
                self._own.append(note)

    async def tag(self) -> None:
        """Give one of the own assets a tag, or take one away."""
        note, tag = self._any(present=None), self.chance.choice(OWN_TAGS)
        if note is None:
            return
        has = tag in note.tags
        wanted = note.tags ^ {tag}
        path, method = f"/api/assets/{note.id}/tags", "DELETE" if has else "POST"
        try:
            answer = await self.ask.ask("tags", method, path, json={"tags": [tag]})
        except Unanswered:
            found = await self._found(note)
            self.must(_own_tags(found) in (note.tags, wanted), f"tags after a kill of {note.id}:", _own_tags(found))
            note.tags = _own_tags(found)
            raise
        if self.must(answer.status == 200, "tags are answered", answer):
            note.tags = wanted

    async def edit(self) -> None:
        """Another name and other metadata, both at once: never one without the other."""
        note = self._any(present=None)
        if note is None:
            return
        name, metadata = self.unique(), {"n": self._count, "deep": {"list": [1, self._count]}}
        try:
            body = {"name": name, "user_metadata": metadata}
            answer = await self.ask.ask("edit", "PUT", f"/api/assets/{note.id}", json=body)
        except Unanswered:
            found = await self._found(note)
            state = (found["name"], found["user_metadata"])
            self.must(state in ((note.name, note.metadata), (name, metadata)), f"half an edit of {note.id}:", state)
            note.name, note.metadata = state
            raise
        if self.must(answer.status == 200, "an edit is answered", answer):
            note.name, note.metadata = name, metadata
            self._check(note, answer.json)

    async def read(self) -> None:
        """The bytes are those that were sent."""
        note = self._any()
        if note is not None:
            answer = await self.ask.ask("content", "GET", f"/api/assets/{note.id}/content")
            self.must(answer.body == note.content, f"the content of {note.id} is answered {answer.status}, or other")

    async def delete_or_restore(self) -> None:
        """Delete one of the own assets, or bring a deleted one back."""
        deleted = [note for note in self._own if note.is_deleted]
        note = self.chance.choice(deleted) if deleted and self.chance.random() < 0.6 else self._any()
        if note is None:
            return
        method, path, well = ("POST", "/restore", 200) if note.is_deleted else ("DELETE", "", 204)
        try:
            answer = await self.ask.ask("delete or restore", method, f"/api/assets/{note.id}{path}")
        except Unanswered:
            answer = await self.ask.learn("asset", f"/api/assets/{note.id}")
            note.is_deleted = answer.status == 404
            self._restored(note, answer)
            raise
        if self.must(answer.status == well, f"{method} of {note.id} is answered", answer):
            note.is_deleted = not note.is_deleted
            self._restored(note, answer)

    def _restored(self, note: AssetNote, answer: Answer) -> None:
        """Its file may have another name, where it has one: that of a reference is another's."""
        if not note.is_deleted:
            self._check(note, answer.json)
            if note.path is not None:
                note.path = answer.json.get("file_path", note.path)

    async def move_outside(self) -> None:
        """A file is given another name on disk; the asset goes with it."""
        note = self._any()
        if note is None or note.path is None:
            return
        source = self.ask.server.base / note.path
        target = source.with_name("moved-" + self.unique() + source.suffix)
        source.rename(target)
        self.notes.write(self.ask.who, kind="move outside", asset=note.id, path=target)
        wanted = target.relative_to(self.ask.server.base).as_posix()
        note.lies_at(wanted)

        async def is_followed() -> bool:
            return bool((await self._found(note)).get("file_path") == wanted)

        await self.ask.until(is_followed, f"asset {note.id} does not follow its file to {wanted}")

    async def vanish_outside(self) -> None:
        """A file is removed on disk; the asset stays, with its mark."""
        note = self._any()
        if note is None or note.path is None:
            return
        (self.ask.server.base / note.path).unlink()
        self.notes.write(self.ask.who, kind="vanish outside", asset=note.id, path=note.path)
        note.is_present = False

    async def _found(self, note: AssetNote) -> Json:
        answer = await self.ask.learn("asset", f"/api/assets/{note.id}")
        if not self.must(answer.status == 200, f"asset {note.id} is answered", answer):
            raise Unanswered
        found: Json = answer.json
        return found

    def _any(self, present: bool | None = True) -> AssetNote | None:
        """One of the own assets that are not deleted; whose file is there, unless that does not matter."""
        fit = [note for note in self._own if not note.is_deleted and present in (None, note.is_present)]
        fit = [note for note in fit if not note.is_unsure]
        return self.chance.choice(fit) if fit else None

    def _check(self, note: AssetNote, found: Json) -> None:
        for problem in differences(note, found):
            self.must(False, problem)


def digest_of(content: bytes) -> str:
    """A hash as the API tells it."""
    return "blake3:" + blake3(content).hexdigest()


def differences(note: AssetNote, found: Json) -> list[str]:
    """In what an asset as the API tells it is not as it was noted."""
    told = {
        "hash": found.get("hash"),
        "name": found["name"],
        "tags": _own_tags(found),
        "user_metadata": found.get("user_metadata", {}),
    }
    noted = {"hash": note.hash, "name": note.name, "tags": note.tags, "user_metadata": note.metadata}
    return [f"asset {note.id}: {key} is {told[key]!r}, not {noted[key]!r}" for key in noted if told[key] != noted[key]]


def _own_tags(found: Json) -> set[str]:
    return {tag for tag in found["tags"] if tag in OWN_TAGS}


def _form(note: AssetNote, tags: Sequence[str]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("tags", json.dumps(tags))
    form.add_field("id", note.id)
    form.add_field("user_metadata", json.dumps(note.metadata))
    form.add_field("file", note.content, filename=note.name)
    return form
