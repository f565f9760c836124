"""Workflows as clients send them, and as the contract shows them. What is unknown is left out, never null."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets import json_limits
from ..comfy_assets.assets.upload_fields import normalize_name
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
from ..comfy_assets.workflows.paths import FOLDER
from ..comfy_assets.workflows.service import SavedVersion
from . import request_body
from .asset_body import utc_time
from .params import Text, split_error

S = TypeVar("S", bound=msgspec.Struct)

_SLACK = 1 << 20  # what a body may hold beside the workflow
_INT64_MAX = 2**63 - 1

Description = Annotated[str, msgspec.Meta(max_length=10_000)]
SourceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
VersionNumber = Annotated[int, msgspec.Meta(ge=-_INT64_MAX, le=_INT64_MAX)]


class CreateBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createWorkflow. The source of a fork may be on another server."""

    workflow_json: Raw
    name: Text | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    default_view: WorkflowView = "workflow"
    forked_from_workflow_id: SourceId | UnsetType = UNSET
    forked_from_workflow_version_id: SourceId | UnsetType = UNSET


class UpdateWorkflowBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of updateWorkflow."""

    name: Text | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    default_view: WorkflowView | UnsetType = UNSET


class VersionBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of createWorkflowVersion."""

    base_version: VersionNumber
    workflow_json: Raw


class ForkBody(msgspec.Struct, frozen=True, kw_only=True):
    """Body of forkWorkflow."""

    source_version: VersionNumber
    name: Text | UnsetType = UNSET


async def read_body(schema: type[S], request: web.Request) -> S:
    """Return the body. Raise UnprocessableBodyError, or what the operation declares for one that is too large."""
    limits = request_body.json_limits()
    try:
        raw = await request_body.read(request)
        return await request_body.decode(lambda text: _decoded(schema, text, limits), raw)
    except BodyTooLargeError:
        raise
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
        raise
    except msgspec.DecodeError:
        return _with_half_characters(schema, raw, shape.values)


def _with_half_characters(schema: type[S], raw: bytes, values: int) -> S:
    """The body, whose workflow may hold halves of character pairs, which pages cut in two and msgspec does not read.

    Raises as msgspec does, ValueError and RecursionError.
    """
    texts = members(raw.decode(), values)
    workflow = texts.get("workflow_json")
    if workflow is not None:
        texts["workflow_json"] = "{}"
    rest = ",".join(f"{json.dumps(name)}:{text}" for name, text in texts.items())
    body = msgspec.json.decode(f"{{{rest}}}", type=schema)
    if workflow is not None and isinstance(body, (CreateBody, VersionBody)):
        return msgspec.structs.replace(body, workflow_json=Raw(workflow.encode()))
    return body


def workflow_text(workflow: Raw, limit: int) -> bytes:
    """The text of a workflow. Raises WorkflowTooLargeError."""
    text = bytes(workflow)
    if len(text) > limit:
        raise _too_large(limit)
    return text


def _body_too_large(size: int) -> WorkflowTooLargeError:
    return _too_large(size - _SLACK)


WORKFLOW = request_body.BodyLimit(
    lambda config: config.max_workflow_size + _SLACK, json=json_limits.LARGE, error=_body_too_large
)


def _too_large(limit: int) -> WorkflowTooLargeError:
    return WorkflowTooLargeError(
        f"The workflow is larger than the {limit} bytes this server takes.",
        details={"field": "workflow_json", "max_bytes": limit},
    )


def name_of(body: CreateBody | UpdateWorkflowBody | ForkBody) -> str | None:
    """The name in a body, if there is one, as it is kept. Raises UnprocessableNameError."""
    if body.name is UNSET:
        return None
    try:
        return normalize_name(body.name)
    except InvalidNameError as error:
        raise UnprocessableNameError(error.message, details=error.details) from error


def description_of(body: CreateBody | UpdateWorkflowBody) -> str | None:
    """The description in a body, if there is one. Raises UnprocessableBodyError."""
    if body.description is UNSET:
        return None
    if "\0" in body.description:
        raise UnprocessableBodyError(
            "A description must not contain a NUL character.", details={"field": "description"}
        )
    return body.description


class ForkedFromBody(msgspec.Struct):
    """The contract's WorkflowForkedFrom."""

    workflow_id: str | UnsetType = UNSET
    workflow_version_id: str | UnsetType = UNSET


class WorkflowBody(msgspec.Struct, kw_only=True):
    """The contract's WorkflowResponse; ``path``, an extension, is that of its file in the user's folder."""

    id: str
    latest_version: int
    default_view: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    name: Text | UnsetType = UNSET
    description: str | UnsetType = UNSET
    forked_from: ForkedFromBody | UnsetType = UNSET
    path: str | UnsetType = UNSET


class VersionShown(msgspec.Struct, kw_only=True):
    """The contract's WorkflowVersionResponse."""

    id: str
    version: int
    latest_version: int
    created_by: str
    created_at: datetime


class ContentBody(msgspec.Struct, kw_only=True):
    """The contract's WorkflowVersionContentResponse."""

    id: str
    version: int
    workflow_json: Raw
    dependency_asset_ids: tuple[str, ...]
    created_by: str
    created_at: datetime


def workflow_body(workflow: Workflow) -> WorkflowBody:
    """The workflow as it is shown."""
    body = WorkflowBody(
        id=workflow.id,
        latest_version=workflow.latest_version,
        default_view=workflow.default_view,
        created_by=workflow.owner,
        created_at=utc_time(workflow.created_at),
        updated_at=utc_time(workflow.updated_at),
        name=_known(workflow.name),
        description=_known(workflow.description),
        path=UNSET if workflow.path is None else f"{FOLDER}/{workflow.path}",
    )
    if workflow.forked_from_id is not None or workflow.forked_from_version_id is not None:
        body.forked_from = ForkedFromBody(_known(workflow.forked_from_id), _known(workflow.forked_from_version_id))
    return body


def _known(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text


def version_body(saved: SavedVersion) -> VersionShown:
    """The version as lists show it."""
    return VersionShown(
        id=saved.version.id,
        version=saved.version.number,
        latest_version=saved.workflow.latest_version,
        created_by=saved.version.created_by,
        created_at=utc_time(saved.version.created_at),
    )


def content_body(content: WorkflowContent) -> ContentBody:
    """The version with its text."""
    return ContentBody(
        id=content.version.id,
        version=content.version.number,
        workflow_json=Raw(content.text),
        dependency_asset_ids=content.asset_ids,
        created_by=content.version.created_by,
        created_at=utc_time(content.version.created_at),
    )


def page_body(items: list[Any], total: int, limit: int, offset: int) -> dict[str, Any]:
    """A page of a list as the contract shows it."""
    has_more = offset + len(items) < total and bool(items)
    return {"data": items, "pagination": {"offset": offset, "limit": limit, "total": total, "has_more": has_more}}
