"""An execution queue for tests: prompts start and end when a test says so."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .execution import FinishedPrompt, NodeProgress, QueueListener, QueueListing, SubmittedPrompt
from .listeners import QueueListeners
from .prompt_problems import depth_problem, failed_prompt, type_problem


class MemoryQueue:
    """Implements ``ExecutionQueue``; ``interrupted`` and ``freed`` keep what was asked for.

    ``is_known`` tells the node types that a prompt of an earlier run may have.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._listeners = QueueListeners()
        self.waiting: list[SubmittedPrompt] = []
        self.running: SubmittedPrompt | None = None
        self.history: dict[str, Mapping[str, Any]] = {}
        self.room = 0
        self.is_known: Callable[[str], bool] = lambda class_type: True
        self.interrupted: list[str] = []
        self.freed: list[tuple[bool, bool]] = []
        self.announced = 0
        self.nodes: dict[str, NodeProgress] = {}

    def submit(self, prompt: SubmittedPrompt) -> None:
        """Put a prompt into the queue."""
        if not self._listeners.is_free(prompt.prompt_id):
            prompt = replace(prompt, prompt_id=str(uuid.uuid4()))
        self._listeners.submitted(prompt)
        self._insert(prompt)

    def start(self) -> SubmittedPrompt:
        """Begin with the next prompt."""
        with self._lock:
            self.running = self.waiting.pop(0)
        self._listeners.started(self.running.prompt_id)
        return self.running

    def show(self, node_id: str, output: Mapping[str, Any]) -> None:
        """Let a node of the running prompt show something."""
        assert self.running is not None
        self._listeners.shown(self.running.prompt_id, node_id, output)

    def finish(
        self, outputs: Mapping[str, Any], status: Mapping[str, Any] | None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """End the running prompt."""
        with self._lock:
            assert self.running is not None
            self._listeners.finished(FinishedPrompt(self.running.prompt_id, outputs, meta or {}, status))
            self.running = None

    def watch(self, listener: QueueListener) -> None:
        self._listeners.add(listener)

    def listing(self) -> QueueListing:
        with self._lock:
            return QueueListing([] if self.running is None else [self.running], list(self.waiting))

    def progress(self, prompt_id: str) -> Mapping[str, NodeProgress]:
        with self._lock:
            return dict(self.nodes) if self.running is not None and self.running.prompt_id == prompt_id else {}

    def cancel(self, prompt_id: str) -> bool:
        return bool(self.cancel_many([prompt_id]))

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._lock:
            found = self._drop(set(wanted))
            if self.running is not None and self.running.prompt_id in wanted:
                self._listeners.interrupting(self.running.prompt_id)
                self.interrupted.append(self.running.prompt_id)
                found.add(self.running.prompt_id)
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._lock:
            found = self._drop(set(wanted))
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def clear(self) -> list[str]:
        """Drop every prompt that waits, as a client of the server's own routes does; return which."""
        with self._lock:
            return sorted(self._drop({prompt.prompt_id for prompt in self.waiting}))

    def _drop(self, prompt_ids: set[str]) -> set[str]:
        dropped = [prompt.prompt_id for prompt in self.waiting if prompt.prompt_id in prompt_ids]
        self.waiting = [prompt for prompt in self.waiting if prompt.prompt_id not in prompt_ids]
        self._listeners.dropped(dropped)
        return set(dropped)

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        refused = []
        for prompt in prompts:
            problem = depth_problem(prompt.graph, prompt.extra_data) or type_problem(prompt.graph, self.is_known)
            if problem is None:
                self._insert(prompt)
            else:
                self._listeners.finished(failed_prompt(prompt.prompt_id, problem))
                refused.append(prompt.prompt_id)
        return refused

    def _insert(self, prompt: SubmittedPrompt) -> None:
        with self._lock:
            self.waiting = sorted([*self.waiting, prompt], key=lambda each: each.number)

    def history_room(self) -> int:
        return self.room

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        self.history = {**history, **self.history}

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        for prompt_id in list(self.history) if prompt_ids is None else prompt_ids:
            self.history.pop(prompt_id, None)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        self.freed.append((unload_models, free_memory))

    def announce(self) -> None:
        self.announced += 1
