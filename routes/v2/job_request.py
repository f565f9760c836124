"""Requests of Comfy API v2 about jobs, with their checks: the body of a submission, and the filter of a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace
from multidict import MultiMapping

from ...comfy_assets import json_limits
from ...comfy_assets.errors import (
    InvalidBodyError,
    InvalidMetadataFilterError,
    InvalidWorkflowError,
    MetadataInvalidError,
    WorkflowFormatError,
)
from ...comfy_assets.graph_nodes import is_saved_format
from ...comfy_assets.host.prompt_problems import MAX_DEPTH
from ..request_body import BodyLimit

MAX_LABELS = 16
_MAX_NAME, _MAX_VALUE = 64, 512  # characters of a label
_MAX_KEY = 4096  # characters of a credential
_MEMBERS_ROOM = 1 << 20  # bytes beside the graph
_RESERVED = ("inputs", "webhook_url")
_CREDENTIALS = ("api_key_comfy_org", "auth_token_comfy_org")
_FILTER = re.compile(r"metadata\[([^\[\]]*)\]")
_FILTER_NAME = "metadata"

SUBMISSION = BodyLimit(
    lambda config: config.max_prompt_size + _MEMBERS_ROOM, json=replace(json_limits.LARGE, depth=MAX_DEPTH)
)


class JobRequest(msgspec.Struct, frozen=True):
    """A submission: the graph, the credentials of partner nodes, and the labels of the job."""

    workflow: dict[str, Any]
    credentials: Mapping[str, str]
    labels: Mapping[str, str]


def read_job_request(raw: bytes, limits: json_limits.JsonLimits) -> JobRequest:
    """Return the submission in a body. Raise ApiError with the member at fault. Blocks for a large body."""
    try:
        body = json_limits.decode(raw, json_limits.check(raw, limits))
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise InvalidBodyError("The body must be a JSON object.")
    for name in _RESERVED:
        if name in body:
            raise InvalidBodyError(f"{name} is not supported.", details={"field": name})
    return JobRequest(_workflow(body), _credentials(body.get("extra_data")), _labels(body.get(_FILTER_NAME)))


def _workflow(body: Mapping[str, Any]) -> dict[str, Any]:
    if "workflow" not in body:
        raise InvalidWorkflowError("The body has no workflow.", details={"field": "workflow", "node_errors": {}})
    workflow = body["workflow"]
    if not isinstance(workflow, dict):
        message = "The workflow must be an object of nodes by their ids."
        raise InvalidWorkflowError(message, details={"field": "workflow", "node_errors": {}})
    if is_saved_format(workflow):
        message = "The workflow is in the format that the page saves. Export it in the API format."
        raise WorkflowFormatError(message, details={"field": "workflow"})
    return workflow


def _credentials(extra: object) -> dict[str, str]:
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise InvalidBodyError("extra_data must be an object.", details={"field": "extra_data"})
    for name, value in extra.items():
        field = f"extra_data.{name[:_MAX_NAME]}"
        if name not in _CREDENTIALS:
            raise InvalidBodyError(f"extra_data may only have {' and '.join(_CREDENTIALS)}.", details={"field": field})
        # Never quoted: it is a secret.
        if not isinstance(value, str) or not value or len(value) > _MAX_KEY:
            raise InvalidBodyError(f"{field} must be a text of up to {_MAX_KEY} characters.", details={"field": field})
    return dict(extra)


def _labels(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise MetadataInvalidError("metadata must be an object of texts.", details={"field": _FILTER_NAME})
    if len(given) > MAX_LABELS:
        message = f"metadata has {len(given)} labels, and {MAX_LABELS} are allowed."
        raise MetadataInvalidError(message, details={"field": _FILTER_NAME, "max": MAX_LABELS})
    for name, value in given.items():
        if (problem := _label_problem(name, value)) is not None:
            raise MetadataInvalidError(problem, details={"field": f"{_FILTER_NAME}.{name[:_MAX_NAME]}"})
    return dict(given)


def _label_problem(name: str, value: object) -> str | None:
    if not 0 < len(name) <= _MAX_NAME or "[" in name or "]" in name or not _is_plain(name):
        return f"The name of a label must have 1 to {_MAX_NAME} characters, without brackets."
    if not isinstance(value, str) or len(value) > _MAX_VALUE or not _is_plain(value):
        return f"The label must be a text of up to {_MAX_VALUE} characters."
    return None


def _is_plain(text: str) -> bool:
    """Return whether a text is valid Unicode without NUL, which the store refuses."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def labels_filter(query: MultiMapping[str]) -> dict[str, str]:
    """Return the labels of the parameters ``metadata[name]=value``. Raise InvalidMetadataFilterError."""
    labels: dict[str, str] = {}
    for parameter, value in query.items():
        if not parameter.startswith(_FILTER_NAME):
            continue
        match = _FILTER.fullmatch(parameter)
        name = match[1] if match is not None else ""
        problem = _label_problem(name, value) if match is not None else "A filter has the form metadata[name]=value."
        if problem is None and name in labels:
            problem = "Each label can be given once."
        if problem is None and len(labels) == MAX_LABELS:
            problem = f"At most {MAX_LABELS} labels can be given."
        if problem is not None:
            raise InvalidMetadataFilterError(problem, details={"field": parameter[:_MAX_VALUE]})
        labels[name] = value
    return labels
