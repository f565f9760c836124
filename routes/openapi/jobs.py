"""Descriptions of the operations on jobs, the queue and the history."""

from __future__ import annotations

from ...comfy_assets.errors import (
    AssetInUseError,
    InvalidCursorError,
    InvalidIdError,
    JobElsewhereError,
    JobForbiddenError,
    JobNotFoundError,
    SearchNotReadyError,
    SearchUnavailableError,
    StorageError,
)
from ..history import HistoryManageRequest
from ..job_body import ANY_JOB_ID, JobAsset, JobDetailResponse, JobEntry, JobProgress, JobStatusResponse
from ..jobs import JobsCancelRequest
from ..operations import (
    PAGINATION,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    boolean,
    integer,
    mapping,
    number,
    object_with,
    string,
)
from ..queue import FreeMemoryRequest, InterruptRequest, QueueManageRequest

_JOB = {"job_id": {"description": ANY_JOB_ID}}

EXECUTION_ERROR = Record(
    "ExecutionError",
    "The error that ended a job.",
    {
        "node_id": string("The node that failed."),
        "node_type": string("Its type."),
        "exception_message": string("Message of the exception."),
        "exception_type": string("Class of the exception; `ServerStopped` if the server ended during the job."),
        "traceback": array({"type": "string"}, "Traceback of the exception."),
        "current_inputs": mapping(True, "Inputs of the node."),
        "current_outputs": mapping(True, "Outputs of the nodes before."),
    },
)

_LIST = Record("JobsListResponse", "A page of jobs.", {"jobs": array(JobEntry, "The jobs."), "pagination": PAGINATION})
_ASSETS = Record(
    "JobAssetsResponse",
    "The assets among a job's outputs.",
    {"assets": array(JobAsset, "The assets, in the order of the outputs."), "total": integer("Number of assets.")},
)
_CANCELLED = Record(
    "JobCancelResponse",
    "The result of a cancellation.",
    {"cancelled": boolean("False if the job had already finished.")},
)
_MANY_CANCELLED = Record(
    "JobsCancelResponse",
    "The cancelled jobs.",
    {"cancelled": array({"type": "string"}, "The jobs that had not finished.")},
)
_PROMPT_ITEM = array(
    True,
    "A prompt: number, id, graph, ids of the output nodes, and an object with `create_time`.",
    minItems=5,
    maxItems=5,
)
_QUEUE = Record(
    "QueueInfo",
    "The queue.",
    {
        "queue_running": array(_PROMPT_ITEM, "Running prompts."),
        "queue_pending": array(_PROMPT_ITEM, "Pending prompts, the next first."),
    },
)
_QUEUE_CHANGED = Record(
    "QueueManageResponse",
    "The cancelled jobs.",
    {
        "deleted": array({"type": "string"}, "The known jobs among the given ids."),
        "cleared": boolean("True if all were requested."),
    },
    optional=("deleted", "cleared"),
)
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
_PROMPT = Record(
    "PromptRequest",
    "A prompt to execute.",
    {
        "prompt": mapping(mapping(), "The graph: nodes by id, each with `class_type` and `inputs`."),
        "prompt_id": string(
            "Id of the new job; no other job may have it. Chosen by the server if omitted.",
            format="uuid",
        ),
        "number": number("Its position in the queue; the last if omitted."),
        "front": boolean("Whether it runs before all pending prompts."),
        "extra_data": mapping(True, "Additional data of nodes and of the page, stored with the job."),
        "client_id": string("The websocket client that receives its progress."),
        "partial_execution_targets": array({"type": "string"}, "Execute only these output nodes and what they need."),
        "workflow_id": string("The workflow that it is submitted from; stored with the job."),
        "workflow_version_id": string("The version of the workflow; stored with the job."),
    },
    optional=(
        "prompt_id", "number", "front", "extra_data", "client_id", "partial_execution_targets", "workflow_id",
        "workflow_version_id",
    ),
)  # fmt: skip
_ACCEPTED = Record(
    "PromptResponse",
    "An accepted prompt.",
    {
        "prompt_id": string("The job's id.", format="uuid"),
        "number": number("Its position in the queue."),
        "node_errors": mapping(True, "Errors of outputs that will not be executed, by node."),
    },
)
PROMPT_ERROR = Record(
    "PromptErrorResponse",
    "The reason for which a prompt was rejected, in ComfyUI's form.",
    {
        "error": {
            "description": "Error of the whole prompt.",
            **object_with(
                {"type": string("A code for programs."), "message": string("A sentence for people.")},
                details=string("Details."),
                extra_info=mapping(True, "Details for programs."),
            ),
        },
        "node_errors": {"description": "Errors of nodes, by id."},
    },
    optional=("error", "node_errors"),
)
_INFO = Record(
    "PromptInfo",
    "The length of the queue.",
    {"exec_info": object_with({"queue_remaining": integer("Number of running and pending prompts.")}, "The length.")},
)

_OF_OTHERS = (JobNotFoundError, JobForbiddenError)

RECORDS = [EXECUTION_ERROR]  # components that structs refer to by name
OPERATIONS = [
    Operation(
        "listJobs",
        "Jobs",
        "List jobs",
        {200: Response("The page.", _LIST)},
        errors=(InvalidCursorError, SearchUnavailableError, SearchNotReadyError),
    ),
    Operation(
        "getJobDetail",
        "Jobs",
        "Get a job with its graph and outputs",
        {200: Response("The job.", JobDetailResponse)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "getJobStatus",
        "Jobs",
        "Get the state of a job",
        {200: Response("The state.", JobStatusResponse)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "listJobAssets",
        "Jobs",
        "List the assets among a job's outputs",
        {200: Response("The assets.", _ASSETS)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "getJobProgress",
        "Jobs",
        "Get the progress of a running job",
        {200: Response("The progress.", JobProgress)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "deleteJob",
        "Jobs",
        "Remove a job with the assets that it made",
        {204: Response("The job is removed, or has not finished and is left as it is.")},
        "The assets are deleted as by deleteAsset: they can be restored.",
        parameters=_JOB,
        errors=(JobNotFoundError, AssetInUseError, StorageError),
    ),
    Operation(
        "cancelJob",
        "Jobs",
        "Cancel a job",
        {200: Response("The result.", _CANCELLED)},
        parameters=_JOB,
        errors=(InvalidIdError, JobNotFoundError, JobElsewhereError),
    ),
    Operation(
        "cancelJobs",
        "Jobs",
        "Cancel several jobs",
        {200: Response("The cancelled jobs.", _MANY_CANCELLED)},
        "No job is cancelled if one is unknown, or is in the queue of another server.",
        body=RequestBody(JobsCancelRequest, example={"job_ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
        errors=(JobNotFoundError, JobElsewhereError),
    ),
    Operation(
        "manageQueue",
        "Queue",
        "Cancel some or all pending jobs",
        {200: Response("The cancelled jobs.", _QUEUE_CHANGED)},
        body=RequestBody(QueueManageRequest, example={"clear": True}),
    ),
    Operation(
        "interruptJob",
        "Queue",
        "Cancel the running job, or else the next one",
        {200: Response("The job is cancelled, or there was none.")},
        body=RequestBody(InterruptRequest, is_required=False),
    ),
    Operation(
        "freeMemory",
        "Queue",
        "Free memory after the running job",
        {200: Response("The request is accepted.")},
        body=RequestBody(FreeMemoryRequest, is_required=False, example={"unload_models": True}),
    ),
    Operation(
        "getHistory",
        "History",
        "List finished jobs, the latest first",
        {200: Response("The records.", _HISTORY)},
    ),
    Operation(
        "getHistoryForPrompt",
        "History",
        "Get a finished job",
        {200: Response("The job by its id; an empty object before it has finished.", mapping(_HISTORY_DETAIL))},
        parameters={"prompt_id": "The job's id."},
        errors=_OF_OTHERS,
    ),
    Operation(
        "manageHistory",
        "History",
        "Remove records of finished jobs, never their files",
        {200: Response("The removed records.", _REMOVED)},
        body=RequestBody(HistoryManageRequest, example={"delete": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
    ),
    Operation(
        "getQueueInfo",
        "Queue",
        "Get the queue",
        {200: Response("The queue.", _QUEUE)},
        "Servers older than the page's list of jobs keep the operation, in a form of their own.",
    ),
]

HOST_OPERATIONS = [
    HostOperation(
        "POST",
        "/api/prompt",
        Operation(
            "executePrompt",
            "Queue",
            "Submit a prompt",
            {200: Response("The prompt is in the queue.", _ACCEPTED)},
            "Inputs that name files may be the id or hash of an asset, see `docs/portability.md`. The server around "
            "the project validates the graph; malformed prompts never reach it.",
            body=RequestBody(
                _PROMPT,
                example={
                    "prompt": {
                        "1": {
                            "class_type": "EmptyImage",
                            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
                        },
                        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
                    }
                },
            ),
            error_schema=PROMPT_ERROR,
        ),
        statuses={
            400: "The body is malformed, its `prompt_id` belongs to another job, or the graph is invalid.",
            413: "The prompt is larger than the server accepts.",
            500: "An unexpected error; the server's log has the details.",
            503: "The server accepts no prompts now.",
        },
    ),
    HostOperation(
        "GET",
        "/api/prompt",
        Operation("getPromptInfo", "Queue", "Get the length of the queue", {200: Response("The length.", _INFO)}),
    ),
]
