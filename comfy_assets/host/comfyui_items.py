"""Items of ComfyUI's queue: their shapes, and access to them under the queue's lock.

The arguments of ``task_done`` are read here too. A new version of ComfyUI that changes one of these shapes is followed
here, and nowhere else. Anything may be malformed, as other packs put items into the queue as well.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..credentials import CREDENTIALS, REDACTED, texts_in
from .execution import FinishedPrompt, SubmittedPrompt

log = logging.getLogger("comfy_assets")


def id_of(item: Any) -> str:
    """Return the prompt id of a queue item; empty if the item is malformed."""
    try:
        return str(item[1])
    except (TypeError, LookupError):
        return ""


def _order_of(item: Any) -> tuple[Any, str]:
    """Return the sort key of the server's order of execution."""
    return item[0], str(item[1])


def prompts_in(items: Iterable[Any]) -> list[SubmittedPrompt]:
    """Return the prompts of queue items, without malformed ones."""
    return [prompt for prompt in map(prompt_of, items) if prompt is not None]


def prompt_of(item: Any) -> SubmittedPrompt | None:
    """Return the prompt of a queue item; None if it is malformed.

    An item is (number, id, graph, extra data, outputs), and on newer servers a sixth part with credentials, which older
    ones keep in the extra data.
    """
    try:
        number, prompt_id, graph, extra_data, outputs, *rest = item  # later versions may add more parts
        apart = rest[0] if rest and isinstance(rest[0], Mapping) else {}
        kept_with = {key: extra_data[key] for key in CREDENTIALS if key in extra_data}
        credentials = {**kept_with, **apart}
        return SubmittedPrompt(
            number=number,
            prompt_id=str(prompt_id),
            graph=graph,
            extra_data={**extra_data, **dict.fromkeys(credentials, REDACTED)},
            outputs=outputs,
            secrets=frozenset(filter(None, texts_in(credentials))) if credentials else frozenset(),
        )
    except (TypeError, ValueError):
        log.exception("An item of the queue is malformed")
        return None


def finished_prompt(queue: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinishedPrompt | None:
    """Return the prompt that ``task_done(item_id, history_result, status, …)`` ends; None if it is malformed.

    The prompt is still among those that the queue runs.
    """
    try:
        item_id = args[0] if args else kwargs["item_id"]
        result = args[1] if len(args) > 1 else kwargs["history_result"]
        status = args[2] if len(args) > 2 else kwargs.get("status")
        prompt_id = id_of(queue.currently_running[item_id])
        return FinishedPrompt(
            prompt_id,
            as_mapping(result.get("outputs")),
            as_mapping(result.get("meta")),
            None if status is None else status._asdict(),  # a named tuple of the server
        )
    except (AttributeError, LookupError, TypeError):
        log.exception("The arguments of task_done are malformed")
        return None


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def has_sensitive_part(queue: Any) -> bool:
    """Return whether items have a sixth part, for credentials: such servers remove it in ``task_done``.

    A pack may hide the method's parameters behind ``*args``. Then items get the part: older servers ignore it, while
    newer ones crash without it.
    """
    parameters = inspect.signature(type(queue).task_done).parameters.values()
    is_hidden = any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters)
    return is_hidden or any(each.name == "process_item" for each in parameters)


def item_of(prompt: SubmittedPrompt, queue: Any) -> tuple[Any, ...]:
    """Return the queue item of a prompt of an earlier run, without redacted credentials."""
    extra = {key: value for key, value in prompt.extra_data.items() if value != REDACTED}
    item = (prompt.number, prompt.prompt_id, dict(prompt.graph), extra, list(prompt.outputs))
    return (*item, {}) if has_sensitive_part(queue) else item


class QueueItems:
    """Reads and removes the items of a ``PromptQueue``, each time under its lock."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def present(self) -> set[str]:
        """Return the prompt ids of waiting and running items."""
        with self._queue.mutex:
            items = (*self._queue.queue, *self._queue.currently_running.values())
        return {id_of(item) for item in items}

    def held(self) -> set[Any]:
        """Return the item ids of running items."""
        with self._queue.mutex:
            return set(self._queue.currently_running)

    def running(self) -> list[tuple[Any, Any]]:
        """Return the running items, each with its item id."""
        with self._queue.mutex:
            return list(self._queue.currently_running.items())

    def waiting(self) -> list[Any]:
        """Return the waiting items, the next first."""
        with self._queue.mutex:
            items = list(self._queue.queue)
        return sorted(items, key=_order_of)

    def remove_running(self, item_ids: Iterable[Any]) -> list[Any]:
        """Remove running items from the server's list; return those that were in it."""
        with self._queue.mutex:
            running = self._queue.currently_running
            return [running.pop(item_id) for item_id in item_ids if item_id in running]

    def remove_waiting(self, prompt_ids: Collection[str]) -> set[str]:
        """Remove the waiting items of prompts; return the ids of those that had any."""
        with self._queue.mutex:
            items = list(self._queue.queue)
            gone = {prompt_id for prompt_id in map(id_of, items) if prompt_id in prompt_ids}
            if gone:
                # A sorted list is a valid heap. The key avoids comparing graphs, which raises TypeError.
                self._queue.queue[:] = sorted((item for item in items if id_of(item) not in gone), key=_order_of)
        return gone

    def finished(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FinishedPrompt | None:
        """Return the prompt that a call of ``task_done`` with these arguments ends; None if they are malformed."""
        with self._queue.mutex:
            return finished_prompt(self._queue, args, kwargs)

    def history_of(self, prompt_id: str) -> Mapping[str, Any]:
        """Return the prompt's entry of the history, an empty one if there is none."""
        with self._queue.mutex:
            return as_mapping(self._queue.history.get(prompt_id))

    def add_history(self, history: Mapping[str, Mapping[str, Any]]) -> None:
        """Put entries before those of the history, which win where both have one."""
        with self._queue.mutex:
            self._queue.history = {**history, **self._queue.history}
