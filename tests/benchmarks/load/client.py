"""A client: one deed after the other, chosen by chance."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asking import Asker, Unanswered
from notes import Notes
from outage import LATE_S

Deed = Callable[[], Awaitable[None]]
UNANSWERED_PAUSE_S = 0.1


class Client:
    """Does its ``deeds``, each as often as its weight says, until the time is over."""

    pause_s = 0.0

    def __init__(self, ask: Asker, chance: random.Random) -> None:
        self.ask, self.chance = ask, chance
        self.notes: Notes = ask.notes
        self._count = 0
        self._began = time.monotonic()

    def deeds(self) -> list[tuple[int, Deed]]:
        """What it does, and how often."""
        raise NotImplementedError

    async def work(self, until: float) -> None:
        """One thing after the other; while the server is away it waits."""
        weights, deeds = zip(*self.deeds(), strict=True)
        while time.monotonic() < until:
            await self.ask.server.up.wait()
            self._began = time.monotonic()
            try:
                await self.chance.choices(deeds, weights)[0]()
            except Unanswered:
                await asyncio.sleep(UNANSWERED_PAUSE_S)
            await asyncio.sleep(self.pause_s)

    def may_be_late(self) -> bool:
        """Return whether the store could not be written at some time since the deed began.

        What has changed on the disk meanwhile is taken up later.
        """
        return self.ask.server.outage.touches(self._began, LATE_S)

    def unique(self) -> str:
        """A word that nobody else has."""
        self._count += 1
        return f"{self.ask.who}-{self._count}"

    def must(self, is_so: bool, what: str, about: Any = "") -> bool:
        """Something is amiss unless it is so."""
        return self.notes.must(is_so, f"{self.ask.who}: {what} {about}".rstrip())
