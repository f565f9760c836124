"""The path by which aiohttp finds a route, the same for every version of aiohttp that a host may have."""

from __future__ import annotations

import re
from urllib.parse import unquote

from yarl import URL

# What stays encoded: an encoded slash is part of a segment, and so does not separate it.
_KEPT = re.compile(r"(%2f|%25)", re.IGNORECASE | re.ASCII)


def matched_path(url: URL) -> str:
    """The path with everything decoded but slashes and percent signs, as aiohttp compares it with its routes.

    Older versions compare the path as it was sent. What they do not find by another spelling, they refuse.
    """
    parts = _KEPT.split(url.raw_path)
    return "".join(part.upper() if i % 2 else unquote(part) for i, part in enumerate(parts))


def segment_value(segment: str) -> str:
    """Return the decoded value of a segment of a matched path."""
    return segment.replace("%2F", "/").replace("%25", "%")
