"""By what a graph that is executed is recognised as the one that was saved. Pure.

Between saving and submitting the page changes what nobody would call a change: it leaves out inputs that are widgets
without a link, and so moves the places of the others, drops translated names, notes its own version and where one
looks at. Nodes may have been moved about. What counts is which nodes there are, what is set in them, and how they are
linked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import msgspec
from blake3 import blake3

from ..graph_nodes import is_saved_format, saved_graphs, saved_nodes
from ..models import ZERO_ID

_MAX_ID = 128
_encoder = msgspec.json.Encoder(order="sorted")
_Text = Callable[[object], str]


def graph_id(workflow: Mapping[str, Any]) -> str | None:
    """The id that a workflow gives itself, which prompts made of it name. An empty graph's zeros are none."""
    found = workflow.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_ID or not found.isprintable() or found == ZERO_ID:
        return None
    return found


def graph_digest(workflow: Mapping[str, Any], *, in_steps: bool = False) -> bytes:
    """Return the digest of what of a workflow is executed. Of what has no nodes as the page saves them: of all of it.

    A large workflow is digested ``in_steps``, between which other threads run; the digest is the same.
    """
    return _digest(workflow, _text_in_steps if in_steps else _text)


def _digest(workflow: Mapping[str, Any], text: _Text) -> bytes:
    if not is_saved_format(workflow):
        return blake3(text(workflow).encode()).digest()
    root, *subgraphs = [_graph(graph, text, is_root=graph is workflow) for graph in saved_graphs(workflow)]
    return blake3(text([root, *sorted(subgraphs, key=text)]).encode()).digest()


def _graph(graph: dict[str, Any], text: _Text, *, is_root: bool) -> list[object]:
    links = graph.get("links")
    nodes = [_node(node, text) for node in saved_nodes(graph)]
    links = [_link(link) for link in links] if isinstance(links, list) else []
    name = None if is_root else graph.get("id")
    return [name, sorted(nodes, key=text), sorted(links, key=text)]


def _node(node: Mapping[str, Any], text: _Text) -> list[object]:
    inputs = node.get("inputs")
    linked = [
        [slot.get("name"), slot.get("link")]
        for slot in (inputs if isinstance(inputs, list) else ())
        if isinstance(slot, Mapping) and slot.get("link") is not None
    ]
    values = node.get("widgets_values")
    return [
        node.get("id"),
        node.get("type"),
        node.get("mode") or 0,
        values or None,
        sorted(linked, key=text),
    ]


def _link(link: object) -> object:
    """A link without the place of the input that it leads to: the input names the link."""
    if isinstance(link, list):
        return [*link[:4], *link[5:6]]
    if isinstance(link, Mapping):
        return [link.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "type")]
    return None


def _text(value: object) -> str:
    """A text that is equal for what is equal, whatever the order of members."""
    try:
        return _encoder.encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # half characters are a ValueError
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _text_in_steps(value: object) -> str:
    """Return the same text, put together value by value."""
    try:
        return _joined(value)
    except (TypeError, ValueError, OverflowError):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _joined(value: object) -> str:
    if isinstance(value, dict):
        members = [f"{_joined(key)}:{_joined(item)}" for key, item in sorted(value.items(), key=itemgetter(0))]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join([_joined(item) for item in value]) + "]"
    return _encoder.encode(value).decode()
