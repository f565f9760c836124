"""The body of a submitted prompt: what is malformed is refused before the host sees it."""

from __future__ import annotations

import json
import math
from array import array
from itertools import accumulate

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..comfy_assets.errors import ApiError, InvalidBodyError
from ..comfy_assets.host.prompt_checks import MAX_DEPTH
from ..comfy_assets.jobs import json_text
from ._params import split_error


class PromptTooLargeError(ApiError):
    """The body has more bytes than the server takes; ``details.max_bytes`` tells how many it does."""

    status = 413
    code = "PROMPT_TOO_LARGE"


class PromptBody(msgspec.Struct, frozen=True):
    """Body of executePrompt, as far as its members' types go; their values are the host's to check.

    Where null is left out, hosts stumble over one; over a ``client_id`` that is no key of a dict they end altogether.
    """

    prompt: dict[str, Raw] | UnsetType = UNSET
    number: float | str | UnsetType = UNSET
    extra_data: dict[str, Raw] | UnsetType = UNSET
    prompt_id: str | None = None
    client_id: str | float | bool | None = None
    partial_execution_targets: list[str] | None = None
    workflow_id: str | None = None
    workflow_version_id: str | None = None


class _Node(msgspec.Struct, frozen=True):
    """A node, as far as hosts stumble over it: a type must be a key of a dict."""

    class_type: str | float | bool | None = None
    inputs: dict[str, Raw] | UnsetType = UNSET


_decoder = msgspec.json.Decoder(PromptBody)
_node_decoder = msgspec.json.Decoder(_Node)


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one level in, one level out


def depth_of(text: bytes) -> int:
    """Return how many levels deep objects and lists are nested in a JSON text. Not recursive."""
    without_escapes = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_texts = b"".join(without_escapes.split(b'"')[::2])
    steps = array("b", outside_texts.translate(_STEPS, _NO_BRACKETS))
    return max(accumulate(steps), default=0)


def checked(raw: bytes) -> PromptBody:
    """The body. Raises InvalidBodyError, naming the member that is malformed.

    Python's own notion of JSON, with NaN and infinities, is what hosts understand.
    """
    try:
        return _checked(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _checked(_rewritten(raw))


def _rewritten(raw: bytes) -> bytes:
    """What Python takes for JSON, as JSON: null for what is no number."""
    try:
        return json_text.encode(json.loads(raw)).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError(f"The body is not valid JSON: {error}.") from error


def _checked(raw: bytes) -> PromptBody:
    """The same of JSON. Raises DecodeError for what is none."""
    try:
        body = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _malformed(error, "") from error
    if depth_of(raw) > MAX_DEPTH:
        message = f"body: must not be nested more than {MAX_DEPTH} levels deep."
        raise InvalidBodyError(message, details={"max_depth": MAX_DEPTH})
    if body.prompt is not UNSET:
        for node_id, node in body.prompt.items():
            try:
                _node_decoder.decode(node)
            except msgspec.ValidationError as error:
                raise _malformed(error, f"prompt.{node_id}") from error
    if body.number is not UNSET:
        _check_number(body.number)
    return body


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
