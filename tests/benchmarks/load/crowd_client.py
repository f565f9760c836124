"""Clients that work on the same few workflows, each without regard to the others.

Nobody knows how these are in the end, but what was answered to be saved is a version of some workflow for ever.
"""

from __future__ import annotations

import json
import random
from contextlib import suppress

from asking import Asker, in_userdata
from client import Client, Deed
from notes import Json

URL = "/api/workflows"
OFTEN = (200, 201, 204, 404, 409)


class CrowdClient(Client):
    """Saves, moves and deletes through the API and as the page does; or, if it is ``wild``, on the disk as well.

    What the page saves may be written over on the disk before anybody has seen it: only where nobody is wild is each
    of its texts to be found.
    """

    pause_s = 0.01

    def __init__(self, ask: Asker, chance: random.Random, names: list[str], *, is_wild: bool = False) -> None:
        super().__init__(ask, chance)
        self._names, self._is_wild = names, is_wild

    def deeds(self) -> list[tuple[int, Deed]]:
        outside: list[tuple[int, Deed]] = [(3, self.edit_outside), (1, self.move_outside), (1, self.delete_outside)]
        return [
            (6, self.page_saves),
            (2, self.page_moves),
            (1, self.page_deletes),
            (8, self.save),
            (1, self.delete),
            (1, self.rename),
            *(outside if self._is_wild else []),
        ]

    async def page_saves(self) -> None:
        """The page writes over whatever is there, or makes a new file."""
        path, text = self._path(), self._text()
        content, overwrite = json.dumps(text).encode(), self.chance.choice(["true", "false"])
        self.notes.cut_short.append(content)
        url = f"{in_userdata(path)}?overwrite={overwrite}"
        answer = await self.ask.ask("page saves", "POST", url, data=content)
        if self.must(answer.status in OFTEN, "the page's save is answered", answer) and answer.status == 200:
            self.notes.cut_short.remove(content)
            # While the store cannot be written, a file is saved as without this project: another may replace it unseen.
            if not self._is_wild and not self.may_be_late():
                self.notes.page_texts.append(text)

    async def page_moves(self) -> None:
        """Onto another, or to where there is none."""
        path, new = self._path(), in_userdata(self._path()).removeprefix("/api/userdata/")
        overwrite = self.chance.choice(["true", "false"])
        answer = await self.ask.ask("page moves", "POST", f"{in_userdata(path)}/move/{new}?overwrite={overwrite}")
        self.must(answer.status in OFTEN, "the page's move is answered", answer)

    async def page_deletes(self) -> None:
        """Whatever is there."""
        answer = await self.ask.ask("page deletes", "DELETE", in_userdata(self._path()))
        self.must(answer.status in OFTEN, "the page's deleting is answered", answer)

    async def save(self) -> None:
        """The next version of one that is there; somebody else may have been first. Where there is none, a new one."""
        found, text = await self._found(), self._text()
        if found is None:
            body: Json = {"name": self.chance.choice(self._names), "workflow_json": text}
            answer = await self.ask.ask("create", "POST", URL, json=body)
            if self.must(answer.status == 201, "a new workflow is answered", answer):
                self.notes.shared_versions.append((answer.json["id"], 1, text))
            return
        body = {"base_version": found["latest_version"], "workflow_json": text}
        answer = await self.ask.ask("version", "POST", f"{URL}/{found['id']}/versions", json=body)
        if self.must(answer.status in OFTEN, "a version is answered", answer) and answer.status == 201:
            self.notes.shared_versions.append((found["id"], answer.json["version"], text))

    async def delete(self) -> None:
        """One that is there."""
        found = await self._found()
        if found is not None:
            answer = await self.ask.ask("delete workflow", "DELETE", f"{URL}/{found['id']}")
            self.must(answer.status in OFTEN, "deleting is answered", answer)

    async def rename(self) -> None:
        """One that is there gets the name that another may have."""
        found = await self._found()
        if found is not None:
            body = {"name": self.chance.choice(self._names)}
            answer = await self.ask.ask("rename", "PATCH", f"{URL}/{found['id']}", json=body)
            self.must(answer.status in OFTEN, "a new name is answered", answer)

    async def edit_outside(self) -> None:
        """Another program writes a file that is there, or not."""
        path = self.ask.workflows / self._path()
        text = self._text()
        path.write_text(json.dumps(text))
        self.notes.write(self.ask.who, kind="edit outside", path=path.name, text=text["n"])

    async def move_outside(self) -> None:
        """A file manager gives a file another's name."""
        path, new = self._path(), self._path()
        with suppress(FileNotFoundError):
            (self.ask.workflows / path).replace(self.ask.workflows / new)
            self.notes.write(self.ask.who, kind="move outside", path=path, new=new)

    async def delete_outside(self) -> None:
        """A file manager removes a file."""
        path = self.ask.workflows / self._path()
        path.unlink(missing_ok=True)
        self.notes.write(self.ask.who, kind="delete outside", path=path.name)

    async def _found(self) -> Json | None:
        answer = await self.ask.ask("list workflows", "GET", f"{URL}?name={self._names[0].split()[0]}&limit=100")
        found: list[Json] = answer.json["data"] if answer.status == 200 else []
        return self.chance.choice(found) if found else None

    def _path(self) -> str:
        return f"{self.chance.choice(self._names)}.json"

    def _text(self) -> Json:
        return {"n": self.unique(), "nodes": [], "links": [], "filling": "y" * self.chance.randrange(20_000)}
