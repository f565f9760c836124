"""Interruption of background work: its cancellation, and pauses while prompts execute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.1  # tokens are set from threads, so that work on the event loop looks at them now and then
PATIENCE_S = 30.0
TURN_S = 1.5  # a twentieth of the patience: long enough to read some files, short enough not to slow prompts
_PAUSE_S = 0.05  # cheap, and short enough that work resumes soon after the last prompt


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
            await asyncio.wait([running], timeout=_LOOK_S)
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


class Throttle:
    """Pause background work while the server is busy. Workers call ``wait`` before each file and chunk.

    ``wait`` blocks while ``is_busy`` returns true. After ``patience`` seconds it lets work pass for ``turn`` seconds,
    then blocks again. A queue that never empties thus slows background work to a twentieth of its speed, but does not
    stop it. Gaps between two prompts do not restart the patience unless they last a whole turn. ``hold`` stops all
    work until ``release``.
    """

    def __init__(
        self,
        is_busy: Callable[[], bool],
        *,
        patience: float = PATIENCE_S,
        turn: float = TURN_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[CancelToken, float], None] = CancelToken.sleep,
    ) -> None:
        self._is_busy = is_busy
        self._patience = patience
        self._turn = turn
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._closed = False
        self._on_hold = False
        self._held_since: float | None = None
        self._free_since: float | None = None
        self._turn_ends = float("-inf")

    @property
    def is_closed(self) -> bool:
        """True if work waits now."""
        return self._on_hold or (self._closed and self._is_busy())

    @property
    def is_on_hold(self) -> bool:
        """True if work waits because of ``hold``."""
        return self._on_hold

    def hold(self) -> None:
        """Stop all work until ``release`` is called."""
        self._on_hold = True

    def release(self) -> None:
        """Let work continue whenever no prompt executes."""
        self._on_hold = False

    def wait(self, token: CancelToken) -> None:
        """Block until work may continue. Raises Cancelled."""
        while not self._may_pass():
            self._sleep(token, _PAUSE_S)
        token.check()

    def _may_pass(self) -> bool:
        if self._on_hold:
            return False
        busy = self._is_busy()
        if not busy and not self._closed and self._free_since is not None:
            return True  # nearly always: nothing has changed
        with self._lock:
            now = self._clock()
            self._closed = busy and now >= self._turn_ends and not self._starts_turn(now)
            if not busy and self._free_since is None:
                self._free_since = now
            return not self._closed

    def _starts_turn(self, now: float) -> bool:
        """Start a turn if work has waited for ``patience`` seconds."""
        # A gap as long as a turn has let work through: the wait starts again from zero.
        if self._free_since is not None and now - self._free_since >= self._turn:
            self._held_since = None
        self._free_since = None
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < self._patience:
            return False
        self._turn_ends, self._held_since = now + self._turn, None
        return True
