"""The files that saved workflows need: which of them the library has, and names for those that it has elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..comfy_assets.errors import (
    AssetNotFoundError,
    UnprocessableBodyError,
    VersionConflictError,
    WorkflowForbiddenError,
    WorkflowNotFoundError,
    WorkflowTooLargeError,
    WorkflowVersionNotFoundError,
)
from ..comfy_assets.ids import hash_text
from ..comfy_assets.workflows.requirements import MAX_NAMED, Relink, Requirement
from .asset_body import AssetBody, asset_body
from .context import NoQuery, RequestContext, endpoint, json_response
from .operations import Operation, RequestBody, Response, Route
from .params import INT64_MAX, Id, Text, doc
from .workflow_body import VersionNumber, WorkflowVersionResponse, body_for_known, version_body
from .workflows import may_be_ours

_NAME = doc("The name as the workflow has it.")
_CATEGORY = doc("The category of a model that the workflow states beside the name; omitted if it states none.")


class ListRequirements(msgspec.Struct, frozen=True):
    """Query of listWorkflowRequirements."""

    version: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)] | None, doc("The version; by default the latest.")
    ] = None


class MatchBody(msgspec.Struct):
    """An asset that may be a file that a workflow names otherwise."""

    asset: Annotated[AssetBody, doc("The asset.")]
    match: Annotated[
        Literal["hash", "name"], doc("Whether it has the content that the workflow needs, or only the file's name.")
    ]
    value: Annotated[
        str | UnsetType, doc("The name that the nodes would load it by; omitted if it is in no folder of theirs.")
    ] = UNSET


class RequirementBody(msgspec.Struct):
    """A file that a workflow names."""

    name: Annotated[str, _NAME]
    kind: Annotated[Literal["model", "input"], doc("A model, or a file that the workflow loads.")]
    status: Annotated[
        Literal["present", "elsewhere", "missing"],
        doc("`elsewhere`: the library has it, or a file of its name, where the workflow does not look for it."),
    ]
    node_types: Annotated[list[str], doc("Types of the nodes that name it, at most five.")]
    matches: Annotated[list[MatchBody], doc("Assets that it may be, the same content first; at most five.")]
    links: Annotated[list[str], doc("Pages or files of the web that the workflow or its record states for it.")]
    hashes: Annotated[list[str], doc("Hashes that it is known to have.")]
    stated_category: Annotated[str | UnsetType, _CATEGORY] = UNSET
    category: Annotated[str | UnsetType, doc("The category that its nodes load, as far as it is known.")] = UNSET
    asset: Annotated[AssetBody | UnsetType, doc("The asset, of a file that is present.")] = UNSET
    size: Annotated[int | UnsetType, doc("Its size in bytes, as far as a bundle or a share states it.")] = UNSET


class RequirementsResponse(msgspec.Struct):
    """The files that a version of a workflow needs."""

    version: Annotated[int, doc("Number of the version.")]
    requirements: Annotated[
        list[RequirementBody], doc(f"Models, then other files; missing ones first. At most {MAX_NAMED}.")
    ]


class RelinkBody(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a workflow, and the asset that it shall be."""

    name: Annotated[Text, _NAME]
    category: Annotated[Text | UnsetType, _CATEGORY] = UNSET
    asset_id: Annotated[Id, doc("The asset that the nodes shall load.")]


class RelinkRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of relinkWorkflow."""

    base_version: Annotated[VersionNumber, doc("The version that is changed: it must be the latest.")]
    links: Annotated[
        list[RelinkBody], msgspec.Meta(min_length=1, max_length=MAX_NAMED), doc("The files to name otherwise.")
    ]


@endpoint(query=ListRequirements)
async def list_requirements(call: RequestContext[ListRequirements]) -> RequirementsResponse:
    """Return the files that a workflow needs (listWorkflowRequirements, an extension)."""
    service = call.services.workflow_requirements
    number, found = await service.needed(call.path["workflow_id"], call.user, call.query.version)
    return RequirementsResponse(number, [_requirement_body(each) for each in found])


def _requirement_body(found: Requirement) -> RequirementBody:
    return RequirementBody(
        name=found.named.key.text,
        kind=found.named.kind,
        status=found.status,
        node_types=found.named.node_types,
        stated_category=found.named.key.category or UNSET,
        category=found.category or UNSET,
        asset=UNSET if found.asset is None else asset_body(found.asset),
        matches=[MatchBody(asset_body(each.asset), each.by, each.value or UNSET) for each in found.matches],
        links=found.links,
        hashes=[hash_text(digest) for digest in found.hashes],
        size=UNSET if found.size is None else found.size,
    )


@endpoint()
async def relink_workflow(call: RequestContext[NoQuery]) -> web.Response:
    """Save a version of a workflow that names files otherwise (relinkWorkflow, an extension)."""
    body = await body_for_known(call, RelinkRequest)
    links = [Relink(each.name, each.asset_id, each.category or None) for each in body.links]
    service = call.services.workflow_requirements
    saved = await service.relink(call.path["workflow_id"], body.base_version, links, call.user)
    return json_response(version_body(saved), 201)


_WORKFLOW = "/api/workflows/{workflow_id}"
_ERRORS = (WorkflowNotFoundError, WorkflowForbiddenError)
ROUTES = [
    Route(
        "GET",
        f"{_WORKFLOW}/requirements",
        list_requirements,
        Operation(
            "listWorkflowRequirements",
            "Workflows",
            "List the models and input files that a workflow needs",
            {200: Response("The files.", RequirementsResponse)},
            "A file is found by its name, by the hash that a bundle, a share or an earlier version states, or by its "
            "name in another folder.",
            errors=(*_ERRORS, WorkflowVersionNotFoundError),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
    Route(
        "POST",
        f"{_WORKFLOW}/relink",
        relink_workflow,
        Operation(
            "relinkWorkflow",
            "Workflows",
            "Name models and input files as the library has them",
            {201: Response("The new version.", WorkflowVersionResponse)},
            "It saves a new version; restoring the version before undoes it.",
            body=RequestBody(
                RelinkRequest,
                example={
                    "base_version": 1,
                    "links": [{"name": "ink.safetensors", "asset_id": "0b6a5ad4-0f0c-4c57-9b35-7c0c5f1d2a11"}],
                },
            ),
            errors=(
                *_ERRORS,
                AssetNotFoundError,
                VersionConflictError,
                UnprocessableBodyError,
                WorkflowTooLargeError,
            ),
        ),
        when=may_be_ours,
        shared=(WorkflowNotFoundError,),
    ),
]
