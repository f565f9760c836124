"""States of the prompts in ComfyUI's queue, as reported to listeners.

Other packs wrap and replace the queue's methods, so a change of a prompt may be seen several times, or only afterwards.
The states ensure that each start and each end is reported once, and that a prompt is not interrupted after it has begun
to end. No method calls code of others, so the lock is never held for long.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_INTERRUPT_S = 5.0  # longest delay of a prompt's end by an interrupt that hangs in another pack
_START_S = 1.0  # longest wait for the report of a start; a pack may have replaced ``get``, and there is none
_REMEMBERED = 1000  # ended prompts, whose end another wrapper may report again

Graph = Mapping[str, Any]


@dataclass
class ObservedPrompt:
    """A running prompt, with its outputs and failure in case its end is never reported."""

    prompt_id: str
    thread: int = 0
    is_reported: bool = False
    shown: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failure: tuple[str, Mapping[str, Any]] | None = None


class PromptStates:
    """The states of all prompts. Thread-safe. Item ids are the server's numbers of running prompts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entering: dict[str, tuple[Graph, int]] = {}
        self._waiting: dict[str, Graph] = {}
        self._running: dict[int, ObservedPrompt] = {}
        self._over: dict[int, None] = {}  # the latest, oldest first
        self._interrupts = 0
        self._removals = 0

    def enter(self, prompt_id: str, graph: Graph) -> bool:
        """Mark a prompt that is about to enter the queue; return False if it is marked already."""
        with self._changed:
            if prompt_id in self._entering:
                return False
            self._entering[prompt_id] = (graph, self._removals)
            return True

    def is_entering(self, prompt_id: str) -> bool:
        """Return whether the prompt is about to enter the queue."""
        with self._changed:
            return prompt_id in self._entering

    def entered(self, prompt_id: str) -> bool:
        """Mark the prompt as waiting; return whether prompts were removed in the meantime."""
        with self._changed:
            if prompt_id not in self._entering:
                return False  # a worker has started it, or it was removed, before ``put`` returned
            graph, removals = self._entering.pop(prompt_id)
            self._waiting[prompt_id] = graph
            return removals != self._removals

    def leave(self, prompt_ids: Iterable[str]) -> list[str]:
        """Mark prompts that left the queue before they began; return those that were not marked yet."""
        with self._changed:
            self._removals += 1
            return [prompt_id for prompt_id in dict.fromkeys(prompt_ids) if self._forget(prompt_id)]

    def _forget(self, prompt_id: str) -> bool:
        was_entering = self._entering.pop(prompt_id, None) is not None
        return self._waiting.pop(prompt_id, None) is not None or was_entering

    def missing(self, present: Collection[str]) -> dict[str, Graph]:
        """Mark all prompts that are not in ``present`` as gone; return them."""
        with self._changed:
            self._removals += 1
            gone = {prompt_id: graph for prompt_id, graph in self._waiting.items() if prompt_id not in present}
            for prompt_id in gone:
                del self._waiting[prompt_id]
            return gone

    def start(self, item_id: int, prompt_id: str) -> bool:
        """Mark the prompt as running in the current thread; return False if it is marked already."""
        with self._changed:
            running = self._running.get(item_id)
            if running is not None and running.prompt_id == prompt_id:
                return False
            self._forget(prompt_id)
            self._over.pop(item_id, None)
            self._running[item_id] = ObservedPrompt(prompt_id, threading.get_ident())
            return True

    def reported(self, item_id: int) -> None:
        """Note that listeners know of the prompt's start, so that it may be interrupted."""
        with self._changed:
            running = self._running.get(item_id)
            if running is not None:
                running.is_reported = True
                self._changed.notify_all()

    def started_here(self) -> set[int]:
        """Return the item ids of the prompts that the current thread has started."""
        thread = threading.get_ident()
        with self._changed:
            return {item_id for item_id, running in self._running.items() if running.thread == thread}

    def end(self, item_id: int) -> ObservedPrompt | None:
        """Mark the prompt as ended, after any pending interrupt of it; return None if it has ended before."""
        with self._changed:
            if item_id in self._over:
                return None
            self._over[item_id] = None
            self._changed.wait_for(lambda: self._interrupts == 0, _INTERRUPT_S)
            return self._running.pop(item_id, None) or ObservedPrompt("")

    def is_over(self, item_id: int) -> bool:
        """Return whether the prompt is marked as ended, even if the server still lists it."""
        with self._changed:
            return item_id in self._over

    def begin_interrupt(self, item_ids: Collection[int]) -> bool:
        """Delay the end of the prompts until ``end_interrupt``; return False if all have ended.

        The server lists a prompt as running a moment before its start is reported, so this waits for the report.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(map(self._is_reported, item_ids)), _START_S)
            if all(item_id in self._over for item_id in item_ids):
                return False
            self._interrupts += 1
            return True

    def _is_reported(self, item_id: int) -> bool:
        running = self._running.get(item_id)
        return item_id in self._over or (running is not None and running.is_reported)

    def end_interrupt(self) -> None:
        """Stop delaying ends."""
        with self._changed:
            self._interrupts -= 1
            self._changed.notify_all()

    def running(self, prompt_id: str) -> list[ObservedPrompt]:
        """Return the running prompts with this id, to be updated by the caller."""
        with self._changed:
            return [each for each in self._running.values() if each.prompt_id == prompt_id]

    def left_over(self, held: Collection[int], *, is_worker: bool) -> list[int]:
        """Return the item ids of running prompts that must have ended.

        Those are prompts that the server no longer lists, and with ``is_worker`` all that the current thread has
        started: the server's worker executes one prompt after another, and is about to get the next.
        """
        thread = threading.get_ident()
        with self._changed:
            self._forget_ended(held)
            return [
                item_id
                for item_id, running in self._running.items()
                if item_id not in held or (is_worker and running.thread == thread)
            ]

    def _forget_ended(self, held: Collection[int]) -> None:
        """Forget old ends, except those of prompts that the server still lists."""
        if len(self._over) > 2 * _REMEMBERED:
            older = list(self._over)[:-_REMEMBERED]
            for item_id in older:
                if item_id not in held:
                    del self._over[item_id]

    def unknown(self, held: Iterable[int]) -> list[int]:
        """Return the item ids that neither started nor ended."""
        with self._changed:
            return [item_id for item_id in held if item_id not in self._running and item_id not in self._over]
