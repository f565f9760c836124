"""Cancellation that worker threads can see."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """Raised in a worker that has been asked to stop."""


class CancelToken:
    """Set once, from any thread; workers look at it between pieces of work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work has been asked to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if the work has been asked to stop."""
        if self._event.is_set():
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Wait, but raise Cancelled as soon as the work is asked to stop."""
        if self._event.wait(seconds):
            raise Cancelled


async def uninterrupted(work: Awaitable[T], token: CancelToken) -> T:
    """Await the work to its end, also when cancelled; the token is set then, so that its threads come to one soon."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        token.cancel()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # retrieved, so that asyncio does not warn of it
        raise
