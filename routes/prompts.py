"""Submitted prompts on their way to the host: assets that they name give way to values its nodes understand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from ..comfy_assets.app import Services
from ..comfy_assets.assets.prompts.references import MARKS, OutputsAbove, Use, uses_in
from ..comfy_assets.assets.prompts.resolver import Fault, Problem, Resolution, applied
from ..comfy_assets.errors import InvalidBodyError, PromptIdTakenError
from ..comfy_assets.host.base import Host, UnknownUserError
from ..comfy_assets.jobs.recorder import Submission, submitting
from . import request_body
from ._prompt_body import PROMPT, PromptBody, checked
from .context import Call, guarded, json_response
from .params import NoQuery
from .router import Passage

_FAULTS: dict[Fault, tuple[str, str]] = {
    "unknown": ("asset_not_found", "There is no such asset"),
    "missing": ("asset_content_missing", "The asset's file is not there"),
    "not_loadable": ("asset_not_loadable", "The asset's file is in no folder that a node loads it from"),
}

_MAX_REFERENCES = 1000
_MAX_TOLD = 100  # of the references that cannot be used


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
        return _failure(error.status, error.code, error.message, error.details)


@guarded(is_probe=True, failure=_failure)
async def _checked(call: Call[NoQuery]) -> PromptBody:
    return await request_body.work(checked, await request_body.read(call.request))


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
    uses = await request_body.work(lambda raw: _uses_in(raw, graph), await request_body.read(request))
    if not uses:
        return await pass_on(request)
    resolution = await _resolve(request, services, uses)
    if isinstance(resolution, web.StreamResponse):
        return resolution
    if resolution.problems:
        return await asyncio.to_thread(_refusal, graph, resolution.problems, services.host)
    with applied(resolution.values):
        return await pass_on(request)


def _uses_in(raw: bytes, graph: object) -> Sequence[Use]:
    """Return the references, one more than there may be at most."""
    return uses_in(graph, _MAX_REFERENCES + 1) if any(mark in raw for mark in MARKS) else ()


async def _resolve(request: web.Request, services: Services, uses: Sequence[Use]) -> Resolution | web.StreamResponse:
    @guarded(failure=_failure)
    async def resolve(call: Call[NoQuery]) -> Resolution:
        if len(uses) > _MAX_REFERENCES:
            raise InvalidBodyError(
                f"A prompt can name at most {_MAX_REFERENCES} assets.", details={"max_references": _MAX_REFERENCES}
            )
        return await call.services.portability.resolve(uses, call.user)

    outcome: Resolution | web.StreamResponse = await resolve(request, {}, services)
    return outcome


def _refusal(body: Any, problems: Sequence[Problem], host: Host) -> web.Response:
    """Return what the host returns for a prompt that does not pass its checks. Of many problems some are told."""
    node_errors: dict[str, dict[str, Any]] = {}
    outputs_above = OutputsAbove(body, host.is_output_node)
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


def _node_error(problem: Problem) -> dict[str, Any]:
    kind, message = _FAULTS[problem.fault]
    use = problem.use
    return {
        "type": kind,
        "message": message,
        "details": f"{use.input_name}: {use.text}",
        "extra_info": {"input_name": use.input_name, "received_value": use.text},
    }


PASSAGES = [Passage("POST", "/api/prompt", submit, PROMPT, media="json")]
