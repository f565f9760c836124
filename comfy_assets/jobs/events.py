"""Events of jobs on their way to the store. Times are integer milliseconds since 1970, UTC.

``run`` tells apart executions that were given the same id; it is 0 in journals of versions that did not know it.
``problem`` says what of an event could not be recorded, and why.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class _Event(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Something that happened to the job ``id``."""

    id: str


class Submitted(_Event, frozen=True):
    """The job entered the queue.

    ``graph`` and ``workflow`` (the page's own form of it, if it sent one) are JSON texts as ComfyUI writes them into
    pictures, so that both are stored once; ``extra_data`` is the rest of what came along, ``outputs`` the nodes to
    execute, as JSON.
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


class Started(_Event, frozen=True):
    """The job began to be executed."""

    at: int
    run: int = 0


class Shown(_Event, frozen=True):
    """A node has shown something: ``outputs`` is a JSON object of one member, the node's id."""

    at: int
    outputs: str
    run: int = 0


class Interrupted(_Event, frozen=True):
    """The job was asked to stop while it was executed."""

    at: int
    run: int = 0


class Ended(_Event, frozen=True):
    """The job was executed. ``status`` is one of models.COMPLETED, FAILED, CANCELLED.

    ``result`` is a JSON object of the ``outputs``, ``meta`` and ``status`` that the server's history shows; ``error``
    the contract's ExecutionError as JSON. ``is_presumed`` says that nobody told the end: the job was in no queue.
    """

    at: int
    status: int
    result: str
    error: str | None = None
    run: int = 0
    problem: str | None = None
    is_presumed: bool = False


class Dropped(_Event, frozen=True):
    """The job was taken out of the queue before it began, or (``is_presumed``) is in it no more."""

    at: int
    run: int = 0
    is_presumed: bool = False


JobEvent: TypeAlias = "Submitted | Started | Shown | Interrupted | Ended | Dropped"

_decoder = msgspec.json.Decoder(Submitted | Started | Shown | Interrupted | Ended | Dropped)
encode = msgspec.json.Encoder().encode


def decode(line: bytes) -> JobEvent | None:
    """The event of a line; None for one that was not written to its end."""
    try:
        event: JobEvent = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event
