"""The execution queue: pending prompts, the running one, and the history of finished ones, with their routes."""

from __future__ import annotations

import heapq
import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from ...credentials import REDACTED, rebuilt, redactor
from ..execution import (
    FinishedPrompt,
    ProgressListener,
    ProgressListeners,
    QueueListener,
    QueueListeners,
    QueueListing,
    SubmittedPrompt,
    number_after,
)
from ..prompt_problems import CheckPrompts, failed_prompt, unchecked
from .http import (
    RouteTable,
    json_response,
    large_json_response,
    query_integer,
    read_object,
    strings,
    text_or_none,
)

MAX_HISTORY = 10_000  # entries, as in ComfyUI

# An API-format graph: node id -> {"class_type": …, "inputs": {…}}.
Graph = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class QueuedPrompt:
    """A validated prompt. The smallest ``number`` runs first; equal numbers run in order of submission.

    ``secrets``: credentials of the extra data, which the graph may repeat.
    """

    number: float
    prompt_id: str
    graph: Graph
    extra_data: Mapping[str, Any]
    outputs: tuple[str, ...]
    secrets: frozenset[str] = frozenset()

    @property
    def client_id(self) -> str | None:
        """The session that receives its progress."""
        value = self.extra_data.get("client_id")
        return value if isinstance(value, str) else None

    def as_json(self) -> list[Any]:
        """Return the five-part form of /queue and /history."""
        graph, extra_data = self.redacted(self.graph), self.redacted(self.extra_data)
        return [self.number, self.prompt_id, graph, extra_data, list(self.outputs)]

    def redacted(self, value: Any) -> Any:
        """Return the value without the prompt's credentials."""
        redact = redactor(self.secrets)
        return value if redact is None else rebuilt(value, redact)

    def as_submitted(self) -> SubmittedPrompt:
        """Return the prompt in the form for listeners."""
        return SubmittedPrompt(self.number, self.prompt_id, self.graph, self.extra_data, self.outputs, self.secrets)


@dataclass(frozen=True)
class RunningPrompt:
    """The running prompt. It has its own ``interrupted``, so that an interrupt cannot hit its successor.

    ``progress``: the started nodes by id, in the form of the message ``progress_state``.
    """

    prompt: QueuedPrompt
    interrupted: threading.Event = field(default_factory=threading.Event)
    progress: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PromptOutcome:
    """The result of a prompt: the outputs of its nodes, and the messages sent during its execution."""

    completed: bool
    outputs: Mapping[str, Any]
    meta: Mapping[str, Any]
    messages: tuple[tuple[str, Mapping[str, Any]], ...]


class PromptQueue:
    """Implements ``ExecutionQueue``. Thread-safe. ``on_change`` is called after each change, without the lock.

    ``check`` validates prompts of an earlier run.
    """

    def __init__(self, on_change: Callable[[], None], check: CheckPrompts = unchecked) -> None:
        self._on_change = on_change
        self._check = check
        self._listeners = QueueListeners()
        self.progress_listeners = ProgressListeners()
        self._ready = threading.Condition()  # its lock is reentrant: cancel_many calls interrupt
        self._waiting: list[tuple[float, int, QueuedPrompt]] = []
        self._running: RunningPrompt | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._arrival = itertools.count()
        self._next_number = 0
        self._closed = False
        self._freeing = False

    def number_for(self, *, front: bool) -> float:
        """Return a number that puts a new prompt behind, or in front of, all pending ones."""
        with self._ready:
            number = self._next_number
            self._next_number += 1
        # As in ComfyUI: one counter for both, so that a later "front" prompt precedes an earlier one.
        return -(number + 1) if front else number

    def watch(self, listener: QueueListener) -> None:
        self._listeners.add(listener)

    def watch_progress(self, listener: ProgressListener) -> None:
        self.progress_listeners.add(listener)

    def put(self, prompt: QueuedPrompt) -> QueuedPrompt:
        """Add a prompt and return it; it gets a new id if a prompt in the queue already has its id."""
        if not self._listeners.is_free(prompt.prompt_id):
            prompt = replace(prompt, prompt_id=str(uuid.uuid4()))
        # Before the worker can see it: listeners must learn of a prompt before they learn of its start.
        self._listeners.submitted(prompt.as_submitted())
        with self._ready:
            # The arrival breaks ties: prompts themselves cannot be compared.
            heapq.heappush(self._waiting, (prompt.number, next(self._arrival), prompt))
            self._ready.notify()
        self._on_change()
        return prompt

    def take(self, free_memory: Callable[[], None]) -> RunningPrompt | None:
        """Wait for the next prompt and mark it as running; return None if the queue is closed.

        ``free_memory`` is called if it has been requested.
        """
        with self._ready:
            while not self._closed and not self._waiting:
                self._ready.wait_for(lambda: self._closed or self._waiting or self._freeing)
                self._free_if_asked(free_memory)
            if self._closed:
                return None
            self._free_if_asked(free_memory)
            running = self._running = RunningPrompt(heapq.heappop(self._waiting)[2])
            self._listeners.started(running.prompt.prompt_id)  # locked: an interrupt is reported after it
        self._on_change()
        return running

    def _free_if_asked(self, free_memory: Callable[[], None]) -> None:
        if self._freeing:
            self._freeing = False
            free_memory()

    def notify_output(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        """Notify listeners of the output of a node."""
        self._listeners.shown(prompt_id, node_id, output)

    def notify_completing(self, prompt_id: str) -> None:
        """Notify listeners that every node of the running prompt has run."""
        self._listeners.completing(prompt_id)

    def finish(self, running: RunningPrompt, outcome: PromptOutcome) -> None:
        """Move the running prompt to the history."""
        entry = _history_entry(running.prompt, outcome)
        with self._ready:
            self._running = None  # before listeners are notified, so that no interrupt follows its end
        self._listeners.finished(
            FinishedPrompt(running.prompt.prompt_id, entry["outputs"], entry["meta"], entry["status"])
        )
        with self._ready:
            self._history[running.prompt.prompt_id] = entry
            while len(self._history) > MAX_HISTORY:  # a dict keeps its order: the first is the oldest
                del self._history[next(iter(self._history))]
        self._on_change()

    def open(self) -> None:
        with self._ready:
            self._closed = False

    def close(self) -> None:
        """Interrupt the running prompt and let ``take`` return. Pending prompts stay in the queue."""
        with self._ready:
            self._closed = True
            if self._running is not None:
                self._running.interrupted.set()
            self._ready.notify_all()

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Interrupt the running prompt if it has this id (None: any); return whether there was one."""
        with self._ready:
            running = self._running
            if running is None or prompt_id not in (None, running.prompt.prompt_id):
                return False
            self._listeners.interrupting(running.prompt.prompt_id)
            running.interrupted.set()
            return True

    def cancel(self, prompt_id: str) -> bool:
        return bool(self.cancel_many([prompt_id]))

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._ready:
            running = self._running.prompt.prompt_id if self._running is not None else None
            found = {running} if running in wanted and self.interrupt(running) else set()
            found |= self._remove_pending(wanted)
        self._notify_dropped([prompt_id for prompt_id in wanted if prompt_id in found and prompt_id != running])
        return [prompt_id for prompt_id in wanted if prompt_id in found]

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        wanted = list(dict.fromkeys(prompt_ids))
        with self._ready:
            found = self._remove_pending(wanted)
        dropped = [prompt_id for prompt_id in wanted if prompt_id in found]
        self._notify_dropped(dropped)
        return dropped

    def _remove_pending(self, prompt_ids: Iterable[str]) -> set[str]:
        """Remove pending prompts, with the lock held; return the ids of those that existed."""
        unwanted = set(prompt_ids)
        dropped = {entry[2].prompt_id for entry in self._waiting if entry[2].prompt_id in unwanted}
        self._waiting = [entry for entry in self._waiting if entry[2].prompt_id not in unwanted]
        heapq.heapify(self._waiting)
        return dropped

    def _notify_dropped(self, prompt_ids: list[str]) -> None:
        if prompt_ids:
            self._listeners.dropped(prompt_ids)
            self._on_change()

    def clear(self) -> list[str]:
        """Remove all pending prompts."""
        with self._ready:
            dropped = [entry[2].prompt_id for entry in self._waiting]
            self._waiting = []
        self._listeners.dropped(dropped)
        self._on_change()
        return dropped

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        checked = self._check(list(prompts))
        with self._ready:
            for each in checked:
                if each.problem is None:
                    self._restore_prompt(each.prompt)
            self._ready.notify()
        refused = [(each.prompt.prompt_id, each.problem) for each in checked if each.problem is not None]
        for prompt_id, problem in refused:
            self._listeners.finished(failed_prompt(prompt_id, problem))
        self._on_change()
        return [prompt_id for prompt_id, _ in refused]

    def _restore_prompt(self, prompt: SubmittedPrompt) -> None:
        # Credentials are never stored: their placeholders would reach the nodes as values.
        extra = {key: value for key, value in prompt.extra_data.items() if value != REDACTED}
        item = QueuedPrompt(prompt.number, prompt.prompt_id, prompt.graph, extra, tuple(prompt.outputs))
        heapq.heappush(self._waiting, (item.number, next(self._arrival), item))
        self._next_number = max(self._next_number, number_after([prompt.number]))

    def history_room(self) -> int:
        return MAX_HISTORY

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        with self._ready:
            self._history = {**{key: dict(entry) for key, entry in history.items()}, **self._history}

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        with self._ready:
            self._freeing = self._freeing or unload_models or free_memory
            self._ready.notify()

    def announce(self) -> None:
        self._on_change()

    def busy(self) -> bool:
        """Return whether a prompt is running or pending. Without the lock: it is called very often."""
        return self._running is not None or bool(self._waiting)

    def listing(self) -> QueueListing:
        running, waiting = self.prompts()
        return QueueListing([each.as_submitted() for each in running], [each.as_submitted() for each in waiting])

    def prompts(self) -> tuple[list[QueuedPrompt], list[QueuedPrompt]]:
        """Return the running and the pending prompts, the next first."""
        with self._ready:
            running = [] if self._running is None else [self._running.prompt]
            return running, [entry[2] for entry in sorted(self._waiting, key=lambda entry: entry[:2])]

    def remaining(self) -> int:
        """Return the number of running and pending prompts."""
        with self._ready:
            return len(self._waiting) + (self._running is not None)

    def state(self) -> dict[str, Any]:
        """Return the body of ``GET /prompt``, which the message ``status`` also has."""
        return {"exec_info": {"queue_remaining": self.remaining()}}

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, dict[str, Any]]:
        """Return finished prompts, the oldest first: ``max_items`` from ``offset``, the last ones if negative."""
        with self._ready:
            entries = list(self._history.items())
        if max_items is None:
            return dict(entries[max(offset, 0) :])
        start = offset if offset >= 0 else max(len(entries) - max_items, 0)
        return dict(entries[start : start + max_items])

    def finished(self, prompt_id: str) -> dict[str, Any] | None:
        with self._ready:
            return self._history.get(prompt_id)

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        """Remove prompts from the history, None: all of them. Unknown ids are ignored."""
        with self._ready:
            for prompt_id in list(self._history) if prompt_ids is None else prompt_ids:
                self._history.pop(prompt_id, None)


def _history_entry(prompt: QueuedPrompt, outcome: PromptOutcome) -> dict[str, Any]:
    messages = [[event, dict(data)] for event, data in outcome.messages]
    return {
        "prompt": prompt.as_json(),
        "outputs": prompt.redacted(dict(outcome.outputs)),
        "status": {
            "status_str": "success" if outcome.completed else "error",
            "completed": outcome.completed,
            "messages": prompt.redacted(messages),
        },
        "meta": dict(outcome.meta),
    }


class QueueRoutes:
    """The routes of the queue and the history, except ``POST /prompt``."""

    def __init__(self, queue: PromptQueue) -> None:
        self._queue = queue

    def routes(self) -> RouteTable:
        return [
            ("GET", "/prompt", self._show_state),
            ("GET", "/queue", self._list_queue),
            ("POST", "/queue", self._change_queue),
            ("GET", "/history", self._list_history),
            ("POST", "/history", self._change_history),
            ("GET", "/history/{prompt_id}", self._show_finished),
            ("POST", "/interrupt", self._interrupt),
            ("POST", "/free", self._free),
        ]

    async def _show_state(self, request: web.Request) -> web.Response:
        return json_response(self._queue.state())

    async def _list_queue(self, request: web.Request) -> web.Response:
        running, waiting = self._queue.prompts()
        return await large_json_response(
            {
                "queue_running": [prompt.as_json() for prompt in running],
                "queue_pending": [prompt.as_json() for prompt in waiting],
            }
        )

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        unwanted = strings(body, "delete")
        if body.get("clear"):
            self._queue.clear()
        if unwanted:
            self._queue.drop_many(unwanted)
        return web.Response()

    async def _list_history(self, request: web.Request) -> web.Response:
        count, offset = query_integer(request, "max_items"), query_integer(request, "offset")
        return await large_json_response(self._queue.history(count, -1 if offset is None else offset))

    async def _show_finished(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self._queue.finished(prompt_id)
        return await large_json_response({} if entry is None else {prompt_id: entry})

    async def _change_history(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        unwanted = strings(body, "delete")
        if body.get("clear"):
            self._queue.forget(None)
        if unwanted:
            self._queue.forget(unwanted)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body = await read_object(request, empty_allowed=True)
        self._queue.interrupt(text_or_none(body, "prompt_id") or None)
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        body = await read_object(request, empty_allowed=True)
        self._queue.free(unload_models=bool(body.get("unload_models")), free_memory=bool(body.get("free_memory")))
        return web.Response()
