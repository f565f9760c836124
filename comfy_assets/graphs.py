"""Workflow graphs: walk their nodes, find the files that they name, and read both formats into one form. Pure.

There are two formats: the one that the page saves, and the one that the server executes. The page saves widgets as a
list of values without names, links by their ids, and subgraphs as definitions. A ``Graph`` has one node for each that
would be executed, with named inputs: a value, or a ``Link`` to another node.

Graphs come from strangers: members of a wrong type are skipped, never an error, and the work is bounded.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .names import split_annotation

_MAX_NODES = 5000
_MAX_HOPS = 64  # through reroutes, bypassed nodes and the borders of subgraphs
_MAX_NESTING = 8  # of subgraphs
_MAX_SCOPES = 500  # uses of subgraphs: nested ones multiply
_MUTED, _BYPASSED = 2, 4  # modes of nodes
_INPUT_NODE, _OUTPUT_NODE = -10, -20  # the borders of a subgraph, as its links name them
SEED_FOLLOWERS = frozenset({"fixed", "increment", "decrement", "randomize"})  # values of the widget behind a seed
_MAX_NAME = 1024  # characters; longer texts are prompts
_MAX_NAMES = 1000  # of a graph: a row each

# The widgets of nodes whose order older workflows do not state.
_WIDGETS = {
    "KSampler": ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler"),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed",),
    "CFGGuider": ("cfg",),
    "FluxGuidance": ("guidance",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "PrimitiveNode": ("value",),
}


def is_saved_format(graph: object) -> bool:
    """Return whether a graph is in the format that the page saves; the other one has node ids as its keys."""
    return isinstance(graph, dict) and isinstance(graph.get("nodes"), list)


def saved_graphs(workflow: object) -> Iterator[dict[str, Any]]:
    """Yield the graph of a saved workflow, then those of its subgraphs."""
    if not isinstance(workflow, dict):
        return
    yield workflow
    # Subgraphs are not nested in one another: each is defined at the top, and used by a node whose type is its id.
    definitions = workflow.get("definitions")
    if isinstance(definitions, dict):
        yield from _objects_in(definitions.get("subgraphs"))


def saved_nodes(graph: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of one graph of a saved workflow."""
    yield from _objects_in(graph.get("nodes"))


def prompt_nodes(prompt: object) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the id, node and inputs of each node of a graph in the format that the server executes."""
    for node_id, node in prompt.items() if isinstance(prompt, dict) else ():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(inputs, dict):
            yield node_id, node, inputs


def _objects_in(value: object) -> Iterator[dict[str, Any]]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in items if isinstance(item, dict))


class NamedFile(NamedTuple):
    """A file as an input names it. ``kind`` is input, output or temp if the value is annotated with it, else empty."""

    kind: str
    folder: str
    name: str


def named_files(graph: Mapping[str, Any]) -> list[NamedFile]:
    """Return the inputs that look like files: a name with a suffix, with or without a folder and ``[output]``."""
    found: dict[NamedFile, None] = {}
    for _, _, inputs in prompt_nodes(graph):
        for value in inputs.values():
            if isinstance(value, str) and (file := named_file(value)) is not None:
                found[file] = None
                if len(found) == _MAX_NAMES:
                    return list(found)
    return list(found)


def named_file(value: str) -> NamedFile | None:
    """Return the file that a text names, or None if it does not look like a file."""
    if "." not in value or len(value) > _MAX_NAME or "\n" in value or "\0" in value:
        return None
    path, kind = split_annotation(value)
    folder, name = posixpath.split(path.replace("\\", "/"))
    stem, suffix = posixpath.splitext(name)
    # "1.5" is a number and "a sentence. With more" a text: suffixes have 1 to 12 characters, as in ".safetensors".
    return NamedFile(kind or "", folder.strip("/"), name) if stem and 2 <= len(suffix) <= 13 else None


def is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogate: no file has one in its name, and SQLite cannot be asked for it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


class Link(NamedTuple):
    """A reference to an output of another node."""

    node: str
    slot: int


class GraphNode(NamedTuple):
    """A node: the type's name, the title ("" without one), and the inputs by name."""

    type: str
    title: str
    inputs: dict[str, Any]


Graph = dict[str, GraphNode]


def executed_graph(prompt: object) -> Graph:
    """Return the nodes of a graph in the format that the server executes."""
    graph: Graph = {}
    for node_id, node, inputs in prompt_nodes(prompt):
        if len(graph) == _MAX_NODES:
            break
        meta = node.get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        graph[node_id] = GraphNode(_text(node.get("class_type")), _text(title), inputs)
    known = graph.keys()
    return {key: node._replace(inputs=_linked(node.inputs, known)) for key, node in graph.items()}


def _linked(inputs: dict[str, Any], known: Any) -> dict[str, Any]:
    return {name: _as_link(value, known) if isinstance(value, list) else value for name, value in inputs.items()}


def _as_link(value: list[Any], known: Any) -> Any:
    if len(value) == 2 and isinstance(value[0], str | int) and str(value[0]) in known:
        return Link(str(value[0]), value[1] if isinstance(value[1], int) else 0)
    return value


def flattened_graph(workflow: object) -> Graph:
    """Return the nodes that the page would have the server execute, those of subgraphs with ids such as ``12:5``."""
    graphs = list(saved_graphs(workflow))
    if not graphs:
        return {}
    definitions = {_text(each.get("id")): each for each in graphs[1:] if each.get("id")}
    flattened: Graph = {}
    _Scope(graphs[0], definitions).flatten(flattened)
    return flattened


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@dataclass
class _Scope:
    """One use of a graph: the whole workflow, or a subgraph within ``outer`` where its node is ``node``."""

    graph: dict[str, Any]
    definitions: dict[str, dict[str, Any]]
    prefix: str = ""
    outer: _Scope | None = None
    node: dict[str, Any] = field(default_factory=dict)
    depth: int = 0
    scopes: list[None] = field(default_factory=list)  # one for each use of a subgraph so far, shared by all

    def __post_init__(self) -> None:
        self.nodes = {_id_of(node, at): node for at, node in enumerate(saved_nodes(self.graph))}
        self.links = dict(_links(self.graph))
        self.inner: dict[Any, _Scope] = {}
        for node_id, node in self.nodes.items():
            definition = self.definitions.get(_text(node.get("type")))
            if definition is None or self.depth >= _MAX_NESTING or node.get("mode") in (_MUTED, _BYPASSED):
                continue
            if len(self.scopes) < _MAX_SCOPES:
                self.scopes.append(None)
                self.inner[node_id] = self._scope_of(node_id, node, definition)
        self.set_nodes = {_first(node): node for node in self.nodes.values() if node.get("type") == "SetNode"}

    def _scope_of(self, node_id: int | str, node: dict[str, Any], definition: dict[str, Any]) -> _Scope:
        prefix = f"{self.prefix}{node_id}:"
        return _Scope(definition, self.definitions, prefix, self, node, self.depth + 1, self.scopes)

    def flatten(self, flattened: Graph) -> None:
        """Add the nodes of this scope and of those within it."""
        for node_id, node in self.nodes.items():
            if len(flattened) >= _MAX_NODES:
                return
            if node_id in self.inner:
                self.inner[node_id].flatten(flattened)
            elif node.get("mode") not in (_MUTED, _BYPASSED):
                inputs = _widget_values(node) | dict(self._linked_inputs(node))
                flattened[f"{self.prefix}{node_id}"] = GraphNode(
                    _text(node.get("type")), _text(node.get("title")), inputs
                )

    def _linked_inputs(self, node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for socket in _sockets(node, "inputs"):
            if socket.get("link") is not None:
                value = self.resolve(socket["link"], 0)
                if value is not None:
                    yield _text(socket.get("name")), value

    def resolve(self, link: Any, hops: int) -> Any:
        """Return the ``Link`` or the value behind a link of this scope; None if it leads nowhere."""
        origin = self.links.get(link) if isinstance(link, int | str) else None
        if origin is None or hops > _MAX_HOPS:
            return None
        node_id, slot = origin
        if node_id == _INPUT_NODE:
            return self._from_outside(slot, hops)
        if node_id in self.inner:
            return self.inner[node_id].output(slot, hops + 1)
        node = self.nodes.get(node_id)
        if node is None or node.get("mode") == _MUTED:
            return None
        passed = self._passed_through(node, slot)
        if passed is not None:
            return self.resolve(passed.get("link"), hops + 1)
        return Link(f"{self.prefix}{node_id}", slot)

    def _passed_through(self, node: dict[str, Any], slot: int) -> dict[str, Any] | None:
        """Return the input whose value a node hands on as it is; None if the node makes a value of its own."""
        if node.get("type") == "GetNode":
            node = self.set_nodes.get(_first(node), {})
        elif node.get("mode") != _BYPASSED:
            return next(iter(_sockets(node, "inputs")), {}) if node.get("type") == "Reroute" else None
        inputs = list(_sockets(node, "inputs"))
        outputs = list(_sockets(node, "outputs"))
        kind = outputs[slot].get("type") if 0 <= slot < len(outputs) else None
        return next((each for each in inputs if each.get("type") == kind), inputs[0] if inputs else {})

    def _from_outside(self, slot: int, hops: int) -> Any:
        """Return the value at an input of the node of this subgraph."""
        sockets = list(_sockets(self.node, "inputs"))
        if self.outer is None or not 0 <= slot < len(sockets):
            return None
        socket = sockets[slot]
        if socket.get("link") is not None:
            return self.outer.resolve(socket["link"], hops + 1)
        return _widget_values(self.node).get(_text(socket.get("name")))

    def output(self, slot: int, hops: int) -> Any:
        """Return the outputs of this subgraph."""
        for link, target in _targets(self.graph):
            if target == (_OUTPUT_NODE, slot):
                return self.resolve(link, hops + 1)
        return None


def _id_of(node: dict[str, Any], at: int) -> int | str:
    node_id = node.get("id")
    return node_id if isinstance(node_id, int | str) else f"#{at}"


def _first(node: dict[str, Any]) -> str:
    """Return the name that a SetNode or GetNode has as its only widget."""
    values = node.get("widgets_values")
    return _text(values[0]) if isinstance(values, list) and values else ""


def _sockets(node: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    sockets = node.get(name)
    return (each for each in sockets if isinstance(each, dict)) if isinstance(sockets, list) else iter(())


def _links(graph: dict[str, Any]) -> Iterator[tuple[Any, tuple[Any, int]]]:
    """Yield the id and the origin of each link: lists in workflows, objects in subgraphs."""
    for link, (node, slot, _, _) in _ends(graph):
        yield link, (node, slot)


def _targets(graph: dict[str, Any]) -> Iterator[tuple[Any, tuple[Any, int]]]:
    for link, (_, _, node, slot) in _ends(graph):
        yield link, (node, slot)


def _ends(graph: dict[str, Any]) -> Iterator[tuple[Any, tuple[Any, Any, Any, Any]]]:
    links = graph.get("links")
    for each in links if isinstance(links, list) else ():
        if isinstance(each, dict):
            ends = tuple(each.get(name) for name in ("id", "origin_id", "origin_slot", "target_id", "target_slot"))
        else:
            ends = tuple(each[:5]) if isinstance(each, list) and len(each) >= 5 else ()
        if len(ends) == 5 and all(isinstance(end, int | str) for end in ends):
            link, node, slot, target, target_slot = ends
            yield link, (node, slot if isinstance(slot, int) else 0, target, target_slot)


def _widget_values(node: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a saved node's widgets by name; those without a known name by their position."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return dict(values)
    if not isinstance(values, list):
        return {}
    names = list(_widget_names(node, len(values)))
    named: dict[str, Any] = {}
    for at, value in enumerate(values):
        if isinstance(value, str) and value in SEED_FOLLOWERS and at and isinstance(values[at - 1], int):
            continue  # it is the control of the seed before it
        follower = values[at + 1] if at + 1 < len(values) else None
        is_seed = isinstance(follower, str) and follower in SEED_FOLLOWERS
        name = names.pop(0) if names else "seed" if is_seed and "seed" not in named else f"widget_{at}"
        named[name] = value
    return named


def _widget_names(node: dict[str, Any], count: int) -> Iterator[str]:
    """Yield the names of a node's widgets in their order, if they are known."""
    known = _WIDGETS.get(_text(node.get("type")))
    if known is not None:
        yield from known
        return
    stated = [_text(each.get("name")) for each in _sockets(node, "inputs") if isinstance(each.get("widget"), dict)]
    # Older pages list only the widgets that were turned into inputs.
    if 2 * len(stated) >= count:
        yield from stated
