"""What the page does to its workflow files passes through here on its way to the host, and is taken up."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.errors import StoreUnavailableError
from ..comfy_assets.workflows.paths import in_userdata
from . import request_body
from .context import Call, guarded
from .interceptors import plain_text
from .params import NoQuery
from .request_body import USER_FILE
from .router import Passage

log = logging.getLogger("comfy_assets.workflows")

WAIT_S = 10.0  # the page's deed waits for ours no longer than this


async def changed(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """A file of the user is saved, moved or deleted, while nothing is written through the API.

    What goes wrong here is logged, and mended by the next look.
    """
    if not any(_paths(request)):
        return await pass_on(request)
    refused = await _received(request, {}, services)  # so that nobody waits for a slow client; the host finds it read
    if isinstance(refused, web.StreamResponse):
        return refused
    async with AsyncExitStack() as stack:
        is_ours = await _has_turn(stack, services)
        answer = await pass_on(request)
        if is_ours and 200 <= answer.status < 300:
            await _take_up(request, request.match_info, services)
    return answer


def _paths(request: web.Request) -> list[str | None]:
    """The paths in the workflows folder that the request is about, None for others."""
    return [in_userdata(request.match_info[name]) for name in ("file", "dest") if name in request.match_info]


async def _has_turn(stack: AsyncExitStack, services: Services) -> bool:
    """Whether there was a turn with the files to be had soon; it lasts as long as the stack."""
    try:
        await asyncio.wait_for(services.ready(), WAIT_S)
        await stack.enter_async_context(services.workflow_files.turn(WAIT_S))
    except (StoreUnavailableError, asyncio.TimeoutError) as error:
        log.warning("A workflow file is changed while that cannot be taken up; the next look will: %r", error)
        return False
    return True


@guarded(is_probe=True, failure=plain_text)
async def _received(call: Call[NoQuery]) -> None:
    await request_body.read(call.request)


@guarded()
async def _take_up(call: Call[NoQuery]) -> None:
    paths = _paths(call.request)
    files = call.services.workflow_files
    if len(paths) == 2 and paths[0] is not None and paths[1] is not None:
        await files.moved(call.user, paths[0], paths[1])
        return
    for path in paths:
        if path is not None:
            await files.look_at(call.user, path)


PASSAGES = [
    Passage(method, f"/api/userdata/{path}", changed, USER_FILE)
    for method, path in (("POST", "{file}"), ("DELETE", "{file}"), ("POST", "{file}/move/{dest}"))
]
