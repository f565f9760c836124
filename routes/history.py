"""The history of jobs: the contract's operations, and the host's own, which keeps only what it ran since its start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.models import FINAL
from .context import RequestContext, endpoint, guarded, json_response
from .interceptors import Interceptor, check_first, for_several_users
from .job_body import history_detail, history_entry, stock_entry
from .params import Ids, NoQuery, Offset, doc, parse_body
from .queue import check_ids
from .router import Route

_DEFAULT_ITEMS = 200
_MAX_ITEMS = 10_000  # the size of a host's own history


class HistoryQuery(msgspec.Struct, frozen=True):
    """Query of getHistory."""

    max_items: Annotated[int, msgspec.Meta(ge=0), doc("Maximum number of records; never more than 10,000.")] = (
        _DEFAULT_ITEMS
    )
    offset: Offset = 0


class HistoryManageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of manageHistory: the records to remove."""

    clear: Annotated[bool, doc("Remove the records of all finished jobs of the user.")] = False
    delete: Annotated[Ids, doc("Remove these records.")] = []


class StockHistoryQuery(msgspec.Struct, frozen=True):
    """Query of ``GET /history``. Without an offset the latest entries are returned."""

    max_items: Annotated[int, msgspec.Meta(ge=0)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=-1)] | None = None


class StockHistoryBody(msgspec.Struct, frozen=True):
    """Body of ``POST /history``; unlike ours it may have members unknown to us."""

    clear: bool = False
    delete: Ids = []


@endpoint(query=HistoryQuery)
async def get_history(call: RequestContext[HistoryQuery]) -> dict[str, Any]:
    """List finished jobs without their graphs, the latest first (getHistory)."""
    limit = min(call.query.max_items, _MAX_ITEMS)
    records = await call.services.jobs.history(call.user, limit, call.query.offset) if limit else []
    # In a thread: each record is decompressed and decoded.
    entries = await asyncio.to_thread(lambda: [history_entry(record) for record in records])
    return {"history": entries}


@endpoint()
async def get_entry(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Return a finished job by its id, an empty object before it has finished (getHistoryForPrompt)."""
    record = await call.services.jobs.record(call.path["prompt_id"], call.user)
    return {record.job.id: history_detail(record)} if record.job.status in FINAL else {}


@endpoint()
async def manage_history(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """Remove records of finished jobs, never their files (manageHistory)."""
    body = await parse_body(HistoryManageRequest, call.request)
    return await _remove(call, body)


async def _remove(call: RequestContext[NoQuery], body: HistoryManageRequest | StockHistoryBody) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if body.delete:
        result["deleted"] = await call.services.jobs.delete(body.delete, call.user)
    if body.clear:
        await call.services.jobs.clear(call.user)
        result["cleared"] = True
    return result


async def manage_stock_history(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Remove from the store the records that the host removes from its memory."""
    if services.host.is_multi_user():  # the host would remove the records of all users
        return await _remove_own(request, {}, services)
    response = await pass_on(request)
    if response.status == 200:
        await _remove_too(request, {}, services)
    return response


@endpoint(allow_anonymous=True)
async def _remove_own(call: RequestContext[NoQuery]) -> web.Response:
    await _remove(call, await parse_body(StockHistoryBody, call.request))
    return web.Response()


@guarded()
async def _remove_too(call: RequestContext[NoQuery]) -> None:
    body = await parse_body(HistoryManageRequest, call.request)
    await _remove(call, body)


async def stored_history_entry(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Return a finished job from the store, in the host's form, if the host has forgotten it since its restart."""
    response = await pass_on(request)
    if not isinstance(response, web.Response) or (response.status, response.body) != (200, b"{}"):
        return response
    job_id = request.path.rsplit("/", 1)[-1]
    if services.control.is_queued(job_id):
        return response
    found = await _stored_entry(request, {"prompt_id": job_id}, services)
    return found if isinstance(found, web.Response) and found.status == 200 else response


@guarded()
async def _stored_entry(call: RequestContext[NoQuery]) -> web.Response | None:
    record = await call.services.jobs.stored(call.path["prompt_id"], call.user)
    if record is None or record.job.status not in FINAL:
        return None
    return await asyncio.to_thread(lambda: json_response({record.job.id: stock_entry(record)}))


@endpoint(query=StockHistoryQuery, allow_anonymous=True)
async def _stock_history(call: RequestContext[StockHistoryQuery]) -> Mapping[str, msgspec.Raw]:
    limit = _MAX_ITEMS if call.query.max_items is None else min(call.query.max_items, _MAX_ITEMS)
    offset = call.query.offset if call.query.offset is not None and call.query.offset >= 0 else None
    return await call.services.user_history.page(call.user, limit, offset)


@endpoint(allow_anonymous=True)
async def _stock_history_entry(call: RequestContext[NoQuery]) -> Mapping[str, msgspec.Raw]:
    return await call.services.user_history.single(call.user, call.request.path.rpartition("/")[2])


ROUTES = [
    Route("GET", "/api/history_v2", "getHistory", get_history),
    Route("GET", "/api/history_v2/{prompt_id}", "getHistoryForPrompt", get_entry),
    Route("POST", "/api/history", "manageHistory", manage_history),
]
INTERCEPTORS = [
    Interceptor("GET", "/api/history", for_several_users(_stock_history)),
    Interceptor("GET", "/api/history/{prompt_id}", stored_history_entry),
    Interceptor("GET", "/api/history/{prompt_id}", for_several_users(_stock_history_entry)),
    Interceptor("POST", "/history", manage_stock_history, media="json"),
    Interceptor("POST", "/history", check_first(check_ids), media="json"),
]
