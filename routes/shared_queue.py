"""The host's own operations on the queue and the history where several users share them: each has their own.

With one user these operations are the host's alone. Requests of no user see and change what is everybody's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.jobs.shown_queue import ShownPrompt
from .context import Call, endpoint
from .params import NoQuery, parse_body
from .router import Passage, PassageHandler

_MAX_ITEMS = 10_000

Operation = Callable[[web.Request, Mapping[str, str], Services], Awaitable[web.StreamResponse]]


class StockHistory(msgspec.Struct, frozen=True):
    """Query of ``GET /history``. Without an offset it is the latest that are returned."""

    max_items: Annotated[int, msgspec.Meta(ge=0)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=-1)] | None = None


class StockQueueBody(msgspec.Struct, frozen=True):
    """Body of ``POST /queue``."""

    clear: bool = False
    delete: list[str] = []


class StockInterruptBody(msgspec.Struct, frozen=True):
    """Body of ``POST /interrupt``."""

    prompt_id: str | None = None


@endpoint(is_for_anybody=True, needs_store=False)
async def _queue(call: Call[NoQuery]) -> dict[str, Any]:
    queue = await call.services.user_queue.show(call.user)
    return {
        "queue_running": [_item(prompt) for prompt in queue.running],
        "queue_pending": [_item(prompt) for prompt in queue.pending],
    }


def _item(prompt: ShownPrompt) -> list[Any]:
    return [prompt.number, prompt.prompt_id, prompt.graph, prompt.extra_data, prompt.targets]


@endpoint(is_for_anybody=True, needs_store=False)
async def _change_queue(call: Call[NoQuery]) -> web.Response:
    body = await parse_body(StockQueueBody, call.request)
    if body.clear:
        await call.services.control.cancel_pending(call.user)
    if body.delete:
        await call.services.user_queue.drop(body.delete, call.user)
    return web.Response()


@endpoint(is_for_anybody=True, needs_store=False)
async def _interrupt(call: Call[NoQuery]) -> web.Response:
    body = await parse_body(StockInterruptBody, call.request)
    await call.services.user_queue.interrupt(call.user, body.prompt_id or None)
    return web.Response()


@endpoint(query=StockHistory, is_for_anybody=True)
async def _history(call: Call[StockHistory]) -> Mapping[str, msgspec.Raw]:
    limit = _MAX_ITEMS if call.query.max_items is None else min(call.query.max_items, _MAX_ITEMS)
    offset = call.query.offset if call.query.offset is not None and call.query.offset >= 0 else None
    return await call.services.user_history.page(call.user, limit, offset)


@endpoint(is_for_anybody=True)
async def _history_entry(call: Call[NoQuery]) -> Mapping[str, msgspec.Raw]:
    return await call.services.user_history.single(call.user, call.request.path.rpartition("/")[2])


def _shared(operation: Operation) -> PassageHandler:
    """Return a passage that does the operation instead of the host where several users share it."""

    async def handle(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
        return await (operation(request, {}, services) if services.host.is_multi_user() else pass_on(request))

    return handle


# Under /api the others are operations of the project, whoever uses the host.
PASSAGES = [
    Passage("POST", "/queue", _shared(_change_queue)),
    Passage("POST", "/interrupt", _shared(_interrupt)),
    Passage("GET", "/api/queue", _shared(_queue)),
    Passage("GET", "/api/history", _shared(_history)),
    Passage("GET", "/api/history/{prompt_id}", _shared(_history_entry)),
]
