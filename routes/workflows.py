"""Saved workflows and their versions."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from ..comfy_assets.errors import WorkflowVersionNotFoundError
from ..comfy_assets.models import WorkflowEdit, WorkflowFilter, WorkflowPage, WorkflowSort, WorkflowView
from ..comfy_assets.workflows.service import WorkflowDetails
from .context import RequestContext, endpoint, json_response
from .params import NoQuery, Offset, ShortPageLimit, SortDirection, Text, doc
from .router import Route
from .workflow_body import (
    WORKFLOW,
    CreateWorkflowRequest,
    CreateWorkflowVersionRequest,
    ForkWorkflowRequest,
    UpdateWorkflowRequest,
    WorkflowResponse,
    WorkflowVersionContentResponse,
    content_body,
    description_of,
    name_of,
    page_body,
    read_body,
    version_body,
    workflow_body,
    workflow_text,
)

_MAX_DIGITS = 18  # fits into SQLite's integers


class ListWorkflows(msgspec.Struct, frozen=True):
    """Query of listWorkflows."""

    name: Annotated[Text, doc("Only workflows whose name contains this text; case does not matter.")] = ""
    default_view: Annotated[WorkflowView | None, doc("Only workflows that open in this view.")] = None
    sort: Annotated[WorkflowSort, doc("The field to sort by.")] = "create_time"
    order: SortDirection = "desc"
    limit: ShortPageLimit = 20
    offset: Offset = 0


class ListVersions(msgspec.Struct, frozen=True):
    """Query of listWorkflowVersions."""

    limit: ShortPageLimit = 20
    offset: Offset = 0


@endpoint(query=ListWorkflows)
async def list_workflows(call: RequestContext[ListWorkflows]) -> dict[str, Any]:
    """Return a page of the user's workflows (listWorkflows)."""
    query = call.query
    wanted = WorkflowFilter(call.user, unicodedata.normalize("NFC", query.name), query.default_view)
    page = await call.services.workflows.list(wanted, WorkflowPage(query.sort, query.order, query.limit, query.offset))
    return page_body([workflow_body(each) for each in page.items], page.total, query.limit, query.offset)


@endpoint()
async def create_workflow(call: RequestContext[NoQuery]) -> web.Response:
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
    """Change a workflow's name, description or view (updateWorkflow)."""
    body = await read_body(UpdateWorkflowRequest, call.request)
    view = None if body.default_view is UNSET else body.default_view
    change = WorkflowEdit(name_of(body), description_of(body), view)
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
    limit = call.services.config.max_workflow_size
    body = await read_body(CreateWorkflowVersionRequest, call.request)
    text = workflow_text(body.workflow_json, limit)
    workflow_id = call.path["workflow_id"]
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
    body = await read_body(ForkWorkflowRequest, call.request)
    workflow_id, name = call.path["workflow_id"], name_of(body)
    fork = await call.services.workflows.fork(workflow_id, body.source_version, name, call.user)
    return json_response(workflow_body(fork), 201)


_WORKFLOW = "/api/workflows/{workflow_id}"
ROUTES = [
    Route("GET", "/api/workflows", "listWorkflows", list_workflows),
    Route("POST", "/api/workflows", "createWorkflow", create_workflow, body=WORKFLOW),
    Route("GET", _WORKFLOW, "getWorkflow", get_workflow),
    Route("PATCH", _WORKFLOW, "updateWorkflow", update_workflow),
    Route("DELETE", _WORKFLOW, "deleteWorkflow", delete_workflow),
    Route("POST", f"{_WORKFLOW}/restore", "restoreWorkflow", restore_workflow),
    Route("GET", f"{_WORKFLOW}/content", "getWorkflowContent", get_content),
    Route("POST", f"{_WORKFLOW}/fork", "forkWorkflow", fork_workflow),
    Route("GET", f"{_WORKFLOW}/versions", "listWorkflowVersions", list_versions),
    Route("POST", f"{_WORKFLOW}/versions", "createWorkflowVersion", create_version, body=WORKFLOW),
    Route("GET", f"{_WORKFLOW}/versions/{{version}}", "getWorkflowVersion", get_version),
]
