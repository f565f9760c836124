"""The base class of nodes, the registry of node types, and the routes that describe them."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from .folders import BaseFolders
from .http import RouteTable, json_response

# "required" | "optional" | "hidden" -> input name -> (type, options), as in /object_info. A list as the type is a
# choice. Hidden inputs are a word only ("PROMPT"): nodes find their values in the Run.
InputTypes = Mapping[str, Mapping[str, Any]]


class ExecutionInterrupted(Exception):
    """Raised in a node when the running prompt is interrupted."""


@dataclass(frozen=True)
class Run:
    """The prompt that a node is executed in, and the reporting of its progress. ``show`` receives previews."""

    node_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    interrupted: threading.Event
    report: Callable[[float, float], None]
    show: Callable[[Any], None]

    def check(self) -> None:
        """Raise ExecutionInterrupted if the prompt has been interrupted. Call it inside loops."""
        if self.interrupted.is_set():
            raise ExecutionInterrupted

    def progress(self, value: float, total: float) -> None:
        """Report the node's progress to pages; also calls ``check``."""
        self.check()
        self.report(value, total)

    def preview(self, picture: Any) -> None:
        """Report an image of Pillow that shows unfinished work."""
        self.show(picture)


@dataclass(frozen=True)
class Result:
    """The result of a node: a value for each output, and the data that pages display."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] = field(default_factory=dict)


class Node(ABC):
    """A node type. To add one: subclass, then ``registry.register("ItsClassType", ItsClass)``.

    One instance serves every graph, on the worker thread, so it keeps no state between calls. Images are
    float32 arrays [batch, height, width, channels] from 0 to 1 that nodes share: never change one in place.
    """

    display_name: ClassVar[str] = ""
    category: ClassVar[str] = ""
    description: ClassVar[str] = ""
    search_aliases: ClassVar[tuple[str, ...]] = ()
    essentials_category: ClassVar[str | None] = None
    returns: ClassVar[tuple[str, ...]] = ()
    return_names: ClassVar[tuple[str, ...] | None] = None
    output_node: ClassVar[bool] = False
    deprecated: ClassVar[bool] = False
    # Choices that ``check`` judges itself; the list that is shown need not contain them.
    open_choices: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folders: BaseFolders) -> None:
        self.folders = folders

    @abstractmethod
    def input_types(self) -> InputTypes:
        """Return the inputs. Choices may depend on the existing files."""

    def check(self, literals: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the problems of the values, by input name. Called when a prompt is submitted."""
        return {}

    def fingerprint(self, literals: Mapping[str, Any]) -> str:
        """Return a text that changes if the same values would have another result. May raise OSError."""
        return ""

    @abstractmethod
    def execute(self, run: Run, **inputs: Any) -> Result:
        """Execute the node. Any exception is reported as its error."""


class NodeRegistry:
    """The node types by name."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders
        self._nodes: dict[str, Node] = {}

    def register(self, class_type: str, node: type[Node]) -> None:
        """Add a node type, or replace the one of that name."""
        self._nodes[class_type] = node(self._folders)

    def get(self, class_type: str) -> Node | None:
        return self._nodes.get(class_type)

    def __getitem__(self, class_type: str) -> Node:
        return self._nodes[class_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)


def describe(class_type: str, node: Node) -> dict[str, Any]:
    """Return the entry of a node type in /object_info."""
    inputs = node.input_types()
    info: dict[str, Any] = {
        "input": inputs,
        "input_order": {group: list(names) for group, names in inputs.items()},
        "is_input_list": False,
        "output": list(node.returns),
        "output_is_list": [False] * len(node.returns),
        "output_name": list(node.return_names or node.returns),
        "name": class_type,
        "display_name": node.display_name or class_type,
        "description": node.description,
        "python_module": "nodes",
        "category": node.category,
        "output_node": node.output_node,
        "has_intermediate_output": False,
        "search_aliases": list(node.search_aliases),
    }
    if node.deprecated:
        info["deprecated"] = True
    if node.essentials_category is not None:
        info["essentials_category"] = node.essentials_category
    return info


class NodeRoutes:
    """The routes /object_info and /node_replacements."""

    def __init__(self, registry: NodeRegistry) -> None:
        self._registry = registry

    def routes(self) -> RouteTable:
        return [
            ("GET", "/object_info", self._describe_all),
            ("GET", "/object_info/{class_type}", self._describe_one),
            ("GET", "/node_replacements", self._list_replacements),
        ]

    async def _describe_all(self, request: web.Request) -> web.Response:
        names = list(self._registry)
        # In a thread: nodes list folders for their choices.
        return json_response(
            await asyncio.to_thread(lambda: {name: describe(name, self._registry[name]) for name in names})
        )

    async def _describe_one(self, request: web.Request) -> web.Response:
        name = request.match_info["class_type"]
        node = self._registry.get(name)
        return json_response({} if node is None else {name: await asyncio.to_thread(describe, name, node)})

    async def _list_replacements(self, request: web.Request) -> web.Response:
        """Return no replacements: packs register them when they are loaded, and no pack is loaded here."""
        return json_response({})
