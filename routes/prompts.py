"""Submitted prompts: checked, with references to assets resolved, and passed on to the host as the user's job."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..comfy_assets import json_limits, json_text
from ..comfy_assets.assets.prompts.references import (
    MARKS,
    DependentOutputs,
    ReferenceFault,
    ReferenceResolution,
    ReferenceUse,
    UnresolvedReference,
    find_references,
    use_values,
)
from ..comfy_assets.credentials import texts_in
from ..comfy_assets.errors import (
    ApiError,
    InvalidBodyError,
    InvalidPromptIdError,
    JobQuotaError,
    PromptIdTakenError,
    StorageQuotaError,
)
from ..comfy_assets.host.base import Host
from ..comfy_assets.host.prompt_problems import MAX_DEPTH
from ..comfy_assets.jobs.submission import current_submission, submitting
from ..comfy_assets.names import split_annotation
from . import request_body
from .context import NoQuery, RequestContext, error_of, guarded, json_response, known_user
from .interceptors import MAX_NAME_LENGTH, HostRequest, Interceptor, check_protected, request_folders
from .operations import (
    UNEXPECTED_ERROR,
    HostOperation,
    Operation,
    Record,
    RequestBody,
    Response,
    array,
    boolean,
    integer,
    mapping,
    number,
    object_with,
    string,
)
from .params import Text, split_error
from .quotas import admitted_job
from .request_body import BodyLimit

S = TypeVar("S", bound=msgspec.Struct)

_FAULTS: dict[ReferenceFault, tuple[str, str]] = {
    "unknown": ("asset_not_found", "There is no such asset"),
    "missing": ("asset_content_missing", "The asset's file is not there"),
    "not_loadable": ("asset_not_loadable", "The asset's file is in no folder that a node loads it from"),
}

_MAX_REFERENCES = 1000  # each is looked up in the store
_MAX_REPORTED = 100  # unusable references in one error
_MAX_NODES = 10_000
_ABSENT_S = 5.0
_MAX_ABSENT = 5000
_MAX_ABSENT_LENGTH = 256  # characters; longer texts are prompts, which seldom recur
Nodes = Annotated[dict[Text, Any], msgspec.Meta(max_length=_MAX_NODES)]


class PromptTooLargeError(ApiError):
    """The body is larger than the server accepts; ``details.max_bytes`` is the limit."""

    status = 413
    code = "PROMPT_TOO_LARGE"


def _too_large(size: int) -> PromptTooLargeError:
    message = f"The prompt is larger than {size} bytes. COMFY_ASSETS_MAX_PROMPT_MB and the server's own limit apply."
    return PromptTooLargeError(message, details={"max_bytes": size})


PROMPT = BodyLimit(
    lambda config: config.max_prompt_size,
    json=replace(json_limits.LARGE, depth=MAX_DEPTH),
    error=_too_large,
    is_hosts=True,
)


def _prompt_error(status: int, code: str, message: str, details: dict[str, Any] | None) -> web.Response:
    """Make an error in the form in which ComfyUI rejects prompts."""
    error = {"type": code.lower(), "message": message, "details": "", "extra_info": details or {}}
    return json_response({"error": error, "node_errors": {}}, status)


_Target = Text | float | bool | None  # hosts compare them with the ids of nodes


class PromptBody(msgspec.Struct, frozen=True):
    """Body of executePrompt. Only the types of its members are checked; the host checks their values.

    Null is accepted only where hosts accept it. A ``client_id`` that cannot be the key of a dict would end the host.
    """

    prompt: Nodes | UnsetType = UNSET
    number: float | Text | UnsetType = UNSET  # hosts call float() on it
    extra_data: Nodes | UnsetType = UNSET
    prompt_id: Any = None  # refused apart, as hosts do
    client_id: Text | float | bool | None = None
    partial_execution_targets: Annotated[list[_Target], msgspec.Meta(max_length=_MAX_NODES)] | None = None
    workflow_id: Text | None = None
    workflow_version_id: Text | None = None


class _Node(msgspec.Struct, frozen=True):
    """The members of a node that hosts use unchecked: its type is looked up in a dict."""

    class_type: Text | float | bool | None = None
    inputs: Nodes | UnsetType = UNSET


def _decode_prompt(raw: bytes) -> tuple[PromptBody, json_limits.DecodedText]:
    """Return the body and its text. Raise InvalidBodyError with the name of the malformed member. Blocks.

    Raise InvalidPromptIdError for an id that is no text.

    Like hosts, it decodes Python's extensions of JSON, NaN and infinities.
    """
    shape = json_limits.check(raw, PROMPT.json)
    try:
        decoded = json_limits.decode_text(raw, shape)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error
    return _prompt_body(decoded.value), decoded


def _prompt_body(value: object) -> PromptBody:
    body = _converted(value, PromptBody)
    if not isinstance(body.prompt_id, str | None):
        raise InvalidPromptIdError("prompt_id must be a valid UUID", details={"field": "prompt_id"})
    if body.prompt is not UNSET:
        for node_id, node in body.prompt.items():
            _converted(node, _Node, f"prompt.{node_id}")
    if body.number is not UNSET:
        _check_number(body.number)
    return msgspec.structs.replace(
        body, workflow_id=_unicode(body.workflow_id), workflow_version_id=_unicode(body.workflow_version_id)
    )


def _converted(value: object, schema: type[S], parent: str = "") -> S:
    """Return a decoded value as the struct of the schema. Raise InvalidBodyError with the name of the member."""
    try:
        return msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        raise _malformed(error, parent) from error
    except UnicodeEncodeError:
        # A text with unpaired surrogates is in the place of another type. msgspec does not say in which.
        return _converted(msgspec.json.decode(json_text.encode(value)), schema, parent)


def _unicode(text: str | None) -> str | None:
    """Return the text without unpaired surrogates, which the store refuses."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _check_number(number: float | str) -> None:
    """Raise InvalidBodyError for NaN, infinities and texts that are not numbers: hosts would queue them."""
    try:
        is_finite = math.isfinite(float(number))
    except ValueError:
        is_finite = False
    if not is_finite:
        raise InvalidBodyError("number: must be a finite number.", details={"field": "number"})


def _malformed(error: msgspec.ValidationError, parent: str) -> InvalidBodyError:
    message, name = split_error(error)
    field = ".".join(part for part in (parent, name) if part)
    return InvalidBodyError(f"{field or 'body'}: {message}.", details={"field": field} if field else None)


async def submit(call: HostRequest) -> web.StreamResponse:
    """Pass a prompt on as the user's job, with its references to assets resolved; refuse it if it is malformed."""
    outcome = await call.run(_parse)
    if isinstance(outcome, web.StreamResponse):
        return outcome
    body, decoded = outcome
    await call.services.started()  # prompts of the queue before a restart are submitted first
    submission = msgspec.structs.replace(
        current_submission(),
        owner=_owner(call),
        workflow_id=body.workflow_id,
        workflow_version_id=body.workflow_version_id,
    )
    try:
        async with admitted_job(submission.owner, call.services):
            with submitting(submission), json_limits.sharing(decoded):
                if body.prompt_id is None:
                    return await _with_assets(call, body)
                return await _with_chosen_id(call, body, submission.owner)
    except (JobQuotaError, StorageQuotaError) as error:
        return error_of(error, _prompt_error)


async def _with_chosen_id(call: HostRequest, body: PromptBody, owner: str) -> web.StreamResponse:
    """Pass a prompt on under the id that the client chose; refuse it if another job has the id."""
    try:
        async with call.services.claimed(str(body.prompt_id), owner):
            return await _with_assets(call, body)
    except (InvalidPromptIdError, PromptIdTakenError) as error:
        return error_of(error, _prompt_error)


@guarded(requires_store=False, allow_anonymous=True, failure=_prompt_error)
async def _parse(call: RequestContext[NoQuery]) -> tuple[PromptBody, json_limits.DecodedText]:
    return await request_body.decode(_decode_prompt, await request_body.read(call.request))


def _owner(call: HostRequest) -> str:
    """Return the job's owner. The host accepts prompts of users that it does not know: their jobs belong to all."""
    return known_user(call.request, call.services) or ""


async def _with_assets(call: HostRequest, body: PromptBody) -> web.StreamResponse:
    """Pass a prompt on with its references resolved; refuse it with the references that cannot be resolved."""
    graph = {"prompt": body.prompt}
    uses, names = await request_body.decode(
        lambda raw: (_references_in(raw, graph), _possible_names(body.prompt)), await request_body.read(call.request)
    )
    try:
        await _check_store_files(names, call.services.host)
    except ApiError as error:
        return error_of(error, _prompt_error)
    if not uses:
        return await call.pass_on()
    resolution = await _resolve(call, uses)
    if isinstance(resolution, web.StreamResponse):
        return resolution
    if resolution.problems:
        return await asyncio.to_thread(_refusal, graph, resolution.problems, call.services.host)
    with use_values(resolution.values):
        return await call.pass_on()


def _references_in(raw: bytes, graph: object) -> Sequence[ReferenceUse]:
    """Return the references in a prompt, at most one more than allowed."""
    # A search in the bytes is far cheaper than a walk over the graph, and most prompts have no references.
    return find_references(graph, _MAX_REFERENCES + 1) if any(mark in raw for mark in MARKS) else ()


async def _resolve(call: HostRequest, uses: Sequence[ReferenceUse]) -> ReferenceResolution | web.StreamResponse:
    @guarded(failure=_prompt_error)
    async def resolve(call: RequestContext[NoQuery]) -> ReferenceResolution:
        if len(uses) > _MAX_REFERENCES:
            raise InvalidBodyError(
                f"A prompt can name at most {_MAX_REFERENCES} assets.", details={"max_references": _MAX_REFERENCES}
            )
        return await call.services.reference_resolver.resolve(uses, call.user)

    outcome: ReferenceResolution | web.StreamResponse = await call.run(resolve)
    return outcome


def _refusal(body: Any, problems: Sequence[UnresolvedReference], host: Host) -> web.Response:
    """Make the host's response to an invalid prompt, with the first of the problems."""
    node_errors: dict[str, dict[str, Any]] = {}
    dependent_outputs = DependentOutputs(body, host.is_output_node)
    for problem in problems[:_MAX_REPORTED]:
        use = problem.use
        if use.node_id not in node_errors:
            node_errors[use.node_id] = {
                "errors": [],
                "dependent_outputs": dependent_outputs.of(use.node_id),
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


class AbsentNames:
    """Texts of recent prompts that name no file. They are not looked up again for a few seconds.

    Prompts of a batch differ in a seed, and looking up their texts in a thread would cost as much as all else that is
    done for a prompt. A file that appears meanwhile is missed, as is one that appears while the prompt waits.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: dict[str, float] = {}
        self._folders: tuple[Path, ...] = ()

    def unknown(self, folders: tuple[Path, ...], texts: Iterable[str]) -> list[str]:
        """Return the texts that must be looked up."""
        self._forget_others(folders)
        now = self._now()
        return [text for text in texts if self._until.get(text, 0.0) <= now]

    def add(self, folders: tuple[Path, ...], texts: Iterable[str]) -> None:
        """Remember texts that name no file in the folders."""
        self._forget_others(folders)
        until = self._now() + _ABSENT_S
        new = {text: until for text in texts if len(text) <= _MAX_ABSENT_LENGTH}
        if len(self._until) + len(new) > _MAX_ABSENT:
            self._until.clear()
        self._until.update(new)

    def _forget_others(self, folders: tuple[Path, ...]) -> None:
        if folders != self._folders:
            self._folders = folders
            self._until.clear()


_absent_names = AbsentNames()


async def _check_store_files(texts: Iterable[str], host: Host) -> None:
    """Raise InvalidNameError if one of these texts names a file of the store, which a node might open."""
    folders = tuple(request_folders(host).values())
    unknown = _absent_names.unknown(folders, texts)
    if not unknown:
        return
    found = await asyncio.to_thread(_existing_files, unknown, folders)
    _absent_names.add(folders, [text for text in unknown if text not in found])
    await check_protected([path for paths in found.values() for path in paths], "POST")


def _possible_names(prompt: object) -> set[str]:
    """Return the texts in a prompt that may be names of files: each node decides which of its inputs are."""
    return {each for each in texts_in(prompt) if each and len(each) <= MAX_NAME_LENGTH and "\0" not in each}


def _existing_files(texts: Iterable[str], folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the existing files of each text that names any."""
    found = {}
    for text in texts:
        bare = split_annotation(text)[0]
        paths = [base / bare for base in folders if os.path.exists(os.path.join(base, bare))]  # noqa: PTH110, PTH118
        if paths:
            found[text] = paths
    return found


_PROMPT = Record(
    "PromptRequest",
    "A prompt to execute.",
    {
        "prompt": mapping(mapping(), "The graph: nodes by id, each with `class_type` and `inputs`."),
        "prompt_id": string(
            "Id of the new job; no other job may have it. Chosen by the server if omitted.",
            format="uuid",
        ),
        "number": number("Its position in the queue; the last if omitted."),
        "front": boolean("Whether it runs before all pending prompts."),
        "extra_data": mapping(True, "Additional data of nodes and of the page, stored with the job."),
        "client_id": string("The websocket client that receives its progress."),
        "partial_execution_targets": array({"type": "string"}, "Execute only these output nodes and what they need."),
        "workflow_id": string("The workflow that it is submitted from; stored with the job."),
        "workflow_version_id": string("The version of the workflow; stored with the job."),
    },
    optional=(
        "prompt_id", "number", "front", "extra_data", "client_id", "partial_execution_targets", "workflow_id",
        "workflow_version_id",
    ),
)  # fmt: skip
_ACCEPTED = Record(
    "PromptResponse",
    "An accepted prompt.",
    {
        "prompt_id": string("The job's id.", format="uuid"),
        "number": number("Its position in the queue."),
        "node_errors": mapping(True, "Errors of outputs that will not be executed, by node."),
    },
)
_PROMPT_ERROR = Record(
    "PromptErrorResponse",
    "The reason for which a prompt was rejected, in ComfyUI's form.",
    {
        "error": {
            "description": "Error of the whole prompt.",
            **object_with(
                {"type": string("A code for programs."), "message": string("A sentence for people.")},
                details=string("Details."),
                extra_info=mapping(True, "Details for programs."),
            ),
        },
        "node_errors": {"description": "Errors of nodes, by id."},
    },
    optional=("error", "node_errors"),
)
_QUEUE_LENGTH = Record(
    "PromptInfo",
    "The length of the queue.",
    {"exec_info": object_with({"queue_remaining": integer("Number of running and pending prompts.")}, "The length.")},
)

INTERCEPTORS = [Interceptor("POST", "/api/prompt", submit, PROMPT, media="json")]
HOST_OPERATIONS = [
    HostOperation(
        "POST",
        "/api/prompt",
        Operation(
            "executePrompt",
            "Queue",
            "Submit a prompt",
            {200: Response("The prompt is in the queue.", _ACCEPTED)},
            "Inputs that name files may be the id or hash of an asset, see `docs/portability.md`. The server around "
            "the project validates the graph; malformed prompts never reach it.",
            body=RequestBody(
                _PROMPT,
                example={
                    "prompt": {
                        "1": {
                            "class_type": "EmptyImage",
                            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
                        },
                        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "made"}},
                    }
                },
            ),
            error_schema=_PROMPT_ERROR,
        ),
        statuses={
            400: "The body is malformed, its `prompt_id` belongs to another job, or the graph is invalid.",
            413: "The prompt is larger than the server accepts, or the user's files take all of their space.",
            429: "As many jobs of the user wait as may.",
            503: "The server accepts no prompts now.",
            **UNEXPECTED_ERROR,
        },
    ),
    HostOperation(
        "GET",
        "/api/prompt",
        Operation(
            "getPromptInfo", "Queue", "Get the length of the queue", {200: Response("The length.", _QUEUE_LENGTH)}
        ),
    ),
]
