"""Middlewares that keep other web sites from using the server through a visitor's browser."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from urllib.parse import SplitResult, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

log = logging.getLogger("comfy_assets.standalone")


@web.middleware
async def refuse_cross_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """403 for what a page of another site has caused, and no answer to preflight requests.

    Browsers do not ask before they POST a form to 127.0.0.1, so a request to a loopback name whose Origin is
    another host is refused here.
    """
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or await _foreign_origin(request):
        log.warning("refused a cross-site request to %s", request.path)
        return web.json_response({"error": "Requests from other web sites are not accepted."}, status=403)
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)


async def _foreign_origin(request: web.Request) -> bool:
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if not host or not origin:
        return False
    target, source = _split(f"//{host}"), _split(origin)
    if target is None or source is None:
        return True
    return not _same_authority(target, source) and await _is_loopback(target.hostname or "")


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, or None when its authority makes no sense."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError on a bad port
    except ValueError:
        return None
    return parts


def _same_authority(target: SplitResult, source: SplitResult) -> bool:
    """Whether host and port agree; a port that either side leaves out is not compared."""
    if target.hostname != source.hostname:
        return False
    return target.port is None or source.port is None or target.port == source.port


async def _is_loopback(hostname: str) -> bool:
    """Whether a host name means this machine only. Public names may resolve to 127.0.0.1: ask."""
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)
