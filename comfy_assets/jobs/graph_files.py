"""What a submitted graph names: the files its nodes load. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..graph_nodes import prompt_nodes
from ..names import split_annotation

_MAX_NAME = 1024
_MAX_NAMES = 1000


class NamedFile(NamedTuple):
    """A value that a loader would find a file by: ``kind`` is input, output or temp when the value says so."""

    kind: str
    folder: str
    name: str


def named_files(graph: Mapping[str, Any]) -> list[NamedFile]:
    """The inputs that look like files: a name with a suffix, perhaps in a folder, perhaps ``[output]``."""
    found: dict[NamedFile, None] = {}
    for _, _, inputs in prompt_nodes(graph):
        for value in inputs.values():
            if isinstance(value, str) and (file := named_file(value)) is not None:
                found[file] = None
                if len(found) == _MAX_NAMES:
                    return list(found)
    return list(found)


def named_file(value: str) -> NamedFile | None:
    """The file that a text names, if it looks like one."""
    if "." not in value or len(value) > _MAX_NAME or "\n" in value or "\0" in value:
        return None
    path, kind = split_annotation(value)
    folder, name = posixpath.split(path.replace("\\", "/"))
    stem, suffix = posixpath.splitext(name)
    return NamedFile(kind or "", folder.strip("/"), name) if stem and 2 <= len(suffix) <= 13 else None
