"""The execution queue as one of several users may see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import json_text
from ..credentials import take_out
from ..host.execution import QueueListing, SubmittedPrompt

_EMPTY = msgspec.Raw(b"{}")


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt in the queue. ``graph`` and ``extra_data`` are JSON objects without credentials.

    They are empty, and ``targets`` too, where the prompt is another user's. ``created_at`` is as the server says it.
    """

    number: float
    prompt_id: str
    graph: msgspec.Raw
    extra_data: msgspec.Raw
    targets: Sequence[str]
    created_at: Any


@dataclass(frozen=True)
class ShownQueue:
    """The prompts being executed, and those that wait, next first."""

    running: Sequence[ShownPrompt]
    pending: Sequence[ShownPrompt]


def shown(
    listing: QueueListing, visible: Collection[str] | None, redactor_of: Callable[[str], Callable[[Any], Any]]
) -> ShownQueue:
    """Return the queue with the content of the ``visible`` prompts alone, or of all. Blocks while it encodes them."""

    def show(prompt: SubmittedPrompt) -> ShownPrompt:
        created_at = prompt.extra_data.get("create_time")
        if visible is not None and prompt.prompt_id not in visible:
            return ShownPrompt(prompt.number, prompt.prompt_id, _EMPTY, _EMPTY, (), created_at)
        redact = redactor_of(prompt.prompt_id)
        graph, extra_data = redact(prompt.graph), redact(take_out(prompt.extra_data)[0])
        return ShownPrompt(
            prompt.number, prompt.prompt_id, _raw(graph), _raw(extra_data), list(prompt.outputs), created_at
        )

    return ShownQueue([show(prompt) for prompt in listing.running], [show(prompt) for prompt in listing.pending])


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json_text.encode(value).encode())
