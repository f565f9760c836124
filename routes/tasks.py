"""Background work over HTTP."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.errors import InvalidQueryError
from ..comfy_assets.models import TaskFilter, TaskPage, TaskRecord, TaskState
from .asset_body import utc_time
from .context import RequestContext, endpoint, error_response
from .params import NoQuery, Offset, Text
from .router import Route

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class ListTasks(msgspec.Struct, frozen=True):
    """Query of listTasks."""

    task_name: Text | None = None
    idempotency_key: Text | None = None
    status: Annotated[tuple[TaskState, ...], msgspec.Meta(max_length=100)] = ()
    created_after: Text | None = None
    created_before: Text | None = None
    sort_order: Literal["asc", "desc"] = "desc"
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    offset: Offset = 0


class TaskEntry(msgspec.Struct):
    """A task as lists show it."""

    id: str
    task_name: str
    status: TaskState
    create_time: datetime
    started_at: datetime | UnsetType
    completed_at: datetime | UnsetType


class TaskBody(TaskEntry):
    """All there is of a task. ``result`` is how far it is, or what came of it."""

    idempotency_key: str
    payload: Raw
    update_time: datetime
    result: Raw | UnsetType
    error_message: str | UnsetType


def _unprocessable(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Malformed filters are 422 here."""
    return error_response(422 if status == 400 else status, code, message, details)


@endpoint(query=ListTasks, failure=_unprocessable)
async def list_tasks(call: RequestContext[ListTasks]) -> dict[str, Any]:
    """One page of the server's tasks, and of the user's own (listTasks)."""
    query = call.query
    after, before = _microseconds(query, "created_after"), _microseconds(query, "created_before")
    wanted = TaskFilter(
        call.user,
        name=query.task_name,
        idempotency_key=query.idempotency_key,
        statuses=query.status,
        since=None if after is None else after // 1000 + 1,
        until=None if before is None else (before - 1) // 1000,
    )
    page = await call.services.task_list.list(wanted, TaskPage(query.sort_order, query.limit, query.offset))
    shown = {"offset": query.offset, "limit": query.limit, "total": page.total, "has_more": page.has_more}
    return {"tasks": [_entry(task) for task in page.items], "pagination": shown}


@endpoint()
async def get_task(call: RequestContext[NoQuery]) -> TaskBody:
    """All there is of a task (getTask)."""
    return _body(await call.services.task_list.get(call.path["task_id"], call.user))


def _microseconds(query: ListTasks, field: str) -> int | None:
    """The time given, since 1970. Raises InvalidQueryError for what is no RFC 3339 time."""
    text: str | None = getattr(query, field)
    if text is None:
        return None
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        since = msgspec.convert(text, datetime) - _EPOCH
    except (ValueError, OverflowError) as error:
        message = f"{field} must be a time like 2024-01-31T00:00:00Z."
        raise InvalidQueryError(message, details={"field": field}) from error
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _entry(task: TaskRecord) -> TaskEntry:
    return TaskEntry(**_members(task))


def _body(task: TaskRecord) -> TaskBody:
    return TaskBody(
        **_members(task),
        idempotency_key=task.idempotency_key,
        payload=Raw(task.payload.encode()),
        update_time=utc_time(task.updated_at),
        result=UNSET if task.result is None else Raw(task.result.encode()),
        error_message=UNSET if task.error_message is None else task.error_message,
    )


def _members(task: TaskRecord) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(bytes=task.id)),
        "task_name": task.name,
        "status": task.status,
        "create_time": utc_time(task.created_at),
        "started_at": UNSET if task.started_at is None else utc_time(task.started_at),
        "completed_at": UNSET if task.completed_at is None else utc_time(task.completed_at),
    }


ROUTES = [
    Route("GET", "/api/tasks", "listTasks", list_tasks),
    Route("GET", "/api/tasks/{task_id}", "getTask", get_task),
]
