"""Shapes of ComfyUI's queue: its items, the arguments of ``task_done``, and the progress registry.

A new version of ComfyUI that changes one of them is followed here, and nowhere else. Anything may be malformed, as
other packs put items into the queue as well.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ..credentials import CREDENTIALS, REDACTED, texts_in
from .execution import FinishedPrompt, NodeProgress, SubmittedPrompt

log = logging.getLogger("comfy_assets")

_PENDING = "pending"  # the state of nodes that have not begun


def id_of(item: Any) -> str:
    """Return the prompt id of a queue item; empty if the item is malformed."""
    try:
        return str(item[1])
    except (TypeError, LookupError):
        return ""


def order_of(item: Any) -> tuple[Any, str]:
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
            None if status is None else status._asdict(),
        )
    except (AttributeError, LookupError, TypeError):
        log.exception("The arguments of task_done are malformed")
        return None


def progress_of(registry: Any) -> dict[str, NodeProgress]:
    """Return the progress of the nodes that have begun."""
    begun = {}
    # A copy of the items: the thread that executes the prompt goes on adding nodes.
    for node_id, node in list(registry.nodes.items()):
        state = node["state"].value
        if state != _PENDING:
            shown_as = registry.dynprompt.get_display_node_id(node_id)
            begun[str(node_id)] = NodeProgress(node["value"], node["max"], state, str(shown_as))
    return begun


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
