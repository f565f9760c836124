"""The execution queue as the services see it: prompts on their way, what is told of them, what can be done to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

_LAST_NUMBER = 1 << 53  # no server counts as far; a client may ask for a place beyond


@dataclass(frozen=True)
class SubmittedPrompt:
    """A prompt that has passed the server's checks. What it holds is the server's own: not to be changed.

    The smallest ``number`` is executed first. ``outputs`` are the nodes to be executed for their own sake.
    ``secrets`` are credentials that the server itself knows as such, never to be written down; ``extra_data`` names
    these but does not tell them. It may hold others: see ``credentials.take_out``.
    """

    number: float
    prompt_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: Sequence[str]
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FinishedPrompt:
    """A prompt that was executed, to its end or until it failed or was interrupted.

    ``outputs`` maps node ids to what the nodes have shown, ``meta`` to what they are, as ``/history`` tells it;
    ``status`` is ``{"status_str", "completed", "messages"}``, or None when the server does not say. They are the
    server's own: not to be changed.
    """

    prompt_id: str
    outputs: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    status: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NodeProgress:
    """How far a node is that has been begun: ``value`` of ``max``, and "running", "finished" or "error".

    ``display_node_id`` is the node of the submitted graph that stands for it, where it was made while executing.
    """

    value: float
    max: float
    state: str
    display_node_id: str


def number_after(numbers: Iterable[float]) -> int:
    """The whole number after all of these places in a queue, but for those at its very end; at least 0."""
    return max((math.floor(number) + 1 for number in numbers if abs(number) < _LAST_NUMBER), default=0)


class QueueListener(Protocol):
    """Is told of every prompt, on whatever thread it happens: it must be quick.

    A prompt is submitted before it can start, and finished or dropped once. What a listener raises is logged.
    """

    def is_free(self, prompt_id: str) -> bool:
        """Return whether a prompt may enter the queue under this id: none that is in it has the same."""

    def submitted(self, prompt: SubmittedPrompt) -> None:
        """The prompt is about to enter the queue."""

    def started(self, prompt_id: str) -> None:
        """The prompt is about to be executed."""

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        """A node of the prompt being executed has shown this. Servers tell it only where a page listens."""

    def interrupting(self, prompt_id: str) -> None:
        """The prompt being executed has been asked to stop."""

    def finished(self, prompt: FinishedPrompt) -> None:
        """The prompt has been executed, and is about to leave the queue."""

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        """Prompts that were waiting have been taken out of the queue."""


@dataclass(frozen=True)
class QueueListing:
    """The prompts being executed, and those that wait, next first."""

    running: Sequence[SubmittedPrompt] = ()
    pending: Sequence[SubmittedPrompt] = ()


class ExecutionQueue(Protocol):
    """The queue. Methods may be called from any thread.

    Those that change the queue may run code of node packs, which takes its time: they are not for an event loop.
    """

    def watch(self, listener: QueueListener) -> None:
        """Tell the listener of everything that happens from now on."""

    def listing(self) -> QueueListing:
        """What the queue holds at this moment."""

    def progress(self, prompt_id: str) -> Mapping[str, NodeProgress]:
        """How far the nodes of the prompt being executed are, by their ids; of any other prompt there are none."""

    def cancel(self, prompt_id: str) -> bool:
        """Drop the prompt if it waits, interrupt it if it is being executed; return whether it was either."""

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        """Cancel the prompts, those that wait in one step; return those that were there."""

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        """Drop those of the prompts that wait, in one step; return them."""

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        """Put prompts of an earlier run back, under their ids and numbers; return the ids of those refused.

        Each is checked like a new one. Listeners are told that a refused prompt has finished, with an error that names
        the node at fault; of the others they are told nothing. Prompts that are submitted later without a number of
        their own come after them.
        """

    def history_room(self) -> int:
        """How many finished prompts of earlier runs the server's own history should be given; 0 if nobody reads it."""

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        """Put finished prompts of earlier runs, oldest first and as ``/history`` shows them, before its own."""

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        """Remove finished prompts from the server's own history; None: all of them."""

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """Ask for memory to be freed when the prompt being executed has ended."""

    def announce(self) -> None:
        """Have open pages fetch their lists of jobs anew."""
