"""Keys of requests that must not be executed twice."""

from __future__ import annotations

from .connection import Transaction


async def claim(tx: Transaction, owner: str, operation: str, key: str, now: int, expired: int) -> bool:
    """Claim a key at ``now`` (ms); return False if it is claimed already. Keys from before ``expired`` are removed."""
    await tx.execute("DELETE FROM idempotency_keys WHERE claimed_at < ?", (expired,))
    added = await tx.execute(
        "INSERT OR IGNORE INTO idempotency_keys (owner, operation, key, claimed_at) VALUES (?, ?, ?, ?)",
        (owner, operation, key, now),
    )
    return added > 0


async def release(tx: Transaction, owner: str, operation: str, key: str) -> None:
    """Let a key be claimed again."""
    await tx.execute(
        "DELETE FROM idempotency_keys WHERE owner = ? AND operation = ? AND key = ?", (owner, operation, key)
    )
