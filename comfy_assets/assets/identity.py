"""New asset ids: UUIDs of version 7 (RFC 9562), which sort by time and so are cheap to index."""

from __future__ import annotations

import os
import time


def new_ids(count: int) -> list[str]:
    """That many fresh UUIDs in canonical form."""
    stamp = f"{time.time_ns() // 1_000_000:012x}"
    prefix = f"{stamp[:8]}-{stamp[8:]}-7"
    noise = os.urandom(10 * count).hex()
    ids: list[str] = []
    for start in range(0, 20 * count, 20):
        tail = noise[start : start + 20]
        ids.append(f"{prefix}{tail[:3]}-{'89ab'[int(tail[3], 16) & 3]}{tail[4:7]}-{tail[7:19]}")
    return ids
