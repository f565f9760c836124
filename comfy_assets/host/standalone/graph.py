"""Graphs in API format: their links, the order of execution, and signatures of results. No I/O."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .nodes import Node, NodeRegistry
from .queue import Graph


@dataclass(frozen=True)
class NodeLink:
    """The output ``slot`` of the node ``source``."""

    source: str
    slot: int


@dataclass(frozen=True)
class GraphStep:
    """A node of a graph with the inputs that its type declares; others are ignored."""

    class_type: str
    literals: Mapping[str, Any]
    links: Mapping[str, NodeLink]


def as_link(value: object) -> NodeLink | None:
    """Parse ``["node id", slot]``; return None for anything else."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    source, slot = value
    if not isinstance(source, str) or not isinstance(slot, int) or isinstance(slot, bool):  # True is an int in Python
        return None
    return NodeLink(source, slot)


def declared_inputs(node: Node) -> dict[str, tuple[Any, Mapping[str, Any], bool]]:
    """Return the inputs that a graph may set: name -> (type, options, is required)."""
    groups = node.input_types()
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {}, group == "required")
        for group in ("required", "optional")
        for name, spec in groups.get(group, {}).items()
    }


def read_steps(graph: Graph, registry: NodeRegistry) -> dict[str, GraphStep]:
    """Parse the nodes of a graph. Every class type must be known."""
    return {node_id: _read_step(entry, registry) for node_id, entry in graph.items()}


def _read_step(entry: Mapping[str, Any], registry: NodeRegistry) -> GraphStep:
    class_type = entry["class_type"]
    given = entry.get("inputs", {})
    declared = declared_inputs(registry[class_type])
    links = {name: link for name in declared if (link := as_link(given.get(name))) is not None}
    literals = {name: given[name] for name in declared if name in given and name not in links}
    return GraphStep(class_type, literals, links)


def upstream(steps: Mapping[str, GraphStep], outputs: Iterable[str]) -> set[str]:
    """Return the nodes that the outputs depend on, and the outputs. Links to missing nodes are ignored."""
    needed: set[str] = set()
    waiting = [node_id for node_id in outputs if node_id in steps]
    while waiting:
        node_id = waiting.pop()
        if node_id not in needed:
            needed.add(node_id)
            waiting += [link.source for link in steps[node_id].links.values() if link.source in steps]
    return needed


def execution_order(steps: Mapping[str, GraphStep], outputs: Iterable[str], cached: Collection[str]) -> list[str]:
    """Return the nodes to execute, each after its sources, output by output. The graph must have no cycles.

    Sources of a cached node are left out; cached outputs are included, as their results are shown again.
    """
    order: dict[str, None] = {}
    # A stack, not recursion: a chain of nodes may be longer than Python's limit of frames.
    for output in outputs:
        waiting = [(output, False)]
        while waiting:
            node_id, sources_done = waiting.pop()
            if node_id in order:
                continue
            if sources_done or node_id in cached:
                order[node_id] = None
                continue
            waiting.append((node_id, True))
            sources = [link.source for link in steps[node_id].links.values()]
            # Reversed, so that the source of the first input is on top of the stack and runs first.
            waiting += [(source, False) for source in reversed(sources) if source not in cached]
    return list(order)


def sources_first(steps: Mapping[str, GraphStep]) -> Iterator[str]:
    """Yield the nodes, each after its sources, without nodes on or below a cycle or a link to a missing node."""
    sources = {node_id: {link.source for link in step.links.values()} for node_id, step in steps.items()}
    users: dict[str, list[str]] = {node_id: [] for node_id in steps}
    for node_id, above in sources.items():
        for source in above:
            users.setdefault(source, []).append(node_id)
    missing = {node_id: len(above) for node_id, above in sources.items()}
    ready = deque(node_id for node_id, count in missing.items() if count == 0)
    while ready:
        node_id = ready.popleft()
        yield node_id
        for user in users[node_id]:
            missing[user] -= 1
            if missing[user] == 0:
                ready.append(user)


def find_cycle(steps: Mapping[str, GraphStep]) -> list[str]:
    """Return the nodes of one cycle, each followed by one of its sources; [] if there is no cycle."""
    blocked = set(steps) - set(sources_first(steps))
    for start in sorted(blocked):  # sorted, so that equal graphs have equal errors
        path: list[str] = []
        # A blocked node is on a cycle or below one, so a walk up ends in a cycle or at a link to a missing node.
        node_id: str | None = start
        while node_id is not None and node_id not in path:
            path.append(node_id)
            above = (link.source for link in steps[node_id].links.values())
            node_id = next((source for source in above if source in blocked), None)
        if node_id is not None:
            return path[path.index(node_id) :]
    return []


def signatures(steps: Mapping[str, GraphStep], fingerprint: Callable[[GraphStep], str]) -> dict[str, str]:
    """Return a digest for each node of everything that its result depends on: equal digests, equal results.

    Nodes that cannot run have no digest.
    """
    known: dict[str, str] = {}
    for node_id in sources_first(steps):
        step = steps[node_id]
        links = {name: [known[link.source], link.slot] for name, link in step.links.items()}
        content = [step.class_type, step.literals, links, fingerprint(step)]
        # A value that is not JSON becomes a random text: its node's result is never reused.
        text = json.dumps(content, sort_keys=True, default=lambda _: secrets.token_hex())
        known[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return known
