"""Tasks in words."""

from __future__ import annotations

from ...comfy_assets.errors import ApiError
from .common import PAGINATION
from .operation import Answer, Operation
from .shapes import Record, array, mapping, text, time, uuid

STATUSES = ["created", "running", "completed", "failed"]
_TIMES = {
    "create_time": time("When it was asked for."),
    "started_at": time("When it began."),
    "completed_at": time("When it ended."),
}
_ENTRY = Record(
    "TaskEntry",
    "A task as lists show it.",
    {
        "id": uuid("The task's id."),
        "task_name": text("What it does."),
        "status": text("How far it is. What was cancelled has failed.", enum=STATUSES),
        **_TIMES,
    },
    optional=("started_at", "completed_at"),
)
_TASK = Record(
    "TaskResponse",
    "All there is of a task.",
    {
        **_ENTRY.members,
        "update_time": time("When it last told of its progress."),
        "idempotency_key": text("What kept it from being started twice."),
        "payload": mapping(True, "What it was asked to do."),
        "result": mapping(True, "What it has done so far."),
        "error_message": text("Why it failed."),
    },
    optional=("started_at", "completed_at", "result", "error_message"),
)
_LIST = Record(
    "TasksListResponse", "A page of tasks.", {"tasks": array(_ENTRY, "The tasks."), "pagination": PAGINATION}
)


class _UnprocessableQueryError(ApiError):
    """A query parameter is malformed; `details.field` names it."""

    status = 422
    code = "INVALID_QUERY"


class _TaskNotFoundError(ApiError):
    """No such task for this user."""

    status = 404
    code = "TASK_NOT_FOUND"


OPERATIONS = [
    Operation(
        "listTasks",
        "Tasks",
        "A page of tasks",
        {200: Answer("The page.", _LIST)},
        parameters={
            "task_name": "Only tasks that do this.",
            "idempotency_key": "Only the task with this key.",
            "status": "Only tasks in one of these states.",
            "created_after": "Only tasks that were asked for after this moment.",
            "created_before": "Only tasks that were asked for before this moment.",
        },
        errors=(_UnprocessableQueryError,),
    ),
    Operation(
        "getTask",
        "Tasks",
        "A task with its progress",
        {200: Answer("The task.", _TASK)},
        parameters={"task_id": {"description": "The task's id.", "format": "uuid"}},
        errors=(_TaskNotFoundError,),
    ),
]
