"""Absolute addresses in responses, as the client reaches the server, and the times until which they are promised."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote

from aiohttp import web

from ...comfy_assets.host.access import TrustedProxies, parse_authority
from ...comfy_assets.ids import now_ms
from ..context import utc_time
from .mount import PREFIX, request_key

_ROOT_KEY = request_key("comfy_assets_root", str)
_PATH_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*", re.ASCII)
# Content stays at its address. A client fetches the asset again after this time for a fresh one, which is the same.
_PROMISED_MS = 24 * 3600 * 1000


def asset_url(request: web.Request, asset_id: str) -> str:
    """Return the address of an asset's content."""
    return api_url(request, f"assets/{quote(asset_id, safe='')}/content")


def api_url(request: web.Request, path: str) -> str:
    """Return the absolute address of a path below /api/v2/."""
    return f"{request[_ROOT_KEY]}{PREFIX}{path}"


def url_expires_at() -> datetime:
    """Return the time until which an address in a response is promised to work."""
    return utc_time(now_ms() + _PROMISED_MS)


def note_root(request: web.Request, proxies: TrustedProxies) -> None:
    """Keep the address of the server's root, as the client knows it, with a request, for the functions above.

    A reverse proxy says where it is reached, by X-Forwarded-Host, -Proto and -Prefix. It is believed if it is on the
    same machine, or named in the settings.
    """
    authority, prefix, scheme = request.host, "", request.scheme
    if proxies.is_near(request.remote or ""):
        forwarded = _forwarded(request, "Host")
        if parse_authority(forwarded) is not None:
            authority = forwarded
        wanted = _forwarded(request, "Prefix").rstrip("/")
        prefix = wanted if _PATH_PREFIX.fullmatch(wanted) else ""
        scheme = "https" if _forwarded(request, "Proto").lower() == "https" else scheme
    request[_ROOT_KEY] = f"{scheme}://{authority}{prefix}"


def _forwarded(request: web.Request, name: str) -> str:
    """Return what the client's end says, the first entry of a header to which each proxy appends."""
    return request.headers.get(f"X-Forwarded-{name}", "").partition(",")[0].strip()
