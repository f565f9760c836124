"""``POST /prompt``: validation of graphs with ComfyUI's error format, and their submission to the queue."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from ...credentials import CREDENTIALS, REDACTED, take_out, texts_in
from ..execution import RewritePrompt, SubmittedPrompt
from ..prompt_problems import CheckedPrompt, CheckPrompts, as_sent, depth_problem, refusal, type_problem
from .graph import GraphStep, NodeLink, as_link, declared_inputs, find_cycle, read_steps, upstream
from .http import Refusal, RouteTable, json_response, read_object, text_or_none
from .nodes import Node, NodeRegistry
from .queue import Graph, PromptQueue, QueuedPrompt


class PromptRoute:
    """The route ``POST /prompt``: returns the prompt's id, or the problems of the graph."""

    def __init__(self, registry: NodeRegistry, queue: PromptQueue, rewrite: RewritePrompt) -> None:
        self._registry = registry
        self._queue = queue
        self._rewrite = rewrite

    def routes(self) -> RouteTable:
        return [("POST", "/prompt", self._submit)]

    async def _submit(self, request: web.Request) -> web.Response:
        try:
            body = await asyncio.to_thread(self._rewrite, await read_object(request))
            number = self._number(body)
            prompt_id = text_or_none(body, "prompt_id")
            targets = _targets(body)
            # In a thread: it goes through the whole of a workflow, which may have 300,000 values.
            extra_data, secrets = await asyncio.to_thread(_extra_data, body)
        except Refusal as error:
            return _refuse(ValidationProblem("invalid_prompt", error.text))
        if "prompt" not in body:
            return _refuse(ValidationProblem("no_prompt", "The request has no prompt"))
        if prompt_id is not None and not is_canonical_uuid(prompt_id):
            details = "Write it in lower case with hyphens, or leave it out to be given one."
            return _refuse(ValidationProblem("invalid_prompt_id", "prompt_id must be a UUID", details))
        result = await asyncio.to_thread(validate, body["prompt"], self._registry, targets)
        if result.error is not None:
            return _refuse(result.error, result.node_errors)
        prompt_id = prompt_id or str(uuid.uuid4())
        prompt = QueuedPrompt(number, prompt_id, result.graph, extra_data, result.outputs, secrets)
        queued = await asyncio.to_thread(self._queue.put, prompt)
        return json_response({"prompt_id": queued.prompt_id, "number": number, "node_errors": result.node_errors})

    def _number(self, body: Mapping[str, Any]) -> float:
        """Return the number in the queue: the client's, or one behind (``front``: before) all pending prompts."""
        number = body.get("number")
        if number is None:
            return self._queue.number_for(front=bool(body.get("front")))
        # True and false would be 1 and 0, as Python counts them among its integers.
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise Refusal("number must be a number.")
        return number


def is_canonical_uuid(text: str) -> bool:
    """Return whether a text is a UUID in the form of ``str(uuid)``: ids are compared as texts."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _targets(body: Mapping[str, Any]) -> list[str] | None:
    """Return the nodes to execute, None for all outputs. Anything but a string names no node. Raise Refusal."""
    value = body.get("partial_execution_targets")
    if not isinstance(value, list | None):
        raise Refusal("partial_execution_targets must be a list.")
    return None if value is None else [item for item in value if isinstance(item, str)]


def _extra_data(body: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the extra data of a prompt without credentials, which no node here needs, and the credentials."""
    extra = body.get("extra_data") or {}
    if not isinstance(extra, dict):
        raise Refusal("extra_data must be an object.")
    # By name first: a credential that ComfyUI declares may have any form.
    known = {key: extra[key] for key in CREDENTIALS if key in extra}
    redacted, others = take_out({**extra, **dict.fromkeys(known, REDACTED)})
    kept = dict(redacted)
    client_id = text_or_none(body, "client_id")
    if client_id is not None:
        kept["client_id"] = client_id
    kept["create_time"] = int(time.time() * 1000)
    return kept, others | frozenset(filter(None, texts_in(known)))


def _refuse(problem: ValidationProblem, node_errors: Mapping[str, Any] | None = None) -> web.Response:
    return json_response({"error": problem.as_json(), "node_errors": node_errors or {}}, status=400)


MAX_CHOICES_SHOWN = 20  # as in ComfyUI: longer lists, such as models, would fill the message
WIDGET_TYPES = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@dataclass(frozen=True)
class ValidationProblem:
    """A problem of a prompt: ``type`` is for programs, the rest for people."""

    type: str
    message: str
    details: str = ""
    extra_info: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "message": self.message,
            "details": self.details,
            "extra_info": dict(self.extra_info),
        }


@dataclass(frozen=True)
class ValidationResult:
    """The executable part of a prompt: the graph with values of the declared types, and the valid outputs.

    ``error`` is set if there is no valid output. ``node_errors`` may exist in both cases: valid outputs run alone.
    """

    graph: Graph = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    error: ValidationProblem | None = None
    node_errors: Mapping[str, Any] = field(default_factory=dict)


def prompt_check(registry: NodeRegistry) -> CheckPrompts:
    """Return the check for prompts of an earlier run: the same validation as for new ones."""

    def check(prompts: Sequence[SubmittedPrompt]) -> list[CheckedPrompt]:
        return [_checked(prompt, registry) for prompt in prompts]

    return check


def _checked(prompt: SubmittedPrompt, registry: NodeRegistry) -> CheckedPrompt:
    problem = depth_problem(prompt.graph, prompt.extra_data) or type_problem(
        prompt.graph, lambda each: registry.get(each) is not None
    )
    if problem is not None:
        return CheckedPrompt(prompt, problem)
    result = validate(as_sent(prompt.graph), registry, list(prompt.outputs))
    if result.error is not None:
        return CheckedPrompt(prompt, refusal(result.error.as_json(), result.node_errors, prompt.graph))
    return CheckedPrompt(replace(prompt, graph=result.graph, outputs=result.outputs))


def validate(graph: object, registry: NodeRegistry, targets: Collection[str] | None) -> ValidationResult:
    """Validate a graph; ``targets`` limits it to these output nodes."""
    problem = _check_shape(graph, registry)
    if problem is not None or not isinstance(graph, dict):
        return ValidationResult(error=problem)
    outputs = [
        node_id
        for node_id, entry in graph.items()
        if registry[entry["class_type"]].output_node and (targets is None or node_id in targets)
    ]
    if not outputs:
        return ValidationResult(
            error=ValidationProblem("prompt_no_outputs", "The prompt has no output node to execute")
        )
    return _validate_outputs(graph, outputs, registry)


def _check_shape(graph: object, registry: NodeRegistry) -> ValidationProblem | None:
    """Return the problem that makes the graph unreadable, None if there is none."""
    if not isinstance(graph, dict):
        return ValidationProblem("invalid_prompt", "The prompt must be an object of nodes by their ids")
    for node_id, entry in graph.items():
        problem = _check_entry(node_id, entry, registry)
        if problem is not None:
            return problem
    return None


def _check_entry(node_id: str, entry: object, registry: NodeRegistry) -> ValidationProblem | None:
    place = f"Node ID '#{node_id}'"
    if not isinstance(entry, dict) or not isinstance(entry.get("inputs", {}), dict):
        return ValidationProblem("invalid_prompt", "A node must be an object with class_type and inputs", place)
    class_type = entry.get("class_type")
    if isinstance(class_type, str) and registry.get(class_type) is not None:
        return None
    meta = entry.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    info = {"node_id": node_id, "class_type": class_type, "node_title": title or class_type}
    if class_type is None:
        return ValidationProblem("missing_node_type", f"Node '{title or node_id}' has no class_type", place, info)
    return ValidationProblem("missing_node_type", f"Node '{title or class_type}' has an unknown type", place, info)


def _validate_outputs(graph: Graph, outputs: Sequence[str], registry: NodeRegistry) -> ValidationResult:
    # Copies: values are converted in them, while the decoded body may still be in use by the plugin.
    typed = {node_id: {**entry, "inputs": dict(entry.get("inputs", {}))} for node_id, entry in graph.items()}
    _unwrap_values(typed)
    steps = read_steps(typed, registry)
    needed = upstream(steps, outputs)
    problems = {
        node_id: _check_node(typed, node_id, steps[node_id], registry) for node_id in graph if node_id in needed
    }
    _add_cycles(steps, problems)
    above = {output: upstream(steps, [output]) for output in outputs}
    sound = tuple(output for output in outputs if not any(problems[node_id] for node_id in above[output]))
    node_errors = {
        node_id: {
            "errors": [problem.as_json() for problem in found],
            "dependent_outputs": [output for output in outputs if node_id in above[output]],
            "class_type": steps[node_id].class_type,
        }
        for node_id, found in problems.items()
        if found
    }
    error = None if sound else _summary(found for found in problems.values())
    return ValidationResult(typed, sound, error, node_errors)


def _summary(problems: Iterable[Iterable[ValidationProblem]]) -> ValidationProblem:
    lines = [f"{each.message}: {each.details}" for found in problems for each in found]
    message = "The prompt's outputs did not pass validation"
    # Each line once: a batch of equal nodes has equal problems.
    return ValidationProblem("prompt_outputs_failed_validation", message, "\n".join(dict.fromkeys(lines)))


def _unwrap_values(graph: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace ``{"__value__": x}`` by x: the form in which clients send a list that is not a link.

    Such a list becomes a tuple, which distinguishes it from a link.
    """
    for entry in graph.values():
        inputs = entry["inputs"]
        for name, value in inputs.items():
            if isinstance(value, dict) and "__value__" in value:
                unwrapped = value["__value__"]
                inputs[name] = tuple(unwrapped) if isinstance(unwrapped, list) else unwrapped


def _add_cycles(steps: Mapping[str, GraphStep], problems: Mapping[str, list[ValidationProblem]]) -> None:
    """Add every cycle among the needed nodes as a problem of all of its nodes."""
    rest = {node_id: steps[node_id] for node_id in problems}
    # A cycle's nodes are removed before the next search, so that each cycle is reported once.
    while cycle := find_cycle(rest):
        path = " -> ".join(f"{node_id} ({rest[node_id].class_type})" for node_id in [*cycle, cycle[0]])
        for node_id in cycle:
            info = {"node_id": node_id, "cycle_nodes": cycle}
            message = "The nodes depend on each other in a circle"
            problems[node_id].append(ValidationProblem("dependency_cycle", message, path, info))
            del rest[node_id]


def _check_node(graph: Graph, node_id: str, step: GraphStep, registry: NodeRegistry) -> list[ValidationProblem]:
    """Return the problems of a node's inputs. Converts the values in ``graph`` to the declared types."""
    node = registry[step.class_type]
    inputs = graph[node_id]["inputs"]
    problems = []
    for name, (kind, options, required) in declared_inputs(node).items():
        if name not in inputs:
            if required:
                problems.append(_problem("required_input_missing", "A required input is missing", name))
            continue
        link = step.links.get(name)
        if link is not None or isinstance(inputs[name], list):
            problem = _check_link(graph, name, kind, options, inputs[name], registry)
        else:
            inputs[name], problem = _check_value(node, name, kind, options, inputs[name])
        if problem is not None:
            problems.append(problem)
    return problems + _own_problems(node, {name: inputs[name] for name in step.literals})


def _own_problems(node: Node, literals: Mapping[str, Any]) -> list[ValidationProblem]:
    """Return the problems that the node itself finds in its values."""
    try:
        found = node.check(literals)
    except (ValueError, TypeError, LookupError, OSError) as error:
        info = {"exception_type": type(error).__name__, "traceback": []}
        return [ValidationProblem("exception_during_validation", "The node could not be checked", str(error), info)]
    message = "The node does not accept the value"
    return [
        ValidationProblem("custom_validation_failed", message, f"{name} - {reason}", {"input_name": name})
        for name, reason in found.items()
    ]


def _problem(kind: str, message: str, name: str, details: str = "", **info: Any) -> ValidationProblem:
    return ValidationProblem(kind, message, details or name, {"input_name": name, **info})


def _check_link(
    graph: Graph, name: str, kind: Any, options: Mapping[str, Any], value: Any, registry: NodeRegistry
) -> ValidationProblem | None:
    config = [kind, options]
    link = as_link(value)
    if link is None:
        message = "A link must be a list of a node id and the number of an output"
        return _problem("bad_linked_input", message, name, input_config=config, received_value=value)
    offered = _offered_type(graph, link, registry)
    if offered is None:
        message = "A link must lead to an output that exists"
        return _problem("bad_linked_input", message, name, input_config=config, received_value=value)
    if not _fits(offered, kind):
        message = "The linked output is of another type than the input"
        details = f"{name}, received_type({offered}) mismatch input_type({kind})"
        info = {"input_config": config, "received_type": offered, "linked_node": value}
        return _problem("return_type_mismatch", message, name, details, **info)
    return None


def _offered_type(graph: Graph, link: NodeLink, registry: NodeRegistry) -> str | None:
    if link.source not in graph:
        return None
    returns = registry[graph[link.source]["class_type"]].returns
    # Checked by hand: a negative index would count from the end.
    return returns[link.slot] if 0 <= link.slot < len(returns) else None


def _fits(offered: str, wanted: Any) -> bool:
    """Return whether an output type fits an input type: words separated by commas, ``*`` for any."""
    if not isinstance(wanted, str):
        return False
    offers, wants = ({word.strip() for word in text.split(",")} for text in (offered, wanted))
    return "*" in offers | wants or bool(offers & wants)


def _check_value(
    node: Node, name: str, kind: Any, options: Mapping[str, Any], value: Any
) -> tuple[Any, ValidationProblem | None]:
    """Return the value in the declared type, and its problem."""
    config = [kind, options]
    try:
        typed = _convert(kind, value)
    except (ValueError, TypeError, OverflowError) as error:
        message = f"The value cannot be read as {kind}"
        info = {"input_config": config, "received_value": value, "exception_message": str(error)}
        return value, _problem("invalid_input_type", message, name, f"{name}, {value!s:.200}, {error}", **info)
    if isinstance(kind, list) or kind == "COMBO":
        choices = kind if isinstance(kind, list) else options.get("options", [])
        open_choice = name in node.open_choices
        return typed, None if open_choice else _check_choice(name, choices, config, typed)
    return typed, _check_range(name, options, config, typed)


def _convert(kind: Any, value: Any) -> Any:
    """Convert a value to the declared type. Raise ValueError, TypeError or OverflowError."""
    if kind in ("COMBO", "*") or isinstance(kind, list):
        return value
    if kind not in WIDGET_TYPES:
        raise TypeError("such an input must be linked to another node's output")
    typed = WIDGET_TYPES[kind](value)
    if isinstance(typed, float) and not math.isfinite(typed):
        raise ValueError("the number is not finite")
    return typed


def _check_range(name: str, options: Mapping[str, Any], config: object, value: Any) -> ValidationProblem | None:
    info = {"input_config": config, "received_value": value}
    if "min" in options and value < options["min"]:
        message = f"Value {value} is smaller than the minimum {options['min']}"
        return _problem("value_smaller_than_min", message, name, **info)
    if "max" in options and value > options["max"]:
        message = f"Value {value} is bigger than the maximum {options['max']}"
        return _problem("value_bigger_than_max", message, name, **info)
    return None


def _check_choice(name: str, choices: Sequence[Any], config: object, value: Any) -> ValidationProblem | None:
    if value in choices:
        return None
    few = len(choices) <= MAX_CHOICES_SHOWN
    shown = str(list(choices)) if few else f"(list of length {len(choices)})"
    # The long list is left out of the data as well, as ComfyUI does.
    info = {"input_config": config if few else None, "received_value": value}
    details = f"{name}: {value!r:.200} not in {shown}"
    return _problem("value_not_in_list", "The value is not one of the choices", name, details, **info)
