"""Descriptions of the operations on tasks."""

from __future__ import annotations

from ...comfy_assets.errors import TaskNotFoundError
from ..tasks import TaskEntry, TaskResponse
from .schema import PAGINATION, Operation, Record, Response, array

_LIST = Record(
    "TasksListResponse", "A page of tasks.", {"tasks": array(TaskEntry, "The tasks."), "pagination": PAGINATION}
)

OPERATIONS = [
    Operation(
        "listTasks",
        "Tasks",
        "List the server's tasks and the user's own",
        {200: Response("The page.", _LIST)},
        statuses={400: 422},
    ),
    Operation(
        "getTask",
        "Tasks",
        "Get a task with its progress",
        {200: Response("The task.", TaskResponse)},
        parameters={"task_id": {"description": "The task's id.", "format": "uuid"}},
        errors=(TaskNotFoundError,),
    ),
]
