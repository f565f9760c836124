"""The history of jobs: the contract's operations, and the host's own, which keeps only what it ran since its start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Raw

from ..comfy_assets.json_text import strict
from ..comfy_assets.models import FINAL, JobRecord
from .context import NoQuery, RequestContext, endpoint, guarded, json_response
from .interceptors import HostRequest, Interceptor, check_first, for_several_users
from .job_body import JOB_ERRORS, prompt_extra_data, result_parts
from .operations import (
    Operation,
    Record,
    RequestBody,
    Response,
    Route,
    array,
    boolean,
    integer,
    mapping,
    number,
    object_with,
    string,
)
from .params import Ids, Offset, doc, parse_body
from .queue import check_ids

_DEFAULT_ITEMS = 200
_MAX_ITEMS = 10_000  # the size of a host's own history
_MAX_OFFSET = (1 << 63) - 1  # the largest integer of SQLite


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
    # 0 is valid by the contract, and no reason to read the store.
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


async def manage_stock_history(call: HostRequest) -> web.StreamResponse:
    """Remove from the store the records that the host removes from its memory."""
    if call.services.host.is_multi_user():  # the host would remove the records of all users
        return await call.run(_remove_own)
    response = await call.pass_on()
    if response.status == 200:
        # Its error is dropped: the host has succeeded, and its response stays.
        await call.run(_remove_too)
    return response


@endpoint(allow_anonymous=True)
async def _remove_own(call: RequestContext[NoQuery]) -> web.Response:
    await _remove(call, await parse_body(StockHistoryBody, call.request))
    return web.Response()


@guarded()
async def _remove_too(call: RequestContext[NoQuery]) -> None:
    body = await parse_body(HistoryManageRequest, call.request)
    await _remove(call, body)


async def stored_history_entry(call: HostRequest) -> web.StreamResponse:
    """Return a finished job from the store, in the host's form, if the host has forgotten it since its restart."""
    response = await call.pass_on()
    if not isinstance(response, web.Response) or (response.status, response.body) != (200, b"{}"):
        return response
    # An empty object: the host does not know the job, or the job has not finished.
    job_id = call.request.path.rsplit("/", 1)[-1]
    if call.services.control.is_queued(job_id):
        return response
    # An error of the store is dropped, too: the response of the host is right for all it knows.
    found = await call.run(_stored_entry, {"prompt_id": job_id})
    return found if isinstance(found, web.Response) and found.status == 200 else response


@guarded()
async def _stored_entry(call: RequestContext[NoQuery]) -> web.Response | None:
    record = await call.services.jobs.stored(call.path["prompt_id"], call.user)
    if record is None or record.job.status not in FINAL:
        return None
    return await asyncio.to_thread(lambda: json_response({record.job.id: stock_entry(record)}))


async def history_of_old_pages(call: HostRequest) -> web.StreamResponse:
    """Return the latest finished jobs from the store, in the host's form, to pages older than their server.

    Only these ask a server that lists jobs for its history, which is empty after a restart. They give a ``max_items``.
    """
    request = call.request
    if call.services.host.lists_jobs and request.path.startswith("/api/") and "max_items" in request.query:
        found = await call.run(_stock_history)
        if found.status == 200:
            return found
    return await call.pass_on()


@endpoint(query=StockHistoryQuery, allow_anonymous=True)
async def _stock_history(call: RequestContext[StockHistoryQuery]) -> Mapping[str, msgspec.Raw]:
    limit = _MAX_ITEMS if call.query.max_items is None else min(call.query.max_items, _MAX_ITEMS)
    # -1 is the default of ComfyUI: the latest entries.
    offset = min(call.query.offset, _MAX_OFFSET) if call.query.offset is not None and call.query.offset >= 0 else None
    return await call.services.user_history.page(call.user, limit, offset)


@endpoint(allow_anonymous=True)
async def _stock_history_entry(call: RequestContext[NoQuery]) -> Mapping[str, msgspec.Raw]:
    return await call.services.user_history.single(call.user, call.request.path.rpartition("/")[2])


def history_entry(record: JobRecord) -> dict[str, Any]:
    """Make the contract's HistoryEntry, which has neither the prompt's graph nor the workflow's."""
    job = record.job
    entry: dict[str, Any] = {
        "prompt_id": job.id,
        "create_time": job.created_at,
        "prompt": {
            "priority": job.number,
            "prompt_id": job.id,
            "extra_data": prompt_extra_data(record, with_workflow=False),
        },
        **result_parts(record),
    }
    if job.workflow_id is not None:
        entry["workflow_id"] = job.workflow_id
    return entry


def history_detail(record: JobRecord) -> dict[str, Any]:
    """Make the contract's HistoryDetailEntry. ``error_message`` of a failed job has the form that comfy-cli reads."""
    failure = {} if record.job.error is None else {"error_message": record.job.error}
    return {
        "prompt": {
            "priority": record.job.number,
            "prompt_id": record.job.id,
            "prompt": Raw(strict(record.graph)),
            "extra_data": prompt_extra_data(record),
            "outputs_to_execute": Raw(record.targets),
        },
        **result_parts(record),
        **failure,
    }


def stock_entry(record: JobRecord) -> dict[str, Any]:
    """Make the entry of a finished job in the server's own ``/history``."""
    job = record.job
    prompt = [job.number, job.id, Raw(strict(record.graph)), prompt_extra_data(record), Raw(record.targets)]
    return {"prompt": prompt, "outputs": Raw(b"{}"), "meta": Raw(b"{}"), **result_parts(record)}


_HISTORY_ENTRY = Record(
    "HistoryEntry",
    "A finished job, without its graph.",
    {
        "prompt_id": string("The job's id."),
        "create_time": integer("Time of submission, in milliseconds.", format="int64"),
        "workflow_id": string("The workflow that it was submitted from."),
        "prompt": object_with(
            {},
            "The submitted prompt.",
            priority=number("Its position in the queue."),
            prompt_id=string("The job's id."),
            extra_data=mapping(True, "Its additional data, without the page's graph."),
        ),
        "outputs": mapping(True, "Its outputs, by node."),
        "status": mapping(True, "Result and messages of the execution."),
        "meta": mapping(True, "Information about the nodes with outputs."),
    },
    optional=("create_time", "workflow_id", "prompt", "outputs", "status", "meta"),
)
_HISTORY = Record(
    "HistoryResponse", "Finished jobs.", {"history": array(_HISTORY_ENTRY, "The jobs, the latest first.")}
)
_HISTORY_DETAIL = Record(
    "HistoryDetailEntry",
    "A finished job with its graph.",
    {
        "prompt": object_with(
            {},
            "The submitted prompt.",
            priority=number("Its position in the queue."),
            prompt_id=string("The job's id."),
            prompt=mapping(True, "The graph."),
            extra_data=mapping(True, "Its additional data, without credentials."),
            outputs_to_execute=array({"type": "string"}, "The requested output nodes."),
        ),
        "outputs": mapping(True, "Its outputs, by node."),
        "status": mapping(True, "Result and messages of the execution."),
        "meta": mapping(True, "Information about the nodes with outputs."),
        "error_message": string("The error of a failed job, as JSON text."),
    },
    optional=("prompt", "outputs", "status", "meta", "error_message"),
)
_REMOVED = object_with(
    {},
    "The removed records.",
    deleted=array({"type": "string"}, "The existing records among the given ids."),
    cleared=boolean("True if all were requested."),
)

ROUTES = [
    Route(
        "GET",
        "/api/history_v2",
        get_history,
        Operation(
            "getHistory", "History", "List finished jobs, the latest first", {200: Response("The records.", _HISTORY)}
        ),
    ),
    Route(
        "GET",
        "/api/history_v2/{prompt_id}",
        get_entry,
        Operation(
            "getHistoryForPrompt",
            "History",
            "Get a finished job",
            {200: Response("The job by its id; an empty object before it has finished.", mapping(_HISTORY_DETAIL))},
            parameters={"prompt_id": "The job's id."},
            errors=JOB_ERRORS,
        ),
    ),
    Route(
        "POST",
        "/api/history",
        manage_history,
        Operation(
            "manageHistory",
            "History",
            "Remove records of finished jobs, never their files",
            {200: Response("The removed records.", _REMOVED)},
            body=RequestBody(HistoryManageRequest, example={"delete": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
        ),
    ),
]
INTERCEPTORS = [
    Interceptor("GET", "/api/history", for_several_users(_stock_history)),
    Interceptor("GET", "/api/history", history_of_old_pages),
    Interceptor("GET", "/api/history/{prompt_id}", stored_history_entry),
    Interceptor("GET", "/api/history/{prompt_id}", for_several_users(_stock_history_entry)),
    Interceptor("POST", "/history", manage_stock_history, media="json"),
    Interceptor("POST", "/history", check_first(check_ids), media="json"),
]
