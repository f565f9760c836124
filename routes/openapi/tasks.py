"""Tasks in words."""

from __future__ import annotations

from ...comfy_assets.errors import TaskNotFoundError
from ..tasks import TaskBody, TaskEntry
from .common import PAGINATION
from .operation import Answer, Operation
from .schema import Record, Words, array

_FREE = {"type": "object", "additionalProperties": True}

_ENTRY = Words(
    TaskEntry,
    "TaskEntry",
    "A task as lists show it.",
    {
        "id": {"description": "The task's id.", "format": "uuid"},
        "task_name": "What it does.",
        "status": "How far it is. What was cancelled has failed.",
        "create_time": "When it was asked for.",
        "started_at": "When it began.",
        "completed_at": "When it ended.",
    },
)
_TASK = Words(
    TaskBody,
    "TaskResponse",
    "All there is of a task.",
    {
        "idempotency_key": "What keeps it from being done twice.",
        "payload": {"description": "What it was asked to do.", **_FREE},
        "update_time": "When it last told of its progress.",
        "result": {"description": "How far it is, or what came of it.", **_FREE},
        "error_message": "Why it failed.",
    },
)
WORDS = [_ENTRY, _TASK]

_LIST = Record(
    "TasksListResponse", "A page of tasks.", {"tasks": array(TaskEntry, "The tasks."), "pagination": PAGINATION}
)

OPERATIONS = [
    Operation(
        "listTasks",
        "Tasks",
        "A page of the server's tasks, and of the user's own",
        {200: Answer("The page.", _LIST)},
        parameters={
            "task_name": "Only tasks that do this.",
            "idempotency_key": "Only tasks with this key.",
            "status": "Only tasks in one of these states.",
            "created_after": {
                "description": "Only tasks that were asked for after this moment.",
                "format": "date-time",
            },
            "created_before": {
                "description": "Only tasks that were asked for before this moment.",
                "format": "date-time",
            },
        },
        statuses={400: 422},
    ),
    Operation(
        "getTask",
        "Tasks",
        "A task with its progress",
        {200: Answer("The task.", TaskBody)},
        parameters={"task_id": {"description": "The task's id.", "format": "uuid"}},
        errors=(TaskNotFoundError,),
    ),
]
