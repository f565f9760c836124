"""Everything that comes from outside has a bound: each schema, each operation's body, each JSON text."""

from __future__ import annotations

import json
import math
import random
import types
from collections.abc import Iterator
from contextvars import copy_context
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from comfy_assets_node.comfy_assets import json_limits, json_text
from comfy_assets_node.comfy_assets.config import Config
from comfy_assets_node.comfy_assets.errors import BodyTooLargeError, InvalidBodyError
from comfy_assets_node.comfy_assets.json_limits import JsonLimits, JsonShape
from comfy_assets_node.comfy_assets.workflows.document import graph_digest
from comfy_assets_node.routes import INTERCEPTORS, ROUTES, prompts, queue, v2
from comfy_assets_node.routes.openapi import query_of
from comfy_assets_node.routes.request_body import MIB

EVERY_ROUTE = [*ROUTES, *v2.ROUTES]
ENTRIES: list[Any] = [*EVERY_ROUTE, *INTERCEPTORS]

MAX_BODY = 64 * MIB


def schemas() -> list[type[msgspec.Struct]]:
    """What the bodies and queries of all operations are checked with."""
    bodies = [route.operation.body for route in EVERY_ROUTE]
    found = [body.schema for body in bodies if body is not None]
    found += [query_of(route) for route in EVERY_ROUTE]
    found += [prompts.PromptBody, prompts._Node, queue.StockIdsBody]
    return list(dict.fromkeys(each for each in found if isinstance(each, type) and issubclass(each, msgspec.Struct)))


def unbounded(hint: Any, *, is_bounded: bool = False) -> Iterator[str]:
    """The texts, lists and objects in a type that have no largest length."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *more = get_args(hint)
        has_length = any(isinstance(each, msgspec.Meta) and each.max_length is not None for each in more)
        yield from unbounded(inner, is_bounded=has_length)
    elif origin in (Union, types.UnionType):
        for each in get_args(hint):
            yield from unbounded(each)
    elif origin in (list, tuple, dict, set, frozenset) or hint in (str, list, tuple, dict, bytes):
        if not is_bounded:
            yield repr(hint)
        for each in get_args(hint):
            if each not in (Any, ...):
                yield from unbounded(each)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for each in get_type_hints(hint, include_extras=True).values():
            yield from unbounded(each)
    else:
        # What is left has a size of its own; the text of a workflow is bounded by the size of the body.
        is_known = origin is Literal or hint in (int, float, bool, type(None), msgspec.UnsetType, msgspec.Raw, Any)
        if not is_known:
            yield f"of an unknown kind: {hint!r}"


@pytest.mark.parametrize("schema", schemas(), ids=lambda schema: schema.__name__)
def test_every_schema_is_bounded(schema: type[msgspec.Struct]) -> None:
    assert list(unbounded(schema)) == []


def test_unbounded_fields_are_found() -> None:
    class Some(msgspec.Struct):
        text: str
        items: list[Annotated[str, msgspec.Meta(max_length=3)]]
        bounded: Annotated[list[str], msgspec.Meta(max_length=3)] | None
        fine: Annotated[str, msgspec.Meta(max_length=3)] | int

    Some.__annotations__ = {
        "text": str,
        "items": list[Annotated[str, msgspec.Meta(max_length=3)]],
        "bounded": Annotated[list[str], msgspec.Meta(max_length=3)] | None,
        "fine": Annotated[str, msgspec.Meta(max_length=3)] | int,
    }
    assert len(list(unbounded(Some))) == 3


def test_every_operation_has_a_largest_body() -> None:
    for entry in ENTRIES:
        limit = entry.body
        assert limit.is_streamed or 0 < limit.size(Config()) <= MAX_BODY, entry.path
    large = {entry.path for entry in ENTRIES if entry.body.size(Config()) > MIB}
    assert large == {
        "/api/assets/from-workflow",
        "/api/prompt",
        "/api/v2/jobs",
        "/prompt",
        "/api/workflows",
        "/api/workflows/{workflow_id}/versions",
        *(f"{prefix}/userdata/{path}" for prefix in ("", "/api") for path in ("{file}", "{file}/move/{dest}")),
    }
    streamed = {entry.path for entry in ENTRIES if entry.body.is_streamed}
    assert streamed == {
        "/api/v2/assets",
        "/api/assets",
        "/api/workflows/import",
        *(f"{prefix}/upload/{what}" for prefix in ("", "/api") for what in ("image", "mask")),
    }
    assert prompts.PROMPT.size(Config(max_prompt_size=5)) == 5


def depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (1 if isinstance(value, (dict, list)) else 0) + max(map(depth, items), default=0)


def values(value: Any) -> int:
    """Containers, commas, and one: about as many as there are values."""
    if not isinstance(value, (dict, list)):
        return 0
    items = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(len(items) - 1, 0) + sum(map(values, items))


def containers(value: Any) -> int:
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + sum(map(containers, value.values() if isinstance(value, dict) else value))


def any_value(chance: random.Random, levels: int = 5) -> Any:
    kind = chance.randrange(6 if levels else 4)
    if kind < 3:
        return ["", "\\", '"', '\\"[', "{[,]}", "é\n", 'a\\\\"', chance.random(), -5, None, True][chance.randrange(11)]
    if kind == 3:
        return "".join(chance.choices('\\"[]{},:x', k=chance.randrange(40)))
    items = [any_value(chance, levels - 1) for _ in range(chance.randrange(5))]
    return items if kind == 4 else {f'{n}"\\[': item for n, item in enumerate(items)}


@pytest.mark.parametrize("window", [1, 2, 7, 64 << 10])
def test_the_shape_is_that_of_the_value(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_limits, "_WINDOW", window)
    chance = random.Random(window)
    for _ in range(200):
        value = any_value(chance)
        for text in (json.dumps(value), json.dumps(value, indent=1, ensure_ascii=False)):
            shape = JsonShape(values(value) + 1, depth(value), containers(value))
            assert json_limits.shape_of(text.encode()) == shape, text


def test_a_text_over_a_limit_is_refused() -> None:
    limits = JsonLimits(values=10, depth=3)
    json_limits.check(b"[[[1,2]]]", limits)
    with pytest.raises(InvalidBodyError, match="3 levels deep"):
        json_limits.check(b"[[[[1]]]]", limits)
    with pytest.raises(InvalidBodyError, match="3 levels deep"):
        json_limits.check(b"[" * 1_000_000, limits)
    with pytest.raises(BodyTooLargeError) as raised:
        json_limits.check(b"[1,2,3,4,5,6,7,8,9,10,11]", limits)
    assert raised.value.details == {"max_values": 10}
    with pytest.raises(BodyTooLargeError, match="2 lists"):
        json_limits.check(b"[[],[]]", JsonLimits(containers=2))
    with pytest.raises(BodyTooLargeError, match="4 escapes"):
        json_limits.check(b'"\\\\\\n\\n\\n"', JsonLimits(escapes=4))
    for endless in (b"9", b" ", b"x"):
        json_limits.check(endless * 60_000)
        with pytest.raises(InvalidBodyError, match="too long"):
            json_limits.check(endless * 200_000)
    json_limits.check(b'"' + b"9" * 200_000 + b'"')


def test_what_is_encoded_in_steps_is_encoded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(6)
    for step in (1, 3, 1 << 18):
        monkeypatch.setattr(json_text, "_TEXT_AT_ONCE", step)
        for _ in range(100):
            value = {"a": any_value(chance), "b": ["\U0001f600\ud83d", math.nan, -math.inf, 1e300, object]}
            assert json_text.dumps_in_steps(value) == json.dumps(value, default=str)


def test_a_large_workflow_has_the_digest_of_a_small_one() -> None:
    chance = random.Random(7)
    for _ in range(100):
        value = {"b": any_value(chance), "a": any_value(chance), "é": ["\U0001f600", "\ud83d", 1.5, 2**53, None]}
        for workflow in (value, {"nodes": [value, {"id": 1, "widgets_values": value}], "links": [[1, 2, 3, 4, 5]]}):
            assert graph_digest(workflow, in_steps=True) == graph_digest(workflow)


def test_a_decoded_text_is_shared_in_its_block_alone() -> None:
    text = b"[1, 2]"
    decoded = json_limits.decode_text(text)
    with json_limits.sharing(decoded):
        context = copy_context()  # a task that is started here has one
        assert json_limits.decoded_before(text) is decoded
        assert json_limits.decoded_before(bytes(bytearray(text))) is None, "another text, though an equal one"
        assert context.run(json_limits.decoded_before, text) is decoded
    assert json_limits.decoded_before(text) is None
    assert context.run(json_limits.decoded_before, text) is None


def test_what_is_decoded_in_steps_is_decoded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    for _ in range(200):
        text = json.dumps(any_value(chance)).encode()
        assert (
            json_limits.decode(text, JsonShape(1, 1))
            == json_limits.decode(text, JsonShape(10**9, 1))
            == json.loads(text)
        )
    assert json_limits.decode(b'{"a": NaN, "b": -Infinity, "c": "\\ud83d"}') == {"a": None, "b": None, "c": "\ud83d"}
    for number, is_finite in (("1.5", True), ("NaN", False), ("-Infinity", False), ("1e400", False), ("1e-400", True)):
        for shape in (JsonShape(1, 1), JsonShape(10**9, 1)):
            assert json_limits.decode_text(f'{{"a": [{number}]}}'.encode(), shape).is_finite == is_finite, number
    for broken in (b"", b"{", b'{"a"}', b"\xff", b"[1,]", b'"\n"', b"[1] 2"):
        for shape in (JsonShape(1, 1), JsonShape(10**9, 1)):
            with pytest.raises(ValueError):
                json_limits.decode(broken, shape)
