"""The times at which the store cannot be written because the run itself prevents it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

GRACE_S = 3.0  # after an outage: until the server has noticed that it is over
LATE_S = 12.0  # time after an outage until files are imported and written at once again
# What may be answered meanwhile: the store cannot be used, or there is no room to move a file to.
ALLOWED = ((503, b"STORE_UNAVAILABLE"), (500, b"No space left on device"))


class Outage:
    """``changes`` counts beginnings and ends; ``is_on`` tells whether there is an outage now."""

    def __init__(self) -> None:
        self.changes = 0
        self.is_on = False
        self._ended = float("-inf")

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Have an outage for the duration of the block."""
        self.changes += 1
        self.is_on = True
        try:
            yield
        finally:
            self.changes += 1
            self.is_on = False
            self._ended = time.monotonic()

    def touches(self, began: float, after_s: float = GRACE_S) -> bool:
        """Return whether there has been an outage since that moment, or so shortly before it."""
        return self.is_on or self._ended + after_s > began

    def covers(self, began: float, status: int, body: bytes) -> bool:
        """Return whether a request of that moment may be answered so, because of an outage."""
        return self.touches(began) and any(status == each and code in body for each, code in ALLOWED)
