"""Summary of a job's outputs for lists: their number, their kinds, and a preview. No I/O.

Nodes return lists of files under keys of their choice ("images", "gifs", "audio"), and texts under "text". Counts and
preview follow the rules of ComfyUI's own ``/api/jobs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..assets.media.mime import guess_mime
from ..assets.prompts.outputs import OutputSlot, shown_items
from ..models import MEDIA

MAX_TEXT = 1024  # characters of a text that is shown as a preview
_3D_SUFFIXES = frozenset({".obj", ".fbx", ".gltf", ".glb", ".usdz"})
_TEXT_SUFFIXES = frozenset({".txt", ".md", ".json"})
_SHOWN_KEYS = {"images": "image", "video": "video", "audio": "audio", "3d": "3d", "text": ""}
# Ranks of previews, best first.
_SAVED, _TEMPORARY, _TEXT_FILE, _TEXT, _NOTHING = range(5)


class OutputSummary(msgspec.Struct, frozen=True):
    """Counts, ``media`` as bits of models.MEDIA, and ``preview``: an item with its nodeId and mediaType, or None."""

    count: int
    previewable: int
    media: int
    preview: dict[str, Any] | None


def countable(outputs: Mapping[str, Any]) -> Iterator[tuple[OutputSlot, Any]]:
    """Yield the output items. "animated" is left out: it is a flag of the images, not an output."""
    return ((slot, item) for slot, item in shown_items(outputs) if slot.key != "animated")


def as_file(item: object) -> Mapping[str, Any] | None:
    """Return the item as a description of a file; None if it is none. Nodes return 3D models as bare names."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str) and _suffix(item) in _3D_SUFFIXES:
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return None


def summarize(outputs: Mapping[str, Any]) -> OutputSummary:
    """Count the files among the outputs, and choose a preview."""
    count = previewable = media = 0
    rank, preview = _NOTHING, None
    for slot, item in countable(outputs):
        file = as_file(item)
        if file is not None:
            count += 1
            media |= MEDIA.get(_kind(slot.key, file), 0)
            previewable += _rank(slot.key, file) < _NOTHING
        better = _TEXT if file is None and slot.key == "text" and item is not None else _rank(slot.key, file)
        if better < rank:
            rank, preview = better, _preview(slot, file if file is not None else _excerpt(item))
    return OutputSummary(count, previewable, media, preview)


def _rank(key: str, file: Mapping[str, Any] | None) -> int:
    if file is None:
        return _NOTHING
    suffix = _suffix(file.get("filename"))
    is_moving = str(file.get("format") or "").startswith(("video/", "audio/"))
    if not (key in _SHOWN_KEYS or is_moving or suffix in _3D_SUFFIXES or suffix in _TEXT_SUFFIXES):
        return _NOTHING
    if key == "text" or suffix in _TEXT_SUFFIXES:
        return _TEXT_FILE
    return _SAVED if file.get("type") == "output" else _TEMPORARY


def _kind(key: str, file: Mapping[str, Any]) -> str:
    """Return the kind of medium of a file: from its suffix, else its declared format, else its key."""
    name = file.get("filename")
    if _suffix(name) in _3D_SUFFIXES:
        return "3d"
    guessed = guess_mime(name) if isinstance(name, str) else ""
    for text in (guessed, str(file.get("format") or "")):
        kind = text.partition("/")[0]
        if kind in MEDIA:
            return kind
    return _SHOWN_KEYS.get(key, "")


def _suffix(name: object) -> str:
    """Return the lower-case suffix of a file name, empty if it has none."""
    if not isinstance(name, str):
        return ""
    # As PurePosixPath has it, which takes ten times as long: this is called for each output of each job.
    last = name.rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    return last[dot:].lower() if 0 < dot < len(last) - 1 else ""


def _excerpt(text: object) -> dict[str, Any]:
    whole = str(text[0] if isinstance(text, tuple) and text else text)
    return {"content": whole} if len(whole) <= MAX_TEXT else {"content": whole[:MAX_TEXT], "truncated": True}


def _preview(slot: OutputSlot, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"mediaType": slot.key, **item, "nodeId": slot.node_id}
