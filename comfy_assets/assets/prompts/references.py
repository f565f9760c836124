"""References to assets in submitted prompts: find them, and replace them by file names. No I/O.

A reference is the whole value of an input: ``blake3:`` and a hash, or ``asset:`` and an id. Any other text, such as a
longer one or a malformed hash, is an ordinary string. Links between nodes are never references. In other lists, which
clients send as ``{"__value__": […]}``, each item may be one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from ...graph_nodes import prompt_nodes

MARKS = (b"blake3:", b"asset:")  # a body without these bytes need not be decoded: it has no references
_WRAPPED = "__value__"
_MAX_REACHED, _MAX_OUTPUTS = 10_000, 1000
_HEX = "[0-9a-fA-F]"
_REFERENCE = re.compile(rf"blake3:({_HEX}{{64}})|asset:({_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})")


@dataclass(frozen=True)
class AssetReference:
    """The id of an asset in canonical form, or the blake3 digest of its content."""

    asset_id: str | None = None
    digest: bytes | None = None


@dataclass(frozen=True)
class ReferenceUse:
    """One occurrence of a reference in a prompt: the node, the input, and the text that was parsed."""

    node_id: str
    class_type: str
    input_name: str
    text: str
    reference: AssetReference


ReferenceValues = Mapping[tuple[str, str, str], str]  # (node id, input name, text of the reference) -> what replaces it


def parse_reference(text: str) -> AssetReference | None:
    """Return the reference in a text, or None for any other text."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    return AssetReference(digest=bytes.fromhex(match[1])) if match[1] else AssetReference(asset_id=match[2].lower())


def find_references(body: object, limit: int | None = None) -> list[ReferenceUse]:
    """Return the references in a submitted body, in the order of its nodes, at most ``limit`` of them."""
    found: dict[ReferenceUse, None] = {}
    for use in _uses(body):
        found[use] = None
        if len(found) == limit:
            break
    return list(found)


def _uses(body: object) -> Iterator[ReferenceUse]:
    for node_id, node, inputs in _nodes(body):
        class_type = node.get("class_type")
        for name, value in inputs.items():
            for text in _texts(value):
                if (reference := parse_reference(text)) is not None:
                    kind = class_type if isinstance(class_type, str) else ""
                    yield ReferenceUse(node_id, kind, name, text, reference)


def replace_references(body: dict[str, Any], values: ReferenceValues) -> dict[str, Any]:
    """Replace references in the body by their values, in place; references without a value stay. Return the body."""
    for node_id, _, inputs in _nodes(body):
        for name, value in inputs.items():
            inputs[name] = _replace_in_value(value, partial(_value_of, values, node_id, name))
    return body


def _value_of(values: ReferenceValues, node_id: str, input_name: str, text: str) -> str:
    return values.get((node_id, input_name, text), text)


class DependentOutputs:
    """Finds the output nodes that depend on a node, for ``dependent_outputs`` in node errors. Reads the graph once."""

    def __init__(self, body: object, is_output: Callable[[str], bool]) -> None:
        self._users: dict[str, list[str]] = defaultdict(list)
        self._outputs: list[str] = []
        is_output = lru_cache(maxsize=None)(is_output)
        for node_id, node, inputs in _nodes(body):
            kind = node.get("class_type")
            if isinstance(kind, str) and is_output(kind):
                self._outputs.append(node_id)
            for value in inputs.values():
                if _is_link(value):
                    self._users[value[0]].append(node_id)

    def of(self, node_id: str) -> list[str]:
        """Return the output nodes that depend on a node, itself included, in the order of the graph.

        The search ends after 10,000 dependent nodes, so some outputs of a huge graph may be missing.
        """
        reached, waiting = {node_id}, [node_id]
        while waiting and len(reached) < _MAX_REACHED:
            new = set(self._users.get(waiting.pop(), ())) - reached
            reached |= new
            waiting += new
        return [output for output in self._outputs if output in reached][:_MAX_OUTPUTS]


def _nodes(body: object) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    return prompt_nodes(body.get("prompt") if isinstance(body, dict) else None)


def _texts(value: Any) -> Iterator[str]:
    inner = value.get(_WRAPPED) if isinstance(value, dict) else value
    if isinstance(inner, str):
        yield inner
    elif isinstance(inner, list) and not _is_link(inner):
        yield from (item for item in inner if isinstance(item, str))


def _replace_in_value(value: Any, new: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return new(value)
    if isinstance(value, dict) and _WRAPPED in value:
        return {**value, _WRAPPED: _replace_in_list(value[_WRAPPED], new)}
    return _replace_in_list(value, new)


def _replace_in_list(value: Any, new: Callable[[str], str]) -> Any:
    if isinstance(value, list) and not _is_link(value):
        return [new(item) if isinstance(item, str) else item for item in value]
    return new(value) if isinstance(value, str) else value


def _is_link(value: Any) -> bool:
    """Return whether the server interprets a value as a link: a node's id and the number of its output."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    return isinstance(value[0], str) and isinstance(value[1], (int, float))
