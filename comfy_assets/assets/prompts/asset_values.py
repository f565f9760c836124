"""Assets that Comfy API v2 names in graphs by objects: ``{"__type": "core/ASSET", "info": {"id": …}}``.

The id alone decides; ``hash`` and ``file_path`` beside it are hints of other clients. Each object, at any depth of an
input's value, is replaced by the name that loader nodes have for the asset's file. See ``references`` for the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...graph_nodes import prompt_nodes
from ...ids import canonical_id
from .references import AssetReference, ReferenceResolver, ReferenceUse

TYPE = "core/ASSET"
_TYPE_MEMBER, _INFO = "__type", "info"
_WRAPPED = "__value__"
_MAX_ID = 256  # characters of an id that is repeated in an error


@dataclass(frozen=True)
class AssetProblem:
    """An object that stands for no usable asset. ``id`` is None if it has none."""

    node_id: str
    input_name: str
    id: str | None
    reason: str


@dataclass(frozen=True)
class AssetValue:
    """An object in an input's value: ``given`` is its id, and ``use`` None if that is no UUID."""

    use: ReferenceUse | None
    node_id: str
    input_name: str
    given: str | None


def find(graph: object, limit: int) -> list[AssetValue]:
    """Return the objects in a graph, at most ``limit`` of them."""
    found: list[AssetValue] = []
    for node_id, node, inputs in prompt_nodes(graph):
        kind = node.get("class_type")
        for name, value in inputs.items():
            for item in _objects_in(value):
                found.append(_found(node_id, kind if isinstance(kind, str) else "", str(name), item))
                if len(found) == limit:
                    return found
    return found


def _found(node_id: str, class_type: str, input_name: str, item: Mapping[str, Any]) -> AssetValue:
    given = _id_in(item)
    asset_id = canonical_id(given) if given is not None else None
    use = None
    if asset_id is not None:
        use = ReferenceUse(node_id, class_type, input_name, asset_id, AssetReference(asset_id=asset_id))
    return AssetValue(use, node_id, input_name, given)


def _id_in(item: Mapping[str, Any]) -> str | None:
    info = item.get(_INFO)
    given = info.get("id") if isinstance(info, Mapping) else None
    return given[:_MAX_ID] if isinstance(given, str) else None


def _is_asset(value: object) -> bool:
    return isinstance(value, dict) and value.get(_TYPE_MEMBER) == TYPE


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects in a value at any depth, in no particular order. Nothing recurses: values come from outside."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if _is_asset(item):
            yield item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def replace(graph: dict[str, Any], names: Mapping[tuple[str, str, str], str]) -> None:
    """Replace the objects in a graph by names, in place. ``names`` are by node id, input name and id of the asset."""
    for node_id, _, inputs in prompt_nodes(graph):
        for name, value in inputs.items():
            inputs[name] = _replaced(value, node_id, str(name), names)


def _replaced(value: Any, node_id: str, name: str, names: Mapping[tuple[str, str, str], str]) -> Any:
    def name_of(item: Mapping[str, Any]) -> str:
        return names[node_id, name, canonical_id(_id_in(item) or "") or ""]

    if _is_asset(value):
        return name_of(value)
    is_changed = False
    holders = [value] if isinstance(value, (list, dict)) else []
    while holders:
        holder = holders.pop()
        for key, item in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if _is_asset(item):
                holder[key], is_changed = name_of(item), True
            elif isinstance(item, (list, dict)):
                holders.append(item)
    # A list of an asset is no link between nodes, and a list of a name and a number would be one.
    return {_WRAPPED: value} if is_changed and isinstance(value, list) else value


_NO_ID, _NO_UUID = "The object has no id.", "The id is no UUID."
_REASONS = {
    "unknown": "There is no such asset.",
    "missing": "The asset's file is not there.",
    "not_loadable": "The asset's file is in no folder that a node loads it from.",
}


async def resolve(
    resolver: ReferenceResolver, found: Sequence[AssetValue], owner: str
) -> tuple[dict[tuple[str, str, str], str], list[AssetProblem]]:
    """Return the names for the objects, of assets that this user can see, and the objects that have none."""
    problems = [
        AssetProblem(each.node_id, each.input_name, each.given, _NO_ID if each.given is None else _NO_UUID)
        for each in found
        if each.use is None
    ]
    uses = list(dict.fromkeys(each.use for each in found if each.use is not None))
    resolution = await resolver.resolve(uses, owner)
    problems += [
        AssetProblem(each.use.node_id, each.use.input_name, each.use.text, _REASONS[each.fault])
        for each in resolution.problems
    ]
    return dict(resolution.values), problems
