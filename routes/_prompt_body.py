"""The body of a submitted prompt: what is malformed is refused before the host sees it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ..comfy_assets import json_limits
from ..comfy_assets.errors import ApiError, InvalidBodyError
from ..comfy_assets.host.prompt_problems import MAX_DEPTH
from . import request_body
from .params import Id, Text, split_error

_MAX_NODES = 10_000
Nodes = Annotated[dict[Text, Any], msgspec.Meta(max_length=_MAX_NODES)]


class PromptTooLargeError(ApiError):
    """The body has more bytes than the server takes; ``details.max_bytes`` tells how many it does."""

    status = 413
    code = "PROMPT_TOO_LARGE"


def _too_large(size: int) -> PromptTooLargeError:
    message = f"The prompt is larger than {size} bytes. COMFY_ASSETS_MAX_PROMPT_MB and the server's own limit decide."
    return PromptTooLargeError(message, details={"max_bytes": size})


PROMPT = request_body.BodyLimit(
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
