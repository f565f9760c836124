"""Responses to preflight requests: no page of another origin may send any."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler


@web.middleware
async def answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return an empty response to preflight requests: it has no headers that would grant anything."""
    if request.method == "OPTIONS":
        return web.Response()
    return await handler(request)
