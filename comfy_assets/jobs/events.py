"""Events of jobs, as the journal and the store get them, made of what the server tells of an execution. No I/O.

Times are integer milliseconds since 1970, UTC. ``run`` distinguishes executions of the same id; it is 0 in journals of
versions that had no runs. ``problem`` names the part of an event that could not be recorded, and the reason. A journal
may be read by a later version after a crash: members are only ever added at the end, with a default, and tags stay as
they are.

Nodes return lists of files under keys of their choice ("images", "gifs", "audio"), and texts under "text". Counts and
preview follow the rules of ComfyUI's own ``/api/jobs``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from .. import json_text
from ..assets.media.mime import guess_mime
from ..assets.prompts.outputs import OutputSlot, shown_files, shown_items
from ..host.execution import FinishedPrompt
from ..ids import now_ms
from ..json_text import FOREIGN, EncodedValue
from ..models import CANCELLED, COMPLETED, FAILED, MEDIA

EMPTY_RESULT = '{"outputs":{},"meta":{},"status":null}'  # of a job of which only the end is known
_MAX_RESULT = 64 << 20  # characters of JSON
_MAX_VALUES = 64 << 10  # characters of JSON; the inputs of a failed node may hold whole images
_TEXTS = ("node_id", "node_type", "exception_message", "exception_type")
_NOT_REPORTED = {
    "exception_type": "EndNotReported",
    "exception_message": "The job left the queue, but its end was not reported.",
}
MAX_TEXT = 1024  # characters of a text that is shown as a preview
_3D_SUFFIXES = frozenset({".obj", ".fbx", ".gltf", ".glb", ".usdz", ".ply", ".stl", ".splat", ".spz", ".ksplat"})
_TEXT_SUFFIXES = frozenset({".txt", ".md", ".json"})
_SHOWN_KEYS = {"images": "image", "video": "video", "audio": "audio", "3d": "3d", "text": ""}
# Ranks of previews, best first.
_SAVED, _TEMPORARY, _TEXT_FILE, _TEXT, _NOTHING = range(5)

Redact = Callable[[Any], Any]


# As arrays, events are short lines, and take new members at the end. They contain no cycles, so that the garbage
# collector need not track them: bursts of them would make it run more often.
class _Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Something that happened to the job ``id``."""

    id: str


# The tags are part of the journal's format. They stay as they are, whatever the classes are called.
class JobSubmitted(_Event, frozen=True, tag="Submitted"):
    """The job entered the queue.

    ``graph`` and ``workflow`` (the page's form of it, if one was sent) are JSON texts exactly as ComfyUI embeds them in
    images, so that both share one stored document. ``extra_data`` is the rest of the extra data, ``outputs`` the array
    of nodes to execute, ``labels`` the object of the labels that the client gave it.
    """

    at: int
    owner: str
    number: float
    graph: str
    workflow: str | None
    extra_data: str
    outputs: str
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    run: int = 0
    problem: str | None = None
    labels: str | None = None


class JobStarted(_Event, frozen=True, tag="Started"):
    """The execution of the job began."""

    at: int
    run: int = 0


class OutputShown(_Event, frozen=True, tag="Shown"):
    """A node has shown output: ``outputs`` is a JSON object with the node's id as its only member."""

    at: int
    outputs: str
    run: int = 0


class JobInterrupted(_Event, frozen=True, tag="Interrupted"):
    """A running job was asked to stop."""

    at: int
    run: int = 0


class JobEnded(_Event, frozen=True, tag="Ended"):
    """The execution of the job ended. ``status`` is one of models.COMPLETED, FAILED, CANCELLED.

    ``result`` is a JSON object of ``outputs``, ``meta`` and ``status`` as in ``/history``; ``error`` is the contract's
    ExecutionError as JSON. ``is_presumed`` marks an end that was never reported: the job had left the queue.
    """

    at: int
    status: int
    result: str
    error: str | None = None
    run: int = 0
    problem: str | None = None
    is_presumed: bool = False


class JobDropped(_Event, frozen=True, tag="Dropped"):
    """The job left the queue before it began; with ``is_presumed`` nobody reported that."""

    at: int
    run: int = 0
    is_presumed: bool = False


JobEvent: TypeAlias = "JobSubmitted | JobStarted | OutputShown | JobInterrupted | JobEnded | JobDropped"

_decoder = msgspec.json.Decoder(JobSubmitted | JobStarted | OutputShown | JobInterrupted | JobEnded | JobDropped)
encode = msgspec.json.Encoder().encode


def decode(line: bytes) -> JobEvent | None:
    """Return the event of a line; None for a line that was cut off."""
    try:
        event: JobEvent = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event


class PromptFailure(msgspec.Struct, frozen=True):
    """The reason why a prompt did not complete: an interrupt, or the contract's ExecutionError; neither if it did."""

    was_interrupted: bool = False
    error: Mapping[str, Any] | None = None


def failure_of(prompt: FinishedPrompt) -> PromptFailure:
    """Return the failure that the server's messages report."""
    status = prompt.status or {}
    if status.get("status_str") != "error":
        return PromptFailure()
    error: Mapping[str, Any] = {}
    for event, data in _messages(status):
        if event == "execution_interrupted":
            return PromptFailure(was_interrupted=True)
        if event == "execution_error":
            error = data
    return PromptFailure(error=execution_error(error))


def _messages(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    messages = status.get("messages")
    pairs = (
        [tuple(entry) for entry in messages if isinstance(entry, (list, tuple)) and len(entry) == 2] if messages else []
    )
    return [(event, data) for event, data in pairs if isinstance(data, Mapping)]


def execution_error(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract's ExecutionError of an ``execution_error`` message. Unreported members are empty."""
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


def _values(values: object) -> Mapping[str, Any]:
    """Return values by name. Some servers report a list of node ids instead of outputs: these have no values."""
    if not isinstance(values, Mapping):
        return {}
    # All or nothing: half of the values would look like all of them.
    size = len(json_text.encode(values))
    return values if size <= _MAX_VALUES else {}


def server_stopped(message: str) -> dict[str, Any]:
    """Return the ExecutionError of a job that was running when the server stopped."""
    return execution_error({"exception_type": "ServerStopped", "exception_message": message})


def job_ended(prompt: FinishedPrompt, redact: Redact, *, was_interrupted: bool) -> JobEnded:
    """Return the end of an executed prompt. Raises any exception of the output values' own code."""
    status, error_data = _outcome(prompt, was_interrupted=was_interrupted)
    parts = {"outputs": prompt.outputs, "meta": prompt.meta, "status": prompt.status}
    encoded = encode_redacted(parts, redact)
    result, problem = encoded.text, _problem(encoded.notes)
    if len(result) > _MAX_RESULT:
        problem = f"The outputs could not be recorded: they take {len(result):,} characters."
        result = EMPTY_RESULT
    error = None
    if status == FAILED and error_data is not None:
        # Member by member, since redaction must see the values and not JSON texts inside of JSON texts.
        texts = [
            f"{json_text.encode(name)}:{encode_redacted(value, redact).text}" for name, value in error_data.items()
        ]
        error = f"{{{','.join(texts)}}}"
    return JobEnded(prompt.prompt_id, now_ms(), status, result, error, problem=problem)


def job_ended_without_outputs(prompt: FinishedPrompt, reason: BaseException, *, was_interrupted: bool) -> JobEnded:
    """Return the end of a prompt whose outputs cannot be encoded in any form."""
    try:
        status, _ = _outcome(prompt, was_interrupted=was_interrupted)
    except FOREIGN:  # not even the server's messages can be read
        status = CANCELLED if was_interrupted else FAILED
    error = json_text.encode(execution_error({})) if status == FAILED else None
    problem = f"The outputs could not be recorded: {type(reason).__name__}."
    return JobEnded(prompt.prompt_id, now_ms(), status, EMPTY_RESULT, error, problem=problem)


def presumed_end(job_id: str, run: int, *, was_interrupted: bool) -> JobEnded:
    """Return the end of a job that left the queue without a report."""
    if was_interrupted:
        return JobEnded(job_id, now_ms(), CANCELLED, EMPTY_RESULT, run=run, is_presumed=True)
    error = json_text.encode(execution_error(_NOT_REPORTED))
    return JobEnded(job_id, now_ms(), FAILED, EMPTY_RESULT, error, run=run, is_presumed=True)


def has_files(outputs: Mapping[str, Any]) -> bool:
    """Return whether the outputs of a prompt include files that the library records."""
    try:
        return bool(shown_files(outputs))
    except FOREIGN:
        return False


def encode_redacted(value: Any, redact: Redact) -> EncodedValue:
    """Encode a value as JSON without credentials.

    A value that cannot be copied without them is encoded first: then every part of it is a text or a container.
    """
    try:
        return json_text.encode_value(redact(value))
    except FOREIGN:
        plain = json_text.encode_value(value)
        return EncodedValue(json_text.encode(redact(json.loads(plain.text))), plain.notes)


def _outcome(prompt: FinishedPrompt, *, was_interrupted: bool) -> tuple[int, Mapping[str, Any] | None]:
    failure = failure_of(prompt)
    if was_interrupted or failure.was_interrupted:
        return CANCELLED, None
    return (FAILED, failure.error) if failure.error is not None else (COMPLETED, None)


def _problem(notes: tuple[str, ...]) -> str | None:
    return f"Of the outputs {'; '.join(notes)}." if notes else None


# The summary for lists.


class OutputSummary(msgspec.Struct, frozen=True):
    """Counts, ``media`` as bits of models.MEDIA, and ``preview``: an item with its nodeId and mediaType, or None."""

    count: int
    previewable: int
    media: int
    preview: dict[str, Any] | None


def countable(outputs: Mapping[str, Any]) -> Iterator[tuple[OutputSlot, Any]]:
    """Yield the output items. "animated" is left out: it is a flag of the images, not an output."""
    return ((slot, item) for slot, item in shown_items(outputs) if slot.key != "animated")


def as_file(item: object) -> Mapping[str, Any] | None:
    """Return the item as a description of a file; None if it is none. Nodes return 3D models as bare names."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str) and _suffix(item) in _3D_SUFFIXES:
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return None


def summarize(outputs: Mapping[str, Any]) -> OutputSummary:
    """Count the files among the outputs, and choose a preview."""
    count = previewable = media = 0
    rank, preview = _NOTHING, None
    for slot, item in countable(outputs):
        file = as_file(item)
        if file is not None:
            count += 1
            media |= MEDIA.get(_kind(slot.key, file), 0)
            previewable += _rank(slot.key, file) < _NOTHING
        better = _TEXT if file is None and slot.key == "text" and item is not None else _rank(slot.key, file)
        if better < rank:
            rank, preview = better, _preview(slot, file if file is not None else _excerpt(item))
    return OutputSummary(count, previewable, media, preview)


def _rank(key: str, file: Mapping[str, Any] | None) -> int:
    if file is None:
        return _NOTHING
    suffix = _suffix(file.get("filename"))
    # Custom nodes have keys of their own, such as "gifs", but declare a format.
    is_moving = str(file.get("format") or "").startswith(("video/", "audio/"))
    if not (key in _SHOWN_KEYS or is_moving or suffix in _3D_SUFFIXES or suffix in _TEXT_SUFFIXES):
        return _NOTHING
    if key == "text" or suffix in _TEXT_SUFFIXES:
        return _TEXT_FILE
    return _SAVED if file.get("type") == "output" else _TEMPORARY


def _kind(key: str, file: Mapping[str, Any]) -> str:
    """Return the kind of medium of a file: from its suffix, else its declared format, else its key."""
    name = file.get("filename")
    if _suffix(name) in _3D_SUFFIXES:
        return "3d"
    guessed = guess_mime(name) if isinstance(name, str) else ""
    for text in (guessed, str(file.get("format") or "")):
        kind = text.partition("/")[0]
        if kind in MEDIA:
            return kind
    return _SHOWN_KEYS.get(key, "")


def _suffix(name: object) -> str:
    """Return the lower-case suffix of a file name, empty if it has none."""
    if not isinstance(name, str):
        return ""
    # As PurePosixPath has it, which takes ten times as long: this is called for each output of each job.
    last = name.rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    return last[dot:].lower() if 0 < dot < len(last) - 1 else ""


def _excerpt(text: object) -> dict[str, Any]:
    # ComfyUI's own nodes return a text as a tuple of one.
    whole = str(text[0] if isinstance(text, tuple) and text else text)
    return {"content": whole} if len(whole) <= MAX_TEXT else {"content": whole[:MAX_TEXT], "truncated": True}


def _preview(slot: OutputSlot, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"mediaType": slot.key, **item, "nodeId": slot.node_id}
