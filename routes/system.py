"""What tells how the system is."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.errors import StoreUnavailableError
from ._dispatch import Route
from ._endpoint import Call, endpoint
from ._params import NoQuery

_PATIENCE_S = 2.0


def _unavailable(*_: Any) -> web.Response:
    return web.Response(status=503, text="Service Unavailable")


@endpoint(is_probe=True, failure=_unavailable)
async def health(call: Call[NoQuery]) -> web.Response:
    """Whether the store answers (getHealth): plain text, for probes, without a user."""
    try:
        await asyncio.wait_for(_ask(call.services), _PATIENCE_S)
    except asyncio.TimeoutError:
        raise StoreUnavailableError("The store does not answer in time.") from None
    return web.Response(text="OK")


async def _ask(services: Services) -> None:
    await services.ready()
    await services.db.fetch_one("SELECT 1")


ROUTES = [Route("GET", "/health", "getHealth", health)]
