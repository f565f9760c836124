"""ComfyUI's execution queue, watched by wrapping its methods in a chain with whatever else wraps them.

The methods' signatures have grown over time and other packs wrap them too, so arguments are passed on as they come.
"""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .base import PromptListener
from .execution import (
    CREDENTIALS,
    REDACTED,
    FinishedPrompt,
    NodeProgress,
    QueueListener,
    QueueListing,
    SubmittedPrompt,
    number_after,
    texts_in,
)
from .hooks import QueueListeners

log = logging.getLogger("comfy_assets")

_PENDING = "pending"  # what the server says of nodes that wait


class ComfyUIQueue:
    """Implements ``ExecutionQueue`` over a ``PromptServer`` and its ``PromptQueue``.

    ``interrupt`` asks the prompt being executed to stop; ``registry`` answers the server's ``ProgressRegistry`` of the
    latest prompt, or None; ``history_room`` is how much of the server's history its page reads; ``finished`` is told
    of prompts once they are in that history.
    """

    def __init__(
        self,
        server: Any,
        interrupt: Callable[[], object],
        registry: Callable[[], Any],
        finished: PromptListener,
        history_room: int,
    ) -> None:
        self._server = server
        self._queue = server.prompt_queue
        self._interrupt = interrupt
        self._registry = registry
        self._after = finished
        self._history_room = history_room
        self._listeners = QueueListeners()
        # Only changed and asked with the queue's lock held.
        self._restoring = False
        self._is_removing = False
        self._is_wrapped = False

    def watch(self, listener: QueueListener) -> None:
        self._listeners.add(listener)
        self.wrap()

    def wrap(self) -> None:
        """Begin to hear of what happens; a second call does nothing."""
        if self._is_wrapped:
            return
        self._is_wrapped = True
        queue = self._queue
        queue.put = self._put_of(queue.put)
        queue.get = self._get_of(queue.get)
        queue.task_done = self._task_done_of(queue.task_done)
        queue.delete_queue_item = self._removing(queue.delete_queue_item)
        queue.wipe_queue = self._removing(queue.wipe_queue)
        self._server.send_sync = self._send_sync_of(self._server.send_sync)

    def _put_of(self, put: Callable[..., Any]) -> Callable[..., Any]:
        def put_and_tell(*args: Any, **kwargs: Any) -> Any:
            if self._restoring:
                return put(*args, **kwargs)
            args, kwargs = self._with_free_id(args, kwargs)
            prompt = _submitted(args[0] if args else kwargs.get("item"))
            if prompt is None:
                return put(*args, **kwargs)
            self._listeners.submitted(prompt)
            try:
                return put(*args, **kwargs)
            except BaseException:
                self._listeners.dropped([prompt.prompt_id])
                raise

        return put_and_tell

    def _with_free_id(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of ``put`` with another id for a prompt whose id is that of one in the queue.

        Requests are refused before; this is what another pack does. Two prompts of one id cannot be told apart.
        """
        item = args[0] if args else kwargs.get("item")
        if not isinstance(item, tuple) or len(item) < 2 or self._listeners.is_free(_id_of(item)):
            return args, kwargs
        item = (item[0], str(uuid.uuid4()), *item[2:])
        log.warning("A prompt came with the id of one that is in the queue. It is executed as %s.", item[1])
        return ((item, *args[1:]), kwargs) if args else (args, {**kwargs, "item": item})

    def _get_of(self, get: Callable[..., Any]) -> Callable[..., Any]:
        def get_and_tell(*args: Any, **kwargs: Any) -> Any:
            taken = get(*args, **kwargs)
            if taken is not None:
                self._listeners.started(_id_of(taken[0]))
            return taken

        return get_and_tell

    def _task_done_of(self, task_done: Callable[..., Any]) -> Callable[..., Any]:
        def task_done_and_tell(*args: Any, **kwargs: Any) -> Any:
            with self._queue.mutex:  # so that no interrupt comes between the two
                finished = _finished(self._queue, args, kwargs)
                if finished is not None:
                    self._listeners.finished(finished)
                answer = task_done(*args, **kwargs)
            if finished is not None:
                self._after(finished)
            return answer

        return task_done_and_tell

    def _removing(self, remove: Callable[..., Any]) -> Callable[..., Any]:
        def remove_and_tell(*args: Any, **kwargs: Any) -> Any:
            with self._queue.mutex:
                if self._is_removing:  # ComfyUI takes out the last one by wiping the queue
                    return remove(*args, **kwargs)
                before = [_id_of(item) for item in self._queue.queue]
                self._is_removing = True
                try:
                    answer = remove(*args, **kwargs)
                finally:
                    self._is_removing = False
                left = {_id_of(item) for item in self._queue.queue}
                self._listeners.dropped([prompt_id for prompt_id in before if prompt_id not in left])
            return answer

        return remove_and_tell

    def _send_sync_of(self, send_sync: Callable[..., Any]) -> Callable[..., Any]:
        def send_sync_and_look(*args: Any, **kwargs: Any) -> Any:
            answer = send_sync(*args, **kwargs)
            if args and args[0] == "executed":
                self._look(args[1] if len(args) > 1 else kwargs.get("data"))
            return answer

        return send_sync_and_look

    def _look(self, data: Any) -> None:
        """Take note of what a node has shown, if that is what a message says."""
        if not isinstance(data, Mapping) or not isinstance(data.get("output"), Mapping):
            return
        self._listeners.shown(str(data.get("prompt_id")), str(data.get("node")), data["output"])

    def listing(self) -> QueueListing:
        with self._queue.mutex:
            running = list(self._queue.currently_running.values())
            waiting = sorted(self._queue.queue, key=lambda item: (item[0], str(item[1])))
        return QueueListing(_all_submitted(running), _all_submitted(waiting))

    def progress(self, prompt_id: str) -> Mapping[str, NodeProgress]:
        registry = self._registry()  # read once: the next prompt gets another
        if registry is None or registry.prompt_id != prompt_id or not self._is_running(prompt_id):
            return {}
        return _begun(registry)

    def _is_running(self, prompt_id: str) -> bool:
        with self._queue.mutex:
            return any(_id_of(item) == prompt_id for item in self._queue.currently_running.values())

    def cancel(self, prompt_id: str) -> bool:
        with self._queue.mutex:
            if self._is_running(prompt_id):
                self._listeners.interrupting(prompt_id)
                self._interrupt()
                return True
            return bool(self._queue.delete_queue_item(lambda item: _id_of(item) == prompt_id))

    def clear(self) -> list[str]:
        with self._queue.mutex:
            waiting = [_id_of(item) for item in self._queue.queue]
            self._queue.wipe_queue()
        return waiting

    def restore(self, prompts: Iterable[SubmittedPrompt]) -> None:
        items = [self._item(prompt) for prompt in prompts]
        with self._queue.mutex:
            self._restoring = True
            try:
                for item in items:
                    self._queue.put(item)
            finally:
                self._restoring = False
            self._server.number = max(self._server.number, number_after(item[0] for item in items))

    def _item(self, prompt: SubmittedPrompt) -> tuple[Any, ...]:
        extra = {key: value for key, value in prompt.extra_data.items() if value != REDACTED}
        item = (prompt.number, prompt.prompt_id, dict(prompt.graph), extra, list(prompt.outputs))
        return (*item, {}) if _has_sensitive_part(self._queue) else item

    def history_room(self) -> int:
        return self._history_room

    def remember(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        with self._queue.mutex:
            self._queue.history = {**history, **self._queue.history}

    def forget(self, prompt_ids: Iterable[str] | None) -> None:
        if prompt_ids is None:
            self._queue.wipe_history()
            return
        for prompt_id in prompt_ids:
            self._queue.delete_history_item(prompt_id)

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        if unload_models:
            self._queue.set_flag("unload_models", True)
        if free_memory:
            self._queue.set_flag("free_memory", True)

    def announce(self) -> None:
        self._server.queue_updated()


def _id_of(item: Any) -> str:
    return str(item[1])


def _all_submitted(items: Iterable[Any]) -> list[SubmittedPrompt]:
    return [prompt for prompt in map(_submitted, items) if prompt is not None]


def _submitted(item: Any) -> SubmittedPrompt | None:
    """The prompt of a queue item: (number, id, graph, extra data, outputs), and on newer servers credentials."""
    try:
        number, prompt_id, graph, extra_data, outputs, *rest = item
        apart = rest[0] if rest and isinstance(rest[0], Mapping) else {}
        kept_with = {key: extra_data[key] for key in CREDENTIALS if key in extra_data}
        credentials = {**kept_with, **apart}
        return SubmittedPrompt(
            number=number,
            prompt_id=str(prompt_id),
            graph=graph,
            extra_data={**extra_data, **dict.fromkeys(credentials, REDACTED)},
            outputs=outputs,
            secrets=frozenset(filter(None, texts_in(credentials))),
        )
    except (TypeError, ValueError):
        log.exception("A prompt in the queue could not be recognized")
        return None


def _finished(queue: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinishedPrompt | None:
    """The prompt that a call of ``task_done(item_id, history_result, status, …)`` is about, while the queue runs it."""
    try:
        item_id = args[0] if args else kwargs["item_id"]
        result = args[1] if len(args) > 1 else kwargs["history_result"]
        status = args[2] if len(args) > 2 else kwargs.get("status")
        prompt_id = _id_of(queue.currently_running[item_id])
        return FinishedPrompt(
            prompt_id,
            _mapping(result.get("outputs")),
            _mapping(result.get("meta")),
            None if status is None else status._asdict(),
        )
    except (AttributeError, LookupError, TypeError):
        log.exception("A finished prompt could not be recognized")
        return None


def _begun(registry: Any) -> dict[str, NodeProgress]:
    """The nodes that do not wait any more. Another thread goes on meanwhile."""
    begun = {}
    for node_id, node in list(registry.nodes.items()):
        state = node["state"].value
        if state != _PENDING:
            shown_as = registry.dynprompt.get_display_node_id(node_id)
            begun[str(node_id)] = NodeProgress(node["value"], node["max"], state, str(shown_as))
    return begun


def _mapping(value: object) -> Mapping[str, Any]:
    """What is no mapping, as only a foreign pack would hand it over, tells nothing."""
    return value if isinstance(value, Mapping) else {}


def _has_sensitive_part(queue: Any) -> bool:
    """Whether items have a sixth part, for credentials: servers that do take it off in ``task_done``."""
    return "process_item" in inspect.signature(type(queue).task_done).parameters
