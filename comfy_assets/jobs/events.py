"""Events of jobs, as the journal holds them and the store receives them.

Times are integer milliseconds since 1970, UTC. ``run`` distinguishes executions of the same id; it is 0 in journals of
versions that had no runs. ``problem`` names the part of an event that could not be recorded, and the reason.

A journal may be read by a later version after a crash: members are only ever added at the end, with a default, and tags
stay as they are.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

EMPTY_RESULT = '{"outputs":{},"meta":{},"status":null}'  # of a job of which only the end is known


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
