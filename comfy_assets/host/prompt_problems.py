"""Reasons why a server cannot execute a prompt, found without executing it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from .execution import FinishedPrompt, SubmittedPrompt

# Servers copy a prompt recursively before they execute it, and ComfyUI compares its inputs recursively: with Python's
# limit of 1,000 frames both fail from about 300 levels on.
MAX_DEPTH = 100
MISSING_NODE_TYPE = "MissingNodeType"
TOO_DEEP = "PromptTooDeep"
INVALID = "InvalidPrompt"
_MAX_MESSAGE = 4000  # characters: a node may list thousands of allowed values
_MAX_NODES = 10


class PromptProblem(msgspec.Struct, frozen=True):
    """A reason why a prompt cannot be executed: ``kind`` is for programs; the node is the one at fault, if known."""

    kind: str
    message: str
    node_id: str = ""
    node_type: str = ""


class CheckedPrompt(msgspec.Struct, frozen=True):
    """A prompt with its executable outputs, or with its problem if it has none."""

    prompt: SubmittedPrompt
    problem: PromptProblem | None = None


CheckPrompts = Callable[[Sequence[SubmittedPrompt]], list[CheckedPrompt]]


def unchecked(prompts: Sequence[SubmittedPrompt]) -> list[CheckedPrompt]:
    """Return the prompts without checking them."""
    return [CheckedPrompt(prompt) for prompt in prompts]


def failed_prompt(prompt_id: str, problem: PromptProblem) -> FinishedPrompt:
    """Return the end of a prompt that was never executed, in the form of a node's error."""
    data = {
        "prompt_id": prompt_id,
        "node_id": problem.node_id,
        "node_type": problem.node_type,
        "executed": [],
        "exception_message": problem.message,
        "exception_type": problem.kind,
        "traceback": [],
        "current_inputs": {},
        "current_outputs": [],
    }
    status = {"status_str": "error", "completed": False, "messages": [["execution_error", data]]}
    return FinishedPrompt(prompt_id, {}, {}, status)


def is_deeper(value: object, limit: int) -> bool:
    """Return whether objects and lists are nested deeper than ``limit`` levels."""
    level = [value] if _is_container(value) else []
    for _ in range(limit):
        # By identity: a value that occurs many times in a level, or in itself, is visited once.
        children = {id(child): child for each in level for child in _children(each) if _is_container(child)}
        level = list(children.values())
        if not level:
            return False
    return bool(level)


def _is_container(value: object) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value


def depth_problem(graph: Any, extra_data: object = None) -> PromptProblem | None:
    """Return the problem of a graph that is nested too deeply to be copied, or is no graph at all."""
    if not isinstance(graph, Mapping):
        return PromptProblem(INVALID, "The prompt must be an object of nodes by their ids.")
    for node_id, node in graph.items():
        if is_deeper(node, MAX_DEPTH - 1):
            return PromptProblem(
                TOO_DEEP,
                f"{_named(node_id, node)} is nested more than {MAX_DEPTH} levels deep.",
                *_id_and_type(node_id, node),
            )
    if is_deeper(extra_data, MAX_DEPTH):
        return PromptProblem(TOO_DEEP, f"The prompt's extra_data is nested more than {MAX_DEPTH} levels deep.")
    return None


def type_problem(graph: Mapping[str, Any], is_known: Callable[[str], bool]) -> PromptProblem | None:
    """Return the problem of a graph with an unknown node type."""
    for node_id, node in graph.items():
        class_type = node.get("class_type") if isinstance(node, Mapping) else None
        if not isinstance(class_type, str) or not is_known(class_type):
            message = (
                f"{_named(node_id, node)}: the server has no node of this type."
                " The node pack that provides it is missing or could not be loaded."
            )
            return PromptProblem(MISSING_NODE_TYPE, message, *_id_and_type(node_id, node))
    return None


def _named(node_id: object, node: object) -> str:
    class_type = _id_and_type(node_id, node)[1]
    return f"Node {node_id} ({class_type})" if class_type else f"Node {node_id}"


def _id_and_type(node_id: object, node: object) -> tuple[str, str]:
    class_type = node.get("class_type") if isinstance(node, Mapping) else None
    return str(node_id), class_type if isinstance(class_type, str) else ""


def refusal(error: object, node_errors: object, graph: Mapping[str, Any]) -> PromptProblem:
    """Return the problem that the server's validation reports, with the first node at fault."""
    summary = error if isinstance(error, Mapping) else {}
    faults = (
        [(str(node_id), entry) for node_id, entry in node_errors.items()] if isinstance(node_errors, Mapping) else []
    )
    lines = [f"{summary.get('message') or 'The prompt is not valid'}."]
    lines += [_line(node_id, entry) for node_id, entry in faults[:_MAX_NODES]]
    if not faults and summary.get("details"):
        lines.append(str(summary["details"]))
    info = summary.get("extra_info")
    node_id = faults[0][0] if faults else str((info if isinstance(info, Mapping) else {}).get("node_id") or "")
    node = graph.get(node_id)
    node_type = node.get("class_type") if isinstance(node, Mapping) else ""
    return PromptProblem(INVALID, "\n".join(lines)[:_MAX_MESSAGE], node_id, str(node_type or ""))


def _line(node_id: str, entry: Any) -> str:
    reasons = entry.get("errors") if isinstance(entry, Mapping) else None
    texts = [f"{each.get('message')}: {each.get('details')}" for each in reasons or [] if isinstance(each, Mapping)]
    class_type = entry.get("class_type") if isinstance(entry, Mapping) else ""
    return f"Node {node_id} ({class_type}): {'; '.join(texts)}"


def as_sent(graph: Mapping[str, Any]) -> dict[str, Any]:
    """Return the graph as a client sends it, with lists that are no links wrapped as ``{"__value__": [...]}``.

    Servers unwrap such lists during validation, and would reject the result in a second one. Nodes and inputs are
    copied, since validation changes them.
    """
    return {node_id: _node_as_sent(node) for node_id, node in graph.items()}


def _node_as_sent(node: Any) -> Any:
    if not isinstance(node, Mapping) or not isinstance(node.get("inputs"), Mapping):
        return node
    inputs = {
        name: {"__value__": value} if isinstance(value, list) and not _is_link(value) else value
        for name, value in node["inputs"].items()
    }
    return {**node, "inputs": inputs}


def _is_link(value: list[Any]) -> bool:
    return len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], (int, float))
