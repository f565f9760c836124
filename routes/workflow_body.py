"""Bodies of workflows: requests, which may be large, and responses."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets import json_limits
from ..comfy_assets.assets.fields import normalize_name
from ..comfy_assets.errors import (
    BodyTooLargeError,
    InvalidBodyError,
    InvalidNameError,
    UnprocessableBodyError,
    UnprocessableNameError,
    WorkflowTooLargeError,
)
from ..comfy_assets.json_limits import JsonLimits
from ..comfy_assets.json_text import members
from ..comfy_assets.models import Workflow, WorkflowContent, WorkflowView
from ..comfy_assets.workflows.folder import FOLDER
from ..comfy_assets.workflows.service import SavedVersion
from . import request_body
from .context import NoQuery, RequestContext, utc_time
from .operations import is_missing_at_host
from .params import ANY_OBJECT, Text, doc, split_error

S = TypeVar("S", bound=msgspec.Struct)

_SLACK = 1 << 20  # size of a body beside the workflow
_INT64_MAX = 2**63 - 1

Description = Annotated[str, msgspec.Meta(max_length=10_000)]
# Of this server or of another, whose ids need not be UUIDs.
SourceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
# SQLite stores no larger numbers; one that is refused here would end in 500 there.
VersionNumber = Annotated[int, msgspec.Meta(ge=-_INT64_MAX, le=_INT64_MAX)]

_GRAPH = doc("The workflow, as the page saves it.", **ANY_OBJECT)
_VIEW = doc("The view that the page opens it in.", enum=["app", "workflow"])
_NAME = doc("Its name.")
_DESCRIPTION = doc("Its description.")
_VERSION_ID = doc("The version's id.")
_VERSION_NUMBER = doc("Its number, from 1.")
_SAVED_BY = doc("The user who saved it.")
_SAVED_AT = doc("Time at which it was saved.")


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


BODY_LIMIT = request_body.BodyLimit(
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
