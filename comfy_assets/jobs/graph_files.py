"""Names of files in a submitted graph: inputs that a loader node would open. No I/O."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..graph_nodes import prompt_nodes
from ..names import split_annotation

_MAX_NAME = 1024  # characters; longer texts are prompts
_MAX_NAMES = 1000  # of a graph: a row each


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
