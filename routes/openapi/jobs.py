"""Jobs, the queue and the history in words."""

from __future__ import annotations

from ...comfy_assets.errors import (
    InvalidCursorError,
    InvalidIdError,
    JobElsewhereError,
    JobForbiddenError,
    JobNotFoundError,
    SearchNotReadyError,
    SearchUnavailableError,
)
from ...comfy_assets.models import JOB_STATUSES
from ..history import HistoryBody
from ..job_body import JobBody, JobDetailBody, JobOutputBody, JobProgressBody, JobStatusBody, NodeProgressBody
from ..jobs import CancelBody
from ..queue import FreeBody, InterruptBody, QueueBody
from .common import PAGINATION
from .operation import Answer, Body, HostOperation, Operation
from .schema import Record, Words, array, flag, integer, mapping, members, number, text

_FREE = {"type": "object", "additionalProperties": True}
_ANY_ID = "The job's id: a UUID, or what a client has chosen on a server that lets it choose freely."
_JOB = {"job_id": {"description": _ANY_ID}}

_ERROR = Record(
    "ExecutionError",
    "Why a job failed.",
    {
        "node_id": text("The node that failed."),
        "node_type": text("Its type."),
        "exception_message": text("What it said."),
        "exception_type": text("The kind of exception; `ServerStopped` when the server died meanwhile."),
        "traceback": array({"type": "string"}, "Where it happened."),
        "current_inputs": mapping(True, "The node's inputs at that time."),
        "current_outputs": mapping(True, "What had been made by then."),
    },
)
_ENTRY = Words(
    JobBody,
    "JobEntry",
    "A job as lists show it.",
    {
        "id": _ANY_ID,
        "status": {"description": "What has become of it.", "enum": list(JOB_STATUSES)},
        "create_time": {"description": "When it was submitted, in milliseconds.", "format": "int64"},
        "priority": "Its place in the queue; smaller ones come first.",
        "workflow_id": "The workflow it came from, as far as that is known.",
        "execution_start_time": {"description": "When it began, once it is over.", "format": "int64"},
        "execution_end_time": {"description": "When it ended.", "format": "int64"},
        "execution_error": {"description": "Why it failed.", "allOf": [_ERROR]},
        "outputs_count": "How many things its nodes have shown, once it is over.",
        "previewable_outputs_count": "How many of them can be looked at.",
        "preview_output": {"description": "The one to show for the job.", **_FREE},
    },
)
_DETAIL = Words(
    JobDetailBody,
    "JobDetailResponse",
    "All there is of a job.",
    {
        "update_time": {"description": "When something of it last changed, in milliseconds.", "format": "int64"},
        "workflow": "The graph (`prompt`) and what came with it (`extra_data`), without credentials.",
        "workflow_version_id": "The version of the workflow.",
        "recording_problem": "What of the job could not be recorded, and why; left out where everything was.",
        "outputs": {"description": "What its nodes have shown, by node.", **_FREE},
        "execution_status": {"description": "How it ended, and the messages on the way.", **_FREE},
        "execution_meta": {"description": "What is said of the nodes that have shown something.", **_FREE},
    },
)
_STATUS = Words(
    JobStatusBody,
    "JobStatusResponse",
    "The state of a job.",
    {
        "id": _ANY_ID,
        "status": {
            "description": "What has become of it; a failed job is in `error`.",
            "enum": ["pending", "in_progress", "completed", "error", "cancelled"],
        },
        "created_at": "When it was submitted.",
        "updated_at": "When something of it last changed.",
        "last_state_update": "When its state last changed.",
        "error_message": "What the node said that failed.",
    },
)
_OUTPUT = Words(
    JobOutputBody,
    "JobAsset",
    "An asset, and where a job has shown it.",
    {
        "node_id": "The node that has shown it.",
        "output_key": "What the node calls it, such as `images`.",
        "output_index": "Its place among those.",
    },
)
_NODE_PROGRESS = Words(
    NodeProgressBody,
    "NodeProgress",
    "How far a node is that has been begun.",
    {
        "value": "How much of it is done.",
        "max": "Of how much.",
        "state": {"description": "What it does.", "enum": ["running", "finished", "error"]},
        "display_node_id": "The node of the submitted graph that stands for it.",
    },
)
_PROGRESS = Words(
    JobProgressBody,
    "JobProgress",
    "How far a job is, as the message `progress_state` tells it.",
    {
        "prompt_id": _ANY_ID,
        "nodes": "The nodes that have been begun, by their ids; none unless the job is being executed.",
    },
)
_CANCEL = Words(
    CancelBody,
    "JobsCancelRequest",
    "Jobs to cancel.",
    {"job_ids": {"description": "Up to 100 ids.", "items": {"type": "string"}}},
)
_QUEUE_BODY = Words(
    QueueBody,
    "QueueManageRequest",
    "Which jobs to cancel.",
    {"clear": "All of the user that wait.", "delete": "These. Ids that are not known are left out of the answer."},
)
_HISTORY_BODY = Words(
    HistoryBody,
    "HistoryManageRequest",
    "Which records to remove.",
    {"clear": "All of the user's jobs that are over.", "delete": "These."},
)
_INTERRUPT = Words(
    InterruptBody, "InterruptRequest", "Which job to cancel.", {"prompt_id": "This one, if it is executed or waits."}
)
_FREE_BODY = Words(
    FreeBody,
    "FreeMemoryRequest",
    "What to free.",
    {"unload_models": "Models that are loaded.", "free_memory": "Results that are kept for the next prompt."},
)
WORDS = [
    _ENTRY,
    _DETAIL,
    _STATUS,
    _OUTPUT,
    _NODE_PROGRESS,
    _PROGRESS,
    _CANCEL,
    _QUEUE_BODY,
    _HISTORY_BODY,
    _INTERRUPT,
    _FREE_BODY,
]

_LIST = Record("JobsListResponse", "A page of jobs.", {"jobs": array(JobBody, "The jobs."), "pagination": PAGINATION})
_ASSETS = Record(
    "JobAssetsResponse",
    "What a job has made.",
    {"assets": array(JobOutputBody, "The assets, in the order they were shown."), "total": integer("How many.")},
)
_CANCELLED = Record("JobCancelResponse", "Whether a job was cancelled.", {"cancelled": flag("False when it was over.")})
_MANY_CANCELLED = Record(
    "JobsCancelResponse", "What was cancelled.", {"cancelled": array({"type": "string"}, "Jobs that were not over.")}
)
_PLACE = array(
    True,
    "A place: number in line, id, graph, ids of the nodes to execute, and an object with `create_time`.",
    minItems=5,
    maxItems=5,
)
_QUEUE = Record(
    "QueueInfo",
    "The queue.",
    {
        "queue_running": array(_PLACE, "What is executed."),
        "queue_pending": array(_PLACE, "What waits, the next first."),
    },
)
_QUEUE_CHANGED = Record(
    "QueueManageResponse",
    "What was cancelled.",
    {
        "deleted": array({"type": "string"}, "The jobs that were named and known."),
        "cleared": flag("True when all were."),
    },
    optional=("deleted", "cleared"),
)
_HISTORY_ENTRY = Record(
    "HistoryEntry",
    "What was executed, without the graph.",
    {
        "prompt_id": text("The job's id."),
        "create_time": integer("When it was submitted, in milliseconds.", format="int64"),
        "workflow_id": text("The workflow it came from."),
        "prompt": members(
            {},
            "What was submitted.",
            priority=number("Its place in the queue."),
            prompt_id=text("The job's id."),
            extra_data=mapping(True, "What came with it, without the page's graph."),
        ),
        "outputs": mapping(True, "What its nodes have shown, by node."),
        "status": mapping(True, "How it ended."),
        "meta": mapping(True, "What is said of the nodes that have shown something."),
    },
    optional=("create_time", "workflow_id", "prompt", "outputs", "status", "meta"),
)
_HISTORY = Record("HistoryResponse", "What was executed.", {"history": array(_HISTORY_ENTRY, "The latest first.")})
_HISTORY_DETAIL = Record(
    "HistoryDetailEntry",
    "All there is of what was executed.",
    {
        "prompt": members(
            {},
            "What was submitted.",
            priority=number("Its place in the queue."),
            prompt_id=text("The job's id."),
            prompt=mapping(True, "The graph."),
            extra_data=mapping(True, "What came with it, without credentials."),
            outputs_to_execute=array({"type": "string"}, "The nodes whose outputs were wanted."),
        ),
        "outputs": mapping(True, "What its nodes have shown, by node."),
        "status": mapping(True, "How it ended."),
        "meta": mapping(True, "What is said of the nodes that have shown something."),
        "error_message": text("Of a failed job: the error as JSON text."),
    },
    optional=("prompt", "outputs", "status", "meta", "error_message"),
)
_REMOVED = members(
    {},
    "What was removed.",
    deleted=array({"type": "string"}, "The records that were named and there."),
    cleared=flag("True when all were."),
)
_PROMPT = Record(
    "PromptRequest",
    "What to execute.",
    {
        "prompt": mapping(mapping(), "The graph: nodes by id, each with `class_type` and `inputs`."),
        "prompt_id": text(
            "The id the job is to have, which no other job may have; the server chooses one when left out.",
            format="uuid",
        ),
        "number": number("Its place in the queue; the last one when left out."),
        "front": flag("Whether it comes before all that wait."),
        "extra_data": mapping(True, "What nodes and the page want to be kept with it."),
        "client_id": text("The websocket client that is told of its progress."),
        "partial_execution_targets": array({"type": "string"}, "Only what these nodes need."),
        "workflow_id": text("The workflow it comes from; kept with the job."),
        "workflow_version_id": text("The version of the workflow; kept with the job."),
    },
    optional=(
        "prompt_id", "number", "front", "extra_data", "client_id", "partial_execution_targets", "workflow_id",
        "workflow_version_id",
    ),
)  # fmt: skip
_ACCEPTED = Record(
    "PromptResponse",
    "A prompt that was taken.",
    {
        "prompt_id": text("The job's id.", format="uuid"),
        "number": number("Its place in the queue."),
        "node_errors": mapping(True, "Outputs that will not be made, and why, by node."),
    },
)
PROMPT_ERROR = Record(
    "PromptErrorResponse",
    "Why a prompt was refused, as ComfyUI tells it.",
    {
        "error": {
            "description": "What is wrong with the whole.",
            **members(
                {"type": text("A word for programs."), "message": text("A sentence for people.")},
                details=text("More of it."),
                extra_info=mapping(True, "More of it, for programs."),
            ),
        },
        "node_errors": {"description": "What is wrong with each node, by id."},
    },
    optional=("error", "node_errors"),
)
_INFO = Record(
    "PromptInfo",
    "How busy the server is.",
    {"exec_info": members({"queue_remaining": integer("Prompts that are executed or wait.")}, "The figures.")},
)

_OF_OTHERS = (JobNotFoundError, JobForbiddenError)

OPERATIONS = [
    Operation(
        "listJobs",
        "Jobs",
        "A page of jobs",
        {200: Answer("The page.", _LIST)},
        parameters={
            "status": {
                "description": "Only jobs in one of these states.",
                "items": {"type": "string", "enum": list(JOB_STATUSES)},
            },
            "workflow_id": "Only jobs of this workflow.",
            "output_type": "Only jobs that have made something of this kind.",
            "asset_id": "Only jobs whose graph names this asset, or another with the same content.",
            "sort_by": "What to sort by; the last two are other names of the first two.",
            "after": "The `next_cursor` of the page before, where jobs are sorted by their time of creation.",
        },
        errors=(InvalidCursorError, SearchUnavailableError, SearchNotReadyError),
    ),
    Operation(
        "getJobDetail",
        "Jobs",
        "A job with its graph and outputs",
        {200: Answer("The job.", JobDetailBody)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "getJobStatus",
        "Jobs",
        "The state of a job",
        {200: Answer("The state.", JobStatusBody)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "listJobAssets",
        "Jobs",
        "The assets that a job has made",
        {200: Answer("The assets.", _ASSETS)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "getJobProgress",
        "Jobs",
        "How far a job is that is executed",
        {200: Answer("The progress.", JobProgressBody)},
        parameters=_JOB,
        errors=_OF_OTHERS,
    ),
    Operation(
        "cancelJob",
        "Jobs",
        "Cancel a job",
        {200: Answer("Whether it was.", _CANCELLED)},
        parameters=_JOB,
        errors=(InvalidIdError, JobNotFoundError, JobElsewhereError),
    ),
    Operation(
        "cancelJobs",
        "Jobs",
        "Cancel several jobs",
        {200: Answer("Which were.", _MANY_CANCELLED)},
        "None is cancelled when one is unknown, or in the queue of another server.",
        body=Body(CancelBody, example={"job_ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
        errors=(JobNotFoundError, JobElsewhereError),
    ),
    Operation(
        "manageQueue",
        "Queue",
        "Cancel jobs, or all that wait",
        {200: Answer("What was cancelled.", _QUEUE_CHANGED)},
        body=Body(QueueBody, example={"clear": True}),
    ),
    Operation(
        "interruptJob",
        "Queue",
        "Cancel the job that is executed, or else the next",
        {200: Answer("Done, or there was none.")},
        body=Body(InterruptBody, is_required=False),
    ),
    Operation(
        "freeMemory",
        "Queue",
        "Free memory once the job that is executed has ended",
        {200: Answer("It will be.")},
        body=Body(FreeBody, is_required=False, example={"unload_models": True}),
    ),
    Operation(
        "getHistory",
        "History",
        "What was executed, the latest first",
        {200: Answer("The records.", _HISTORY)},
        parameters={"max_items": "How many at most; never more than 10,000."},
    ),
    Operation(
        "getHistoryForPrompt",
        "History",
        "All there is of what was executed",
        {200: Answer("The record by its id; an empty object as long as it is not over.", mapping(_HISTORY_DETAIL))},
        parameters={"prompt_id": "The job's id."},
        errors=_OF_OTHERS,
    ),
    Operation(
        "manageHistory",
        "History",
        "Remove records of jobs, never their files",
        {200: Answer("What was removed.", _REMOVED)},
        body=Body(HistoryBody, example={"delete": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
    ),
    Operation(
        "getQueueInfo",
        "Queue",
        "What is executed and what waits",
        {200: Answer("The queue.", _QUEUE)},
        "Servers older than the page's list of jobs answer this themselves, in a form of their own.",
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
            {200: Answer("It waits to be executed.", _ACCEPTED)},
            "Inputs that name files may be an asset's id or hash, see `docs/portability.md`. The server around the "
            "project checks the graph; what is malformed never reaches it.",
            body=Body(
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
            400: "The body is malformed, its `prompt_id` is another job's, or the graph does not pass the checks.",
            413: "The prompt has more bytes than the server takes.",
            500: "Something went wrong; the server's log says what.",
            503: "The server cannot take prompts now.",
        },
    ),
    HostOperation(
        "GET",
        "/api/prompt",
        Operation(
            "getPromptInfo", "Queue", "How many prompts are executed or wait", {200: Answer("The number.", _INFO)}
        ),
    ),
]
