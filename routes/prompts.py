"""Submitted prompts on their way to the host: assets that they name give way to values its nodes understand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.assets.portability import Fault, Problem, Resolution, applied
from ..comfy_assets.assets.prompt_references import MARKS, Use, outputs_above, uses_in
from ..comfy_assets.errors import PromptIdTakenError
from ..comfy_assets.host.base import Host, UnknownUserError
from ..comfy_assets.jobs.recorder import Submission, submitting
from ._dispatch import Passage
from ._endpoint import Call, guarded, json_response
from ._params import NoQuery
from ._prompt_body import PromptBody, PromptTooLargeError, checked

_FAULTS: dict[Fault, tuple[str, str]] = {
    "unknown": ("asset_not_found", "There is no such asset"),
    "missing": ("asset_content_missing", "The asset's file is not there"),
    "not_loadable": ("asset_not_loadable", "The asset's file is in no folder that a node loads it from"),
}


def _failure(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    error = {"type": code.lower(), "message": message, "details": "", "extra_info": details or {}}
    return json_response({"error": error, "node_errors": {}}, status)


async def submit(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Pass a prompt on, as this user's job and with the values of the assets it names; or refuse it."""
    body = await _checked(request, {}, services)
    if isinstance(body, web.StreamResponse):
        return body
    await services.started()  # what was in the queue when the server stopped comes before what is submitted now
    submission = Submission(_owner(request, services), body.workflow_id, body.workflow_version_id)
    with submitting(submission):
        if body.prompt_id is None:
            return await _with_assets(request, pass_on, services)
        return await _under_its_id(request, pass_on, services, body.prompt_id, submission.owner)


async def _under_its_id(
    request: web.Request, pass_on: Handler, services: Services, prompt_id: str, owner: str
) -> web.StreamResponse:
    """Pass a prompt on under the id that the client has chosen, or refuse it: another job has the id."""
    try:
        async with services.claimed(prompt_id, owner):
            return await _with_assets(request, pass_on, services)
    except PromptIdTakenError as error:
        return _failure(error.status, error.code, error.message, error.details)


@guarded(is_probe=True, failure=_failure)
async def _checked(call: Call[NoQuery]) -> PromptBody:
    limit = call.services.config.max_prompt_size
    try:
        raw = await call.request.read()
    except web.HTTPRequestEntityTooLarge:
        limit = limit or call.request.client_max_size
        raise PromptTooLargeError("The prompt is too large.", details={"max_bytes": limit}) from None
    if limit is not None and len(raw) > limit:
        raise PromptTooLargeError("The prompt is too large.", details={"max_bytes": limit})
    return checked(raw)


def _owner(request: web.Request, services: Services) -> str:
    """The user whose job it is; everybody's where the host knows no user of the request, which it lets submit."""
    try:
        return services.host.user_of(request)
    except UnknownUserError:
        return ""


async def _with_assets(request: web.Request, pass_on: Handler, services: Services) -> web.StreamResponse:
    """Pass a prompt on with the values of the assets it names, or refuse it, naming those that have none."""
    raw = await request.read()
    if not any(mark in raw for mark in MARKS):
        return await pass_on(request)
    body = _parse(raw)
    uses = uses_in(body)
    if not uses:
        return await pass_on(request)
    resolution = await _resolve(request, services, uses)
    if isinstance(resolution, web.StreamResponse):
        return resolution
    if resolution.problems:
        return _refusal(body, resolution.problems, services.host)
    with applied(resolution.values):
        return await pass_on(request)


def _parse(raw: bytes) -> Any:
    """The body as the host reads it; None when it cannot."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


async def _resolve(request: web.Request, services: Services, uses: Sequence[Use]) -> Resolution | web.StreamResponse:
    @guarded(failure=_failure)
    async def resolve(call: Call[NoQuery]) -> Resolution:
        return await call.services.portability.resolve(uses, call.user)

    outcome: Resolution | web.StreamResponse = await resolve(request, {}, services)
    return outcome


def _refusal(body: Any, problems: Sequence[Problem], host: Host) -> web.Response:
    """The answer that the host gives to a prompt that does not pass its checks."""
    node_errors: dict[str, dict[str, Any]] = {}
    for problem in problems:
        use = problem.use
        if use.node_id not in node_errors:
            node_errors[use.node_id] = {
                "errors": [],
                "dependent_outputs": outputs_above(body, use.node_id, host.is_output_node),
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


def _node_error(problem: Problem) -> dict[str, Any]:
    kind, message = _FAULTS[problem.fault]
    use = problem.use
    return {
        "type": kind,
        "message": message,
        "details": f"{use.input_name}: {use.text}",
        "extra_info": {"input_name": use.input_name, "received_value": use.text},
    }


# The second is the path that pages of older servers, and many programs, use.
PASSAGES = [Passage("POST", "/api/prompt", submit), Passage("POST", "/prompt", submit)]
