"""The execution queue over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from ..comfy_assets.app import Services
from ..comfy_assets.jobs.shown_queue import ShownPrompt
from .context import Call, endpoint
from .params import Id, Ids, NoQuery, parse_body
from .router import Route


class QueueBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of manageQueue."""

    clear: bool = False
    delete: Ids = []


class InterruptBody(msgspec.Struct, frozen=True):
    """Body of interruptJob: none by the contract; the stock page may name the job it wants to end."""

    prompt_id: Id | None = None


class FreeBody(msgspec.Struct, frozen=True):
    """Body of freeMemory."""

    unload_models: bool = False
    free_memory: bool = False


@endpoint(needs_store=False)
async def get_queue(call: Call[NoQuery]) -> dict[str, Any]:
    """What is executed and what waits (getQueueInfo)."""
    queue = await call.services.user_queue.show(call.user)
    first_waiting = len(queue.running) + 1
    return {
        "queue_running": [_item(number, prompt) for number, prompt in enumerate(queue.running, 1)],
        "queue_pending": [_item(number, prompt) for number, prompt in enumerate(queue.pending, first_waiting)],
    }


def _item(number: int, prompt: ShownPrompt) -> list[Any]:
    """A place in the line, id, graph, nodes to execute, and when it came as far as the server says."""
    times = {"create_time": prompt.created_at} if prompt.created_at is not None else {}
    return [number, prompt.prompt_id, prompt.graph, prompt.targets, times]


@endpoint(needs_store=False)
async def manage_queue(call: Call[NoQuery]) -> dict[str, Any]:
    """Cancel jobs, or all that wait (manageQueue)."""
    body = await parse_body(QueueBody, call.request)
    answer: dict[str, Any] = {}
    if body.delete:
        answer["deleted"] = await call.services.control.cancel_known(body.delete, call.user)
    if body.clear:
        await call.services.control.cancel_pending(call.user)
        answer["cleared"] = True
    return answer


@endpoint(needs_store=False)
async def interrupt(call: Call[NoQuery]) -> web.Response:
    """Cancel the job being executed, or else the next one (interruptJob)."""
    body = await parse_body(InterruptBody, call.request)
    await call.services.control.interrupt(call.user, body.prompt_id or None)
    return web.Response()


@endpoint(needs_store=False)
async def free_memory(call: Call[NoQuery]) -> web.Response:
    """Free memory once the job being executed has ended (freeMemory)."""
    body = await parse_body(FreeBody, call.request)
    call.services.control.free(unload_models=body.unload_models, free_memory=body.free_memory)
    return web.Response()


def _lists_jobs(request: web.Request, services: Services) -> bool:
    """The pages of older servers read the queue in the stock server's form."""
    return services.host.lists_jobs


ROUTES = [
    Route("GET", "/api/queue", "getQueueInfo", get_queue, when=_lists_jobs),
    Route("POST", "/api/queue", "manageQueue", manage_queue),
    Route("POST", "/api/interrupt", "interruptJob", interrupt),
    Route("POST", "/api/free", "freeMemory", free_memory),
]
