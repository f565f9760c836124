"""Idempotency keys: a client that repeats a request with the same key does not execute it twice.

A key is single use: every later request with it is refused for a day, whatever its body. A response is not repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..errors import ApiError, IdempotencyKeyReuseError, StoreUnavailableError
from ..ids import now_ms
from .connection import Database

log = logging.getLogger("comfy_assets.http")

LASTS_MS = 24 * 3600 * 1000


class Claim:
    """The claim of a request to its key."""

    def __init__(self) -> None:
        self.may_have_made = False

    def begin(self) -> None:
        """Note that from now on a failure may come after something was made."""
        self.may_have_made = True


class IdempotencyKeys:
    """Claims keys in the store, so that a restart forgets none."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @asynccontextmanager
    async def claimed(self, operation: str, key: str | None, owner: str) -> AsyncIterator[Claim]:
        """Claim a user's key for an operation while the block executes the request; None claims nothing.

        The key is released if the block fails and certainly made nothing: before ``Claim.begin``, and by an ApiError
        that is not of the store afterwards. Otherwise it stays claimed for a day. Raises IdempotencyKeyReuseError.
        """
        claim = Claim()
        if key is None:
            yield claim
            return
        await self._claim(operation, key, owner)
        try:
            yield claim
        except BaseException as error:
            if not claim.may_have_made or _is_certain(error):
                # Also of a client that has gone, whose request is cancelled.
                await asyncio.shield(self._release(operation, key, owner))
            raise

    async def _claim(self, operation: str, key: str, owner: str) -> None:
        now = now_ms()
        async with self._db.transaction() as tx:
            await tx.execute("DELETE FROM idempotency_keys WHERE claimed_at < ?", (now - LASTS_MS,))
            added = await tx.execute(
                "INSERT OR IGNORE INTO idempotency_keys (owner, operation, key, claimed_at) VALUES (?, ?, ?, ?)",
                (owner, operation, key, now),
            )
            if not added:
                raise IdempotencyKeyReuseError(
                    "An earlier request had this Idempotency-Key.", details={"field": "Idempotency-Key"}
                )

    async def _release(self, operation: str, key: str, owner: str) -> None:
        try:
            async with self._db.transaction() as tx:
                await tx.execute(
                    "DELETE FROM idempotency_keys WHERE owner = ? AND operation = ? AND key = ?",
                    (owner, operation, key),
                )
        except StoreUnavailableError as error:
            log.warning("An idempotency key stays claimed for a day: %s", error.message)


def _is_certain(error: BaseException) -> bool:
    """Return whether an error means that nothing was made. One of the store may come after a commit."""
    return isinstance(error, ApiError) and not isinstance(error, StoreUnavailableError)
