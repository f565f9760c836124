"""Parse the text of a workflow: the stored text, its references, and the digest by which its jobs are recognized. Pure.

Workflows come from strangers. Everything taken from one is bounded, and the functions that walk a graph never raise
because of its content. Parsing blocks while it decodes and compresses the text, so it belongs in a thread.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec
from blake3 import blake3

from .. import json_limits, json_text
from ..assets.prompts.references import parse_reference
from ..db.contents import Document
from ..errors import InvalidBodyError, UnprocessableBodyError
from ..graphs import NamedFile, is_saved_format, is_unicode, named_file, prompt_nodes, saved_graphs, saved_nodes
from ..models import ZERO_ID

_COMPRESSION = 6  # zlib's default; versions are never deleted, so it pays more than the level 1 of metadata
_MAX_REFERENCES = 1000
_MAX_VALUES = 100_000  # texts of a graph that are looked at
_MAX_DEPTH = 4  # of lists and objects inside the value of a widget
_MAX_GRAPH_ID = 128  # characters; UUIDs in practice, but nothing enforces that
_ENCODER = msgspec.json.Encoder(order="sorted")
_Encode = Callable[[object], str]


@dataclass(frozen=True)
class WorkflowReferences:
    """Files, ids of assets in canonical form, and blake3 digests of contents that a workflow uses."""

    files: frozenset[NamedFile] = field(default_factory=frozenset)
    asset_ids: frozenset[str] = field(default_factory=frozenset)
    digests: frozenset[bytes] = field(default_factory=frozenset)


@dataclass(frozen=True)
class ParsedWorkflow:
    """The text as it is stored, its references, the id in the graph, and the digest of its executed parts."""

    document: Document
    references: WorkflowReferences
    graph_id: str | None
    graph_digest: bytes


def parse_workflow(text: bytes) -> ParsedWorkflow:
    """Parse the text of a workflow. Raises UnprocessableBodyError unless it is a JSON object in UTF-8."""
    try:
        shape = json_limits.check(text, json_limits.LARGE)
        workflow = _decoded(text, shape)
        if not isinstance(workflow, dict):
            raise UnprocessableBodyError("workflow_json must be a JSON object.", details={"field": "workflow_json"})
        return ParsedWorkflow(
            Document("", blake3(text).digest(), zlib.compress(text, _COMPRESSION)),
            references_in(workflow),
            graph_id(workflow),
            graph_digest(workflow, in_steps=shape.is_large),
        )
    except UnprocessableBodyError:
        raise
    except InvalidBodyError as error:
        raise UnprocessableBodyError(error.message, details={"field": "workflow_json"}) from error
    except (ValueError, RecursionError) as error:
        raise UnprocessableBodyError(
            f"workflow_json is not valid JSON: {error}.", details={"field": "workflow_json"}
        ) from error


def _decoded(text: bytes, shape: json_limits.JsonShape) -> Any:
    """Return the value of a text that responses embed as it is. Raise ValueError unless every client can read it."""
    if json.detect_encoding(text) != "utf-8":
        raise ValueError("it is not in UTF-8")
    utf8 = text.decode()  # the decoders let the bytes of unpaired surrogates through
    decoded = json_limits.decode_text(text, shape)
    if not decoded.is_finite:
        json_text.members(utf8, shape.values)  # refuses NaN, and lets numbers pass that are too large for a float
    return decoded.value


def references_in(workflow: object) -> WorkflowReferences:
    """Return the files and assets that the nodes of a workflow name, including those in its subgraphs."""
    files: set[NamedFile] = set()
    asset_ids: set[str] = set()
    digests: set[bytes] = set()
    for _, text in zip(range(_MAX_VALUES), _texts(workflow), strict=False):
        if len(files) + len(asset_ids) + len(digests) >= _MAX_REFERENCES:
            break
        reference = parse_reference(text)
        if reference is not None and reference.digest is not None:
            digests.add(reference.digest)
        elif reference is not None and reference.asset_id is not None:
            asset_ids.add(reference.asset_id)
        elif (file := named_file(text)) is not None and is_unicode(text):
            files.add(file)
    return WorkflowReferences(frozenset(files), frozenset(asset_ids), frozenset(digests))


def _texts(workflow: object) -> Iterator[str]:
    if not is_saved_format(workflow):
        for _, _, inputs in prompt_nodes(workflow):
            yield from _leaves(inputs)
        return
    for graph in saved_graphs(workflow):
        for node in saved_nodes(graph):
            yield from _leaves(node.get("widgets_values"))  # inputs are sockets here and hold no values


def _leaves(value: object) -> Iterator[str]:
    """Yield the strings in a value, down to a limited depth."""
    waiting = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
        elif depth <= _MAX_DEPTH and isinstance(value, (list, Mapping)):
            waiting += [(item, depth + 1) for item in (value if isinstance(value, list) else value.values())]


def graph_id(workflow: Mapping[str, Any]) -> str | None:
    """Return the id in a graph, which the frontend sends along with each prompt made of it."""
    found = workflow.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= _MAX_GRAPH_ID or not found.isprintable():
        return None
    return None if found == ZERO_ID else found  # the frontend gives the same zeros to every empty graph


def graph_digest(workflow: Mapping[str, Any], *, in_steps: bool = False) -> bytes:
    """Return a digest that is equal for a saved workflow and for the graph submitted from it.

    The frontend alters a workflow between saving and submitting: it drops widget inputs without a link, which renumbers
    the others, and translated names, view state and its own version. The digest covers only which nodes there are,
    their values and their links; for a workflow in another format, all of it.

    A large workflow is digested ``in_steps``, so that other threads run in between; the result is the same.
    """
    return _digest(workflow, _encode_in_steps if in_steps else _encode)


def _digest(workflow: Mapping[str, Any], encode: _Encode) -> bytes:
    if not is_saved_format(workflow):
        return blake3(encode(workflow).encode()).digest()
    root, *subgraphs = [_graph_facts(graph, encode, is_root=graph is workflow) for graph in saved_graphs(workflow)]
    return blake3(encode([root, *sorted(subgraphs, key=encode)]).encode()).digest()


def _graph_facts(graph: dict[str, Any], encode: _Encode, *, is_root: bool) -> list[object]:
    links = graph.get("links")
    nodes = [_node_facts(node, encode) for node in saved_nodes(graph)]
    links = [_link_facts(link) for link in links] if isinstance(links, list) else []
    # The type of a node may be the id of a subgraph. The id of the root is compared on its own, see ``job_links``.
    name = None if is_root else graph.get("id")
    return [name, sorted(nodes, key=encode), sorted(links, key=encode)]


def _node_facts(node: Mapping[str, Any], encode: _Encode) -> list[object]:
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
        node.get("mode") or 0,  # 0, neither muted nor bypassed, may be left out
        values or None,
        sorted(linked, key=encode),
    ]


def _link_facts(link: object) -> object:
    """Return a link without the index of its input, which is renumbered; the input itself names the link."""
    if isinstance(link, list):
        return [*link[:4], *link[5:6]]
    if isinstance(link, Mapping):  # links of subgraphs are objects
        return [link.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "type")]
    return None


def _encode(value: object) -> str:
    """Return the value as JSON with sorted keys."""
    try:
        return _ENCODER.encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # msgspec refuses lone surrogates and large integers
        return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _encode_in_steps(value: object) -> str:
    """Return the same as ``_encode``, which holds the interpreter lock until it is done, leaf by leaf."""
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
    return _ENCODER.encode(value).decode()
