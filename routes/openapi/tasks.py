"""Descriptions of the operations on tasks."""

from __future__ import annotations

from ...comfy_assets.errors import TaskNotCancellableError, TaskNotFoundError
from ..operations import PAGINATION, Operation, Record, Response, array
from ..tasks import TaskEntry, TaskResponse

_LIST = Record(
    "TasksListResponse", "A page of tasks.", {"tasks": array(TaskEntry, "The tasks."), "pagination": PAGINATION}
)

_TASK = {"task_id": {"description": "The task's id.", "format": "uuid"}}

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
        parameters=_TASK,
        errors=(TaskNotFoundError,),
    ),
    Operation(
        "cancelTask",
        "Tasks",
        "Cancel a task",
        {204: Response("The task stops soon; then its state is `cancelled`.")},
        "Tasks of the servers around the project, which newer versions of ComfyUI have, are cancelled by them.",
        parameters=_TASK,
        errors=(TaskNotFoundError, TaskNotCancellableError),
    ),
]
