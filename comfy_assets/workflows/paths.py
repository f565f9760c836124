"""Where a workflow's file lies, and what its name says. Paths are those in the user's workflows folder, with forward
slashes. Pure."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Collection
from urllib.parse import unquote

from ..models import WorkflowView
from ..names import MAX_PART_BYTES, safe_file_name

FOLDER = "workflows"
_SUFFIX, _APP_SUFFIX = ".json", ".app.json"
_NO_NAME = "Untitled"


def is_workflow(path: str) -> bool:
    """Whether a file at this path may be a workflow: hidden files and folders are others' business."""
    return path.lower().endswith(_SUFFIX) and not any(part.startswith(".") for part in path.split("/"))


def view_of(path: str) -> WorkflowView:
    """The view that the page will open the file in."""
    return "app" if path.lower().endswith(_APP_SUFFIX) else "workflow"


def name_of(path: str) -> str:
    """The name of the workflow in a file."""
    name = posixpath.basename(path)
    stem = name[: -len(_APP_SUFFIX if view_of(path) == "app" else _SUFFIX)]
    return unicodedata.normalize("NFC", stem)


def key_of(path: str) -> str:
    """What is equal of two paths that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def path_for(name: str | None, view: WorkflowView, folder: str, taken: Collection[str]) -> str:
    """Return a free path in the folder for a workflow of this name; ``taken`` are the keys of paths in use.

    A taken name gets a number from 1, as in ComfyUI's own uploads and in ``names.numbered``.
    """
    suffix = _APP_SUFFIX if view == "app" else _SUFFIX
    given = (name or "").strip()
    while given.lower().endswith(_SUFFIX):
        given = given[: -len(_SUFFIX)]
    stem = safe_file_name(given or _NO_NAME, fallback=_NO_NAME)
    number = 0
    while True:
        mark = f" ({number})" if number else ""
        room = MAX_PART_BYTES - len(mark) - len(suffix)
        part = stem.encode()[:room].decode(errors="ignore").rstrip(". ") if len(stem.encode()) > room else stem
        path = posixpath.join(folder, f"{part}{mark}{suffix}")
        if key_of(path) not in taken:
            return path
        number += 1


def in_userdata(file: str) -> str | None:
    """The path in the workflows folder that a request for ``file`` of the user's data is about; None for others.

    Servers decode it once more where there is still something to decode, and take a backslash as the system does.
    """
    if "%" in file:
        file = unquote(file)
    path = posixpath.normpath(file.replace("\\", "/"))
    folder, _, rest = path.partition("/")
    return rest if folder.casefold() == FOLDER and rest else None
