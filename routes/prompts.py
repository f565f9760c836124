"""Submitted prompts: checked, with references to assets resolved, and passed on to the host as the user's job."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import UNSET, UnsetType

from ..comfy_assets import json_limits
from ..comfy_assets.app import Services
from ..comfy_assets.assets.prompts.references import MARKS, DependentOutputs, ReferenceUse, find_references
from ..comfy_assets.assets.prompts.resolver import ReferenceFault, ReferenceResolution, UnresolvedReference, use_values
from ..comfy_assets.errors import ApiError, InvalidBodyError, PromptIdTakenError
from ..comfy_assets.host.base import Host, UnknownUserError
from ..comfy_assets.host.prompt_problems import MAX_DEPTH
from ..comfy_assets.jobs.recorder import Submission, submitting
from ..comfy_assets.names import split_annotation
from . import request_body
from .context import RequestContext, error_of, guarded, json_response, prompt_error
from .file_checks import MAX_NAME_LENGTH, StoreFileCheck, request_folders
from .interceptors import Interceptor
from .params import Id, NoQuery, Text, split_error
from .request_body import BodyLimit

_FAULTS: dict[ReferenceFault, tuple[str, str]] = {
    "unknown": ("asset_not_found", "There is no such asset"),
    "missing": ("asset_content_missing", "The asset's file is not there"),
    "not_loadable": ("asset_not_loadable", "The asset's file is in no folder that a node loads it from"),
}

_MAX_REFERENCES = 1000
_MAX_TOLD = 100  # of the references that cannot be used
_MAX_NODES = 10_000
Nodes = Annotated[dict[Text, Any], msgspec.Meta(max_length=_MAX_NODES)]


class PromptTooLargeError(ApiError):
    """The body has more bytes than the server takes; ``details.max_bytes`` tells how many it does."""

    status = 413
    code = "PROMPT_TOO_LARGE"


def _too_large(size: int) -> PromptTooLargeError:
    message = f"The prompt is larger than {size} bytes. COMFY_ASSETS_MAX_PROMPT_MB and the server's own limit decide."
    return PromptTooLargeError(message, details={"max_bytes": size})


PROMPT = BodyLimit(
    lambda config: config.max_prompt_size,
    json=replace(json_limits.LARGE, depth=MAX_DEPTH),
    error=_too_large,
    is_hosts=True,
)


class PromptBody(msgspec.Struct, frozen=True):
    """Body of executePrompt, as far as its members' types go; their values are the host's to check.

    Where null is left out, hosts stumble over one; over a ``client_id`` that is no key of a dict they end altogether.
    """

    prompt: Nodes | UnsetType = UNSET
    number: float | Text | UnsetType = UNSET
    extra_data: Nodes | UnsetType = UNSET
    prompt_id: Id | None = None
    client_id: Text | float | bool | None = None
    partial_execution_targets: Annotated[list[Text], msgspec.Meta(max_length=_MAX_NODES)] | None = None
    workflow_id: Text | None = None
    workflow_version_id: Text | None = None


class _Node(msgspec.Struct, frozen=True):
    """A node, as far as hosts stumble over it: a type must be a key of a dict."""

    class_type: Text | float | bool | None = None
    inputs: Nodes | UnsetType = UNSET


def checked(raw: bytes) -> PromptBody:
    """Return the body. Raise InvalidBodyError, naming the member that is malformed. Blocks.

    Python's own notion of JSON, with NaN and infinities, is what hosts understand.
    """
    shape = json_limits.check(raw, PROMPT.json)
    try:
        value = json_limits.decode(raw, shape)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error
    try:
        body = msgspec.convert(value, PromptBody)
    except msgspec.ValidationError as error:
        raise _malformed(error, "") from error
    if body.prompt is not UNSET:
        for node_id, node in body.prompt.items():
            try:
                msgspec.convert(node, _Node)
            except msgspec.ValidationError as error:
                raise _malformed(error, f"prompt.{node_id}") from error
    if body.number is not UNSET:
        _check_number(body.number)
    return msgspec.structs.replace(
        body, workflow_id=_unicode(body.workflow_id), workflow_version_id=_unicode(body.workflow_version_id)
    )


def _unicode(text: str | None) -> str | None:
    """Return the text without halves of character pairs, which the store does not take."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _check_number(number: float | str) -> None:
    """Hosts take a text for the number that it says, and queue what is none."""
    try:
        is_one = math.isfinite(float(number))
    except ValueError:
        is_one = False
    if not is_one:
        raise InvalidBodyError("number: must be a finite number.", details={"field": "number"})


def _malformed(error: msgspec.ValidationError, parent: str) -> InvalidBodyError:
    message, name = split_error(error)
    field = ".".join(part for part in (parent, name) if part)
    return InvalidBodyError(f"{field or 'body'}: {message}.", details={"field": field} if field else None)


async def submit(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Pass a prompt on, as this user's job and with the values of the assets it names; or refuse it."""
    body = await _checked(request, {}, services)
    if isinstance(body, web.StreamResponse):
        return body
    await services.started()  # what was in the queue when the server stopped comes before what is submitted now
    submission = Submission(_owner(request, services), body.workflow_id, body.workflow_version_id)
    with submitting(submission):
        if body.prompt_id is None:
            return await _with_assets(request, body, pass_on, services)
        return await _under_its_id(request, body, pass_on, services, submission.owner)


async def _under_its_id(
    request: web.Request, body: PromptBody, pass_on: Handler, services: Services, owner: str
) -> web.StreamResponse:
    """Pass a prompt on under the id that the client has chosen, or refuse it: another job has the id."""
    try:
        async with services.claimed(str(body.prompt_id), owner):
            return await _with_assets(request, body, pass_on, services)
    except PromptIdTakenError as error:
        return error_of(error, prompt_error)


@guarded(requires_store=False, allow_anonymous=True, failure=prompt_error)
async def _checked(call: RequestContext[NoQuery]) -> PromptBody:
    return await request_body.decode(checked, await request_body.read(call.request))


def _owner(request: web.Request, services: Services) -> str:
    """The user whose job it is; everybody's where the host knows no user of the request, which it lets submit."""
    try:
        return services.host.user_of(request)
    except UnknownUserError:
        return ""


async def _with_assets(
    request: web.Request, body: PromptBody, pass_on: Handler, services: Services
) -> web.StreamResponse:
    """Pass a prompt on with the values of the assets it names, or refuse it, naming those that have none."""
    graph = {"prompt": body.prompt}
    uses = await request_body.decode(lambda raw: _uses_in(raw, graph), await request_body.read(request))
    if not uses:
        return await pass_on(request)
    resolution = await _resolve(request, services, uses)
    if isinstance(resolution, web.StreamResponse):
        return resolution
    if resolution.problems:
        return await asyncio.to_thread(_refusal, graph, resolution.problems, services.host)
    with use_values(resolution.values):
        return await pass_on(request)


def _uses_in(raw: bytes, graph: object) -> Sequence[ReferenceUse]:
    """Return the references, one more than there may be at most."""
    return find_references(graph, _MAX_REFERENCES + 1) if any(mark in raw for mark in MARKS) else ()


async def _resolve(
    request: web.Request, services: Services, uses: Sequence[ReferenceUse]
) -> ReferenceResolution | web.StreamResponse:
    @guarded(failure=prompt_error)
    async def resolve(call: RequestContext[NoQuery]) -> ReferenceResolution:
        if len(uses) > _MAX_REFERENCES:
            raise InvalidBodyError(
                f"A prompt can name at most {_MAX_REFERENCES} assets.", details={"max_references": _MAX_REFERENCES}
            )
        return await call.services.reference_resolver.resolve(uses, call.user)

    outcome: ReferenceResolution | web.StreamResponse = await resolve(request, {}, services)
    return outcome


def _refusal(body: Any, problems: Sequence[UnresolvedReference], host: Host) -> web.Response:
    """Return what the host returns for a prompt that does not pass its checks. Of many problems some are told."""
    node_errors: dict[str, dict[str, Any]] = {}
    outputs_above = DependentOutputs(body, host.is_output_node)
    for problem in problems[:_MAX_TOLD]:
        use = problem.use
        if use.node_id not in node_errors:
            node_errors[use.node_id] = {
                "errors": [],
                "dependent_outputs": outputs_above.of(use.node_id),
                "class_type": use.class_type,
            }
        node_errors[use.node_id]["errors"].append(_node_error(problem))
    lines = [f"{each['message']}: {each['details']}" for entry in node_errors.values() for each in entry["errors"]]
    error = {
        "type": "prompt_outputs_failed_validation",
        "message": "The prompt names assets that cannot be used",
        "details": "\n".join(dict.fromkeys(lines)),
        "extra_info": {},
    }
    return json_response({"error": error, "node_errors": node_errors}, 400)


def _node_error(problem: UnresolvedReference) -> dict[str, Any]:
    kind, message = _FAULTS[problem.fault]
    use = problem.use
    return {
        "type": kind,
        "message": message,
        "details": f"{use.input_name}: {use.text}",
        "extra_info": {"input_name": use.input_name, "received_value": use.text},
    }


async def _files_in_prompt(request: web.Request, host: Host) -> list[Path]:
    """Return the existing files that the prompt's nodes may open by name."""
    raw = await request_body.read(request)
    return await asyncio.to_thread(_existing_files, raw, [*request_folders(host).values()])


def _existing_files(raw: bytes, folders: list[Path]) -> list[Path]:
    try:
        body = json_limits.decode(raw)
    except (ValueError, RecursionError):
        return []  # malformed: left to the host
    prompt = body.get("prompt") if isinstance(body, dict) else None
    found = []
    for text in {each for each in _texts(prompt) if each and len(each) <= MAX_NAME_LENGTH and "\0" not in each}:
        bare = split_annotation(text)[0]
        found += [base / bare for base in folders if os.path.exists(os.path.join(base, bare))]  # noqa: PTH110, PTH118
    return found


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in the prompt: each node decides for itself which of its inputs are names of files."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            pending += each.values()
        elif isinstance(each, list):
            pending += each


INTERCEPTORS = [
    Interceptor("POST", "/api/prompt", submit, PROMPT, media="json"),
    Interceptor("POST", "/api/prompt", StoreFileCheck(_files_in_prompt, prompt_error)),
]
