"""Saved workflows and their versions."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET

from ..comfy_assets.app import Services
from ..comfy_assets.errors import (
    InvalidCursorError,
    UnprocessableBodyError,
    UnprocessableNameError,
    VersionConflictError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowTooLargeError,
    WorkflowVersionNotFoundError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.models import WorkflowEdit, WorkflowFilter, WorkflowPage, WorkflowSort, WorkflowView
from ..comfy_assets.workflows.service import WorkflowDetails
from .context import NoQuery, RequestContext, endpoint, json_response
from .operations import (
    PAGINATION,
    STORAGE_ERRORS,
    Operation,
    Record,
    RequestBody,
    Response,
    Route,
    array,
    is_hosted_client,
    is_missing_at_host,
    string,
)
from .params import After, Id, Offset, ShortPageLimit, SortDirection, Text, decode_cursor, doc, encode_cursor
from .workflow_body import (
    BODY_LIMIT,
    CreateWorkflowRequest,
    CreateWorkflowVersionRequest,
    ForkWorkflowRequest,
    UpdateWorkflowRequest,
    WorkflowResponse,
    WorkflowVersionContentResponse,
    WorkflowVersionResponse,
    body_for_known,
    content_body,
    description_of,
    name_of,
    page_body,
    read_body,
    version_body,
    workflow_body,
    workflow_text,
)

# Another application around the project, such as the page's agent, may have lists of workflows at the same path.
PROVIDER = "comfy-assets"
Provider = Annotated[
    Literal["comfy-assets"] | None,
    doc("Names this project, on servers where another application serves the path as well."),
]

_MAX_DIGITS = 18  # fits into SQLite's integers


class ListWorkflows(msgspec.Struct, frozen=True):
    """Query of listWorkflows. ``asset_id``, ``folder``, ``starred`` and ``deleted`` are extensions."""

    name: Annotated[Text, doc("Only workflows whose name contains this text; case does not matter.")] = ""
    default_view: Annotated[WorkflowView | None, doc("Only workflows that open in this view.")] = None
    asset_id: Annotated[
        Id | None, doc("Only workflows whose latest version names this asset, or another with the same content.")
    ] = None
    sort: Annotated[
        WorkflowSort,
        doc("The field to sort by. `starred`, an extension, has starred workflows first, each part by `update_time`."),
    ] = "create_time"
    order: SortDirection = "desc"
    limit: ShortPageLimit = 20
    offset: Offset = 0
    after: Annotated[After | None, doc("It replaces `offset`.")] = None
    folder: Annotated[
        Text | None,
        doc(
            "Only workflows whose files are in this folder, such as `video/tests`; empty for the uppermost one. The "
            "response then has the folders in it."
        ),
    ] = None
    starred: Annotated[bool | None, doc("Only workflows that the user has starred, or only others.")] = None
    deleted: Annotated[bool, doc("List deleted workflows, which can be restored, instead of the others.")] = False
    provider: Provider = None


class CreateWorkflowQuery(msgspec.Struct, frozen=True):
    """Query of createWorkflow."""

    provider: Provider = None


class ListVersions(msgspec.Struct, frozen=True):
    """Query of listWorkflowVersions."""

    limit: ShortPageLimit = 20
    offset: Offset = 0


class WorkflowFolderCount(msgspec.Struct):
    """A folder of workflows."""

    path: Annotated[str, doc("Its path, such as `video/tests`.")]
    count: Annotated[int, doc("Number of workflows in it and in the folders in it.")]


@endpoint(query=ListWorkflows)
async def list_workflows(call: RequestContext[ListWorkflows]) -> dict[str, Any]:
    """Return a page of the user's workflows (listWorkflows)."""
    query = call.query
    # Names are stored in NFC; systems such as macOS send names of files in NFD.
    folder = None if query.folder is None else query.folder.strip("/")
    name = unicodedata.normalize("NFC", query.name)
    wanted = WorkflowFilter(call.user, name, query.default_view, query.asset_id, folder, query.deleted, query.starred)
    after = None if query.after is None else decode_cursor(query.after, query.sort, query.order)
    # A cursor states where the page begins: an offset is ignored with it.
    offset = query.offset if after is None else 0
    page = await call.services.workflows.list(wanted, WorkflowPage(query.sort, query.order, query.limit, offset, after))
    body = page_body([workflow_body(each) for each in page.items], page.total, query.limit, offset)
    body["pagination"]["has_more"] = page.has_more
    if page.next_key is not None:
        cursor = encode_cursor(page.next_key, query.sort, query.order)
        # Pages look for it in either place.
        body["pagination"]["next_cursor"] = body["next_cursor"] = cursor
    if folder is not None:
        folders = await call.services.workflows.folders(call.user, folder)
        body["folders"] = [WorkflowFolderCount(path, count) for path, count in folders]
    return body


@endpoint(query=CreateWorkflowQuery)
async def create_workflow(call: RequestContext[CreateWorkflowQuery]) -> web.Response:
    """Save a new workflow (createWorkflow)."""
    limit = call.services.config.max_workflow_size
    body = await read_body(CreateWorkflowRequest, call.request)
    about = WorkflowDetails(
        name=name_of(body),
        description=description_of(body),
        default_view=body.default_view,
        forked_from_id=body.forked_from_workflow_id or None,
        forked_from_version_id=body.forked_from_workflow_version_id or None,
    )
    text = workflow_text(body.workflow_json, limit)
    return json_response(workflow_body(await call.services.workflows.create(about, text, call.user)), 201)


@endpoint()
async def get_workflow(call: RequestContext[NoQuery]) -> WorkflowResponse:
    """Return a workflow without its content (getWorkflow)."""
    return workflow_body(await call.services.workflows.get(call.path["workflow_id"], call.user))


@endpoint()
async def update_workflow(call: RequestContext[NoQuery]) -> WorkflowResponse:
    """Change a workflow's name, description, view or star (updateWorkflow)."""
    body = await body_for_known(call, UpdateWorkflowRequest)
    view = None if body.default_view is UNSET else body.default_view
    star = None if body.starred is UNSET else body.starred
    change = WorkflowEdit(name_of(body), description_of(body), view, star)
    return workflow_body(await call.services.workflows.update(call.path["workflow_id"], change, call.user))


@endpoint()
async def delete_workflow(call: RequestContext[NoQuery]) -> web.Response:
    """Delete a workflow (deleteWorkflow)."""
    await call.services.workflows.delete(call.path["workflow_id"], call.user)
    return web.Response(status=204)


@endpoint()
async def restore_workflow(call: RequestContext[NoQuery]) -> WorkflowResponse:
    """Restore a deleted workflow (restoreWorkflow, an extension)."""
    return workflow_body(await call.services.workflows.restore(call.path["workflow_id"], call.user))


@endpoint()
async def get_content(call: RequestContext[NoQuery]) -> WorkflowVersionContentResponse:
    """Return the latest version of a workflow (getWorkflowContent)."""
    return content_body(await call.services.workflows.content(call.path["workflow_id"], call.user))


@endpoint(query=ListVersions)
async def list_versions(call: RequestContext[ListVersions]) -> dict[str, Any]:
    """Return a page of a workflow's versions, the latest first (listWorkflowVersions, an extension)."""
    limit, offset = call.query.limit, call.query.offset
    workflow, found = await call.services.workflows.versions(call.path["workflow_id"], call.user, limit, offset)
    return page_body([version_body(each) for each in found], workflow.latest_version, limit, offset)


@endpoint()
async def create_version(call: RequestContext[NoQuery]) -> web.Response:
    """Save a new version of a workflow (createWorkflowVersion)."""
    limit, workflow_id = call.services.config.max_workflow_size, call.path["workflow_id"]
    body = await body_for_known(call, CreateWorkflowVersionRequest)
    text = workflow_text(body.workflow_json, limit)
    saved = await call.services.workflows.create_version(workflow_id, body.base_version, text, call.user)
    return json_response(version_body(saved), 201)


@endpoint()
async def get_version(call: RequestContext[NoQuery]) -> WorkflowVersionContentResponse:
    """Return a version of a workflow (getWorkflowVersion, an extension)."""
    workflow_id, number = call.path["workflow_id"], call.path["version"]
    # Checked here, as the path has no types: anything but a number is an unknown version.
    if not (number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS):
        await call.services.workflows.get(workflow_id, call.user)
        raise WorkflowVersionNotFoundError("A version is a number.", details={"id": workflow_id, "version": number})
    return content_body(await call.services.workflows.content(workflow_id, call.user, int(number)))


@endpoint()
async def fork_workflow(call: RequestContext[NoQuery]) -> web.Response:
    """Create a workflow from a version of another (forkWorkflow)."""
    workflow_id = call.path["workflow_id"]
    body = await body_for_known(call, ForkWorkflowRequest)
    name = name_of(body)
    fork = await call.services.workflows.fork(workflow_id, body.source_version, name, call.user)
    return json_response(workflow_body(fork), 201)


def is_for_project(request: web.Request, services: Services) -> bool:
    """Return whether a list or a new workflow is the project's: otherwise an application beside it has the path."""
    is_named = request.query.get("provider") == PROVIDER
    return is_named or is_missing_at_host(request, services) or is_hosted_client(request)


def may_be_ours(request: web.Request, services: Services) -> bool:
    """Return whether the id in the path may be one of the project's: those of other applications are no UUIDs."""
    workflow_id = request.rel_url.raw_parts[3]  # behind "/", "api" and "workflows"
    return canonical_id(workflow_id) is not None or is_missing_at_host(request, services)


_WORKFLOW_LIST = Record(
    "WorkflowListResponse",
    "A page of workflows.",
    {
        "data": array(WorkflowResponse, "The workflows."),
        "pagination": PAGINATION,
        "next_cursor": string("The same as in `pagination`."),
        "folders": array(WorkflowFolderCount, "The folders in the requested folder, if one was requested."),
    },
    optional=("next_cursor", "folders"),
)
_VERSION_LIST = Record(
    "WorkflowVersionListResponse",
    "A page of versions.",
    {"data": array(WorkflowVersionResponse, "The versions, the latest first."), "pagination": PAGINATION},
)
_WORKFLOW_ERRORS = (WorkflowNotFoundError, WorkflowForbiddenError)
_BODY_ERRORS = (UnprocessableBodyError, WorkflowTooLargeError)
_EMPTY = {"nodes": [], "links": [], "version": 0.4}

_WORKFLOW = "/api/workflows/{workflow_id}"
ROUTES = [
    Route(
        "GET",
        "/api/workflows",
        list_workflows,
        Operation(
            "listWorkflows",
            "Workflows",
            "List the user's workflows",
            {200: Response("The page.", _WORKFLOW_LIST)},
            errors=(InvalidCursorError,),
        ),
        when=is_for_project,
    ),
    Route(
        "POST",
        "/api/workflows",
        create_workflow,
        Operation(
            "createWorkflow",
            "Workflows",
            "Save a new workflow",
            {201: Response("The workflow, with its first version.", WorkflowResponse)},
            body=RequestBody(CreateWorkflowRequest, example={"name": "Portrait", "workflow_json": _EMPTY}),
            errors=(*_BODY_ERRORS, UnprocessableNameError, *STORAGE_ERRORS),
        ),
        body=BODY_LIMIT,
        when=is_for_project,
        stores=True,
    ),
    Route(
        "GET",
        _WORKFLOW,
        get_workflow,
        Operation(
            "getWorkflow",
            "Workflows",
            "Get a workflow without its content",
            {200: Response("The workflow.", WorkflowResponse)},
            errors=_WORKFLOW_ERRORS,
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "PATCH",
        _WORKFLOW,
        update_workflow,
        Operation(
            "updateWorkflow",
            "Workflows",
            "Change a workflow's name, description, view or star",
            {200: Response("The changed workflow.", WorkflowResponse)},
            body=RequestBody(UpdateWorkflowRequest, example={"name": "Landscape"}),
            errors=(*_WORKFLOW_ERRORS, *_BODY_ERRORS, UnprocessableNameError),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "DELETE",
        _WORKFLOW,
        delete_workflow,
        Operation(
            "deleteWorkflow",
            "Workflows",
            "Delete a workflow",
            {204: Response("It can be restored for 30 days.")},
            errors=_WORKFLOW_ERRORS,
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "POST",
        f"{_WORKFLOW}/restore",
        restore_workflow,
        Operation(
            "restoreWorkflow",
            "Workflows",
            "Restore a deleted workflow",
            {200: Response("The changed workflow.", WorkflowResponse)},
            "Its versions and its share return too. Its file returns to its path, or to a new name if the path is "
            "taken.",
            errors=_WORKFLOW_ERRORS,
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "GET",
        f"{_WORKFLOW}/content",
        get_content,
        Operation(
            "getWorkflowContent",
            "Workflows",
            "Get the latest version of a workflow",
            {200: Response("The version.", WorkflowVersionContentResponse)},
            errors=_WORKFLOW_ERRORS,
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "POST",
        f"{_WORKFLOW}/fork",
        fork_workflow,
        Operation(
            "forkWorkflow",
            "Workflows",
            "Create a workflow from a version of another",
            {201: Response("The new workflow.", WorkflowResponse)},
            body=RequestBody(ForkWorkflowRequest, example={"source_version": 1, "name": "A try"}),
            errors=(
                *_WORKFLOW_ERRORS,
                WorkflowVersionNotFoundError,
                *_BODY_ERRORS,
                UnprocessableNameError,
                *STORAGE_ERRORS,
            ),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
        stores=True,
    ),
    Route(
        "GET",
        f"{_WORKFLOW}/versions",
        list_versions,
        Operation(
            "listWorkflowVersions",
            "Workflows",
            "List the versions of a workflow",
            {200: Response("The page, the latest version first.", _VERSION_LIST)},
            errors=_WORKFLOW_ERRORS,
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "POST",
        f"{_WORKFLOW}/versions",
        create_version,
        Operation(
            "createWorkflowVersion",
            "Workflows",
            "Save a new version",
            {201: Response("The version.", WorkflowVersionResponse)},
            "If two clients change the same version, one succeeds; the error of the other has both numbers in "
            "`details`.",
            body=RequestBody(CreateWorkflowVersionRequest, example={"base_version": 1, "workflow_json": _EMPTY}),
            errors=(*_WORKFLOW_ERRORS, VersionConflictError, *_BODY_ERRORS, *STORAGE_ERRORS),
        ),
        body=BODY_LIMIT,
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
        stores=True,
    ),
    Route(
        "GET",
        f"{_WORKFLOW}/versions/{{version}}",
        get_version,
        Operation(
            "getWorkflowVersion",
            "Workflows",
            "Get a version of a workflow",
            {200: Response("The version.", WorkflowVersionContentResponse)},
            parameters={"version": "The version's number."},
            errors=(*_WORKFLOW_ERRORS, WorkflowVersionNotFoundError),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
]
