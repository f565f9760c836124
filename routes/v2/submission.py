"""Submission of a job of Comfy API v2 through the server's own ``POST /api/prompt``, with everything in front of it.

The server validates the graph, and other node packs may change it, exactly as for a prompt of the page. The job gets
its id here, so that it is certain afterwards whether there is one.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, web

from ...comfy_assets import json_text
from ...comfy_assets.app import Services
from ...comfy_assets.assets.prompts import asset_values
from ...comfy_assets.assets.prompts.asset_values import AssetProblem
from ...comfy_assets.errors import (
    BodyTooLargeError,
    DeploymentNotReadyError,
    InvalidWorkflowError,
    JobNotFoundError,
    MissingAssetError,
    QueueFullError,
    StorageQuotaError,
    SubmissionFailedError,
)
from ...comfy_assets.jobs.submission import JobSubmission, submitting
from ..context import NoQuery, RequestContext
from ..interceptors import intercept
from ..prompts import INTERCEPTORS
from .job_request import JobRequest

_PATH = "/api/prompt"
_MAX_ASSETS = 1000  # in a graph: each is looked up in the store
_MAX_REPORTED = 100
_ASSET_ERRORS = frozenset({"asset_not_found", "asset_content_missing", "asset_not_loadable"})
_RETRY_S = 2


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
    found = await asyncio.to_thread(asset_values.find, workflow, _MAX_ASSETS + 1)
    if not found:
        return
    if len(found) > _MAX_ASSETS:
        message = f"A workflow can name at most {_MAX_ASSETS} assets."
        raise MissingAssetError(message, details={"assets": [], "max_assets": _MAX_ASSETS})
    names, problems = await asset_values.resolve(call.services.reference_resolver, found, call.user)
    if problems:
        raise _missing(problems)
    await asyncio.to_thread(asset_values.replace, workflow, names)


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
