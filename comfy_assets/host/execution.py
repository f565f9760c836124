"""The interface of the execution queue: prompts, operations on the queue, and events, which are passed to listeners."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

log = logging.getLogger("comfy_assets")

P = ParamSpec("P")
T = TypeVar("T")

_LAST_NUMBER = 1 << 53  # clients may choose larger numbers, which a counter in a float could not follow


class SubmittedPrompt(msgspec.Struct, frozen=True):
    """A prompt that the server has validated. Its values are the server's own objects and must not be changed.

    The smallest ``number`` is executed first. ``outputs`` are the ids of the output nodes to execute. ``secrets`` are
    credentials that the server itself declares as such; in ``extra_data`` they are redacted. Other credentials may
    still be in there: see ``credentials.take_out``.
    """

    number: float
    prompt_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    outputs: Sequence[str]
    secrets: frozenset[str] = frozenset()


class FinishedPrompt(msgspec.Struct, frozen=True):
    """A prompt whose execution has completed, failed or been interrupted.

    ``outputs`` and ``meta`` map node ids to the nodes' outputs and descriptions, as in ``/history``. ``status`` is
    ``{"status_str", "completed", "messages"}``, or None if the server reports none. All are the server's own objects
    and must not be changed.
    """

    prompt_id: str
    outputs: Mapping[str, Any]
    meta: Mapping[str, Any] = msgspec.field(default_factory=dict)
    status: Mapping[str, Any] | None = None


RewritePrompt = Callable[[dict[str, Any]], dict[str, Any]]
PromptListener = Callable[[FinishedPrompt], None]


class NodePreview(msgspec.Struct, frozen=True, eq=False):
    """A picture of unfinished work of a node. ``picture`` is an image of Pillow, scaled to ``max_size`` pixels if set.

    ``node_id`` is the node of the submitted graph that shows it.
    """

    node_id: str
    picture: Any
    max_size: int | None = None


def number_after(numbers: Iterable[float]) -> int:
    """Return the next integer after these queue numbers, at least 0. Numbers beyond any counter are ignored."""
    return max((math.floor(number) + 1 for number in numbers if abs(number) < _LAST_NUMBER), default=0)


class QueueListener(Protocol):
    """Receives the events of every prompt, on the thread in which they happen: it must return quickly.

    A prompt is submitted before it can start, and is finished or dropped exactly once. Exceptions are logged.
    """

    def is_free(self, prompt_id: str) -> bool:
        """Return whether no prompt in the queue has this id."""

    def submitted(self, prompt: SubmittedPrompt) -> None:
        """Called before the prompt enters the queue."""

    def started(self, prompt_id: str) -> None:
        """Called before the prompt is executed."""

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        """Called when a node of the running prompt has output. Servers report it only if a page is connected."""

    def completing(self, prompt_id: str) -> None:
        """Called when every node of the running prompt has run, before pages are told. ``finished`` follows soon."""

    def interrupting(self, prompt_id: str) -> None:
        """Called before the running prompt is interrupted."""

    def finished(self, prompt: FinishedPrompt) -> None:
        """Called after the execution, before the prompt leaves the queue."""

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        """Called after waiting prompts were removed from the queue."""


class ProgressListener(Protocol):
    """Receives the progress of the running prompt, on the thread that executes it: it must return at once.

    Servers report cached nodes only for prompts with a client. Exceptions are logged.
    """

    def cached(self, prompt_id: str, node_ids: Sequence[str]) -> None:
        """Called before the first node runs, with the nodes whose results are reused."""

    def progressed(self, prompt_id: str, nodes: Mapping[str, Any]) -> None:
        """Called for each step of a node, with the entries of all begun nodes by id, as pages receive them.

        The mapping may grow while it is read, on another thread.
        """

    def previewed(self, prompt_id: str, preview: NodePreview) -> None:
        """Called for each picture of unfinished work."""


class QueueListing(msgspec.Struct, frozen=True):
    """The running prompts, and the waiting ones, next first."""

    running: Sequence[SubmittedPrompt] = ()
    pending: Sequence[SubmittedPrompt] = ()


class ExecutionQueue(Protocol):
    """The queue. Methods may be called from any thread.

    Methods that change the queue may run code of node packs and block, even for ever: on an event loop, call them with
    ``in_daemon_thread``.
    """

    def watch(self, listener: QueueListener) -> None:
        """Report all events from now on to the listener."""

    def watch_progress(self, listener: ProgressListener) -> None:
        """Report the progress of every prompt from now on to the listener."""

    def listing(self) -> QueueListing:
        """Return the prompts in the queue."""

    def cancel(self, prompt_id: str) -> bool:
        """Remove a waiting prompt, or interrupt a running one; return whether it was in the queue."""

    def cancel_many(self, prompt_ids: Iterable[str]) -> list[str]:
        """Cancel prompts, all waiting ones in one step; return the ids of those that were in the queue."""

    def drop_many(self, prompt_ids: Iterable[str]) -> list[str]:
        """Remove those of the prompts that wait, in one step; return their ids."""

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> list[str]:
        """Put prompts of an earlier run back, with their ids and numbers; return the ids of rejected ones.

        Each is validated like a new one. For a rejected prompt, listeners receive ``finished`` with an error that names
        the node at fault; for all others they receive nothing. Prompts submitted later come after them, unless the
        client chooses their number.
        """

    def history_room(self) -> int:
        """Return how many prompts of earlier runs the server's own history should get; 0 if its page reads none."""

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        """Add finished prompts of earlier runs to the server's history, oldest first, in the form of ``/history``."""

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        """Remove finished prompts from the server's own history; None: all of them."""

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """Free memory when the running prompt has ended."""

    def announce(self) -> None:
        """Notify open pages that the queue has changed, so that they reload it."""


async def in_daemon_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a method of the queue in a thread of its own; return its result or raise its exception.

    Unlike with ``asyncio.to_thread``, a hanging call occupies no thread of a pool and does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def set_outcome(value: T | None, error: BaseException | None) -> None:
        if outcome.done():  # the caller was cancelled
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = function(*args, **kwargs)
        except Exception as raised:  # noqa: BLE001 - it is raised in the caller
            error = raised
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(set_outcome, value, error)

    threading.Thread(target=run, name=f"comfy-assets {function.__name__}", daemon=True).start()
    return await outcome


class PromptHooks:
    """The rewrites of submitted prompts, and the listeners for executed ones."""

    def __init__(self) -> None:
        self.rewrites: list[RewritePrompt] = []
        self.listeners: list[PromptListener] = []

    def rewrite(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a submitted body after all rewrites. A rewrite that raises is skipped."""
        for rewrite in self.rewrites:
            try:
                body = rewrite(body)
            except Exception:
                log.exception("A submitted prompt could not be rewritten")
        return body

    def notify(self, prompt: FinishedPrompt) -> None:
        """Call the listeners for an executed prompt."""
        for listener in self.listeners:
            _call(listener, prompt)


class QueueListeners:
    """Forward every event to all listeners. Implements ``QueueListener`` and never raises."""

    def __init__(self) -> None:
        self._listeners: list[QueueListener] = []

    def add(self, listener: QueueListener) -> None:
        self._listeners.append(listener)

    def is_free(self, prompt_id: str) -> bool:
        try:
            return all(listener.is_free(prompt_id) for listener in self._listeners)
        except Exception:
            log.exception("A listener failed to check a prompt id")
            return True  # the user's prompt runs, though its record may be mixed up with another

    def submitted(self, prompt: SubmittedPrompt) -> None:
        for listener in self._listeners:
            _call(listener.submitted, prompt)

    def started(self, prompt_id: str) -> None:
        for listener in self._listeners:
            _call(listener.started, prompt_id)

    def shown(self, prompt_id: str, node_id: str, output: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            _call(listener.shown, prompt_id, node_id, output)

    def completing(self, prompt_id: str) -> None:
        for listener in self._listeners:
            _call(listener.completing, prompt_id)

    def interrupting(self, prompt_id: str) -> None:
        for listener in self._listeners:
            _call(listener.interrupting, prompt_id)

    def finished(self, prompt: FinishedPrompt) -> None:
        for listener in self._listeners:
            _call(listener.finished, prompt)

    def dropped(self, prompt_ids: Sequence[str]) -> None:
        for listener in self._listeners if prompt_ids else ():
            _call(listener.dropped, prompt_ids)


class ProgressListeners:
    """Forward progress to all listeners. Implements ``ProgressListener`` and never raises."""

    def __init__(self) -> None:
        self._listeners: list[ProgressListener] = []

    def add(self, listener: ProgressListener) -> None:
        self._listeners.append(listener)

    def cached(self, prompt_id: str, node_ids: Sequence[str]) -> None:
        for listener in self._listeners:
            _call(listener.cached, prompt_id, node_ids)

    def progressed(self, prompt_id: str, nodes: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            _call(listener.progressed, prompt_id, nodes)

    def previewed(self, prompt_id: str, preview: NodePreview) -> None:
        for listener in self._listeners:
            _call(listener.previewed, prompt_id, preview)


def _call(listener: Callable[..., object], *arguments: object) -> None:
    try:
        listener(*arguments)
    except Exception:
        log.exception("An event of a prompt could not be recorded")
