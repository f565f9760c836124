"""The progress of a job as one number: how many of the nodes that its outputs need are done. No I/O.

A server executes only what the targets need, and reuses cached results. A cached node counts as done, and so does
everything that only cached nodes need. The node that runs counts by its steps.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

_FINISHED, _RUNNING = "finished", "running"
_BEGUN = (_RUNNING, _FINISHED, "error")
_MAX_NAME = 200  # characters of a node's title in a message


class NodeProgress(msgspec.Struct, frozen=True):
    """Progress of a node that has begun: ``value`` of ``max``; ``state`` is "running", "finished" or "error".

    ``display_node_id`` is the node of the submitted graph that shows the progress, for nodes created by an expansion.
    """

    value: float
    max: float
    state: str
    display_node_id: str


class ProgressSnapshot(msgspec.Struct, frozen=True):
    """The progress of a job: ``value`` from 0 to 1, and the nodes that are done of all that it needs.

    ``step`` of ``steps`` is the progress of the current node, None if it reports none. ``message`` is for people.
    """

    value: float
    nodes_done: int
    nodes_total: int
    current_node: str | None = None
    current_node_class: str | None = None
    step: int | None = None
    steps: int | None = None
    message: str | None = None


class ProgressMeter:
    """Turns what a server reports of nodes into snapshots. The value of a later snapshot is never smaller.

    ``targets`` are the output nodes to execute; the nodes that the graph lacks are ignored. Thread-safe.
    """

    def __init__(self, graph: Mapping[str, Any], targets: Iterable[str]) -> None:
        self._graph = graph
        self._targets = [target for target in targets if target in graph]
        self._needed = _upstream(graph, self._targets, ()) or set(graph)
        self._to_run: set[str] | None = None  # unknown until the server tells the cached nodes
        self._done: set[str] = set()
        self._best = 0.0
        self._lock = threading.Lock()

    def read(self, nodes: Mapping[str, Any], cached: Sequence[str] | None) -> ProgressSnapshot:
        """Return the progress; ``nodes`` are the server's entries of begun nodes by id, ``cached`` None if not told."""
        entries = [(node_id, entry) for node_id, entry in list(nodes.items()) if isinstance(entry, Mapping)]
        with self._lock:
            if cached is not None and self._to_run is None:
                self._to_run = _upstream(self._graph, self._targets, set(cached)) - set(cached)
                self._done |= self._needed - self._to_run
            self._done.update(self._needed & {node_id for node_id, e in entries if e.get("state") == _FINISHED})
            current = _current(entries)
            share = _share(current[1]) if current is not None and current[0] not in self._done else 0.0
            total = len(self._needed)
            value = min((len(self._done) + share) / total, 1.0) if total else 0.0
            self._best = max(self._best, value)
            return self._snapshot(self._best, len(self._done), current)

    def completed(self) -> ProgressSnapshot:
        """Return the progress of a job that has succeeded: all of its nodes are done, run or not."""
        with self._lock:
            self._best = 1.0
            self._done = set(self._needed)
            return self._snapshot(1.0, len(self._needed), None)

    def _snapshot(self, value: float, done: int, current: tuple[str, Mapping[str, Any]] | None) -> ProgressSnapshot:
        total = len(self._needed)
        if current is None:
            return ProgressSnapshot(value, done, total)
        shown_as = str(current[1].get("display_node_id") or current[0])
        name = _class_of(self._graph.get(shown_as) or self._graph.get(current[0]))
        step, steps = _steps(current[1])
        message = name if name is None or steps is None else f"{name} {step}/{steps}"
        return ProgressSnapshot(value, done, total, shown_as, name, step, steps, message)


def begun_nodes(nodes: Mapping[str, Any]) -> dict[str, NodeProgress]:
    """Return the progress in a server's entries of nodes by id, without entries that are not as they should be."""
    begun = {}
    # A copy: the thread that executes the prompt may add nodes meanwhile.
    for node_id, entry in list(nodes.items()):
        if not isinstance(entry, Mapping) or entry.get("state") not in _BEGUN:
            continue
        if (numbers := _finite(entry)) is not None:
            shown_as = str(entry.get("display_node_id") or node_id)
            begun[node_id] = NodeProgress(*numbers, entry["state"], shown_as)
    return begun


def _upstream(graph: Mapping[str, Any], targets: Iterable[str], stop_at: Collection[str]) -> set[str]:
    """Return the targets and all nodes that they need, without what only nodes of ``stop_at`` need."""
    found = set(targets)
    waiting = [node_id for node_id in found if node_id not in stop_at]
    while waiting:
        for source in _sources(graph[waiting.pop()]):
            if source in graph and source not in found:
                found.add(source)
                if source not in stop_at:
                    waiting.append(source)
    return found


def _sources(node: Any) -> Iterator[str]:
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    for value in inputs.values() if isinstance(inputs, Mapping) else ():
        if isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[0], str):
            yield value[0]


def _current(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the node that began last of those that run."""
    return next((entry for entry in reversed(entries) if entry[1].get("state") == _RUNNING), None)


def _finite(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the value and the maximum of a node's progress; None if they are not finite numbers."""
    value, most = entry.get("value"), entry.get("max")
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in (value, most)):
        return None
    try:
        found = float(value), float(most)  # type: ignore[arg-type]
    except OverflowError:  # an integer beyond any float
        return None
    return found if all(map(math.isfinite, found)) else None


def _numbers(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the value and the maximum of a node's progress; None if no share can be told from them."""
    found = _finite(entry)
    return found if found is not None and found[1] > 0 and found[0] >= 0 else None


def _share(entry: Mapping[str, Any]) -> float:
    """Return how much of a node is done, from 0 to less than 1: it is not done before the server says so."""
    numbers = _numbers(entry)
    return min(numbers[0] / numbers[1], 0.999) if numbers is not None else 0.0


def _steps(entry: Mapping[str, Any]) -> tuple[int | None, int | None]:
    # A node that reports no steps has 0 of 1.
    numbers = _numbers(entry)
    if numbers is None or numbers[1] <= 1 or numbers[1] >= 1 << 53:
        return None, None
    return int(min(numbers)), int(numbers[1])


def _class_of(node: Any) -> str | None:
    name = node.get("class_type") if isinstance(node, Mapping) else None
    return name[:_MAX_NAME] if isinstance(name, str) else None
