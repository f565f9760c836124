"""How a prompt ended, from the messages that the server keeps of its execution. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import json_text
from ..host.execution import FinishedPrompt

_MAX_VALUES = 64 << 10  # characters of JSON that the inputs at the time of an error may have
_TEXTS = ("node_id", "node_type", "exception_message", "exception_type")


@dataclass(frozen=True)
class Failure:
    """Whether the prompt was interrupted, or the contract's ExecutionError if it failed otherwise."""

    was_interrupted: bool = False
    error: Mapping[str, Any] | None = None


def failure_of(prompt: FinishedPrompt) -> Failure:
    """What kept the prompt from its end, if something did."""
    status = prompt.status or {}
    if status.get("status_str") != "error":
        return Failure()
    error: Mapping[str, Any] = {}
    for event, data in _messages(status):
        if event == "execution_interrupted":
            return Failure(was_interrupted=True)
        if event == "execution_error":
            error = data
    return Failure(error=execution_error(error))


def _messages(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    messages = status.get("messages")
    pairs = (
        [tuple(entry) for entry in messages if isinstance(entry, (list, tuple)) and len(entry) == 2] if messages else []
    )
    return [(event, data) for event, data in pairs if isinstance(data, Mapping)]


def execution_error(data: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's ExecutionError of an ``execution_error`` message; what is not told is empty."""
    lines = data.get("traceback")
    error: dict[str, Any] = {name: _text(data.get(name)) for name in _TEXTS}
    error["traceback"] = [_text(line) for line in lines] if isinstance(lines, (list, tuple)) else []
    error["current_inputs"] = _values(data.get("current_inputs"))
    error["current_outputs"] = _values(data.get("current_outputs"))
    if not error["exception_message"]:
        error["exception_message"] = "The server's log tells what went wrong."
        error["exception_type"] = error["exception_type"] or "UnknownError"
    return error


def _text(value: object) -> str:
    return "" if value is None else json_text.text_of(value) or ""


def stopped(message: str) -> dict[str, Any]:
    """The ExecutionError of a job that the end of the server cut short."""
    return execution_error({"exception_type": "ServerStopped", "exception_message": message})


def _values(values: object) -> Mapping[str, Any]:
    """The values by name. Servers that tell the names of nodes instead of their outputs tell no values."""
    if not isinstance(values, Mapping):
        return {}
    size = len(json_text.encode(values))
    return values if size <= _MAX_VALUES else {}
