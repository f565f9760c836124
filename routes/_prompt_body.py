"""The body of a submitted prompt: what is malformed is refused before the host sees it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw

from ..comfy_assets.errors import ApiError, InvalidBodyError
from ..comfy_assets.jobs import json_text
from ._params import split_error

_OPENING_BRACE = b"{"


class PromptTooLargeError(ApiError):
    """The body has more bytes than the server takes; ``details.max_bytes`` tells how many it does."""

    status = 413
    code = "PROMPT_TOO_LARGE"


class PromptBody(msgspec.Struct, frozen=True):
    """Body of executePrompt, as far as its members' types go; their values are the host's to check."""

    prompt: dict[str, Raw] | None = None
    number: float | str | None = None
    extra_data: dict[str, Raw] | None = None
    prompt_id: str | None = None
    client_id: Any = None
    partial_execution_targets: list[str] | None = None
    workflow_id: str | None = None
    workflow_version_id: str | None = None


_decoder = msgspec.json.Decoder(PromptBody)


def checked(raw: bytes) -> PromptBody:
    """The body. Raises InvalidBodyError, naming the member that is malformed.

    Python's own notion of JSON, with NaN and infinities, is what hosts understand.
    """
    try:
        body = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _malformed(error) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        body = _checked_by_python(raw)
    for node_id, node in (body.prompt or {}).items():
        if not bytes(node).startswith(_OPENING_BRACE):
            raise InvalidBodyError(f"Node {node_id} must be an object.", details={"field": f"prompt.{node_id}"})
    return body


def _checked_by_python(raw: bytes) -> PromptBody:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error
    try:
        return _decoder.decode(json_text.encode(value))  # which writes null for what is no number
    except msgspec.ValidationError as error:
        raise _malformed(error) from error


def _malformed(error: msgspec.ValidationError) -> InvalidBodyError:
    message, field = split_error(error)
    return InvalidBodyError(f"{field or 'body'}: {message}.", details={"field": field} if field else None)
