"""Submission of a job of Comfy API v2 through the server's own ``POST /api/prompt``, with everything in front of it.

The server validates the graph, and other node packs may change it, exactly as for a prompt of the page. The job gets
its id here, so that it is certain afterwards whether there is one. Labels of jobs also filter their list.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, web
from msgspec.structs import replace
from multidict import MultiMapping

from ...comfy_assets import json_limits, json_text
from ...comfy_assets.app import Services
from ...comfy_assets.assets.prompts.references import (
    AssetProblem,
    find_asset_values,
    replace_asset_values,
    resolve_asset_values,
)
from ...comfy_assets.errors import (
    BodyTooLargeError,
    DeploymentNotReadyError,
    InvalidBodyError,
    InvalidMetadataFilterError,
    InvalidWorkflowError,
    JobNotFoundError,
    MetadataInvalidError,
    MissingAssetError,
    QueueFullError,
    StorageQuotaError,
    SubmissionFailedError,
    WorkflowFormatError,
)
from ...comfy_assets.graphs import is_saved_format
from ...comfy_assets.host.prompt_problems import MAX_DEPTH
from ...comfy_assets.jobs.submission import JobSubmission, submitting
from ..context import NoQuery, RequestContext
from ..interceptors import intercept
from ..prompts import INTERCEPTORS
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

_PATH = "/api/prompt"
_MAX_ASSETS = 1000  # in a graph: each is looked up in the store
_MAX_REPORTED = 100
_ASSET_ERRORS = frozenset({"asset_not_found", "asset_content_missing", "asset_not_loadable"})
_RETRY_S = 2


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


class _PromptError(msgspec.Struct, frozen=True):
    type: str = ""
    message: str = ""
    details: Any = ""
    extra_info: dict[str, Any] = {}


class _Refusal(msgspec.Struct, frozen=True):
    """The server's response to a prompt that it does not accept; ``node_errors`` is a list if there are none."""

    error: _PromptError | str = msgspec.field(default_factory=_PromptError)
    node_errors: dict[str, Any] | list[Any] = {}


async def replace_assets(call: RequestContext[NoQuery], workflow: dict[str, Any]) -> None:
    """Replace the ``core/ASSET`` objects in a graph by names of files, in place. Raises MissingAssetError."""
    found = await asyncio.to_thread(find_asset_values, workflow, _MAX_ASSETS + 1)
    if not found:
        return
    if len(found) > _MAX_ASSETS:
        message = f"A workflow can name at most {_MAX_ASSETS} assets."
        raise MissingAssetError(message, details={"assets": [], "max_assets": _MAX_ASSETS})
    names, problems = await resolve_asset_values(call.services.reference_resolver, found, call.user)
    if problems:
        raise _missing(problems)
    await asyncio.to_thread(replace_asset_values, workflow, names)


def _missing(problems: Sequence[AssetProblem]) -> MissingAssetError:
    first = problems[0]
    message = f"Node {first.node_id}, input {first.input_name}: {first.reason}"
    assets = [
        {"node_id": each.node_id, "input": each.input_name, "id": each.id, "reason": each.reason}
        for each in problems[:_MAX_REPORTED]
    ]
    return MissingAssetError(message, details={"assets": assets})


class PromptSubmission:
    """A submission to the server. Made before the body of the client's request is read, which it shares."""

    def __init__(self, call: RequestContext[NoQuery]) -> None:
        self._services: Services = call.services
        self._user = call.user
        self.job_id = str(uuid.uuid4())
        self._request = call.request.clone(method=hdrs.METH_POST, rel_url=_PATH)

    async def is_made(self) -> bool:
        """Return whether there is a job now, whatever came of the submission."""
        if self._services.live_events.find(self.job_id) is not None:
            return True
        try:
            await self._services.job_views.job(self.job_id, self._user)
        except JobNotFoundError:
            return False
        return True

    async def send(self, wanted: JobRequest) -> None:
        """Submit the job.

        Raises InvalidWorkflowError, MissingAssetError for a reference of the other API, BodyTooLargeError,
        DeploymentNotReadyError, and SubmissionFailedError if the server fails.
        """
        body = {
            "prompt": wanted.workflow,
            "prompt_id": self.job_id,
            "extra_data": dict(wanted.credentials),
            # Servers report outputs and cached nodes only for prompts with a client, and to nobody else.
            "client_id": uuid.uuid4().hex,
        }
        response = await self._respond(await asyncio.to_thread(_encoded, body), wanted.labels)
        if response.status == 200:
            self.job_id = _accepted(response) or self.job_id  # another pack may have given it another id
            return
        raise await asyncio.to_thread(_error_of, response)

    async def _respond(self, body: bytes, labels: Mapping[str, str]) -> web.StreamResponse:
        request = self._request
        request._read_bytes = body
        app = request.app
        match = await app.router.resolve(request)
        match.add_app(app)
        match.freeze()
        request._match_info = match
        try:
            with submitting(JobSubmission(labels=labels)):
                return await intercept(request, list(INTERCEPTORS), match.handler, self._services)
        except web.HTTPException as error:
            return error


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, OverflowError):  # lone surrogates and large integers, which servers accept
        return json_text.as_in_images(body).encode()


class _Acceptance(msgspec.Struct, frozen=True):
    prompt_id: str


def _accepted(response: web.StreamResponse) -> str | None:
    """Return the id of the job in the server's response to a prompt that it has accepted."""
    body = response.body if isinstance(response, web.Response) else None
    try:
        return msgspec.json.decode(bytes(body), type=_Acceptance).prompt_id if isinstance(body, bytes) else None
    except msgspec.DecodeError:
        return None


def _error_of(response: web.StreamResponse) -> Exception:
    refusal = _refusal(response)
    error = refusal.error if isinstance(refusal.error, _PromptError) else _PromptError(message=refusal.error)
    node_errors = refusal.node_errors if isinstance(refusal.node_errors, dict) else {}
    if error.type == StorageQuotaError.code.lower():
        return StorageQuotaError(error.message, details=error.extra_info)
    if response.status == 429:  # as many jobs of the user wait as may
        return QueueFullError(error.message, details={**error.extra_info, "retry_after": _RETRY_S})
    if response.status == 413:
        return BodyTooLargeError(error.message or "The workflow is too large.")
    if response.status == 503:
        return DeploymentNotReadyError("The server accepts no jobs now.", details={"retry_after": _RETRY_S})
    if response.status >= 500:
        return SubmissionFailedError("The server failed when the job was submitted; its log says why.")
    message = _message(error, node_errors)
    if _has_asset_error(node_errors):
        return MissingAssetError(message, details={"node_errors": node_errors})
    return InvalidWorkflowError(message, details={"node_errors": node_errors, "type": error.type})


def _refusal(response: web.StreamResponse) -> _Refusal:
    body = response.body if isinstance(response, web.Response) else None
    try:
        return msgspec.json.decode(bytes(body), type=_Refusal) if isinstance(body, (bytes, bytearray)) else _Refusal()
    except (msgspec.DecodeError, RecursionError):
        return _Refusal()


def _message(error: _PromptError, node_errors: Mapping[str, Any]) -> str:
    """Return a sentence with the first node at fault."""
    for node_id, entry in node_errors.items():
        for found in entry.get("errors") or () if isinstance(entry, Mapping) else ():
            if isinstance(found, Mapping):
                about = f"Node {node_id} ({entry.get('class_type')}): {found.get('message')}"
                return f"{about}: {found['details']}" if found.get("details") else about
    details = f": {error.details}" if isinstance(error.details, str) and error.details else ""
    return f"{error.message or 'The server does not accept the workflow'}{details}"


def _has_asset_error(node_errors: Mapping[str, Any]) -> bool:
    entries = (entry.get("errors") or () for entry in node_errors.values() if isinstance(entry, Mapping))
    return any(isinstance(each, Mapping) and each.get("type") in _ASSET_ERRORS for found in entries for each in found)
