"""Walk the nodes of workflow graphs, and find the files that they name. Pure.

There are two formats: the one that the page saves, and the one that the server executes.
Graphs come from strangers: members of a wrong type are skipped, never an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .names import split_annotation

_MAX_NAME = 1024  # characters; longer texts are prompts
_MAX_NAMES = 1000  # of a graph: a row each


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
