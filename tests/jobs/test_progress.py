"""The progress of a job, from whatever a server reports of its nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.jobs.progress import NodeProgress, ProgressMeter, ProgressSnapshot, begun_nodes
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

# 1 -> 2 -> 4 (saves) and 3 -> 5 (saves); 6 is needed by nothing.
GRAPH: Mapping[str, Any] = {
    "1": {"class_type": "Load", "inputs": {"name": "a"}},
    "2": {"class_type": "Sample", "inputs": {"image": ["1", 0], "steps": 4, "pair": [1, 2]}},
    "3": {"class_type": "Load", "inputs": {}},
    "4": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
    "5": {"class_type": "Save", "inputs": {"images": ["3", 0], "other": ["gone", 0]}},
    "6": {"class_type": "Load"},
}


def node(state: str = "finished", value: float = 1, most: float = 1, shown_as: str | None = None) -> dict[str, Any]:
    return {"state": state, "value": value, "max": most, "display_node_id": shown_as}


@pytest.mark.parametrize(
    ("nodes", "cached", "value", "done"),
    [
        ({}, None, 0.0, 0),
        ({}, [], 0.0, 0),
        ({"1": node()}, [], 0.2, 1),
        ({"1": node(), "2": node("running", 2, 4)}, [], 0.3, 1),
        ({"2": node("running", 4, 4)}, [], 0.2, 0),  # not done before the server says so
        ({"6": node()}, [], 0.0, 0),
        ({}, ["2"], 0.4, 2),  # what only a cached node needs does not run either
        ({}, ["4", "5"], 1.0, 5),
        ({}, ["1", "2", "3", "4", "5"], 1.0, 5),
        ({"1": node("error")}, [], 0.0, 0),
    ],
)
def test_of_nodes(nodes: Mapping[str, Any], cached: Sequence[str] | None, value: float, done: int) -> None:
    progress = ProgressMeter(GRAPH, ["4", "5"]).read(nodes, cached)
    assert progress.value == pytest.approx(value, abs=0.001)
    assert (progress.nodes_done, progress.nodes_total) == (done, 5)


def test_only_what_the_targets_need_counts() -> None:
    assert ProgressMeter(GRAPH, ["5"]).read({"3": node()}, []) == ProgressSnapshot(0.5, 1, 2)


@pytest.mark.parametrize(
    ("entry", "step", "steps", "message"),
    [
        (node("running", 2, 4), 2, 4, "Sample 2/4"),
        (node("running", 0, 1), None, None, "Sample"),
        (node("running", float("nan"), 4), None, None, "Sample"),
        (node("running", 9, 4), 4, 4, "Sample 4/4"),
        ({"state": "running", "value": "2", "max": None}, None, None, "Sample"),
        ({"state": "running", "value": 1, "max": 1e300}, None, None, "Sample"),
    ],
)
def test_of_the_current_node(entry: dict[str, Any], step: int | None, steps: int | None, message: str) -> None:
    progress = ProgressMeter(GRAPH, ["4"]).read({"1": node(), "2": entry}, [])
    told = (progress.current_node, progress.current_node_class, progress.step, progress.steps, progress.message)
    assert told == ("2", "Sample", step, steps, message)


def test_of_a_node_that_another_has_made() -> None:
    progress = ProgressMeter(GRAPH, ["4"]).read({"2.0.1": node("running", 1, 2, shown_as="2")}, [])
    assert (progress.current_node, progress.current_node_class, progress.nodes_done) == ("2", "Sample", 0)


def test_a_node_that_begins_anew_takes_nothing_back() -> None:
    meter = ProgressMeter(GRAPH, ["4"])
    before = meter.read({"1": node("running", 9, 10)}, [])
    after = meter.read({"1": node("running", 1, 10)}, [])
    assert before.value == after.value > 0.2
    assert (after.step, after.steps) == (1, 10)


def run_of(chance: Random) -> tuple[dict[str, Any], list[str], list[tuple[dict[str, Any], list[str] | None]]]:
    """A graph, its targets, and what a server reports of it, in any order and with anything in it."""
    ids = [str(number) for number in range(chance.randint(1, 8))]
    names = [*ids, "unknown"]

    def some(values: list[str]) -> list[str]:
        return [chance.choice(values) for _ in range(chance.randint(0, len(values)))]

    def entry() -> Any:
        numbers = [-1, 0, 1, 2, 40, 0.5, math.nan, math.inf, None, "x", 1 << 70]
        state = chance.choice(["running", "finished", "error", "odd", None])
        return chance.choice([None, {"state": state, "value": chance.choice(numbers), "max": chance.choice(numbers)}])

    graph: dict[str, Any] = {}
    for node_id in ids:
        links = {f"in{i}": [source, 0] for i, source in enumerate(some(names))}
        graph[node_id] = chance.choice([{"class_type": "Node", "inputs": links}, {"inputs": links}, {}])
    reports = [
        ({node_id: entry() for node_id in some(names)}, chance.choice([None, some(names)]))
        for _ in range(chance.randint(0, 6))
    ]
    return graph, some(names), reports


@settings(max_examples=examples(80, 300))
@given(st.integers(0, 1 << 64))
def test_it_never_falls_and_stays_between_nothing_and_all(seed: int) -> None:
    graph, targets, reports = run_of(Random(seed))
    meter = ProgressMeter(graph, targets)
    value = done = 0.0
    for nodes, cached in reports:
        progress = meter.read(nodes, cached)
        assert value <= progress.value <= 1
        assert done <= progress.nodes_done <= progress.nodes_total
        assert progress.step is None or progress.steps is None or 0 <= progress.step <= progress.steps
        value, done = progress.value, progress.nodes_done
    last = meter.completed()
    assert (last.value, last.nodes_done) == (1.0, last.nodes_total)
    assert meter.read({}, None).value == 1.0


def test_nodes_that_have_begun() -> None:
    entries = {
        "1": node(),
        "2.0.1": node("running", 3, 20, "2"),
        "3": node("error", 0, 1),
        "4": node("pending", 0, 1),
        "5": node("running", math.nan, 1),
        "6": node("running", 1, 10**400),
        "7": {"state": ["running"], "value": 1, "max": 1},
        "8": "running",
    }
    assert begun_nodes(entries) == {
        "1": NodeProgress(1, 1, "finished", "1"),
        "2.0.1": NodeProgress(3, 20, "running", "2"),
        "3": NodeProgress(0, 1, "error", "3"),
    }
