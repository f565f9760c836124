"""Graphs in API format: what is a link, what must run and in which order, and when a result is still good."""

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
class Link:
    """The output ``slot`` of the node ``source``."""

    source: str
    slot: int


@dataclass(frozen=True)
class Step:
    """A node of a graph, with the inputs that its kind declares; others are ignored."""

    class_type: str
    literals: Mapping[str, Any]
    links: Mapping[str, Link]


def as_link(value: object) -> Link | None:
    """``["node id", slot]`` as a Link; None for anything else."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    source, slot = value
    if not isinstance(source, str) or not isinstance(slot, int) or isinstance(slot, bool):
        return None
    return Link(source, slot)


def declared_inputs(node: Node) -> dict[str, tuple[Any, Mapping[str, Any], bool]]:
    """The inputs a graph may set: name -> (type, options, whether it is required)."""
    groups = node.input_types()
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {}, group == "required")
        for group in ("required", "optional")
        for name, spec in groups.get(group, {}).items()
    }


def read_steps(graph: Graph, registry: NodeRegistry) -> dict[str, Step]:
    """The nodes of a graph whose every node has a known class type."""
    return {node_id: _read_step(entry, registry) for node_id, entry in graph.items()}


def _read_step(entry: Mapping[str, Any], registry: NodeRegistry) -> Step:
    class_type = entry["class_type"]
    given = entry.get("inputs", {})
    declared = declared_inputs(registry[class_type])
    links = {name: link for name in declared if (link := as_link(given.get(name))) is not None}
    literals = {name: given[name] for name in declared if name in given and name not in links}
    return Step(class_type, literals, links)


def upstream(steps: Mapping[str, Step], outputs: Iterable[str]) -> set[str]:
    """The nodes that the outputs depend on, themselves included. Links to nothing are passed over."""
    needed: set[str] = set()
    waiting = [node_id for node_id in outputs if node_id in steps]
    while waiting:
        node_id = waiting.pop()
        if node_id not in needed:
            needed.add(node_id)
            waiting += [link.source for link in steps[node_id].links.values() if link.source in steps]
    return needed


def execution_order(steps: Mapping[str, Step], outputs: Iterable[str], cached: Collection[str]) -> list[str]:
    """What to run, each node after those it needs, output by output.

    Nothing above a cached node is needed; cached outputs are in the list, to be shown. No cycles.
    """
    order: dict[str, None] = {}
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
            waiting += [(source, False) for source in reversed(sources) if source not in cached]
    return list(order)


def sources_first(steps: Mapping[str, Step]) -> Iterator[str]:
    """The nodes, each after its sources. Those on or below a cycle or a link to nothing never come."""
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


def find_cycle(steps: Mapping[str, Step]) -> list[str]:
    """The nodes of one cycle in the order of their dependence; empty when there is none."""
    blocked = set(steps) - set(sources_first(steps))
    for start in sorted(blocked):
        path: list[str] = []
        node_id: str | None = start
        while node_id is not None and node_id not in path:
            path.append(node_id)
            above = (link.source for link in steps[node_id].links.values())
            node_id = next((source for source in above if source in blocked), None)
        if node_id is not None:
            return path[path.index(node_id) :]
    return []


def signatures(steps: Mapping[str, Step], fingerprint: Callable[[Step], str]) -> dict[str, str]:
    """A digest for each node of all that its result depends on: equal digests, equal results.

    Nodes that can never run have none.
    """
    known: dict[str, str] = {}
    for node_id in sources_first(steps):
        step = steps[node_id]
        links = {name: [known[link.source], link.slot] for name, link in step.links.items()}
        content = [step.class_type, step.literals, links, fingerprint(step)]
        text = json.dumps(content, sort_keys=True, default=lambda _: secrets.token_hex())
        known[node_id] = hashlib.sha256(text.encode()).hexdigest()
    return known
