"""Requests, timed and noted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from notes import Notes
from server import Server
from users import EVERYBODY, foreign_marks, headers_of, mark_of, without
from yarl import URL

TIMEOUT_S = 40.0
HEAL_S = 40.0  # what the server mends by looking again and again it has mended by then
SHOWN = 300


class Unanswered(Exception):
    """The server was killed before it answered, or could not write its store: what was asked may be done or not."""


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Asker:
    """Asks in the name of one client."""

    def __init__(
        self, who: str, server: Server, session: aiohttp.ClientSession, notes: Notes, user: str = EVERYBODY
    ) -> None:
        self.server, self.notes, self.user = server, notes, user
        self.who = mark_of(user) + who
        self._session = session

    @property
    def workflows(self) -> Path:
        """Return the folder of the user's workflow files."""
        return self.server.workflows_of(self.user)

    async def ask(self, kind: str, method: str, path: str, **options: Any) -> Answer:
        """Return the answer. Raises Unanswered.

        Amiss are: a 5xx, unless the run itself keeps the store from being written; no answer although the server was
        not killed; and anything of another user's.
        """
        kills, began, asked = self.server.kills, time.perf_counter(), time.monotonic()
        told = {"kind": kind, "method": method, "path": path, **_shown(options)}
        options["headers"] = {**options.get("headers", {}), **headers_of(self.user)}
        try:
            async with self._session.request(method, URL(path, encoded=True), **options) as response:
                answer = Answer(response.status, await response.read())
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self.notes.write(self.who, **told, unanswered=repr(error))
            self.notes.errors[f"{kind}: no answer"] += 1
            is_killed = self.server.kills != kills or not self.server.up.is_set()
            self.notes.must(is_killed, f"{self.who}: {kind} has no answer from a server that is up: {error!r}")
            raise Unanswered from error
        self.notes.times[kind].append(time.perf_counter() - began)
        self.notes.write(self.who, **told, status=answer.status, answer=answer.body[:SHOWN].decode(errors="replace"))
        body = without(self.server.cut, answer.body)
        for mark in foreign_marks(self.user, self.server.users, body):
            self.notes.find(f"{self.who}: {method} {path} tells what is {mark}: {_around(mark, body)}")
        if self.server.outage.covers(asked, answer.status, answer.body):
            self.notes.errors[f"{kind}: {answer.status}"] += 1
            raise Unanswered
        if answer.status >= 500:
            self.notes.errors[f"{kind}: {answer.status}"] += 1
            self.notes.find(f"{self.who}: {method} {path} is answered {answer.status}: {answer.body[:SHOWN]!r}")
        return answer

    async def learn(self, kind: str, path: str) -> Answer:
        """The answer to a GET, asked until there is one."""
        while True:
            await self.server.up.wait()
            try:
                return await self.ask(kind, "GET", path)
            except Unanswered:
                await asyncio.sleep(0.1)

    async def until(self, is_so: Callable[[], Awaitable[bool]], what: str) -> bool:
        """Wait until it is so; amiss if a server that is left alone meanwhile has not mended it in time."""
        while True:
            await self.server.up.wait()
            faults, deadline = self.server.faults, time.monotonic() + HEAL_S
            while self.server.faults == faults:
                if await is_so():
                    return True
                if time.monotonic() > deadline and self.server.faults == faults:
                    self.notes.find(f"{self.who}: {what}")
                    return False
                await asyncio.sleep(0.2)


def _around(mark: str, body: bytes) -> str:
    place = body.find(mark.encode())
    return body[max(place - SHOWN // 2, 0) : place + SHOWN // 2].decode(errors="replace")


def in_userdata(path: str) -> str:
    """A file of the workflows folder as the page writes it into a URL."""
    return "/api/userdata/" + quote(f"workflows/{path}", safe="")


def _shown(options: dict[str, Any]) -> dict[str, Any]:
    return {name: repr(value)[:SHOWN] for name, value in options.items()}
