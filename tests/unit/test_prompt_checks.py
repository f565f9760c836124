"""How deep prompts are nested, as JSON texts and as objects; what a check is given; and the end of a refused prompt."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from comfy_assets_node.comfy_assets.host.prompt_problems import (
    MAX_DEPTH,
    PromptProblem,
    as_sent,
    depth_problem,
    failed_prompt,
    is_deeper,
    refusal,
)
from comfy_assets_node.comfy_assets.jobs.events import failure_of
from comfy_assets_node.comfy_assets.json_limits import shape_of

TEXTS = ["", "a", '"', "\\", '\\"', "[[[", "]}", '"[', "\\\\[", "[\n{", "ü[", "\u2028{", "🙂]"]


def made_up(chance: random.Random, levels: int) -> Any:
    """A value of so many levels at most, with brackets in its texts."""
    if levels == 0 or chance.random() < 0.2:
        return chance.choice([*TEXTS, 1, -2.5, None, True])
    parts = [made_up(chance, levels - 1) for _ in range(chance.randrange(3))]
    if chance.random() < 0.5:
        return parts
    return {chance.choice(TEXTS) + str(number): part for number, part in enumerate(parts)}


def plain_depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(plain_depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize("is_ascii", [True, False])
def test_depth_of_texts_and_objects(*, is_ascii: bool) -> None:
    chance = random.Random(5)
    seen = set()
    for _ in range(600):
        value = made_up(chance, chance.randrange(9))
        depth = plain_depth(value)
        seen.add(depth)
        indent = chance.choice([None, 1])
        assert shape_of(json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()).depth == depth, value
        assert not is_deeper(value, depth)
        assert depth == 0 or is_deeper(value, depth - 1)
    assert len(seen) > 5


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 100_000])
@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_depth_needs_no_recursion(levels: int, kind: type) -> None:
    value: Any = kind()
    for _ in range(levels - 1):
        value = {"a": value} if kind is dict else kind([value])
    assert is_deeper(value, MAX_DEPTH) == (levels > MAX_DEPTH)
    while value:  # an object this deep cannot be freed in one step
        (value,) = value.values() if kind is dict else value


def test_an_object_that_contains_itself_is_too_deep() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle, {"again": cycle}]
    assert is_deeper(cycle, MAX_DEPTH)
    problem = depth_problem({"1": {"class_type": "A", "inputs": {"x": cycle}}})
    assert problem is not None
    assert (problem.kind, problem.node_id, problem.node_type) == ("PromptTooDeep", "1", "A")


@pytest.mark.parametrize("graph", [None, [], "x", 5])
def test_what_is_no_graph(graph: Any) -> None:
    problem = depth_problem(graph)
    assert problem is not None and problem.kind == "InvalidPrompt"


def test_a_graph_as_a_client_sends_it() -> None:
    inputs = {"link": ["1", 0], "list": [1, 2, 3], "pair": ["a", "b"], "empty": [], "text": "x", "map": {"a": [1]}}
    graph = {"1": {"class_type": "A", "inputs": inputs, "_meta": {"title": "t"}}, "2": "odd", "3": {"inputs": 5}}
    wrapped = {"list": {"__value__": [1, 2, 3]}, "pair": {"__value__": ["a", "b"]}, "empty": {"__value__": []}}
    sent = as_sent(graph)
    assert sent == {**graph, "1": {**graph["1"], "inputs": {**inputs, **wrapped}}}  # type: ignore[dict-item]
    sent["1"]["inputs"]["text"] = "changed"
    assert inputs["text"] == "x"


def test_the_end_of_a_refused_prompt() -> None:
    end = failed_prompt("a", PromptProblem("MissingNodeType", "Node 5 (Gone): …", "5", "Gone"))
    error = failure_of(end).error
    assert error == {
        "node_id": "5",
        "node_type": "Gone",
        "exception_message": "Node 5 (Gone): …",
        "exception_type": "MissingNodeType",
        "traceback": [],
        "current_inputs": {},
        "current_outputs": {},
    }


@pytest.mark.parametrize(
    ("error", "node_errors", "expected"),
    [
        (None, None, ("The prompt is not valid.", "", "")),
        ("odd", [1], ("The prompt is not valid.", "", "")),
        ({"message": "No", "details": "why"}, {}, ("No.\nwhy", "", "")),
        ({"message": "No", "extra_info": {"node_id": "1"}}, {}, ("No.", "1", "A")),
        ({"message": "No"}, {"1": "odd"}, ("No.\nNode 1 (): ", "1", "A")),
        (
            {"message": "No"},
            {"1": {"errors": [{"message": "m", "details": "d"}, "odd"], "class_type": "A"}, "7": {"errors": None}},
            ("No.\nNode 1 (A): m: d\nNode 7 (None): ", "1", "A"),
        ),
    ],
)
def test_what_a_servers_check_says(error: Any, node_errors: Any, expected: tuple[str, str, str]) -> None:
    problem = refusal(error, node_errors, {"1": {"class_type": "A"}})
    assert (problem.message, problem.node_id, problem.node_type) == expected


def test_a_servers_long_list_is_cut() -> None:
    reasons = [{"message": "m" * 500, "details": ""}]
    problem = refusal({}, {str(n): {"errors": reasons, "class_type": "A"} for n in range(5000)}, {})
    assert len(problem.message) <= 4000
