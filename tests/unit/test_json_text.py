"""JSON texts of whatever nodes hand over: they can always be written, and always be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_assets_node.comfy_assets import json_text
from comfy_assets_node.comfy_assets.json_text import MAX_DEPTH


class Rude:
    """Raises whatever it is asked for."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("no")

    __repr__ = __str__


class RudeMapping(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise LookupError("no")


def nested(levels: int, kind: str = "list", inside: Any = 1) -> Any:
    for _ in range(levels):
        inside = [inside] if kind == "list" else {"a": inside}
    return inside


def cyclic_list() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


def cyclic_mapping() -> Any:
    value: dict[str, Any] = {}
    value["x"], value["y"] = value, {"back": value}
    return value


def depth(text: str) -> int:
    """How deep the brackets of a JSON text go."""
    deepest = level = 0
    for character in json_text._strings.sub(b"", text.encode()).decode():
        level += (character in "[{") - (character in "]}")
        deepest = max(deepest, level)
    return deepest


VALUES: dict[str, Any] = {
    "cyclic list": cyclic_list(),
    "cyclic mapping": cyclic_mapping(),
    "deep list": nested(5000),
    "deep mapping": nested(5000, "mapping"),
    "deep tuple": (nested(400),),
    "just too deep": nested(MAX_DEPTH + 1),
    "rude": Rude(ValueError),
    "rude exit": [Rude(SystemExit)],
    "rude memory": {"a": Rude(MemoryError)},
    "rude recursion": {"a": Rude(RecursionError)},
    "rude key": {Rude(LookupError): 1},
    "rude mapping": {"a": RudeMapping(b=1)},
    "rude in cyclic": [cyclic_list(), Rude(ValueError)],
    "half a character": {"\ud83d": ["\ude00"]},
    "no numbers": [float("nan"), float("inf"), {float("nan"): 1}],
    "huge number": 10**6000,
    "huge numbers": {10**400: [-(10**5000)]},
    "odd keys": {(1, 2): 1, None: 2, b"\xff": 3, True: 4, 1.5: 5, frozenset({1}): 6},
    "objects": [object(), b"\xff", {1, 2}, range(3), json],
    "long text": "x" * 3_000_000,
}


@pytest.mark.parametrize("name", VALUES)
def test_everything_can_be_written_and_read(name: str) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = json_text.encode(VALUES[name])
    json.loads(text, parse_constant=refuse)
    text.encode()
    assert depth(text) <= MAX_DEPTH


@pytest.mark.parametrize("name", ["cyclic mapping", "deep list", "rude"])
def test_what_is_left_out_is_told(name: str) -> None:
    recorded = json_text.encode_value({"kept": 1, "odd": VALUES[name]})
    assert json.loads(recorded.text)["kept"] == 1
    assert len(recorded.notes) == 1
    assert json_text.encode_value({"kept": 1}).notes == ()


def test_what_is_not_too_deep_is_kept_whole() -> None:
    for kind in ("list", "mapping"):
        value = nested(MAX_DEPTH - 1, kind)
        assert json_text.encode_value([value]) == json_text.EncodedValue(json.dumps([value], separators=(",", ":")))
    many = [[{"a": "]}[{"}]] * 1000
    assert json.loads(json_text.encode_value(many).text) == many


@pytest.mark.parametrize("name", ["cyclic list", "deep mapping", "rude key", "huge number", "odd keys"])
def test_graphs_can_always_be_written(name: str) -> None:
    json.loads(json_text.as_in_images({"1": VALUES[name]}))


@pytest.mark.parametrize("levels", [10, 199, 200, 201, 986, 50_000])
def test_stored_texts_of_any_depth_can_be_read(levels: int) -> None:
    text = b'{"a":' + b"[" * levels + b'"[{\\"]"' + b"]" * levels + b',"b":[{"c":1}]}'
    value = json_text.read(text, dict[str, Any])
    assert value["b"] == [{"c": 1}]
    assert json_text.strict(text)
    assert json_text.read(json_text.shallow(text), dict[str, Any])["b"] == [{"c": 1}]
    assert depth(json_text.shallow(text).decode()) <= MAX_DEPTH
    assert (json_text.shallow(text) == text) == (levels < MAX_DEPTH)
