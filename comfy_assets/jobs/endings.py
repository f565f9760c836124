"""Ends of jobs in the form of the record: with outputs, without unrecordable ones, or presumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .. import json_text
from ..assets.prompts.outputs import shown_files
from ..host.execution import FinishedPrompt
from ..ids import now_ms
from ..json_text import FOREIGN, Recorded
from ..models import CANCELLED, COMPLETED, FAILED
from . import store
from .events import Ended
from .outcome import execution_error, failure_of

_MAX_RESULT = 64 << 20  # characters of JSON
_NOT_TOLD = {
    "exception_type": "EndNotReported",
    "exception_message": "The server does not hold the job any more, but nothing told how it ended.",
}

Redact = Callable[[Any], Any]


def ended(prompt: FinishedPrompt, redact: Redact, *, was_interrupted: bool) -> Ended:
    """The end of a prompt that was executed. Raises whatever the values raise that it has shown."""
    status, told = _outcome(prompt, was_interrupted=was_interrupted)
    parts = {"outputs": prompt.outputs, "meta": prompt.meta, "status": prompt.status}
    written = recorded(parts, redact)
    result, problem = written.text, _problem(written.notes)
    if len(result) > _MAX_RESULT:
        problem = f"The outputs could not be recorded: they take {len(result):,} characters."
        result = store.NOTHING
    error = None
    if status == FAILED and told is not None:
        texts = [f"{json_text.encode(name)}:{recorded(value, redact).text}" for name, value in told.items()]
        error = f"{{{','.join(texts)}}}"
    return Ended(prompt.prompt_id, now_ms(), status, result, error, problem=problem)


def ended_without_outputs(prompt: FinishedPrompt, reason: BaseException, *, was_interrupted: bool) -> Ended:
    """The same where values are such that they can be recorded in no form."""
    try:
        status, _ = _outcome(prompt, was_interrupted=was_interrupted)
    except FOREIGN:  # the server's own account of the end is what cannot be read
        status = CANCELLED if was_interrupted else FAILED
    error = json_text.encode(execution_error({})) if status == FAILED else None
    problem = f"The outputs could not be recorded: {type(reason).__name__}."
    return Ended(prompt.prompt_id, now_ms(), status, store.NOTHING, error, problem=problem)


def presumed_end(job_id: str, run: int, *, was_interrupted: bool) -> Ended:
    """The end of a job that no queue holds any more."""
    if was_interrupted:
        return Ended(job_id, now_ms(), CANCELLED, store.NOTHING, run=run, is_presumed=True)
    error = json_text.encode(execution_error(_NOT_TOLD))
    return Ended(job_id, now_ms(), FAILED, store.NOTHING, error, run=run, is_presumed=True)


def has_files(outputs: Mapping[str, Any]) -> bool:
    """Return whether a prompt has shown files that belong into the library."""
    try:
        return bool(shown_files(outputs))
    except FOREIGN:
        return False


def recorded(value: Any, redact: Redact) -> Recorded:
    """The value as JSON, without credentials. Where they are not found otherwise, it becomes JSON first."""
    try:
        return json_text.record(redact(value))
    except FOREIGN:
        plain = json_text.record(value)
        return Recorded(json_text.encode(redact(json.loads(plain.text))), plain.notes)


def _outcome(prompt: FinishedPrompt, *, was_interrupted: bool) -> tuple[int, Mapping[str, Any] | None]:
    failure = failure_of(prompt)
    if was_interrupted or failure.was_interrupted:
        return CANCELLED, None
    return (FAILED, failure.error) if failure.error is not None else (COMPLETED, None)


def _problem(notes: tuple[str, ...]) -> str | None:
    return f"Of the outputs {'; '.join(notes)}." if notes else None
