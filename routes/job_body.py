"""Bodies of responses about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.errors import JobForbiddenError, JobNotFoundError
from ..comfy_assets.jobs.progress import NodeProgress
from ..comfy_assets.jobs.store import extra_data
from ..comfy_assets.json_text import encode, read, strict
from ..comfy_assets.models import COMPLETED, FAILED, FINAL, JOB_STATUSES, Job, JobOutput, JobRecord
from .asset_body import AssetBody, asset_body
from .context import utc_time
from .operations import Record, array, mapping, string
from .params import ANY_OBJECT, doc

JOB_ERRORS = (JobNotFoundError, JobForbiddenError)
ANY_JOB_ID = "The job's id: a UUID, or an id chosen by the client on servers that allow any."

# Execution status of a job without one from the server, such as a job cancelled before it started: failed, completed.
_DEFAULT_STATUS = (
    Raw(b'{"status_str":"error","completed":false,"messages":[]}'),
    Raw(b'{"status_str":"success","completed":true,"messages":[]}'),
)


class JobEntry(msgspec.Struct, kw_only=True):
    """A job in a list."""

    id: Annotated[str, doc(ANY_JOB_ID)]
    status: Annotated[str, doc("State of the job.", enum=list(JOB_STATUSES))]
    create_time: Annotated[int, doc("Time of submission, in milliseconds.", format="int64")]
    priority: Annotated[float, doc("Its position in the queue; jobs with smaller numbers run first.")]
    workflow_id: Annotated[str | UnsetType, doc("The workflow that it was submitted from, if known.")] = UNSET
    execution_start_time: Annotated[
        int | UnsetType, doc("Start of its execution, once it has finished.", format="int64")
    ] = UNSET
    execution_end_time: Annotated[int | UnsetType, doc("End of its execution.", format="int64")] = UNSET
    execution_error: Annotated[
        Raw | UnsetType, doc("The reason of its failure.", allOf=[{"$ref": "#/components/schemas/ExecutionError"}])
    ] = UNSET
    outputs_count: Annotated[int | UnsetType, doc("Number of its outputs, once it has finished.")] = UNSET
    previewable_outputs_count: Annotated[int | UnsetType, doc("Number of outputs with a preview.")] = UNSET
    preview_output: Annotated[Raw | UnsetType, doc("The output that represents the job.", **ANY_OBJECT)] = UNSET
    deleted_outputs_count: Annotated[
        int | UnsetType, doc("Number of its outputs that were deleted from the library; omitted if none was.")
    ] = UNSET
    workflow_name: Annotated[
        str | UnsetType, doc("Name of the workflow that it was submitted from, if that is saved.")
    ] = UNSET
    prompt_text: Annotated[str | UnsetType, doc("The first words of its prompt, up to 200 characters.")] = UNSET


class JobDetailResponse(JobEntry, kw_only=True):
    """A job with its graph and outputs."""

    update_time: Annotated[int, doc("Time of its last change, in milliseconds.", format="int64")]
    workflow: Annotated[
        dict[str, Any], doc("The graph (`prompt`) and its additional data (`extra_data`), without credentials.")
    ]
    workflow_version_id: Annotated[str | UnsetType, doc("The version of the workflow.")] = UNSET
    recording_problem: Annotated[
        str | UnsetType, doc("The parts of the job that could not be recorded, and why; omitted if all were.")
    ] = UNSET
    outputs: Annotated[Raw | UnsetType, doc("The outputs, by node.", **ANY_OBJECT)] = UNSET
    execution_status: Annotated[Raw | UnsetType, doc("Result and messages of the execution.", **ANY_OBJECT)] = UNSET
    execution_meta: Annotated[Raw | UnsetType, doc("Information about the nodes with outputs.", **ANY_OBJECT)] = UNSET


class JobStatusResponse(msgspec.Struct, kw_only=True):
    """The state of a job."""

    id: Annotated[str, doc(ANY_JOB_ID)]
    status: Annotated[
        str,
        doc(
            "State of the job; `error` if it has failed.",
            enum=["pending", "in_progress", "completed", "error", "cancelled"],
        ),
    ]
    created_at: Annotated[datetime, doc("Time of submission.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]
    last_state_update: Annotated[datetime, doc("Time of the last change of its state.")]
    error_message: Annotated[str | UnsetType, doc("Error message of the node that failed.")] = UNSET


class JobAsset(AssetBody, kw_only=True):
    """An asset among the outputs of a job."""

    node_id: Annotated[str, doc("The node that produced it.")]
    output_key: Annotated[str, doc("The node's name for the list that it is in, such as `images`.")]
    output_index: Annotated[int, doc("Its position in that list, from 0.")]


class NodeProgressBody(msgspec.Struct, kw_only=True):
    """The progress of a node that has started."""

    value: Annotated[float, doc("Steps done.")]
    max: Annotated[float, doc("Steps in all.")]
    state: Annotated[str, doc("State of the node.", enum=["running", "finished", "error"])]
    display_node_id: Annotated[str, doc("The node of the submitted graph that it belongs to.")]


class JobProgress(msgspec.Struct, kw_only=True):
    """The progress of a job, in the form of the websocket message `progress_state`."""

    prompt_id: Annotated[str, doc(ANY_JOB_ID)]
    nodes: Annotated[
        dict[str, NodeProgressBody], doc("The nodes that have started, by id; empty unless the job is running.")
    ]


def job_progress(job_id: str, nodes: Mapping[str, NodeProgress]) -> JobProgress:
    """Make the body of the progress of a job's nodes, by node id."""
    return JobProgress(
        prompt_id=job_id,
        nodes={
            node_id: NodeProgressBody(
                value=node.value, max=node.max, state=node.state, display_node_id=node.display_node_id
            )
            for node_id, node in nodes.items()
        },
    )


def job_body(job: Job) -> JobEntry:
    """Make the body of a job in a list."""
    return JobEntry(**_entry(job))


def _entry(job: Job) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": job.id,
        "status": JOB_STATUSES[job.status],
        "create_time": job.created_at,
        "priority": job.number,
    }
    if job.workflow_id is not None:
        entry["workflow_id"] = job.workflow_id
    if job.workflow_name is not None:
        entry["workflow_name"] = job.workflow_name
    if job.prompt:
        entry["prompt_text"] = job.prompt
    if job.status in FINAL:
        entry |= _ending(job)
    return entry


def _ending(job: Job) -> dict[str, Any]:
    ending: dict[str, Any] = {
        "outputs_count": job.outputs_count,
        "previewable_outputs_count": job.previewable_count,
        "execution_start_time": job.started_at,
        "execution_end_time": job.finished_at,
    }
    if job.deleted_outputs:
        ending["deleted_outputs_count"] = job.deleted_outputs
    if job.preview is not None:
        ending["preview_output"] = Raw(job.preview.encode())
    if job.error is not None:
        ending["execution_error"] = Raw(job.error.encode())
    return ending


def job_detail(record: JobRecord) -> JobDetailResponse:
    """Make the body of a job with its graph and outputs."""
    job = record.job
    body = JobDetailResponse(
        **_entry(job),
        update_time=job.updated_at,
        workflow={"prompt": Raw(strict(record.graph)), "extra_data": prompt_extra_data(record)},
        workflow_version_id=job.workflow_version_id if job.workflow_version_id is not None else UNSET,
        recording_problem=record.problem if record.problem is not None else UNSET,
    )
    if job.status in FINAL:
        parts = result_parts(record)
        body.outputs = parts["outputs"]
        body.execution_status = parts["status"]
        body.execution_meta = parts.get("meta", UNSET)
    return body


def prompt_extra_data(record: JobRecord, *, with_workflow: bool = True) -> Raw:
    """Return the additional data of a job's prompt without credentials, as JSON."""
    return Raw(encode(extra_data(record, with_workflow=with_workflow)).encode())


def result_parts(record: JobRecord) -> dict[str, Raw]:
    """Return the known parts of a finished job's result: outputs, meta and status.

    There is always a status: clients that wait for a job look for it.
    """
    parts = read(record.result, dict[str, Raw])
    known = {name: part for name, part in parts.items() if bytes(part) != b"null"}
    return {"status": _DEFAULT_STATUS[record.job.status == COMPLETED], **known}


def job_status(job: Job) -> JobStatusResponse:
    """Make the body of a job's state."""
    body = JobStatusResponse(
        id=job.id,
        # The contract calls a failed job "error" here, and "failed" in lists.
        status="error" if job.status == FAILED else JOB_STATUSES[job.status],
        created_at=utc_time(job.created_at),
        updated_at=utc_time(job.updated_at),
        last_state_update=utc_time(job.finished_at or job.started_at or job.created_at),
    )
    if job.error is not None:
        body.error_message = read(job.error, dict[str, Any])["exception_message"]
    return body


def job_output(output: JobOutput) -> JobAsset:
    """Make the body of an asset among a job's outputs."""
    members = msgspec.structs.asdict(asset_body(output.asset))
    return JobAsset(**members, node_id=output.node_id, output_key=output.output_key, output_index=output.output_index)


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
