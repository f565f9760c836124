"""Comfy API v2: jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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
from ...comfy_assets.json_text import strict
from ...comfy_assets.models import FINAL, JobPage
from .. import request_body
from ..context import NoQuery, RequestContext, endpoint, json_response
from ..operations import Operation, Record, RequestBody, Response, Route, mapping, object_with, string
from ..params import Text, decode_cursor, doc, encode_cursor
from .job_body import JobListItemBody, JobV2Body, job_body, list_item
from .protocol import IDEMPOTENCY, idempotency_key, is_served
from .submission import SUBMISSION, PromptSubmission, labels_filter, read_job_request, replace_assets

TAG = "Jobs"
JOB_ID = {"id": "The job's id."}
_SORT: Literal["create_time"] = "create_time"
_RETRY_S = 2


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
    return json_response(job_body(view, call.request), 201)


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
        jobs=[list_item(view, call.request) for view in page.items],
        next_cursor=encode_cursor(page.next_key, _SORT, "desc") if page.next_key is not None else UNSET,
    )


@endpoint(query=GetJob)
async def get_job(call: RequestContext[GetJob]) -> JobV2Body:
    """Return a job (getJob)."""
    return job_body(await call.services.job_views.get(call.path["id"], call.user, call.query.wait), call.request)


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
    return job_body(await views.get(job_id, call.user), call.request)


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
