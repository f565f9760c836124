"""Clients that send, delete and bring back the same few contents, each without regard to the others."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import aiohttp
from asking import Asker
from asset_client import digest_of
from client import Client, Deed
from users import mark_of

CONTENTS = 6
OFTEN = (200, 201, 204, 404)


class RivalClient(Client):
    """What was answered to be an asset of a content is one for ever, deleted or not."""

    pause_s = 0.02

    def __init__(self, ask: Asker, chance: random.Random) -> None:
        super().__init__(ask, chance)
        self._contents: Sequence[bytes] = [b"rivals have this %d" % number * 500 for number in range(CONTENTS)]

    def deeds(self) -> list[tuple[int, Deed]]:
        return [(4, self.upload), (2, self.refer), (2, self.tag), (2, self.delete), (2, self.restore)]

    async def upload(self) -> None:
        """A content that another may be sending just now."""
        content = self.chance.choice(self._contents)
        form = aiohttp.FormData({"tags": '["output"]'})
        name = f"{mark_of(self.ask.user)}rival"
        form.add_field("file", content, filename=f"{name}.bin")
        self.ask.server.uploading[name] = time.monotonic()
        answer = await self.ask.ask("upload", "POST", "/api/assets", data=form)
        if self.must(answer.status in (200, 201), "an upload is answered", answer):
            self._note(answer.json["id"], answer.json["hash"], content)

    async def refer(self) -> None:
        """The content, if it is there."""
        content = self.chance.choice(self._contents)
        body = {"hash": digest_of(content), "tags": ["input"]}
        answer = await self.ask.ask("from hash", "POST", "/api/assets/from-hash", json=body)
        if self.must(answer.status in OFTEN, "a reference is answered", answer) and answer.status != 404:
            self._note(answer.json["id"], answer.json["hash"], content)

    def _note(self, asset_id: str, told: str, content: bytes) -> None:
        self.must(told == digest_of(content), f"asset {asset_id} has another hash than what was sent:", told)
        self.notes.rivals[asset_id] = content

    async def tag(self) -> None:
        """Any of them."""
        if self.notes.rivals:
            tags = {"tags": [f"r{self.chance.randrange(3)}"]}
            method = self.chance.choice(["POST", "DELETE"])
            answer = await self.ask.ask("tags", method, f"/api/assets/{self._any()}/tags", json=tags)
            self.must(answer.status in OFTEN, "tags are answered", answer)

    async def delete(self) -> None:
        """Any of them, which may be deleted."""
        if self.notes.rivals:
            answer = await self.ask.ask("delete or restore", "DELETE", f"/api/assets/{self._any()}")
            self.must(answer.status in OFTEN, "deleting is answered", answer)

    async def restore(self) -> None:
        """Any of them, which may be there."""
        if self.notes.rivals:
            answer = await self.ask.ask("delete or restore", "POST", f"/api/assets/{self._any()}/restore")
            self.must(answer.status in OFTEN, "restoring is answered", answer)

    def _any(self) -> str:
        return self.chance.choice(list(self.notes.rivals))
