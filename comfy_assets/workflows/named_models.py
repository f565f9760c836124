"""Find the models and input files that a workflow names, the links it gives for them, and replace their names. Pure.

Workflows come from strangers: members of a wrong type are skipped, and everything taken from one is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from .. import asset_kinds
from ..graphs import NamedFile, is_saved_format, is_unicode, named_file, prompt_nodes, saved_graphs, saved_nodes

MAX_NAMED = 500
_MAX_VALUES = 100_000  # values of widgets that are looked at
_MAX_DEPTH = 4  # of lists and objects inside the value of a widget
_MAX_NODE_TYPES = 5
_MAX_SOURCES = 5  # links of one file
_MAX_URL = 2048
_SHA256 = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_INPUT_SUFFIXES = frozenset({
    "png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jxl", "exr", "hdr",
    "mp4", "webm", "mov", "mkv", "avi", "m4v", "wav", "mp3", "flac", "ogg", "opus", "m4a", "aac",
    "glb", "gltf", "obj", "stl", "ply", "fbx", "latent",
})  # fmt: skip

NamedKind = Literal["model", "input"]


class ModelSource(NamedTuple):
    """A link to a model, with the category and the sha256 digest that are stated with it."""

    url: str
    category: str | None = None
    sha256: bytes | None = None


class FileKey(NamedTuple):
    """A file as a workflow names it, and the category of models that is stated for it."""

    text: str
    category: str | None = None


@dataclass
class NamedInWorkflow:
    """A file that nodes name, the types of some of these nodes, and the sources that the workflow states for it."""

    key: FileKey
    kind: NamedKind
    file: NamedFile
    node_types: list[str] = field(default_factory=list)
    sources: list[ModelSource] = field(default_factory=list)


class _Slot(NamedTuple):
    """A text in the widgets or inputs of a node, and the list or object that has it."""

    node: Mapping[str, Any]
    holder: MutableSequence[Any] | MutableMapping[str, Any]
    at: Any
    text: str
    depth: int


def named_in(workflow: object) -> list[NamedInWorkflow]:
    """Return the models and the input files that the nodes of a workflow name, at most ``MAX_NAMED``."""
    found: dict[FileKey, NamedInWorkflow] = {}
    everywhere = _stated_sources(workflow.get("models")) if isinstance(workflow, dict) else {}
    for slot, named in _named_slots(workflow):
        if named.key not in found and len(found) == MAX_NAMED:
            continue
        known = found.setdefault(named.key, named)
        stated = named.sources or everywhere.get(base_name(slot.text), [])
        known.sources += [source for source in stated if source not in known.sources]
        del known.sources[_MAX_SOURCES:]
        node_type = slot.node.get("type") or slot.node.get("class_type")
        if isinstance(node_type, str) and node_type not in known.node_types:
            known.node_types = [*known.node_types, node_type][:_MAX_NODE_TYPES]
    return list(found.values())


def replace_names(workflow: object, values: Mapping[FileKey, str]) -> set[FileKey]:
    """Replace the names of files in the nodes of a workflow, in place. Return those that were found."""
    replaced: set[FileKey] = set()
    for slot, named in list(_named_slots(workflow)):
        value = values.get(named.key)
        if value is not None:
            slot.holder[slot.at] = value
            replaced.add(named.key)
    return replaced


def _named_slots(workflow: object) -> Iterator[tuple[_Slot, NamedInWorkflow]]:
    node, stated = None, dict[str, list[ModelSource]]()
    for _, slot in zip(range(_MAX_VALUES), _slots(workflow), strict=False):
        file = named_file(slot.text)
        if file is None or not is_unicode(slot.text):
            continue
        if slot.node is not node:
            node, stated = slot.node, _sources_of(slot.node)
        suffix = file.name.lower().rpartition(".")[2]
        if suffix in asset_kinds.MODEL_SUFFIXES and not file.kind:
            sources = stated.get(base_name(slot.text), [])
            category = next((source.category for source in sources if source.category), None)
            yield slot, NamedInWorkflow(FileKey(slot.text, category), "model", file, sources=sources[:_MAX_SOURCES])
        elif suffix in _INPUT_SUFFIXES and slot.depth == 0 and file.kind in ("", "input"):
            # Deeper in a widget's value are descriptions of what the node showed last.
            yield slot, NamedInWorkflow(FileKey(slot.text), "input", file)


def _slots(workflow: object) -> Iterator[_Slot]:
    if not is_saved_format(workflow):
        for _, node, inputs in prompt_nodes(workflow):
            yield from _leaves(node, inputs)
        return
    for graph in saved_graphs(workflow):
        for node in saved_nodes(graph):
            values = node.get("widgets_values")
            if isinstance(values, (list, dict)):
                yield from _leaves(node, values)


def _leaves(node: Mapping[str, Any], values: list[Any] | dict[str, Any]) -> Iterator[_Slot]:
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        holder, depth = waiting.pop()
        for at, item in enumerate(holder) if isinstance(holder, list) else holder.items():
            if isinstance(item, str):
                yield _Slot(node, holder, at, item, depth)
            elif depth < _MAX_DEPTH and isinstance(item, (list, dict)):
                waiting.append((item, depth + 1))


def _sources_of(node: Mapping[str, Any]) -> dict[str, list[ModelSource]]:
    """Return the sources that templates state in the properties of a node, by the name of the file."""
    properties = node.get("properties")
    return _stated_sources(properties.get("models")) if isinstance(properties, dict) else {}


def _stated_sources(models: object) -> dict[str, list[ModelSource]]:
    found: dict[str, list[ModelSource]] = {}
    for entry in models[:MAX_NAMED] if isinstance(models, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str):
            category = entry.get("directory")
            digest = entry.get("hash")
            is_sha256 = isinstance(digest, str) and _SHA256.fullmatch(digest) and _is_sha256(entry.get("hash_type"))
            source = ModelSource(
                web_link(entry.get("url")) or "",
                category if isinstance(category, str) and 0 < len(category) <= 128 else None,
                bytes.fromhex(digest) if is_sha256 else None,
            )
            found.setdefault(base_name(name), []).append(source)
    return found


def _is_sha256(hash_type: object) -> bool:
    return hash_type is None or (isinstance(hash_type, str) and hash_type.lower().replace("-", "") == "sha256")


def web_link(url: object) -> str | None:
    """Return a link to a page or file of the web as it is, or None for anything else, such as a script."""
    if not isinstance(url, str) or len(url) > _MAX_URL or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def base_name(text: str) -> str:
    """Return the last part of a path, with slashes of either system."""
    return text.replace("\\", "/").rpartition("/")[2]
