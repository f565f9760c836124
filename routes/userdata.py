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

STORE_WAIT_S = 10.0  # how long a request of the page waits for the store to be opened
WAIT_S = 60.0  # how long a request of the page waits for other changes of the user's workflow files


async def changed(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Pass on a request that saves, moves or deletes a workflow file, then store the change.

    The user's files are locked meanwhile, so that nothing else replaces what the page writes before it is stored. If
    the lock cannot be had, the request is refused with 503 and changes nothing. While there is no store, nothing else
    writes the files: the request is passed on, and the next comparison with the files stores the change. Other errors
    are logged.
    """
    if not any(_paths(request)):
        return await pass_on(request)
    # Read now, so that nobody waits for a slow client while the files are locked; the host finds the body read.
    refused = await _received(request, {}, services)
    if isinstance(refused, web.StreamResponse):
        return refused
    user = await _user(request, {}, services)
    if isinstance(user, web.StreamResponse):
        return await pass_on(request)  # the host refuses an unknown user in its own way
    async with AsyncExitStack() as stack:
        try:
            is_ours = await _has_turn(stack, services, user)
        except asyncio.TimeoutError:
            return plain_text(503, "STORE_UNAVAILABLE", "The workflow files are in use; try again.", None)
        answer = await pass_on(request)
        if is_ours and 200 <= answer.status < 300:
            await _take_up(request, request.match_info, services)
    return answer


def _paths(request: web.Request) -> list[str | None]:
    """The paths in the workflows folder that the request is about, None for others."""
    return [in_userdata(request.match_info[name]) for name in ("file", "dest") if name in request.match_info]


async def _has_turn(stack: AsyncExitStack, services: Services, user: str) -> bool:
    """Lock the user's workflow files until the stack ends; return False if there is no store.

    Raises TimeoutError if others keep the lock for too long.
    """
    try:
        await asyncio.wait_for(services.ready(), STORE_WAIT_S)
    except (StoreUnavailableError, asyncio.TimeoutError) as error:
        log.warning("A workflow file is changed while there is no store; the next look stores it: %r", error)
        return False
    await stack.enter_async_context(services.workflow_sync.lock(user, WAIT_S))
    return True


@guarded(needs_store=False)
async def _user(call: Call[NoQuery]) -> str:
    return call.user


@guarded(is_probe=True, failure=plain_text)
async def _received(call: Call[NoQuery]) -> None:
    await request_body.read(call.request)


@guarded()
async def _take_up(call: Call[NoQuery]) -> None:
    paths = _paths(call.request)
    files = call.services.workflow_sync
    if len(paths) == 2 and paths[0] is not None and paths[1] is not None:
        await files.sync_move(call.user, paths[0], paths[1])
        return
    for path in paths:
        if path is not None:
            await files.sync_file(call.user, path)


PASSAGES = [
    Passage(method, f"/api/userdata/{path}", changed, USER_FILE)
    for method, path in (("POST", "{file}"), ("DELETE", "{file}"), ("POST", "{file}/move/{dest}"))
]
