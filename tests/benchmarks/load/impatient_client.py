"""A client that does not wait for its answers: what it asked for may be there or not, or come later, but never half."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress

import aiohttp
from asking import Answer, in_userdata
from asset_client import digest_of
from client import Client, Deed
from job_client import graph
from notes import AssetNote, Json

PREFIX = "given up "
BLOCK = 100_000


class ImpatientClient(Client):
    """Uploads, saves and submits, and breaks the connection off soon afterwards."""

    pause_s = 0.05

    def deeds(self) -> list[tuple[int, Deed]]:
        return [(4, self.upload), (2, self.create), (2, self.page_saves), (2, self.submit)]

    async def upload(self) -> None:
        """A file that is sent slowly."""
        content = self.chance.randbytes(self.chance.randrange(1, 20) * BLOCK)
        note = AssetNote(str(uuid.uuid4()), digest_of(content), content, self.unique() + ".bin")
        self.notes.given_up_assets[note.id] = note
        self.ask.server.uploading[note.name] = time.monotonic()
        form = aiohttp.FormData()
        form.add_field("id", note.id)
        form.add_field("file", self._slowly(content), filename=note.name)
        await self._give_up(self.ask.ask("given up", "POST", "/api/assets", data=form), 0.2)

    async def _slowly(self, content: bytes) -> AsyncIterator[bytes]:
        for first in range(0, len(content), BLOCK):
            yield content[first : first + BLOCK]
            await asyncio.sleep(self.chance.random() / 50)

    async def create(self) -> None:
        """A new workflow."""
        name, text = PREFIX + self.unique(), self._text()
        body = {"name": name, "workflow_json": text}
        await self._give_up(self.ask.ask("given up", "POST", "/api/workflows", json=body), 0.1)

    async def page_saves(self) -> None:
        """A new file of the page."""
        path, text = f"{PREFIX}{self.unique()}.json", self._text()
        content = json.dumps(text).encode()
        self.notes.cut_short.append(content)
        await self._give_up(self.ask.ask("given up", "POST", in_userdata(path), data=content), 0.1)

    async def submit(self) -> None:
        """A prompt."""
        body = {"prompt": graph(self.chance.randrange(1 << 24), self.ask.user), "prompt_id": str(uuid.uuid4())}
        self.notes.given_up_jobs.add(str(body["prompt_id"]))
        await self._give_up(self.ask.ask("given up", "POST", "/api/prompt", json=body), 0.02)

    async def _give_up(self, asked: Awaitable[Answer], longest_s: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asked, self.chance.random() * longest_s)

    def _text(self) -> Json:
        text: Json = {"n": self.unique(), "filling": "z" * self.chance.randrange(50_000)}
        self.notes.given_up_texts.append(text)
        return text
