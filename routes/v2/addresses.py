"""Absolute addresses in responses, as the client reaches the server, and the times until which they are promised."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote

from aiohttp import web

from ...comfy_assets.host.access import parse_authority
from ...comfy_assets.ids import now_ms
from ..context import utc_time
from .mount import PREFIX

_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
_PATH_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)
# Content stays at its address. A client fetches the asset again after this time for a fresh one, which is the same.
_PROMISED_MS = 24 * 3600 * 1000


def asset_url(request: web.Request, asset_id: str) -> str:
    """Return the address of an asset's content."""
    return api_url(request, f"assets/{quote(asset_id, safe='')}/content")


def api_url(request: web.Request, path: str) -> str:
    """Return the absolute address of a path below /api/v2/."""
    return f"{_root_url(request)}{PREFIX}{path}"


def url_expires_at() -> datetime:
    """Return the time until which an address in a response is promised to work."""
    return utc_time(now_ms() + _PROMISED_MS)


def _root_url(request: web.Request) -> str:
    """Return the address of the server's root as the client knows it, without a slash at the end.

    A reverse proxy on the same machine says where it is reached: X-Forwarded-Host, -Proto and -Prefix.
    """
    authority, prefix, scheme = request.host, "", request.scheme
    if request.remote in _LOOPBACK:
        forwarded = _forwarded(request, "Host")
        if parse_authority(forwarded) is not None:
            authority = forwarded
        wanted = _forwarded(request, "Prefix").rstrip("/")
        prefix = wanted if _PATH_PREFIX.fullmatch(wanted) else ""
        scheme = "https" if _forwarded(request, "Proto").lower() == "https" else scheme
    return f"{scheme}://{authority}{prefix}"


def _forwarded(request: web.Request, name: str) -> str:
    """Return what the client's end says, the first entry of a header to which each proxy appends."""
    return request.headers.get(f"X-Forwarded-{name}", "").partition(",")[0].strip()
