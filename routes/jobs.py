"""Jobs: lists, details, outputs, progress and cancellation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from ..comfy_assets.errors import (
    AssetInUseError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidIdError,
    InvalidQueryError,
    JobElsewhereError,
    JobNotFoundError,
    SearchNotReadyError,
    SearchUnavailableError,
    StorageError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import JOB_STATUSES, MEDIA, Job, JobFilter, JobPage, JobSort, Page
from ..comfy_assets.search.query import parse_query
from .context import NoQuery, RequestContext, endpoint
from .job_body import (
    ANY_JOB_ID,
    EXECUTION_ERROR,
    JOB_ERRORS,
    JobAsset,
    JobDetailResponse,
    JobEntry,
    JobProgress,
    JobStatusResponse,
    job_body,
    job_detail,
    job_output,
    job_progress,
    job_status,
)
from .operations import PAGINATION, Operation, Record, RequestBody, Response, Route, array, boolean, integer
from .params import Id, JobLimit, Offset, SearchText, SortDirection, Text, decode_cursor, doc, encode_cursor, parse_body

# The contract's names, and the names that the stock page uses.
SortBy = Literal["create_time", "execution_time", "created_at", "execution_duration", "state"]
_SORTS: dict[str, JobSort] = {
    "create_time": "create_time",
    "created_at": "create_time",
    "execution_time": "execution_time",
    "execution_duration": "execution_time",
    "state": "state",
}


_CURSOR_SORTS = ("create_time", "state")


class ListJobs(msgspec.Struct, frozen=True):
    """Query of listJobs. ``asset_id``, ``q`` and the order by state are extensions."""

    status: Annotated[
        tuple[Annotated[Text, msgspec.Meta(extra_json_schema={"enum": list(JOB_STATUSES)})], ...],
        msgspec.Meta(max_length=1000),
        doc("Only jobs in one of these states."),
    ] = ()
    workflow_id: Annotated[Id | None, doc("Only jobs of this workflow.")] = None
    output_type: Annotated[
        Literal["image", "video", "audio", "3d"] | None, doc("Only jobs with an output of this kind.")
    ] = None
    asset_id: Annotated[Id | None, doc("Only jobs whose graph names this asset, or another with the same content.")] = (
        None
    )
    q: SearchText = ""
    sort_by: Annotated[
        SortBy,
        doc(
            "The field to sort by. `created_at` and `execution_duration` are other names of the first two. `state` "
            "lists running jobs, then waiting ones in the order of the queue, then ended ones, the latest first."
        ),
    ] = "create_time"
    sort_order: SortDirection = "desc"
    after: Annotated[Text | None, doc("The previous page's `next_cursor`; not with execution times.")] = None
    offset: Offset = 0
    limit: JobLimit = 100


class JobsCancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of cancelJobs: the jobs to cancel."""

    job_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=100), doc("Up to 100 ids.")]


@endpoint(query=ListJobs)
async def list_jobs(call: RequestContext[ListJobs]) -> dict[str, Any]:
    """Return a page of jobs (listJobs)."""
    page_request = _page_request(call.query)
    # Links to workflows are completed in the background, and before the first list that needs them.
    if call.query.workflow_id is not None:
        await call.services.job_links.complete()
    page = await call.services.jobs.list(_filter(call.query, call.user), page_request)
    pagination: dict[str, Any] = {
        "offset": page_request.offset,
        "limit": page_request.limit,
        "total": page.total,
        "has_more": page.has_more,
    }
    if (next_cursor := _next_cursor(page, page_request)) is not None:
        pagination["next_cursor"] = next_cursor
    return {"jobs": [job_body(job) for job in page.items], "pagination": pagination}


@endpoint()
async def get_job(call: RequestContext[NoQuery]) -> JobDetailResponse:
    """Return a job with its graph and outputs (getJobDetail)."""
    return job_detail(await call.services.jobs.record(call.path["job_id"], call.user))


@endpoint()
async def get_status(call: RequestContext[NoQuery]) -> JobStatusResponse:
    """Return the state of a job (getJobStatus)."""
    return job_status(await call.services.jobs.get(call.path["job_id"], call.user))


@endpoint()
async def get_outputs(call: RequestContext[NoQuery]) -> dict[str, Any]:
    """List the assets among a job's outputs, with the node that produced each (listJobAssets, an extension)."""
    outputs = await call.services.jobs.outputs(call.path["job_id"], call.user)
    return {"assets": [job_output(output) for output in outputs], "total": len(outputs)}


@endpoint()
async def get_progress(call: RequestContext[NoQuery]) -> JobProgress:
    """Return the progress of a running job's nodes (getJobProgress, an extension)."""
    job_id = call.path["job_id"]
    return job_progress(job_id, await call.services.jobs.progress(job_id, call.user))


@endpoint(requires_store=False)
async def cancel_job(call: RequestContext[NoQuery]) -> dict[str, bool]:
    """Cancel a job (cancelJob)."""
    job_id = call.path["job_id"]
    try:
        return {"cancelled": bool(await _cancel(call, [job_id]))}
    except JobNotFoundError:
        # The contract requires a UUID, but older servers let clients choose any id: only unknown ids are refused.
        if not is_uuid(job_id):
            raise InvalidIdError(
                "There is no such job, and its id is not a UUID.", details={"field": "job_id"}
            ) from None
        raise


@endpoint()
async def delete_job(call: RequestContext[NoQuery]) -> web.Response:
    """Remove a job with the assets that it made (deleteJob)."""
    await call.services.jobs.delete_with_assets(call.path["job_id"], call.user)
    return web.Response(status=204)


@endpoint(requires_store=False)
async def cancel_jobs(call: RequestContext[NoQuery]) -> dict[str, Sequence[str]]:
    """Cancel several jobs, or none of them if one is unknown (cancelJobs)."""
    body = await parse_body(JobsCancelRequest, call.request)
    try:
        return {"cancelled": await _cancel(call, body.job_ids)}
    except JobNotFoundError as error:
        details = error.details or {}
        unknown = details.get("ids") or [details.get("id", "")]
        wrong = [job_id for job_id in unknown if not is_uuid(job_id)]
        if wrong:
            message = "There are no such jobs, and their ids are not UUIDs."
            raise InvalidBodyError(message, details={"field": "job_ids", "ids": wrong}) from None
        raise


async def _cancel(call: RequestContext[NoQuery], job_ids: Sequence[str]) -> Sequence[str]:
    """Cancel jobs. Queued jobs can be cancelled while the store is unavailable."""
    held = [call.services.control.find(job_id, call.user) for job_id in job_ids]
    jobs = [job for job in held if job is not None]
    if len(jobs) == len(job_ids):
        # By id, so that a job named twice is cancelled once.
        return await call.services.control.cancel({job.prompt_id: job for job in jobs}.values())
    await call.services.ready()
    return await call.services.jobs.cancel_many(job_ids, call.user)


def is_uuid(text: str) -> bool:
    """Return whether the text is a UUID in any spelling."""
    return canonical_id(text) is not None


def _filter(query: ListJobs, user: str) -> JobFilter:
    unknown = [name for name in query.status if name not in JOB_STATUSES]
    if unknown:
        message = f"status must be one of {', '.join(JOB_STATUSES)}."
        raise InvalidQueryError(message, details={"field": "status", "unknown": unknown})
    statuses = query.status or JOB_STATUSES
    search = parse_query(query.q, "jobs")
    return JobFilter(
        owner=user,
        statuses=tuple(sorted(JOB_STATUSES.index(name) for name in statuses)),
        workflow_id=query.workflow_id,
        media=MEDIA[query.output_type] if query.output_type is not None else 0,
        asset_id=query.asset_id,
        words=search.words,
        excluded=search.excluded,
        outputs=search.media,
    )


def _page_request(query: ListJobs) -> JobPage:
    """Return the requested page. Execution times have no cursors: ``after`` is ignored with them, by the contract."""
    sort = _SORTS[query.sort_by]
    if query.after is None or sort not in _CURSOR_SORTS:
        return JobPage(sort, query.sort_order, query.limit, query.offset)
    # A cursor states where the page begins: an offset is ignored with it.
    return JobPage(sort, query.sort_order, query.limit, 0, decode_cursor(query.after, sort, query.sort_order))


def _next_cursor(page: Page[Job], request: JobPage) -> str | None:
    if page.next_key is None or request.sort not in _CURSOR_SORTS:
        return None
    return encode_cursor(page.next_key, request.sort, request.order)


_JOB_ID = {"job_id": {"description": ANY_JOB_ID}}
_JOBS_LIST = Record(
    "JobsListResponse", "A page of jobs.", {"jobs": array(JobEntry, "The jobs."), "pagination": PAGINATION}
)
_JOB_ASSETS = Record(
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
_JOB_COMPONENTS = (EXECUTION_ERROR,)  # JobEntry names it in the schema of a ready-made text

ROUTES = [
    Route(
        "GET",
        "/api/jobs",
        list_jobs,
        Operation(
            "listJobs",
            "Jobs",
            "List jobs",
            {200: Response("The page.", _JOBS_LIST)},
            errors=(InvalidCursorError, SearchUnavailableError, SearchNotReadyError),
            components=_JOB_COMPONENTS,
        ),
    ),
    Route(
        "POST",
        "/api/jobs/cancel",
        cancel_jobs,
        Operation(
            "cancelJobs",
            "Jobs",
            "Cancel several jobs",
            {200: Response("The cancelled jobs.", _MANY_CANCELLED)},
            "No job is cancelled if one is unknown, or is in the queue of another server.",
            body=RequestBody(JobsCancelRequest, example={"job_ids": ["0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"]}),
            errors=(JobNotFoundError, JobElsewhereError),
        ),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}",
        get_job,
        Operation(
            "getJobDetail",
            "Jobs",
            "Get a job with its graph and outputs",
            {200: Response("The job.", JobDetailResponse)},
            parameters=_JOB_ID,
            errors=JOB_ERRORS,
            components=_JOB_COMPONENTS,
        ),
    ),
    Route(
        "DELETE",
        "/api/jobs/{job_id}",
        delete_job,
        Operation(
            "deleteJob",
            "Jobs",
            "Remove a job with the assets that it made",
            {204: Response("The job is removed, or has not finished and is left as it is.")},
            "The assets are deleted as by deleteAsset: they can be restored.",
            parameters=_JOB_ID,
            errors=(JobNotFoundError, AssetInUseError, StorageError),
        ),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}/assets",
        get_outputs,
        Operation(
            "listJobAssets",
            "Jobs",
            "List the assets among a job's outputs",
            {200: Response("The assets.", _JOB_ASSETS)},
            parameters=_JOB_ID,
            errors=JOB_ERRORS,
        ),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}/progress",
        get_progress,
        Operation(
            "getJobProgress",
            "Jobs",
            "Get the progress of a running job",
            {200: Response("The progress.", JobProgress)},
            parameters=_JOB_ID,
            errors=JOB_ERRORS,
        ),
    ),
    Route(
        "POST",
        "/api/jobs/{job_id}/cancel",
        cancel_job,
        Operation(
            "cancelJob",
            "Jobs",
            "Cancel a job",
            {200: Response("The result.", _CANCELLED)},
            parameters=_JOB_ID,
            errors=(InvalidIdError, JobNotFoundError, JobElsewhereError),
        ),
    ),
    Route(
        "GET",
        "/api/job/{job_id}/status",
        get_status,
        Operation(
            "getJobStatus",
            "Jobs",
            "Get the state of a job",
            {200: Response("The state.", JobStatusResponse)},
            parameters=_JOB_ID,
            errors=JOB_ERRORS,
        ),
    ),
]
