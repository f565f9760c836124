"""How assets and contents are named. Ids are UUIDs; new ones of version 7 (RFC 9562), which sort by time and so are
cheap to index."""

from __future__ import annotations

import os
import uuid

from .clock import now_ms


def new_ids(count: int) -> list[str]:
    """That many fresh UUIDs in canonical form."""
    stamp = f"{now_ms():012x}"
    prefix = f"{stamp[:8]}-{stamp[8:]}-7"
    noise = os.urandom(10 * count).hex()
    ids: list[str] = []
    for start in range(0, 20 * count, 20):
        tail = noise[start : start + 20]
        ids.append(f"{prefix}{tail[:3]}-{'89ab'[int(tail[3], 16) & 3]}{tail[4:7]}-{tail[7:19]}")
    return ids


def canonical_id(text: str) -> str | None:
    """The UUID that the text is, in canonical form; None where it is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def hash_text(digest: bytes) -> str:
    """A content's blake3 digest (32 bytes) as the API has it: ``blake3:`` and 64 hexadecimal digits."""
    return f"blake3:{digest.hex()}"
