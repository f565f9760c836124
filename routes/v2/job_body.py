"""The job of Comfy API v2, its progress and its outputs. All members are always there; unknown ones are null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from ...comfy_assets.ids import hash_text
from ...comfy_assets.jobs.progress import ProgressSnapshot
from ...comfy_assets.jobs.views import JobView, ShownOutput
from ...comfy_assets.json_text import read
from ..context import utc_time
from ..params import HASH, HASH_PATTERN, doc
from .protocol import api_url, asset_url, url_expires_at

STATES = ("queued", "running", "canceling", "succeeded", "failed", "canceled", "expired")
OUTPUT_TYPES = ("image", "video", "audio", "text", "file", "latent")
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
    type: Annotated[str, doc("Kind of the output; 3D models are files.", enum=list(OUTPUT_TYPES))]
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


class StatusEventBody(msgspec.Struct):
    """The event `status`."""

    status: Annotated[str, doc("State of the job.", enum=list(STATES))]
    queue_position: Annotated[int | None, doc("Its place in the queue, from 1, while it waits.")]


class PreviewEventBody(msgspec.Struct):
    """The event `preview`: a picture of unfinished work."""

    node_id: Annotated[str, doc("The node.")]
    content_type: Annotated[str, doc("Media type of the picture.")]
    data_base64: Annotated[str, doc("The picture in base64.")]


def job_body(view: JobView, request: web.Request) -> JobV2Body:
    """Make the body of a job."""
    progress = view.progress
    return JobV2Body(
        **_listed(view, request),
        progress=progress_body(progress) if progress is not None else None,
        outputs=[output_body(output, view.id, request) for output in view.outputs],
        error=_error(view),
        metrics=_metrics(view),
    )


def list_item(view: JobView, request: web.Request) -> JobListItemBody:
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
        "urls": job_urls(view.id, request),
    }


def job_urls(job_id: str, request: web.Request) -> JobUrlsBody:
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
