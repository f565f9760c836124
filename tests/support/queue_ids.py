"""The ids of the prompts in an execution queue."""

from __future__ import annotations

from typing import Any, NamedTuple


class QueueIds(NamedTuple):
    """The running prompts, and the waiting ones, next first."""

    running: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


def queue_ids(queue: Any) -> QueueIds:
    """Return the ids of the prompts in an ``ExecutionQueue``."""
    listing = queue.listing()
    return QueueIds(*(tuple(each.prompt_id for each in prompts) for prompts in (listing.running, listing.pending)))
