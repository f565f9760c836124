"""Workflows in words."""

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
from ..workflow_body import (
    ContentBody,
    CreateBody,
    ForkBody,
    ForkedFromBody,
    UpdateWorkflowBody,
    VersionBody,
    VersionShown,
    WorkflowBody,
)
from .common import PAGINATION
from .operation import Answer, Body, Operation
from .schema import Record, Words, array

_GRAPH = {"description": "The workflow as the page saves it.", "type": "object", "additionalProperties": True}
_VIEW = {"description": "How the page opens it.", "enum": ["app", "workflow"]}

_WORKFLOW = Words(
    WorkflowBody,
    "WorkflowResponse",
    "What is said of a saved workflow.",
    {
        "id": "The workflow's id.",
        "latest_version": "The number of its latest version.",
        "default_view": _VIEW,
        "created_by": "The user it belongs to.",
        "created_at": "When it was first saved.",
        "updated_at": "When something of it was last changed.",
        "name": "Its name.",
        "description": "What it is for.",
        "forked_from": "What it was made of.",
        "path": "Its file in the user's folder, by which it is published; left out while it has none.",
    },
)
_FORKED = Words(
    ForkedFromBody,
    "WorkflowForkedFrom",
    "What a workflow was made of.",
    {"workflow_id": "The other workflow.", "workflow_version_id": "The version of it."},
)
_VERSION = Words(
    VersionShown,
    "WorkflowVersionResponse",
    "A version of a workflow.",
    {
        "id": "The version's id.",
        "version": "Its number, from 1.",
        "latest_version": "The number of the latest version.",
        "created_by": "Who has saved it.",
        "created_at": "When.",
    },
)
_CONTENT = Words(
    ContentBody,
    "WorkflowVersionContentResponse",
    "A version of a workflow, whole.",
    {
        "id": "The version's id.",
        "version": "Its number.",
        "workflow_json": _GRAPH,
        "dependency_asset_ids": "Assets of the library that it names.",
        "created_by": "Who has saved it.",
        "created_at": "When.",
    },
)
_CREATE = Words(
    CreateBody,
    "CreateWorkflowRequest",
    "A workflow to save.",
    {
        "workflow_json": _GRAPH,
        "name": "Its name.",
        "description": "What it is for.",
        "default_view": _VIEW,
        "forked_from_workflow_id": "The workflow it was made of, which may be on another server.",
        "forked_from_workflow_version_id": "The version of that.",
    },
)
_UPDATE = Words(
    UpdateWorkflowBody,
    "UpdateWorkflowRequest",
    "What to change of a workflow.",
    {"name": "A new name.", "description": "A new description.", "default_view": _VIEW},
)
_NEXT = Words(
    VersionBody,
    "CreateWorkflowVersionRequest",
    "A new version.",
    {"base_version": "The version that was changed: it must be the latest.", "workflow_json": _GRAPH},
)
_FORK = Words(
    ForkBody,
    "ForkWorkflowRequest",
    "What to make a workflow of.",
    {"source_version": "The version's number.", "name": "The new one's name; that of the other when left out."},
)
WORDS = [_WORKFLOW, _FORKED, _VERSION, _CONTENT, _CREATE, _UPDATE, _NEXT, _FORK]

_LIST = Record(
    "WorkflowListResponse",
    "A page of workflows.",
    {"data": array(WorkflowBody, "The workflows."), "pagination": PAGINATION},
)
_VERSIONS = Record(
    "WorkflowVersionListResponse",
    "A page of versions.",
    {"data": array(VersionShown, "The versions, the latest first."), "pagination": PAGINATION},
)

_FOUND = (WorkflowNotFoundError, WorkflowForbiddenError)
_READ = (UnprocessableBodyError, WorkflowTooLargeError)
_EMPTY = {"nodes": [], "links": [], "version": 0.4}

OPERATIONS = [
    Operation(
        "listWorkflows",
        "Workflows",
        "A page of the user's workflows",
        {200: Answer("The page.", _LIST)},
        parameters={
            "name": "Only workflows whose name holds this text, in capitals or not.",
            "default_view": "Only workflows that open so.",
            "sort": "What to sort by.",
        },
    ),
    Operation(
        "createWorkflow",
        "Workflows",
        "Save a new workflow",
        {201: Answer("The workflow, with its first version.", WorkflowBody)},
        body=Body(CreateBody, example={"name": "Portrait", "workflow_json": _EMPTY}),
        errors=(*_READ, UnprocessableNameError),
    ),
    Operation(
        "getWorkflow",
        "Workflows",
        "What is said of a workflow",
        {200: Answer("The workflow.", WorkflowBody)},
        errors=_FOUND,
    ),
    Operation(
        "updateWorkflow",
        "Workflows",
        "Change a workflow's name, description or view",
        {200: Answer("The workflow as it is now.", WorkflowBody)},
        body=Body(UpdateWorkflowBody, example={"name": "Landscape"}),
        errors=(*_FOUND, *_READ, UnprocessableNameError),
    ),
    Operation(
        "deleteWorkflow",
        "Workflows",
        "Delete a workflow",
        {204: Answer("It can be brought back for 30 days.")},
        errors=_FOUND,
    ),
    Operation(
        "restoreWorkflow",
        "Workflows",
        "Bring back a deleted workflow",
        {200: Answer("The workflow as it is now.", WorkflowBody)},
        "With its versions and its share. Its file goes where it was, or beside what is there now.",
        errors=_FOUND,
    ),
    Operation(
        "getWorkflowContent",
        "Workflows",
        "The latest version of a workflow",
        {200: Answer("The version.", ContentBody)},
        errors=_FOUND,
    ),
    Operation(
        "forkWorkflow",
        "Workflows",
        "Make a workflow of a version of another",
        {201: Answer("The new workflow.", WorkflowBody)},
        body=Body(ForkBody, example={"source_version": 1, "name": "A try"}),
        errors=(*_FOUND, WorkflowVersionNotFoundError, *_READ, UnprocessableNameError),
    ),
    Operation(
        "listWorkflowVersions",
        "Workflows",
        "A page of a workflow's versions",
        {200: Answer("The page, the latest first.", _VERSIONS)},
        errors=_FOUND,
    ),
    Operation(
        "createWorkflowVersion",
        "Workflows",
        "Save a new version",
        {201: Answer("The version.", VersionShown)},
        "Of two who change the same version one wins; the other is told both numbers in `details`.",
        body=Body(VersionBody, example={"base_version": 1, "workflow_json": _EMPTY}),
        errors=(*_FOUND, VersionConflictError, *_READ),
    ),
    Operation(
        "getWorkflowVersion",
        "Workflows",
        "A version of a workflow",
        {200: Answer("The version.", ContentBody)},
        parameters={"version": "The version's number."},
        errors=(*_FOUND, WorkflowVersionNotFoundError),
    ),
]
