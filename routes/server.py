"""What tells how the system is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import StoreBusyError
from ..comfy_assets.host.access import is_beyond_this_machine
from .context import Call, endpoint, json_response
from .params import NoQuery
from .router import Passage, Route, is_unanswered

_PATIENCE_S = 2.0


def _unavailable(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Return the text that probes look for, and the reason where the store is open but fails."""
    text = f"Service Unavailable\n{code}: {message}" if status == StoreBusyError.status else "Service Unavailable"
    return web.Response(status=503, text=text)


@endpoint(is_probe=True, failure=_unavailable)
async def health(call: Call[NoQuery]) -> web.Response:
    """Whether the store answers (getHealth): plain text, for probes, without a user."""
    try:
        await asyncio.wait_for(call.services.check_store(), _PATIENCE_S)
    except asyncio.TimeoutError:
        raise StoreBusyError("The store does not answer in time.") from None
    return web.Response(text="OK")


async def features(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """What the server can do, in its own words and the contract's (getFeatures)."""
    ours = {
        "max_upload_size": services.config.max_upload_size or request.client_max_size,
        "supports_preview_metadata": False,
        # Whether others than this machine can reach the server, which has no login: the panel warns of it.
        "open_to_network": is_beyond_this_machine(services.host.network().listening),
    }
    if is_unanswered(request, services):
        return json_response(ours)
    answer = await pass_on(request)
    if answer.status != 200 or not isinstance(answer, web.Response):
        return answer
    theirs = json.loads(answer.text or "{}")
    if not isinstance(theirs, dict) or ours.keys() <= theirs.keys():
        return answer
    return json_response({**ours, **theirs})


ROUTES = [Route("GET", "/health", "getHealth", health)]
PASSAGES = [Passage("GET", "/api/features", features)]
