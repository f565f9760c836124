"""Comfy API v2: jobs. All members of their bodies are always there; unknown ones are null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ...comfy_assets.errors import (
    BodyTooLargeError,
    DeploymentNotReadyError,
    IdempotencyKeyReuseError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidMetadataFilterError,
    InvalidWorkflowError,
    JobElsewhereError,
    JobNotFoundError,
    MetadataInvalidError,
    MissingAssetError,
    QueueFullError,
    StorageQuotaError,
    StoreUnavailableError,
    SubmissionFailedError,
    WorkflowFormatError,
)
from ...comfy_assets.ids import hash_text
from ...comfy_assets.jobs.progress import ProgressSnapshot
from ...comfy_assets.jobs.views import JobView, ShownOutput
from ...comfy_assets.json_text import read, strict
from ...comfy_assets.models import FINAL, JobPage
from .. import request_body
from ..context import NoQuery, RequestContext, endpoint, json_response, utc_time
from ..operations import Operation, Record, RequestBody, Response, Route, mapping, object_with, string
from ..params import HASH, HASH_PATTERN, Text, decode_cursor, doc, encode_cursor
from .protocol import IDEMPOTENCY, api_url, asset_url, idempotency_key, is_served, url_expires_at
from .submission import SUBMISSION, PromptSubmission, labels_filter, read_job_request, replace_assets

TAG = "Jobs"
JOB_ID = {"id": "The job's id."}
_SORT: Literal["create_time"] = "create_time"
_RETRY_S = 2
STATES = ("queued", "running", "canceling", "succeeded", "failed", "canceled", "expired")
_OUTPUT_TYPES = ("image", "video", "audio", "text", "file", "latent")
_KINDS = frozenset({"image", "video", "audio", "text"})
# Jobs are kept until the user deletes them. Clients need a time: far away, and still a date in every time zone.
_NEVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
_WAIT = "wait=1"
_LATENT_SUFFIX = ".latent"


class ProgressBody(msgspec.Struct):
    """The progress of a job."""

    value: Annotated[float, doc("The part that is done, from 0 to 1. It never falls.", minimum=0, maximum=1)]
    nodes_done: Annotated[int, doc("Number of nodes that are done, cached ones included.")]
    nodes_total: Annotated[int, doc("Number of nodes that its outputs need.")]
    current_node: Annotated[str | None, doc("The node that runs.")]
    current_node_class: Annotated[str | None, doc("Its type.")]
    step: Annotated[int | None, doc("The steps that it has done; null if it reports none.")]
    steps: Annotated[int | None, doc("Its steps in all.")]
    message: Annotated[str | None, doc("The progress in words.")]


class OutputBody(msgspec.Struct):
    """An output of a job. Its id is that of an asset."""

    node_id: Annotated[str, doc("The node that produced it.")]
    name: Annotated[str, doc("Name of the file.")]
    type: Annotated[str, doc("Kind of the output; 3D models are files.", enum=list(_OUTPUT_TYPES))]
    content_type: Annotated[str, doc("Media type of the content.")]
    size_bytes: Annotated[int, doc("Size of the content in bytes.", format="int64")]
    id: Annotated[str, doc("Id of the asset, a UUID.", format="uuid")]
    hash: Annotated[str | None, doc(f"{HASH} Null until the file has been read, and of texts.", pattern=HASH_PATTERN)]
    url: Annotated[str, doc("Absolute URL of the content.", format="uri")]
    url_expires_at: Annotated[datetime, doc("Time until which the URL is promised to work.")]
    job_id: Annotated[str, doc("The job.")]


class JobErrorBody(msgspec.Struct):
    """The reason for which a job failed."""

    code: Annotated[str, doc("`node_execution_error` if a node failed, or else the kind of the error.")]
    message: Annotated[str, doc("Message of the exception.")]
    node_id: Annotated[str | None, doc("The node that failed.")]
    class_type: Annotated[str | None, doc("Its type.")]
    traceback: Annotated[str | None, doc("Traceback of the exception.")]


class JobUrlsBody(msgspec.Struct):
    """Absolute URLs of what a client can do next with a job."""

    self: Annotated[
        str,
        doc("The job. A request for it waits up to a second for the end of the job, by its `wait`.", format="uri"),
    ]
    events: Annotated[str, doc("Its events.", format="uri")]
    cancel: Annotated[str, doc("Its cancellation.", format="uri")]


class ListedJobBody(msgspec.Struct, kw_only=True):
    """A job in a list."""

    id: Annotated[str, doc("A UUID, or an id chosen by the client that submitted the job in another way.")]
    status: Annotated[str, doc("State of the job. `expired` is never sent: jobs are kept.", enum=list(STATES))]
    created_at: Annotated[datetime, doc("Time of submission.")]
    started_at: Annotated[datetime | None, doc("Start of its execution.")]
    completed_at: Annotated[datetime | None, doc("End of its execution.")]
    expires_at: Annotated[datetime, doc("Always the year 9999: jobs are kept until they are deleted.")]
    queue_position: Annotated[int | None, doc("Its place in the queue, from 1, while it waits.")]
    metadata: Annotated[dict[str, str], doc("The labels that it was submitted with.")]
    urls: JobUrlsBody


class JobListItemBody(ListedJobBody, kw_only=True):
    """A job in a list, with its times under the names that clients look for in lists."""

    create_time: Annotated[datetime, doc("The same as `created_at`.")]
    update_time: Annotated[datetime, doc("Time of its last change.")]


class JobV2Body(ListedJobBody, kw_only=True):
    """A job with its progress and outputs."""

    progress: Annotated[ProgressBody | None, doc("Its progress; null before it begins.")]
    outputs: Annotated[list[OutputBody], doc("Its outputs, of a running job those so far.")]
    error: Annotated[JobErrorBody | None, doc("The reason of its failure.")]
    metrics: Annotated[
        dict[str, int | None], doc("`queue_ms` and `execution_ms`: how long it waited and ran; null until then.")
    ]


def _job_body(view: JobView, request: web.Request) -> JobV2Body:
    """Make the body of a job."""
    progress = view.progress
    return JobV2Body(
        **_listed(view, request),
        progress=progress_body(progress) if progress is not None else None,
        outputs=[output_body(output, view.id, request) for output in view.outputs],
        error=_error(view),
        metrics=_metrics(view),
    )


def _list_item(view: JobView, request: web.Request) -> JobListItemBody:
    """Make the body of a job in a list."""
    return JobListItemBody(
        **_listed(view, request), create_time=utc_time(view.created_at), update_time=utc_time(view.updated_at)
    )


def _listed(view: JobView, request: web.Request) -> dict[str, Any]:
    return {
        "id": view.id,
        "status": view.state,
        "created_at": utc_time(view.created_at),
        "started_at": utc_time(view.started_at) if view.started_at is not None else None,
        "completed_at": utc_time(view.finished_at) if view.finished_at is not None else None,
        "expires_at": _NEVER,
        "queue_position": view.position,
        "metadata": dict(view.labels),
        "urls": _job_urls(view.id, request),
    }


def _job_urls(job_id: str, request: web.Request) -> JobUrlsBody:
    """Make the URLs of a job."""
    root = api_url(request, f"jobs/{quote(job_id, safe='')}")
    return JobUrlsBody(f"{root}?{_WAIT}", f"{root}/events", f"{root}/cancel")


def progress_body(progress: ProgressSnapshot) -> ProgressBody:
    """Make the body of the progress of a job."""
    return ProgressBody(**msgspec.structs.asdict(progress))


def output_body(output: ShownOutput, job_id: str, request: web.Request) -> OutputBody:
    """Make the body of an output."""
    return OutputBody(
        node_id=output.node_id,
        name=output.name,
        type=_output_type(output),
        content_type=output.mime_type,
        size_bytes=output.size,
        id=output.id,
        hash=hash_text(output.hash) if output.hash is not None else None,
        url=asset_url(request, output.id),
        url_expires_at=url_expires_at(),
        job_id=job_id,
    )


def _output_type(output: ShownOutput) -> str:
    if output.name.lower().endswith(_LATENT_SUFFIX):
        return "latent"
    kind = output.mime_type.partition("/")[0]
    return kind if kind in _KINDS else "file"


def _metrics(job: JobView) -> dict[str, int | None]:
    queued = job.started_at - job.created_at if job.started_at is not None else None
    ran = job.finished_at - job.started_at if job.finished_at is not None and job.started_at is not None else None
    return {"queue_ms": queued, "execution_ms": ran}


def _error(job: JobView) -> JobErrorBody | None:
    if job.error is None:
        return None
    error: Mapping[str, Any] = read(job.error, dict[str, Any])
    node_id = error.get("node_id") or None
    lines = error.get("traceback")
    return JobErrorBody(
        code="node_execution_error" if node_id is not None else _code(error),
        message=str(error.get("exception_message") or "The job failed.").strip(),
        node_id=node_id,
        class_type=error.get("node_type") or None,
        traceback="".join(map(str, lines)) if lines else None,
    )


def _code(error: Mapping[str, Any]) -> str:
    """Return the code of a failure that is no node's, such as ``server_stopped``."""
    name = str(error.get("exception_type") or "execution_error")
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


class GetJob(msgspec.Struct, frozen=True):
    """Query of getJob."""

    wait: Annotated[
        float,
        msgspec.Meta(ge=0, le=20),
        doc("Seconds to wait for the end of the job, if it has not ended yet. An extension."),
    ] = 0


class ListJobsV2(msgspec.Struct, frozen=True):
    """Query of listJobs, beside its filters."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200), doc("Maximum number of jobs on a page.")] = 50
    cursor: Annotated[Text | None, doc("The `next_cursor` of the previous page.")] = None


class JobListV2Body(msgspec.Struct):
    """A page of jobs, the newest first."""

    jobs: list[JobListItemBody]
    next_cursor: Annotated[str | UnsetType, doc("Where the next page begins; omitted on the last.")] = UNSET


class JobWorkflowBody(msgspec.Struct):
    """The workflow of a job."""

    workflow: Annotated[Raw, doc("The workflow.", type="object", additionalProperties=True)]
    format: Annotated[
        str,
        doc(
            "`save`: the workflow of the page that submitted the job. `api`: the graph that was executed.",
            enum=["save", "api"],
        ),
    ]


@endpoint(requires_store=False)
async def post_job(call: RequestContext[NoQuery]) -> web.Response:
    """Submit a job (postJobs)."""
    submission = PromptSubmission(call)  # before the body is read: a request cannot be copied afterwards
    raw, limits = await request_body.read(call.request), request_body.json_limits()
    wanted = await request_body.decode(lambda text: read_job_request(text, limits), raw)
    await _require_readiness(call)
    waiting, most = call.services.live_events.length(), call.services.config.max_queued_jobs
    if waiting >= most:
        message = f"{waiting} jobs wait already, and the server accepts {most}."
        raise QueueFullError(message, details={"max_jobs": most, "retry_after": _RETRY_S})
    await replace_assets(call, wanted.workflow)
    key = idempotency_key(call.request)
    async with call.services.idempotency.claimed("postJobs", key, call.user) as claim:
        try:
            await submission.send(wanted)
        except BaseException:
            if await submission.is_made():
                claim.begin()
            raise
    view = await call.services.job_views.submitted(submission.job_id, call.user, wanted.labels)
    return json_response(_job_body(view, call.request), 201)


async def _require_readiness(call: RequestContext[NoQuery]) -> None:
    """Raise DeploymentNotReadyError unless jobs can be recorded."""
    try:
        await call.services.ready()
    except StoreUnavailableError as error:
        raise DeploymentNotReadyError(error.message, details={"retry_after": _RETRY_S}) from error


@endpoint(query=ListJobsV2, has_more_parameters=True)
async def list_jobs(call: RequestContext[ListJobsV2]) -> JobListV2Body:
    """List jobs, those of the page as well (listJobs)."""
    labels = labels_filter(call.request.query)
    after = None
    if call.query.cursor is not None:
        try:
            after = decode_cursor(call.query.cursor, _SORT, "desc")
        except InvalidCursorError as error:
            raise InvalidCursorError(error.message, details={"field": "cursor"}) from error
    page = await call.services.job_views.page(call.user, labels, JobPage(_SORT, "desc", call.query.limit, after=after))
    return JobListV2Body(
        jobs=[_list_item(view, call.request) for view in page.items],
        next_cursor=encode_cursor(page.next_key, _SORT, "desc") if page.next_key is not None else UNSET,
    )


@endpoint(query=GetJob)
async def get_job(call: RequestContext[GetJob]) -> JobV2Body:
    """Return a job (getJob)."""
    return _job_body(await call.services.job_views.get(call.path["id"], call.user, call.query.wait), call.request)


@endpoint()
async def get_workflow(call: RequestContext[NoQuery]) -> JobWorkflowBody:
    """Return the workflow of a job (getJobWorkflow)."""
    record = await call.services.job_views.record(call.path["id"], call.user)
    if record.workflow is not None:
        return JobWorkflowBody(Raw(strict(record.workflow)), "save")
    return JobWorkflowBody(Raw(strict(record.graph)), "api")


@endpoint(requires_store=False)
async def cancel_job(call: RequestContext[NoQuery]) -> JobV2Body:
    """Cancel a job, and return it (cancelJob)."""
    job_id = call.path["id"]
    queued = call.services.control.find(job_id, call.user)
    if queued is not None:  # first: a job in the queue can be stopped while the store is unavailable
        await call.services.control.cancel([queued])
    await call.services.ready()
    views = call.services.job_views
    if queued is None and (await views.job(job_id, call.user)).status not in FINAL:
        await call.services.jobs.cancel_many([job_id], call.user)
    return _job_body(await views.get(job_id, call.user), call.request)


_JOB_REQUEST = Record(
    "JobRequest",
    "A job to submit.",
    {
        "workflow": mapping(
            True,
            "The graph in the API format: nodes by id. Inputs may name assets by objects "
            '`{"__type": "core/ASSET", "info": {"id": "…"}}`, also in lists.',
        ),
        "extra_data": object_with(
            {},
            "Credentials of partner nodes, which are never stored. Other members are refused.",
            api_key_comfy_org=string("An API key of comfy.org."),
            auth_token_comfy_org=string("A token of comfy.org."),
        ),
        "metadata": mapping({"type": "string"}, "Up to 16 labels, to find the job by."),
    },
    optional=("extra_data", "metadata"),
)
_EXAMPLE: dict[str, Any] = {
    "workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
    },
    "metadata": {"project": "demo"},
}

ROUTES = [
    Route(
        "POST",
        "/api/v2/jobs",
        post_job,
        Operation(
            "postJobs",
            TAG,
            "Submit a job",
            {201: Response("The job is recorded and in the queue.", JobV2Body)},
            headers=IDEMPOTENCY,
            body=RequestBody(_JOB_REQUEST, example=_EXAMPLE),
            errors=(
                InvalidBodyError,
                InvalidWorkflowError,
                WorkflowFormatError,
                MissingAssetError,
                MetadataInvalidError,
                QueueFullError,
                DeploymentNotReadyError,
                IdempotencyKeyReuseError,
                BodyTooLargeError,
                SubmissionFailedError,
                StorageQuotaError,
            ),
        ),
        when=is_served,
        body=SUBMISSION,
    ),
    Route(
        "GET",
        "/api/v2/jobs",
        list_jobs,
        Operation(
            "listJobs",
            TAG,
            "List jobs",
            {200: Response("The page.", JobListV2Body)},
            "Parameters `metadata[name]=value` select jobs with these labels. Jobs of the page are listed too.",
            errors=(InvalidMetadataFilterError, InvalidCursorError),
        ),
        when=is_served,
    ),
    Route(
        "GET",
        "/api/v2/jobs/{id}",
        get_job,
        Operation(
            "getJob",
            TAG,
            "Get a job",
            {200: Response("The job.", JobV2Body)},
            parameters=JOB_ID,
            errors=(JobNotFoundError,),
        ),
        when=is_served,
    ),
    Route(
        "GET",
        "/api/v2/jobs/{id}/workflow",
        get_workflow,
        Operation(
            "getJobWorkflow",
            TAG,
            "Get the workflow of a job",
            {200: Response("The workflow.", JobWorkflowBody)},
            parameters=JOB_ID,
            errors=(JobNotFoundError,),
        ),
        when=is_served,
    ),
    Route(
        "POST",
        "/api/v2/jobs/{id}/cancel",
        cancel_job,
        Operation(
            "cancelJob",
            TAG,
            "Cancel a job",
            {200: Response("The job as it is now: canceled, being canceled, or ended before.", JobV2Body)},
            parameters=JOB_ID,
            errors=(JobNotFoundError, JobElsewhereError),
        ),
        when=is_served,
    ),
]
