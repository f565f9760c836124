"""A page that listens to the server's messages, among which there must be none about another user."""

from __future__ import annotations

import asyncio
import time

import aiohttp
from asking import Asker
from users import foreign_marks, headers_of

RETRY_S = 0.2


class Listener:
    """Keeps a websocket open for the session in whose name the user's clients submit prompts."""

    def __init__(self, ask: Asker, session: aiohttp.ClientSession) -> None:
        self._ask, self._session = ask, session

    async def work(self, until: float) -> None:
        """Listen until then, and connect again after each kill."""
        while time.monotonic() < until:
            await self._ask.server.up.wait()
            try:
                await asyncio.wait_for(self._listen(), until - time.monotonic())
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        path, headers = f"/ws?clientId={self._ask.notes.session}", headers_of(self._ask.user)
        async with self._session.ws_connect(path, headers=headers) as socket:
            async for message in socket:
                if isinstance(message.data, str):
                    self._check(message.data)

    def _check(self, text: str) -> None:
        self._ask.notes.messages += 1
        for mark in foreign_marks(self._ask.user, self._ask.server.users, text.encode()):
            self._ask.notes.find(f"{self._ask.who}: a message tells what is {mark}: {text[:300]}")
