"""The execution queue: the contract's operations, and the host's own where several users share the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.jobs.user_queue import ShownPrompt, ShownQueue
from . import request_body
from .context import NoQuery, RequestContext, encoded, endpoint, json_response
from .interceptors import Interceptor, check_first, for_several_users
from .operations import Operation, Record, RequestBody, Response, Route, array, boolean, is_hosted_client
from .params import Id, Ids, doc, json_body, parse_body


class QueueManageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of manageQueue: the jobs to cancel."""

    clear: Annotated[bool, doc("Cancel all pending jobs of the user.")] = False
    delete: Annotated[Ids, doc("Cancel these jobs. The response omits unknown ids.")] = []


class InterruptRequest(msgspec.Struct, frozen=True):
    """Body of interruptJob: the job to cancel. The contract has no body; the stock page may send one."""

    prompt_id: Annotated[Id | None, doc("Cancel this job, running or pending.")] = None


class FreeMemoryRequest(msgspec.Struct, frozen=True):
    """Body of freeMemory: what to free."""

    unload_models: Annotated[bool, doc("Unload the models.")] = False
    free_memory: Annotated[bool, doc("Drop the results that are cached for the next prompt.")] = False


@endpoint(requires_store=False)
async def get_queue(call: RequestContext[NoQuery]) -> web.Response:
    """Return the running and the pending prompts (getQueueInfo).

    Hosted clients receive the contract's items, all others those of ComfyUI: extensions of the page read the workflow
    and the client in them.
    """
    queue = await call.services.user_queue.show(call.user)
    if not is_hosted_client(call.request):
        return await _stock_response(queue)
    first_pending = len(queue.running) + 1
    running = [_item(number, prompt) for number, prompt in enumerate(queue.running, 1)]
    return await _response(
        running, [_item(number, prompt) for number, prompt in enumerate(queue.pending, first_pending)]
    )


async def _response(running: Sequence[list[Any]], pending: Sequence[list[Any]]) -> web.Response:
    """Encode the items in a thread, one by one, so that others run in between: each may have megabytes."""

    def encode() -> web.Response:
        parts = {"queue_running": running, "queue_pending": pending}
        return json_response({name: [encoded(item) for item in items] for name, items in parts.items()})

    return await asyncio.to_thread(encode)


def _item(number: int, prompt: ShownPrompt) -> list[Any]:
    """Return a queue item: number, id, graph, output nodes, and the time of submission if the server keeps it."""
    times = {"create_time": prompt.created_at} if prompt.created_at is not None else {}
    # The number is the position in the queue, where the form of hosts has the priority.
    return [number, prompt.prompt_id, prompt.graph, prompt.targets, times]


async def _stock_response(queue: ShownQueue) -> web.Response:
    return await _response([_stock_item(p) for p in queue.running], [_stock_item(p) for p in queue.pending])


def _stock_item(prompt: ShownPrompt) -> list[Any]:
    return [prompt.number, prompt.prompt_id, prompt.graph, prompt.extra_data, prompt.targets]


@endpoint(requires_store=False)
async def manage_queue(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Cancel some or all pending jobs (manageQueue)."""
    body = await parse_body(QueueManageRequest, call.request)
    result: dict[str, Any] = {}
    if body.delete:
        result["deleted"] = await call.services.control.cancel_known(body.delete, call.user)
    if body.clear:
        await call.services.control.cancel_pending(call.user)
        result["cleared"] = True
    return result


@endpoint(requires_store=False)
async def interrupt(call: RequestContext[NoQuery]) -> web.Response:
    """Cancel the running job, or else the next one (interruptJob)."""
    body = await parse_body(InterruptRequest, call.request)
    # An empty id counts as none, as in ComfyUI.
    await call.services.control.interrupt(call.user, body.prompt_id or None)
    return web.Response()


@endpoint(requires_store=False)
async def free_memory(call: RequestContext[NoQuery]) -> web.Response:
    """Free memory after the running job (freeMemory)."""
    body = await parse_body(FreeMemoryRequest, call.request)
    call.services.control.free(unload_models=body.unload_models, free_memory=body.free_memory)
    return web.Response()


def _shows_queue(request: web.Request, services: Services) -> bool:
    """Return False for pages of older servers, which show their queue themselves."""
    return services.host.lists_jobs or is_hosted_client(request)


class StockQueueBody(msgspec.Struct, frozen=True):
    """Body of ``POST /queue``."""

    clear: bool = False
    delete: list[str] = []


class StockInterruptBody(msgspec.Struct, frozen=True):
    """Body of ``POST /interrupt``."""

    prompt_id: str | None = None


class StockIdsBody(msgspec.Struct, frozen=True):
    """Ids in the body of ``POST /queue`` or ``/history``, bounded because hosts look for each in a whole list."""

    delete: Ids = []


@endpoint(allow_anonymous=True, requires_store=False)
async def _stock_queue(call: RequestContext[NoQuery]) -> web.Response:
    return await _stock_response(await call.services.user_queue.show(call.user))


@endpoint(allow_anonymous=True, requires_store=False)
async def _change_stock_queue(call: RequestContext[NoQuery]) -> web.Response:
    body = await parse_body(StockQueueBody, call.request)
    if body.clear:
        await call.services.control.cancel_pending(call.user)
    if body.delete:
        await call.services.user_queue.drop(body.delete, call.user)
    return web.Response()


@endpoint(allow_anonymous=True, requires_store=False)
async def _stock_interrupt(call: RequestContext[NoQuery]) -> web.Response:
    body = await parse_body(StockInterruptBody, call.request)
    await call.services.user_queue.interrupt(call.user, body.prompt_id or None)
    return web.Response()


async def check_ids(call: RequestContext[NoQuery]) -> None:
    """Raise InvalidBodyError for a body with too many ids."""
    await parse_body(StockIdsBody, call.request)


async def _check_optional_json(call: RequestContext[NoQuery]) -> None:
    """Raise InvalidBodyError for a body that is neither empty nor bounded JSON."""
    if (await request_body.read(call.request)).strip():
        await json_body(call.request)


_PROMPT_ITEM = array(
    True,
    "A prompt: for hosted clients its position, id, graph, ids of the output nodes, and an object with `create_time`; "
    "for others its number, id, graph, extra data with the workflow and `client_id`, and ids of the output nodes.",
    minItems=5,
    maxItems=5,
)
_QUEUE = Record(
    "QueueInfo",
    "The queue.",
    {
        "queue_running": array(_PROMPT_ITEM, "Running prompts."),
        "queue_pending": array(_PROMPT_ITEM, "Pending prompts, the next first."),
    },
)
_QUEUE_CHANGED = Record(
    "QueueManageResponse",
    "The cancelled jobs.",
    {
        "deleted": array({"type": "string"}, "The known jobs among the given ids."),
        "cleared": boolean("True if all were requested."),
    },
    optional=("deleted", "cleared"),
)

ROUTES = [
    Route(
        "GET",
        "/api/queue",
        get_queue,
        Operation(
            "getQueueInfo",
            "Queue",
            "Get the queue",
            {200: Response("The queue.", _QUEUE)},
            "A request with `X-API-Key` or a `Bearer` token is a hosted client's. Servers older than the page's list "
            "of jobs keep the operation for all others.",
        ),
        when=_shows_queue,
    ),
    Route(
        "POST",
        "/api/queue",
        manage_queue,
        Operation(
            "manageQueue",
            "Queue",
            "Cancel some or all pending jobs",
            {200: Response("The cancelled jobs.", _QUEUE_CHANGED)},
            body=RequestBody(QueueManageRequest, example={"clear": True}),
        ),
    ),
    Route(
        "POST",
        "/api/interrupt",
        interrupt,
        Operation(
            "interruptJob",
            "Queue",
            "Cancel the running job, or else the next one",
            {200: Response("The job is cancelled, or there was none.")},
            body=RequestBody(InterruptRequest, is_required=False),
        ),
    ),
    Route(
        "POST",
        "/api/free",
        free_memory,
        Operation(
            "freeMemory",
            "Queue",
            "Free memory after the running job",
            {200: Response("The request is accepted.")},
            body=RequestBody(FreeMemoryRequest, is_required=False, example={"unload_models": True}),
        ),
    ),
]
# Operations of the host. Without /api the POST operations are always the host's; a GET reaches it on older servers.
INTERCEPTORS = [
    Interceptor("GET", "/api/queue", for_several_users(_stock_queue)),
    Interceptor("POST", "/queue", for_several_users(_change_stock_queue)),
    Interceptor("POST", "/queue", check_first(check_ids), media="json"),
    Interceptor("POST", "/interrupt", for_several_users(_stock_interrupt)),
    Interceptor("POST", "/interrupt", check_first(_check_optional_json), media="json"),
    Interceptor("POST", "/free", check_first(_check_optional_json), media="json"),
]
