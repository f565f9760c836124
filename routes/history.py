"""What was executed, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.models import FINAL
from .context import Call, endpoint, guarded, json_response
from .job_body import history_detail, history_entry, stock_entry
from .params import Ids, NoQuery, Offset, parse_body
from .router import Passage, Route

_DEFAULT_ITEMS = 200
_MAX_ITEMS = 10_000


class History(msgspec.Struct, frozen=True):
    """Query of getHistory."""

    max_items: Annotated[int, msgspec.Meta(ge=0)] = _DEFAULT_ITEMS
    offset: Offset = 0


class HistoryBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of manageHistory."""

    clear: bool = False
    delete: Ids = []


class StockHistoryBody(msgspec.Struct, frozen=True):
    """Body of the server's own operation, which knows more members than we do."""

    clear: bool = False
    delete: Ids = []


@endpoint(query=History)
async def get_history(call: Call[History]) -> dict[str, Any]:
    """The jobs that are over, the latest first, without their graphs (getHistory)."""
    limit = min(call.query.max_items, _MAX_ITEMS)
    records = await call.services.jobs.history(call.user, limit, call.query.offset) if limit else []
    entries = await asyncio.to_thread(lambda: [history_entry(record) for record in records])
    return {"history": entries}


@endpoint()
async def get_entry(call: Call[NoQuery]) -> dict[str, Any]:
    """All there is of a job that is over; nothing as long as it is not (getHistoryForPrompt)."""
    record = await call.services.jobs.record(call.path["prompt_id"], call.user)
    return {record.job.id: history_detail(record)} if record.job.status in FINAL else {}


@endpoint()
async def manage_history(call: Call[NoQuery]) -> dict[str, Any]:
    """Remove the records of jobs that are over, never their files (manageHistory)."""
    body = await parse_body(HistoryBody, call.request)
    return await _remove(call, body)


async def _remove(call: Call[NoQuery], body: HistoryBody | StockHistoryBody) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if body.delete:
        answer["deleted"] = await call.services.jobs.delete(body.delete, call.user)
    if body.clear:
        await call.services.jobs.clear(call.user)
        answer["cleared"] = True
    return answer


async def stock_history(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """The same through the server's own path: what it removes from its memory is removed here too."""
    if services.host.is_multi_user():  # the server's own operation removes everybody's
        return await _remove_own(request, {}, services)
    answer = await pass_on(request)
    if answer.status == 200:
        await _remove_as_well(request, {}, services)
    return answer


@endpoint(is_for_anybody=True)
async def _remove_own(call: Call[NoQuery]) -> web.Response:
    await _remove(call, await parse_body(StockHistoryBody, call.request))
    return web.Response()


@guarded()
async def _remove_as_well(call: Call[NoQuery]) -> None:
    body = await parse_body(HistoryBody, call.request)
    await _remove(call, body)


async def entry_of_earlier_run(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Give jobs that are over, and that the server does not remember since its restart, in the server's own form."""
    answer = await pass_on(request)
    if not isinstance(answer, web.Response) or (answer.status, answer.body) != (200, b"{}"):
        return answer
    job_id = request.path.rsplit("/", 1)[-1]
    if job_id in _in_queue(services):
        return answer
    found = await _stored_entry(request, {"prompt_id": job_id}, services)
    return found if isinstance(found, web.Response) and found.status == 200 else answer


def _in_queue(services: Services) -> frozenset[str]:
    queue = services.host.queue()
    return frozenset((*queue.running, *queue.pending))


@guarded()
async def _stored_entry(call: Call[NoQuery]) -> web.Response | None:
    record = await call.services.jobs.stored(call.path["prompt_id"], call.user)
    if record is None or record.job.status not in FINAL:
        return None
    return await asyncio.to_thread(lambda: json_response({record.job.id: stock_entry(record)}))


ROUTES = [
    Route("GET", "/api/history_v2", "getHistory", get_history),
    Route("GET", "/api/history_v2/{prompt_id}", "getHistoryForPrompt", get_entry),
    Route("POST", "/api/history", "manageHistory", manage_history),
]
PASSAGES = [
    Passage("POST", "/history", stock_history, media="json"),
    Passage("GET", "/api/history/{prompt_id}", entry_of_earlier_run),
]
