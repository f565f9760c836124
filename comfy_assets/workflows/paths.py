"""Map workflow names to file paths and back. Pure.

Paths are relative to the user's workflows folder and have forward slashes.
"""

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
    """Return whether a file at this path may be a workflow. Hidden files and folders belong to other programs."""
    return path.lower().endswith(_SUFFIX) and not any(part.startswith(".") for part in path.split("/"))


def view_of(path: str) -> WorkflowView:
    """Return the view in which the frontend opens the file."""
    return "app" if path.lower().endswith(_APP_SUFFIX) else "workflow"


def name_of(path: str) -> str:
    """Return the name of the workflow in a file."""
    name = posixpath.basename(path)
    stem = name[: -len(_APP_SUFFIX if view_of(path) == "app" else _SUFFIX)]
    return unicodedata.normalize("NFC", stem)


def key_of(path: str) -> str:
    """Return a key that is equal for two paths if any file system treats them as one."""
    # Folding may decompose characters again, for example of Greek, so the result is composed once more.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def path_for(name: str | None, view: WorkflowView, folder: str, taken: Collection[str]) -> str:
    """Return a path in the folder for a workflow of this name. ``taken`` holds keys of paths that are in use.

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
        # Cutting may leave a space or dot at the end, which Windows would drop.
        part = stem.encode()[:room].decode(errors="ignore").rstrip(". ") if len(stem.encode()) > room else stem
        path = posixpath.join(folder, f"{part}{mark}{suffix}")
        if key_of(path) not in taken:
            return path
        number += 1


def in_userdata(file: str) -> str | None:
    """Return the path in the workflows folder that a request for ``file`` in the user data is about, None for others.

    ComfyUI decodes it a second time if a percent sign is left. Backslashes count as separators, as they do on Windows.
    """
    if "%" in file:
        file = unquote(file)
    path = posixpath.normpath(file.replace("\\", "/"))
    folder, _, rest = path.partition("/")
    return rest if folder.casefold() == FOLDER and rest else None
