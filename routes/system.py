"""What tells how the system is."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import StoreUnavailableError
from ._dispatch import Route



async def health(request: web.Request, path: Mapping[str, str], services: Services) -> web.Response:
    """Whether the store answers (getHealth): plain text, for probes, without a user."""
    try:
        await services.ready()
        await services.db.fetch_one("SELECT 1")
    except StoreUnavailableError:
        return web.Response(status=503, text="Service Unavailable")
    return web.Response(text="OK")


ROUTES = [Route("GET", "/health", "getHealth", health)]
