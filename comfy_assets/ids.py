"""Ids of assets, texts of content hashes, and the time stamps of records."""

from __future__ import annotations

import os
import re
import time
import uuid

_DIGITS = re.compile("(...)(.)(...)(.{12}).")
# RFC 9562: the variant's two bits are 10, so the digit is one of 8, 9, a and b.
_VARIANTS = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}


def now_ms() -> int:
    """Return the current time in milliseconds since 1970 (UTC), the unit of every stored time stamp."""
    return time.time_ns() // 1_000_000


def new_ids(count: int) -> list[str]:
    """Return new UUIDs of version 7 (RFC 9562) in canonical form, in ascending order.

    They begin with the time. So rows of one import lie side by side in an index, each after the one before.
    """
    stamp = f"{now_ms():012x}"
    prefix = f"{stamp[:8]}-{stamp[8:]}-7"
    # One call for the random bits of all of them: a scan asks for thousands at a time.
    noise = os.urandom(10 * count).hex()
    return sorted(f"{prefix}{a}-{_VARIANTS[b]}{c}-{d}" for a, b, c, d in _DIGITS.findall(noise))


def canonical_id(text: str) -> str | None:
    """Return the UUID in the text in canonical form, or None if it is not a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def hash_text(digest: bytes) -> str:
    """Return a blake3 digest (32 bytes) in the API's form: ``blake3:`` and 64 hexadecimal digits."""
    return f"blake3:{digest.hex()}"
