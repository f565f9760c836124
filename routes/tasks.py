"""Background tasks: scans, hash runs, exports and the like."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timezone
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.errors import InvalidQueryError, TaskNotCancellableError, TaskNotFoundError
from ..comfy_assets.models import TaskFilter, TaskPage, TaskRecord, TaskState
from .context import NoQuery, RequestContext, endpoint, error_response, utc_time
from .operations import PAGINATION, Operation, Record, Response, Route, array
from .params import ANY_OBJECT, Offset, ShortPageLimit, SortDirection, Text, doc

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# msgspec alone would accept a time without a zone, whose meaning depends on the server.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class ListTasks(msgspec.Struct, frozen=True):
    """Query of listTasks."""

    task_name: Annotated[Text | None, doc("Only tasks of this name.")] = None
    idempotency_key: Annotated[Text | None, doc("Only tasks with this key.")] = None
    status: Annotated[
        tuple[TaskState, ...], msgspec.Meta(max_length=100), doc("Only tasks in one of these states.")
    ] = ()
    created_after: Annotated[Text | None, doc("Only tasks created after this time.", format="date-time")] = None
    created_before: Annotated[Text | None, doc("Only tasks created before this time.", format="date-time")] = None
    sort_order: SortDirection = "desc"
    limit: ShortPageLimit = 20
    offset: Offset = 0


class TaskEntry(msgspec.Struct):
    """A task in a list."""

    id: Annotated[str, doc("The task's id.", format="uuid")]
    task_name: Annotated[str, doc("Name of its kind.")]
    status: Annotated[TaskState, doc("State of the task.")]
    create_time: Annotated[datetime, doc("Time of the request.")]
    started_at: Annotated[datetime | UnsetType, doc("Time of its start.")]
    completed_at: Annotated[datetime | UnsetType, doc("Time of its end.")]


class TaskResponse(TaskEntry):
    """A task with its progress or result."""

    idempotency_key: Annotated[str, doc("Key that prevents a second task for the same work.")]
    payload: Annotated[Raw, doc("Parameters of the request.", **ANY_OBJECT)]
    update_time: Annotated[datetime, doc("Time of its last report of progress.")]
    result: Annotated[Raw | UnsetType, doc("Its progress, or its result once it has finished.", **ANY_OBJECT)]
    error_message: Annotated[str | UnsetType, doc("Reason of its failure.")]


def _unprocessable(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make an error of listTasks, which returns 422 for malformed filters."""
    return error_response(422 if status == 400 else status, code, message, details)


@endpoint(query=ListTasks, failure=_unprocessable)
async def list_tasks(call: RequestContext[ListTasks]) -> dict[str, Any]:
    """Return a page of the server's tasks and the user's own (listTasks)."""
    query = call.query
    after, before = _microseconds(query, "created_after"), _microseconds(query, "created_before")
    wanted = TaskFilter(
        call.user,
        name=query.task_name,
        idempotency_key=query.idempotency_key,
        statuses=query.status,
        # Times are stored in milliseconds: both bounds are rounded so that they stay exclusive.
        since=None if after is None else after // 1000 + 1,
        until=None if before is None else (before - 1) // 1000,
    )
    page = await call.services.task_list.list(wanted, TaskPage(query.sort_order, query.limit, query.offset))
    shown = {"offset": query.offset, "limit": query.limit, "total": page.total, "has_more": page.has_more}
    return {"tasks": [_entry(task) for task in page.items], "pagination": shown}


@endpoint()
async def get_task(call: RequestContext[NoQuery]) -> TaskResponse:
    """Return a task with its progress or result (getTask)."""
    return _body(await call.services.task_list.get(call.path["task_id"], call.user))


@endpoint()
async def cancel_task(call: RequestContext[NoQuery]) -> web.Response:
    """Cancel a task (cancelTask)."""
    await call.services.task_list.cancel(call.path["task_id"], call.user)
    return web.Response(status=204)


def _microseconds(query: ListTasks, field: str) -> int | None:
    """Return a time of the query in microseconds since 1970. Raise InvalidQueryError unless it is RFC 3339."""
    text: str | None = getattr(query, field)
    if text is None:
        return None
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        since = msgspec.convert(text, datetime) - _EPOCH
    except (msgspec.ValidationError, ValueError, OverflowError) as error:  # before 0.20, the first is no ValueError
        message = f"{field} must be a time like 2024-01-31T00:00:00Z."
        raise InvalidQueryError(message, details={"field": field}) from error
    # In integers: ``total_seconds`` is not exact to the microsecond for times some centuries away.
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _entry(task: TaskRecord) -> TaskEntry:
    return TaskEntry(**_members(task))


def _body(task: TaskRecord) -> TaskResponse:
    return TaskResponse(
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


_TASKS_LIST = Record(
    "TasksListResponse", "A page of tasks.", {"tasks": array(TaskEntry, "The tasks."), "pagination": PAGINATION}
)

_TASK_ID = {"task_id": {"description": "The task's id.", "format": "uuid"}}
ROUTES = [
    Route(
        "GET",
        "/api/tasks",
        list_tasks,
        Operation(
            "listTasks",
            "Tasks",
            "List the server's tasks and the user's own",
            {200: Response("The page.", _TASKS_LIST)},
            statuses={400: 422},
        ),
    ),
    Route(
        "GET",
        "/api/tasks/{task_id}",
        get_task,
        Operation(
            "getTask",
            "Tasks",
            "Get a task with its progress",
            {200: Response("The task.", TaskResponse)},
            parameters=_TASK_ID,
            errors=(TaskNotFoundError,),
        ),
        shared=(TaskNotFoundError,),
    ),
    Route(
        "DELETE",
        "/api/tasks/{task_id}",
        cancel_task,
        Operation(
            "cancelTask",
            "Tasks",
            "Cancel a task",
            {204: Response("The task stops soon; then its state is `cancelled`.")},
            "Tasks of the servers around the project, which newer versions of ComfyUI have, are cancelled by them.",
            parameters=_TASK_ID,
            errors=(TaskNotFoundError, TaskNotCancellableError),
        ),
        shared=(TaskNotFoundError,),
    ),
]
