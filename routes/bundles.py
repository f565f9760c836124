"""Bundles: workflows with their assets as archives, exported for download and imported from uploads. Extensions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.background.tasks import Task
from ..comfy_assets.errors import (
    FileTooLargeError,
    InvalidBodyError,
    NotEnoughSpaceError,
    StorageError,
    TooManyExportsError,
    UnprocessableBodyError,
    UnsupportedContentError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowVersionNotFoundError,
)
from ..comfy_assets.fs.atomic import run_blocking
from ..comfy_assets.fs.partial_file import PartialFile
from ..comfy_assets.models import TaskState
from .context import NoQuery, RequestContext, endpoint, json_response
from .operations import BINARY, STORAGE_ERRORS, Operation, RequestBody, Response, Route
from .params import INT64_MAX, doc
from .request_body import BROKEN_BODY, STREAMED
from .uploads import receive_into, too_large
from .workflow_body import body_for_known
from .workflows import may_be_ours

_ARCHIVE = "application/zip"
# Windows and some programs name archives otherwise.
_ARCHIVES = frozenset({_ARCHIVE, "application/x-zip-compressed", "application/octet-stream"})


class ExportWorkflowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of exportWorkflow."""

    version: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)] | UnsetType, doc("The version; by default the latest.")
    ] = UNSET
    models: Annotated[
        bool, doc("Whether the bundle contains model files, which are large, and not only names them.")
    ] = False


class BundleTaskResponse(msgspec.Struct, kw_only=True):
    """A task that was started."""

    task_id: Annotated[str, doc("The task, see getTask.", format="uuid")]
    status: Annotated[TaskState, doc("State of the task.")]


@endpoint()
async def export_workflow(call: RequestContext[NoQuery]) -> web.Response:
    """Start to export a workflow with its assets (exportWorkflow, an extension)."""
    body = await body_for_known(call, ExportWorkflowRequest)
    version = None if body.version is UNSET else body.version
    workflow_id = call.path["workflow_id"]
    return _started(await call.services.bundles.export(workflow_id, version, call.user, models=body.models))


@endpoint()
async def import_workflow(call: RequestContext[NoQuery]) -> web.Response:
    """Receive a bundle and start to import it (importWorkflow, an extension)."""
    request = call.request
    if request.content_type not in _ARCHIVES:
        raise UnsupportedContentError("A bundle is sent as application/zip.", details={"field": "Content-Type"})
    # 0 means that the host's own limit applies.
    limit = call.services.config.max_upload_size or request.client_max_size
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    file = await call.services.bundles.receive(request.content_length)
    try:
        await _fill(file, request, limit)
        return _started(await call.services.bundles.import_(file, call.user))
    except BaseException:
        await run_blocking(file.discard)
        raise


async def _fill(file: PartialFile, request: web.Request, limit: int) -> None:
    """Write the body of a request into a file. Raise FileTooLargeError, InvalidBodyError, StorageError."""
    try:
        await receive_into(file, request.content.read, limit)
        if file.size == 0:
            raise InvalidBodyError("The bundle is empty.")
        await run_blocking(file.finish)
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise InvalidBodyError("The body ended before it was complete.") from error
        raise StorageError(f"The bundle cannot be stored: {error.strerror or error}.") from error
    except BROKEN_BODY as error:
        raise InvalidBodyError("The body ended before it was complete.") from error


def _started(task: Task) -> web.Response:
    return json_response(BundleTaskResponse(task_id=str(task.id), status="created"), 202)


ROUTES = [
    Route(
        "POST",
        "/api/workflows/import",
        import_workflow,
        Operation(
            "importWorkflow",
            "Workflows",
            "Import a bundle",
            {202: Response("The import has started.", BundleTaskResponse)},
            "The whole bundle is verified before anything is changed. The task's result has `workflow_id`, the numbers "
            "`have`, `added` and `missing`, and what became of each of the `assets`.",
            body=RequestBody(BINARY, media=_ARCHIVE),
            errors=(
                FileTooLargeError,
                InvalidBodyError,
                NotEnoughSpaceError,
                StorageError,
                TooManyExportsError,
                UnsupportedContentError,
                *STORAGE_ERRORS,
            ),
        ),
        body=STREAMED,
        media="any",
        stores=True,
    ),
    Route(
        "POST",
        "/api/workflows/{workflow_id}/export",
        export_workflow,
        Operation(
            "exportWorkflow",
            "Workflows",
            "Export a workflow with its assets as a bundle",
            {202: Response("The export has started.", BundleTaskResponse)},
            "The task's result has the `export_name` of the archive, see downloadExport, and the `problems` of files "
            "that are not in it.",
            body=RequestBody(ExportWorkflowRequest, example={"models": False}),
            errors=(
                WorkflowNotFoundError,
                WorkflowForbiddenError,
                WorkflowVersionNotFoundError,
                TooManyExportsError,
                UnprocessableBodyError,
            ),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
]
