"""Cancellation of work in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.1  # tokens are set from threads, so that work on the event loop looks at them now and then


class Cancelled(Exception):
    """Raised in a worker after its token was cancelled."""


class CancelToken:
    """A flag that is set once, from any thread, and that workers check between pieces of work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Request that the work stops."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """True if a stop has been requested."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if a stop has been requested."""
        if self._event.is_set():
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Wait; raise Cancelled as soon as a stop is requested."""
        if self._event.wait(seconds):
            raise Cancelled


async def until_cancelled(work: Awaitable[T], token: CancelToken) -> T:
    """Await the work; cancel it and raise Cancelled soon after a stop has been requested."""
    running = asyncio.ensure_future(work)
    try:
        while not running.done():
            token.check()
            await asyncio.wait([running], timeout=_POLL_S)
        return running.result()
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # mark it as retrieved: asyncio would log it otherwise


async def uninterrupted(work: Awaitable[T], token: CancelToken) -> T:
    """Await the work until it has ended, even when cancelled.

    A cancellation sets the token, so that the threads of the work end soon, and is raised again afterwards.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        token.cancel()
        await asyncio.wait([running])  # unlike ``await running`` it raises nothing of the work
        if not running.cancelled():
            running.exception()  # mark it as retrieved: asyncio would log it otherwise
        raise
