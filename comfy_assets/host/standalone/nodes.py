"""What a node is, and the registry of those a graph may use."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .folders import BaseFolders

# "required" | "optional" | "hidden" -> input name -> (type, options) as /object_info shows it; a list as the
# type is a choice. Hidden inputs are a word only ("PROMPT"); nodes find their values in the Run.
InputTypes = Mapping[str, Mapping[str, Any]]


class Interrupted(Exception):
    """The user has asked the running prompt to stop."""


@dataclass(frozen=True)
class Run:
    """What a node may know of the prompt it is executed in, and how it reports its progress."""

    node_id: str
    graph: Mapping[str, Any]
    extra_data: Mapping[str, Any]
    interrupted: threading.Event
    report: Callable[[float, float], None]

    def check(self) -> None:
        """Raise Interrupted when the prompt is to stop. Call it inside loops."""
        if self.interrupted.is_set():
            raise Interrupted

    def progress(self, value: float, total: float) -> None:
        """Tell pages how far the node is; also a ``check``."""
        self.check()
        self.report(value, total)


@dataclass(frozen=True)
class Result:
    """What a node gives: a value for each of its outputs, and what pages show of it."""

    outputs: tuple[Any, ...] = ()
    ui: Mapping[str, Any] = field(default_factory=dict)


class Node(ABC):
    """One kind of node. To add a kind: subclass, then ``registry.register("ItsClassType", ItsClass)``.

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
        """The inputs, as they are now: a choice may depend on the files that exist."""

    def check(self, literals: Mapping[str, Any]) -> Mapping[str, str]:
        """What is wrong with the values given, by input name. Called when a prompt is submitted."""
        return {}

    def fingerprint(self, literals: Mapping[str, Any]) -> str:
        """A text that changes when the same values would give another result. May raise OSError."""
        return ""

    @abstractmethod
    def execute(self, run: Run, **inputs: Any) -> Result:
        """Do the work. Whatever it raises is reported as the node's error."""


class NodeRegistry:
    """The kinds of nodes by class type."""

    def __init__(self, folders: BaseFolders) -> None:
        self._folders = folders
        self._nodes: dict[str, Node] = {}

    def register(self, class_type: str, node: type[Node]) -> None:
        """Add a kind of node, or replace the one of that name."""
        self._nodes[class_type] = node(self._folders)

    def get(self, class_type: str) -> Node | None:
        return self._nodes.get(class_type)

    def __getitem__(self, class_type: str) -> Node:
        return self._nodes[class_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)


def describe(class_type: str, node: Node) -> dict[str, Any]:
    """The entry of a kind of node in /object_info."""
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
