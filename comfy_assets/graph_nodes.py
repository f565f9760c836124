"""Walk the nodes of workflow graphs, in the format that the page saves and in the one that the server executes. Pure.

Graphs come from strangers: members of a wrong type are skipped, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def is_saved_format(graph: object) -> bool:
    """Return whether a graph is in the format that the page saves; the other one has node ids as its keys."""
    return isinstance(graph, dict) and isinstance(graph.get("nodes"), list)


def saved_graphs(workflow: object) -> Iterator[dict[str, Any]]:
    """Yield the graph of a saved workflow, then those of its subgraphs."""
    if not isinstance(workflow, dict):
        return
    yield workflow
    # Subgraphs are not nested in one another: each is defined at the top, and used by a node whose type is its id.
    definitions = workflow.get("definitions")
    if isinstance(definitions, dict):
        yield from _objects_in(definitions.get("subgraphs"))


def saved_nodes(graph: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of one graph of a saved workflow."""
    yield from _objects_in(graph.get("nodes"))


def prompt_nodes(prompt: object) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the id, node and inputs of each node of a graph in the format that the server executes."""
    for node_id, node in prompt.items() if isinstance(prompt, dict) else ():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(inputs, dict):
            yield node_id, node, inputs


def _objects_in(value: object) -> Iterator[dict[str, Any]]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in items if isinstance(item, dict))
