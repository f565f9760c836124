"""Make room for generation: background reading waits while prompts execute, yet is never starved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .cancel import CancelToken

PATIENCE_S = 30.0
TURN_S = 1.5
_POLL_S = 0.05


class WorkGate:
    """Passed by every worker before each file and chunk.

    While ``is_busy`` it blocks; after ``patience`` seconds of that it lets work pass for a ``turn``, then
    blocks again. A queue that never empties thus slows background work to a twentieth, but does not stop it:
    the moments between one prompt and the next do not make it wait anew, unless they are as long as a turn.
    Whoever wants it to rest altogether can ``hold`` it.
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
        """Whether work is being held back now."""
        return self._on_hold or (self._closed and self._is_busy())

    @property
    def is_on_hold(self) -> bool:
        """Whether work is held back because somebody wants it so."""
        return self._on_hold

    def hold(self) -> None:
        """Hold all work back until it is released."""
        self._on_hold = True

    def release(self) -> None:
        """Let work go on, as far as prompts leave room for it."""
        self._on_hold = False

    def wait(self, token: CancelToken) -> None:
        """Return when work may go on. Raises Cancelled."""
        while not self._may_pass():
            self._sleep(token, _POLL_S)
        token.check()

    def _may_pass(self) -> bool:
        if self._on_hold:
            return False
        with self._lock:
            now = self._clock()
            busy = self._is_busy()
            self._closed = busy and now >= self._turn_ends and not self._takes_turn(now)
            if not busy and self._free_since is None:
                self._free_since = now
            return not self._closed

    def _takes_turn(self, now: float) -> bool:
        """Begin a turn if work has been held back for long enough."""
        if self._free_since is not None and now - self._free_since >= self._turn:
            self._held_since = None
        self._free_since = None
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < self._patience:
            return False
        self._turn_ends, self._held_since = now + self._turn, None
        return True
