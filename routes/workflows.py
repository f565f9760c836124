"""Saved workflows and their versions."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets import json_limits
from ..comfy_assets.app import Services
from ..comfy_assets.assets.fields import normalize_name
from ..comfy_assets.errors import (
    BodyTooLargeError,
    InvalidBodyError,
    InvalidCursorError,
    InvalidNameError,
    UnprocessableBodyError,
    UnprocessableNameError,
    VersionConflictError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowTooLargeError,
    WorkflowVersionNotFoundError,
)
from ..comfy_assets.ids import canonical_id
from ..comfy_assets.json_limits import JsonLimits
from ..comfy_assets.json_text import members
from ..comfy_assets.models import (
    Workflow,
    WorkflowContent,
    WorkflowEdit,
    WorkflowFilter,
    WorkflowPage,
    WorkflowSort,
    WorkflowView,
)
from ..comfy_assets.workflows.folder import FOLDER
from ..comfy_assets.workflows.service import SavedVersion, WorkflowDetails
from . import request_body
from .context import NoQuery, RequestContext, endpoint, json_response, utc_time
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
from .params import (
    ANY_OBJECT,
    After,
    Id,
    Offset,
    ShortPageLimit,
    SortDirection,
    Text,
    decode_cursor,
    doc,
    encode_cursor,
    split_error,
)

S = TypeVar("S", bound=msgspec.Struct)

_SLACK = 1 << 20  # size of a body beside the workflow
_INT64_MAX = 2**63 - 1

Description = Annotated[str, msgspec.Meta(max_length=10_000)]
# Of this server or of another, whose ids need not be UUIDs.
SourceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
# SQLite stores no larger numbers; one that is refused here would end in 500 there.
VersionNumber = Annotated[int, msgspec.Meta(ge=-_INT64_MAX, le=_INT64_MAX)]

# Another application around the project, such as the page's agent, may have lists of workflows at the same path.
PROVIDER = "comfy-assets"
Provider = Annotated[
    Literal["comfy-assets"] | None,
    doc("Names this project, on servers where another application serves the path as well."),
]

_GRAPH = doc("The workflow, as the page saves it.", **ANY_OBJECT)
_VIEW = doc("The view that the page opens it in.", enum=["app", "workflow"])
_NAME = doc("Its name.")
_DESCRIPTION = doc("Its description.")
_VERSION_ID = doc("The version's id.")
_VERSION_NUMBER = doc("Its number, from 1.")
_SAVED_BY = doc("The user who saved it.")
_SAVED_AT = doc("Time at which it was saved.")
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


class CreateWorkflowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createWorkflow: a workflow to save."""

    workflow_json: Annotated[Raw, _GRAPH]
    name: Annotated[Text | UnsetType, _NAME] = UNSET
    description: Annotated[Description | UnsetType, _DESCRIPTION] = UNSET
    default_view: Annotated[WorkflowView, _VIEW] = "workflow"
    forked_from_workflow_id: Annotated[
        SourceId | UnsetType, doc("The workflow that it is a copy of, which may be on another server.")
    ] = UNSET
    forked_from_workflow_version_id: Annotated[SourceId | UnsetType, doc("The version that was copied.")] = UNSET


class UpdateWorkflowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateWorkflow: the members to change."""

    name: Annotated[Text | UnsetType, doc("A new name.")] = UNSET
    description: Annotated[Description | UnsetType, doc("A new description.")] = UNSET
    default_view: Annotated[WorkflowView | UnsetType, _VIEW] = UNSET
    starred: Annotated[bool | UnsetType, doc("Whether the user has starred it; not a change of its content.")] = UNSET


class CreateWorkflowVersionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createWorkflowVersion: a new version."""

    base_version: Annotated[VersionNumber, doc("The version that was changed: it must be the latest.")]
    workflow_json: Annotated[Raw, _GRAPH]


class ForkWorkflowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of forkWorkflow: the version to copy."""

    source_version: Annotated[VersionNumber, doc("The version's number.")]
    name: Annotated[Text | UnsetType, doc("Name of the copy; the name of the original if omitted.")] = UNSET


class WorkflowForkedFrom(msgspec.Struct):
    """The original of a copied workflow."""

    workflow_id: Annotated[str | UnsetType, doc("The original workflow.")] = UNSET
    workflow_version_id: Annotated[str | UnsetType, doc("The version that was copied.")] = UNSET


class WorkflowResponse(msgspec.Struct, kw_only=True):
    """A saved workflow, without its content."""

    id: Annotated[str, doc("The workflow's id.")]
    latest_version: Annotated[int, doc("Number of its latest version.")]
    default_view: Annotated[str, _VIEW]
    created_by: Annotated[str, doc("The user who owns it.")]
    created_at: Annotated[datetime, doc("Time at which it was first saved.")]
    updated_at: Annotated[datetime, doc("Time of its last change.")]
    starred: Annotated[bool, doc("Whether its user has starred it.")]
    name: Annotated[Text | UnsetType, _NAME] = UNSET
    description: Annotated[str | UnsetType, _DESCRIPTION] = UNSET
    forked_from: Annotated[WorkflowForkedFrom | UnsetType, doc("The workflow that it is a copy of.")] = UNSET
    path: Annotated[
        str | UnsetType, doc("Its file in the user's folder, needed to publish it; omitted while it has none.")
    ] = UNSET
    preview_output: Annotated[
        Raw | UnsetType, doc("The output that represents its latest job; omitted without one.", **ANY_OBJECT)
    ] = UNSET
    deleted_at: Annotated[datetime | UnsetType, doc("Time of its deletion, of a deleted one.")] = UNSET


class WorkflowFolderCount(msgspec.Struct):
    """A folder of workflows."""

    path: Annotated[str, doc("Its path, such as `video/tests`.")]
    count: Annotated[int, doc("Number of workflows in it and in the folders in it.")]


class WorkflowVersionResponse(msgspec.Struct, kw_only=True):
    """A version of a workflow, without its content."""

    id: Annotated[str, _VERSION_ID]
    version: Annotated[int, _VERSION_NUMBER]
    latest_version: Annotated[int, doc("Number of the latest version.")]
    created_by: Annotated[str, _SAVED_BY]
    created_at: Annotated[datetime, _SAVED_AT]


class WorkflowVersionContentResponse(msgspec.Struct, kw_only=True):
    """A version of a workflow with its content."""

    id: Annotated[str, _VERSION_ID]
    version: Annotated[int, _VERSION_NUMBER]
    workflow_json: Annotated[Raw, _GRAPH]
    dependency_asset_ids: Annotated[tuple[str, ...], doc("Assets of the library that it names.")]
    created_by: Annotated[str, _SAVED_BY]
    created_at: Annotated[datetime, _SAVED_AT]


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


async def body_for_known(call: RequestContext[NoQuery], schema: type[S]) -> S:
    """Return the body of a request for the workflow in the path. Raise WorkflowNotFoundError and as ``read_body``.

    An application beside the project that serves such paths gets requests for other ids, with a body that is unread.
    """
    if not is_missing_at_host(call.request, call.services):
        await call.services.workflows.check_known(call.path["workflow_id"])
    return await read_body(schema, call.request)


async def read_body(schema: type[S], request: web.Request) -> S:
    """Return the body. Raise UnprocessableBodyError, or the operation's error for a body that is too large."""
    limits = request_body.json_limits()
    try:
        raw = await request_body.read(request)
        return await request_body.decode(lambda text: _decoded(schema, text, limits), raw)
    except BodyTooLargeError:
        raise  # 413 stays; the contract has 422 for every other fault of these bodies
    except InvalidBodyError as error:
        raise UnprocessableBodyError(error.message, details=error.details) from error
    except msgspec.ValidationError as error:
        message, field = split_error(error)
        raise UnprocessableBodyError(message, details={"field": field} if field else None) from error
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise UnprocessableBodyError(f"The body is not valid JSON: {error}.") from error


def _decoded(schema: type[S], raw: bytes, limits: JsonLimits) -> S:
    shape = json_limits.check(raw, limits)
    try:
        return msgspec.json.decode(raw, type=schema)
    except msgspec.ValidationError:
        raise  # a DecodeError as well: the text is JSON, but not of this schema
    except msgspec.DecodeError:
        return _with_half_characters(schema, raw, shape.values)


def _with_half_characters(schema: type[S], raw: bytes, values: int) -> S:
    """Decode a body whose workflow may contain unpaired surrogates: pages cut texts in the middle of a character.

    msgspec refuses such text, so the workflow is cut out and kept as it is. Raise msgspec's errors, ValueError,
    RecursionError.
    """
    texts = members(raw.decode(), values)
    workflow = texts.get("workflow_json")
    if workflow is not None:
        texts["workflow_json"] = "{}"
    rest = ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items())
    body = msgspec.json.decode(f"{{{rest}}}", type=schema)
    if workflow is not None and isinstance(body, (CreateWorkflowRequest, CreateWorkflowVersionRequest)):
        return msgspec.structs.replace(body, workflow_json=Raw(workflow.encode()))
    return body


def workflow_text(workflow: Raw, limit: int) -> bytes:
    """Return the text of a workflow. Raise WorkflowTooLargeError."""
    text = bytes(workflow)
    # The limit of the body allows for what stands beside the workflow, so it does not bound the workflow.
    if len(text) > limit:
        raise _too_large(limit)
    return text


def _body_too_large(size: int) -> WorkflowTooLargeError:
    return _too_large(size - _SLACK)


_BODY_LIMIT = request_body.BodyLimit(
    lambda config: config.max_workflow_size + _SLACK, json=json_limits.LARGE, error=_body_too_large
)


def _too_large(limit: int) -> WorkflowTooLargeError:
    return WorkflowTooLargeError(
        f"The workflow is larger than the {limit} bytes this server accepts.",
        details={"field": "workflow_json", "max_bytes": limit},
    )


def name_of(body: CreateWorkflowRequest | UpdateWorkflowRequest | ForkWorkflowRequest) -> str | None:
    """Return the name in a body in its stored form, None if there is none. Raise UnprocessableNameError."""
    if body.name is UNSET:
        return None
    try:
        return normalize_name(body.name)
    except InvalidNameError as error:
        raise UnprocessableNameError(error.message, details=error.details) from error


def description_of(body: CreateWorkflowRequest | UpdateWorkflowRequest) -> str | None:
    """Return the description in a body, None if there is none. Raise UnprocessableBodyError."""
    if body.description is UNSET:
        return None
    if "\0" in body.description:
        raise UnprocessableBodyError(
            "A description must not contain a NUL character.", details={"field": "description"}
        )
    return body.description


def workflow_body(workflow: Workflow) -> WorkflowResponse:
    """Make the body of a workflow."""
    body = WorkflowResponse(
        id=workflow.id,
        latest_version=workflow.latest_version,
        default_view=workflow.default_view,
        created_by=workflow.owner,
        created_at=utc_time(workflow.created_at),
        updated_at=utc_time(workflow.updated_at),
        starred=bool(workflow.is_starred),
        name=_known(workflow.name),
        description=_known(workflow.description),
        path=UNSET if workflow.path is None else f"{FOLDER}/{workflow.path}",
        preview_output=UNSET if workflow.preview is None else Raw(workflow.preview.encode()),
        deleted_at=UNSET if workflow.deleted_at is None else utc_time(workflow.deleted_at),
    )
    if workflow.forked_from_id is not None or workflow.forked_from_version_id is not None:
        body.forked_from = WorkflowForkedFrom(_known(workflow.forked_from_id), _known(workflow.forked_from_version_id))
    return body


def _known(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text


def version_body(saved: SavedVersion) -> WorkflowVersionResponse:
    """Make the body of a version in a list."""
    return WorkflowVersionResponse(
        id=saved.version.id,
        version=saved.version.number,
        latest_version=saved.workflow.latest_version,
        created_by=saved.version.created_by,
        created_at=utc_time(saved.version.created_at),
    )


def content_body(content: WorkflowContent) -> WorkflowVersionContentResponse:
    """Make the body of a version with its content."""
    return WorkflowVersionContentResponse(
        id=content.version.id,
        version=content.version.number,
        workflow_json=Raw(content.text),
        dependency_asset_ids=content.asset_ids,
        created_by=content.version.created_by,
        created_at=utc_time(content.version.created_at),
    )


def page_body(items: list[Any], total: int, limit: int, offset: int) -> dict[str, Any]:
    """Make the body of a page of a list."""
    # Rows may have gone since they were counted: clients that page to the end must not loop over empty pages.
    has_more = offset + len(items) < total and bool(items)
    return {"data": items, "pagination": {"offset": offset, "limit": limit, "total": total, "has_more": has_more}}


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
        body=_BODY_LIMIT,
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
        body=_BODY_LIMIT,
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
