"""Prompts and settings that made a picture, from the documents in its file, of any program. Pure.

The graph that was executed says it best; then what another program stated; then the page's form of the graph, which
has nodes that were not executed, and a description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..models import Generation
from .decoding import decode
from .prompt_graph import generation_of_graph
from .saved_graph import executed_graph, saved_graph
from .tool_texts import is_parameters, of_description, of_json, of_parameters

_EMPTY = Generation()


def generation_of(documents: Mapping[str, bytes]) -> Generation:
    """Return the generation data in the documents of a file (JSON texts by key).

    Each document adds what the better ones leave open. Documents that are malformed or too large say nothing.
    """
    found = _EMPTY
    for key, read in READERS.items():
        if key in documents:
            found = _completed(found, read(decode(documents[key])))
    return found


def of_text(value: object) -> Generation:
    """Read ``parameters``: A1111's text, the JSON of another program, or a prompt alone."""
    if not isinstance(value, str):
        return of_json(value)
    return of_parameters(value) if is_parameters(value) else Generation(positive=value.strip())


def _of_prompt(value: object) -> Generation:
    graph = executed_graph(value)
    return generation_of_graph(graph) if graph else _EMPTY


def _of_workflow(value: object) -> Generation:
    graph = saved_graph(value)
    return generation_of_graph(graph) if graph else _EMPTY


def _of_description(value: object) -> Generation:
    return of_description(value) if isinstance(value, str) else _EMPTY


# The documents that say something, the best first.
READERS: dict[str, Callable[[Any], Generation]] = {
    "prompt": _of_prompt,
    "generation": of_json,
    "parameters": of_text,
    "workflow": _of_workflow,
    "description": _of_description,
}


def _completed(one: Generation, other: Generation) -> Generation:
    """Return the first with the members of the other that it leaves open; a prompt and its negative stay together."""
    if one == _EMPTY:
        return other
    members = {name: getattr(one, name) for name in Generation.__struct_fields__}
    for name, value in members.items():
        if value in ("", (), None) and not (name == "negative" and one.positive):
            members[name] = getattr(other, name)
    return Generation(**members)
