"""Jobs as the contract shows them. What is unknown is left out, never null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.host.execution import NodeProgress
from ..comfy_assets.jobs.recovery import extra_data
from ..comfy_assets.json_text import encode, read, strict
from ..comfy_assets.models import COMPLETED, FAILED, FINAL, JOB_STATUSES, Job, JobOutput, JobRecord
from .asset_body import AssetBody, asset_body, utc_time

# The status of a job whose server tells none: one cancelled before it began, for instance.
_UNTOLD = (
    Raw(b'{"status_str":"error","completed":false,"messages":[]}'),
    Raw(b'{"status_str":"success","completed":true,"messages":[]}'),
)


class JobBody(msgspec.Struct, kw_only=True):
    """The contract's JobEntry, with ``priority`` and ``previewable_outputs_count`` as the stock server tells them."""

    id: str
    status: str
    create_time: int
    priority: float
    workflow_id: str | UnsetType = UNSET
    execution_start_time: int | UnsetType = UNSET
    execution_end_time: int | UnsetType = UNSET
    execution_error: Raw | UnsetType = UNSET
    outputs_count: int | UnsetType = UNSET
    previewable_outputs_count: int | UnsetType = UNSET
    preview_output: Raw | UnsetType = UNSET


class JobDetailBody(JobBody, kw_only=True):
    """The contract's JobDetailResponse."""

    update_time: int
    workflow: dict[str, Any]
    workflow_version_id: str | UnsetType = UNSET
    recording_problem: str | UnsetType = UNSET
    outputs: Raw | UnsetType = UNSET
    execution_status: Raw | UnsetType = UNSET
    execution_meta: Raw | UnsetType = UNSET


class JobStatusBody(msgspec.Struct, kw_only=True):
    """The contract's JobStatusResponse."""

    id: str
    status: str
    created_at: datetime
    updated_at: datetime
    last_state_update: datetime
    error_message: str | UnsetType = UNSET


class JobOutputBody(AssetBody, kw_only=True):
    """An asset, and where the job has shown it."""

    node_id: str
    output_key: str
    output_index: int


class NodeProgressBody(msgspec.Struct, kw_only=True):
    """How far a node is, with the members that the message ``progress_state`` has of it."""

    value: float
    max: float
    state: str
    display_node_id: str


class JobProgressBody(msgspec.Struct, kw_only=True):
    """How far a job is, as the message ``progress_state`` tells it."""

    prompt_id: str
    nodes: dict[str, NodeProgressBody]


def job_progress(job_id: str, nodes: Mapping[str, NodeProgress]) -> JobProgressBody:
    """The progress of a job's nodes."""
    return JobProgressBody(
        prompt_id=job_id,
        nodes={
            node_id: NodeProgressBody(
                value=node.value, max=node.max, state=node.state, display_node_id=node.display_node_id
            )
            for node_id, node in nodes.items()
        },
    )


def job_body(job: Job) -> JobBody:
    """The job as lists show it."""
    return JobBody(**_entry(job))


def _entry(job: Job) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": job.id,
        "status": JOB_STATUSES[job.status],
        "create_time": job.created_at,
        "priority": job.number,
    }
    if job.workflow_id is not None:
        entry["workflow_id"] = job.workflow_id
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
    if job.preview is not None:
        ending["preview_output"] = Raw(job.preview.encode())
    if job.error is not None:
        ending["execution_error"] = Raw(job.error.encode())
    return ending


def job_detail(record: JobRecord) -> JobDetailBody:
    """All there is of the job."""
    job = record.job
    body = JobDetailBody(
        **_entry(job),
        update_time=job.updated_at,
        workflow={"prompt": Raw(strict(record.graph)), "extra_data": _extra_data(record)},
        workflow_version_id=job.workflow_version_id if job.workflow_version_id is not None else UNSET,
        recording_problem=record.problem if record.problem is not None else UNSET,
    )
    if job.status in FINAL:
        parts = _parts(record)
        body.outputs = parts["outputs"]
        body.execution_status = parts["status"]
        body.execution_meta = parts.get("meta", UNSET)
    return body


def _extra_data(record: JobRecord, *, with_workflow: bool = True) -> Raw:
    return Raw(encode(extra_data(record, with_workflow=with_workflow)).encode())


def _parts(record: JobRecord) -> dict[str, Raw]:
    """The outputs, meta and status of a job that is over, as far as they are known.

    There always is a status: clients that wait for a job look for it.
    """
    parts = read(record.result, dict[str, Raw])
    known = {name: part for name, part in parts.items() if bytes(part) != b"null"}
    return {"status": _UNTOLD[record.job.status == COMPLETED], **known}


def job_status(job: Job) -> JobStatusBody:
    """The job's state alone."""
    body = JobStatusBody(
        id=job.id,
        status="error" if job.status == FAILED else JOB_STATUSES[job.status],
        created_at=utc_time(job.created_at),
        updated_at=utc_time(job.updated_at),
        last_state_update=utc_time(job.finished_at or job.started_at or job.created_at),
    )
    if job.error is not None:
        body.error_message = read(job.error, dict[str, Any])["exception_message"]
    return body


def job_output(output: JobOutput) -> JobOutputBody:
    """An asset that a job has shown."""
    members = msgspec.structs.asdict(asset_body(output.asset))
    return JobOutputBody(
        **members, node_id=output.node_id, output_key=output.output_key, output_index=output.output_index
    )


def history_entry(record: JobRecord) -> dict[str, Any]:
    """The contract's HistoryEntry: without the graph in either form."""
    job = record.job
    entry: dict[str, Any] = {
        "prompt_id": job.id,
        "create_time": job.created_at,
        "prompt": {
            "priority": job.number,
            "prompt_id": job.id,
            "extra_data": _extra_data(record, with_workflow=False),
        },
        **_parts(record),
    }
    if job.workflow_id is not None:
        entry["workflow_id"] = job.workflow_id
    return entry


def history_detail(record: JobRecord) -> dict[str, Any]:
    """The contract's HistoryDetailEntry; of a failed job also why, in the form that Comfy's command line reads."""
    failure = {} if record.job.error is None else {"error_message": record.job.error}
    return {
        "prompt": {
            "priority": record.job.number,
            "prompt_id": record.job.id,
            "prompt": Raw(strict(record.graph)),
            "extra_data": _extra_data(record),
            "outputs_to_execute": Raw(record.targets),
        },
        **_parts(record),
        **failure,
    }


def stock_entry(record: JobRecord) -> dict[str, Any]:
    """Return a job that is over in the form of the server's own ``/history``."""
    job = record.job
    prompt = [job.number, job.id, Raw(strict(record.graph)), _extra_data(record), Raw(record.targets)]
    return {"prompt": prompt, "outputs": Raw(b"{}"), "meta": Raw(b"{}"), **_parts(record)}
