"""Descriptions of the operations on workflows."""

from __future__ import annotations

from ...comfy_assets.errors import (
    UnprocessableBodyError,
    UnprocessableNameError,
    VersionConflictError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowTooLargeError,
    WorkflowVersionNotFoundError,
)
from ..operations import PAGINATION, Operation, Record, RequestBody, Response, array
from ..workflow_body import (
    CreateWorkflowRequest,
    CreateWorkflowVersionRequest,
    ForkWorkflowRequest,
    UpdateWorkflowRequest,
    WorkflowResponse,
    WorkflowVersionContentResponse,
    WorkflowVersionResponse,
)

_LIST = Record(
    "WorkflowListResponse",
    "A page of workflows.",
    {"data": array(WorkflowResponse, "The workflows."), "pagination": PAGINATION},
)
_VERSIONS = Record(
    "WorkflowVersionListResponse",
    "A page of versions.",
    {"data": array(WorkflowVersionResponse, "The versions, the latest first."), "pagination": PAGINATION},
)

_FOUND = (WorkflowNotFoundError, WorkflowForbiddenError)
_READ = (UnprocessableBodyError, WorkflowTooLargeError)
_EMPTY = {"nodes": [], "links": [], "version": 0.4}

OPERATIONS = [
    Operation(
        "listWorkflows",
        "Workflows",
        "List the user's workflows",
        {200: Response("The page.", _LIST)},
    ),
    Operation(
        "createWorkflow",
        "Workflows",
        "Save a new workflow",
        {201: Response("The workflow, with its first version.", WorkflowResponse)},
        body=RequestBody(CreateWorkflowRequest, example={"name": "Portrait", "workflow_json": _EMPTY}),
        errors=(*_READ, UnprocessableNameError),
    ),
    Operation(
        "getWorkflow",
        "Workflows",
        "Get a workflow without its content",
        {200: Response("The workflow.", WorkflowResponse)},
        errors=_FOUND,
    ),
    Operation(
        "updateWorkflow",
        "Workflows",
        "Change a workflow's name, description or view",
        {200: Response("The changed workflow.", WorkflowResponse)},
        body=RequestBody(UpdateWorkflowRequest, example={"name": "Landscape"}),
        errors=(*_FOUND, *_READ, UnprocessableNameError),
    ),
    Operation(
        "deleteWorkflow",
        "Workflows",
        "Delete a workflow",
        {204: Response("It can be restored for 30 days.")},
        errors=_FOUND,
    ),
    Operation(
        "restoreWorkflow",
        "Workflows",
        "Restore a deleted workflow",
        {200: Response("The changed workflow.", WorkflowResponse)},
        "Its versions and its share return too. Its file returns to its path, or to a new name if the path is taken.",
        errors=_FOUND,
    ),
    Operation(
        "getWorkflowContent",
        "Workflows",
        "Get the latest version of a workflow",
        {200: Response("The version.", WorkflowVersionContentResponse)},
        errors=_FOUND,
    ),
    Operation(
        "forkWorkflow",
        "Workflows",
        "Create a workflow from a version of another",
        {201: Response("The new workflow.", WorkflowResponse)},
        body=RequestBody(ForkWorkflowRequest, example={"source_version": 1, "name": "A try"}),
        errors=(*_FOUND, WorkflowVersionNotFoundError, *_READ, UnprocessableNameError),
    ),
    Operation(
        "listWorkflowVersions",
        "Workflows",
        "List the versions of a workflow",
        {200: Response("The page, the latest version first.", _VERSIONS)},
        errors=_FOUND,
    ),
    Operation(
        "createWorkflowVersion",
        "Workflows",
        "Save a new version",
        {201: Response("The version.", WorkflowVersionResponse)},
        "If two clients change the same version, one succeeds; the error of the other has both numbers in `details`.",
        body=RequestBody(CreateWorkflowVersionRequest, example={"base_version": 1, "workflow_json": _EMPTY}),
        errors=(*_FOUND, VersionConflictError, *_READ),
    ),
    Operation(
        "getWorkflowVersion",
        "Workflows",
        "Get a version of a workflow",
        {200: Response("The version.", WorkflowVersionContentResponse)},
        parameters={"version": "The version's number."},
        errors=(*_FOUND, WorkflowVersionNotFoundError),
    ),
]
