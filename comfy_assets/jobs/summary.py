"""What a job's outputs come to in a list: how many there are, of what kinds, and which one to show. Pure.

Nodes show lists of files under keys of their choice ("images", "gifs", "audio"), and texts under "text". What is
counted and preferred is what the stock server counts and prefers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..assets.media.mime import guess_mime
from ..assets.prompts.outputs import OutputSlot, shown_items
from ..models import MEDIA

MAX_TEXT = 1024  # characters of a text that is shown as a preview
_3D_SUFFIXES = frozenset({".obj", ".fbx", ".gltf", ".glb", ".usdz"})
_TEXT_SUFFIXES = frozenset({".txt", ".md", ".json"})
_SHOWN_KEYS = {"images": "image", "video": "video", "audio": "audio", "3d": "3d", "text": ""}
# What is preferred as the preview, best first.
_SAVED, _TEMPORARY, _TEXT_FILE, _TEXT, _NOTHING = range(5)


@dataclass(frozen=True)
class Summary:
    """``media`` holds bits of models.MEDIA; ``preview`` is an item with its nodeId and mediaType, or None."""

    count: int
    previewable: int
    media: int
    preview: dict[str, Any] | None


def countable(outputs: Mapping[str, Any]) -> Iterator[tuple[OutputSlot, Any]]:
    """What nodes have shown, without the mark that says that pictures move."""
    return ((slot, item) for slot, item in shown_items(outputs) if slot.key != "animated")


def as_file(item: object) -> Mapping[str, Any] | None:
    """The item as a file's description; nodes may name the files of 3D models only."""
    if isinstance(item, Mapping):
        return item
    if isinstance(item, str) and _suffix(item) in _3D_SUFFIXES:
        return {"filename": item, "type": "output", "subfolder": "", "mediaType": "3d"}
    return None


def summarize(outputs: Mapping[str, Any]) -> Summary:
    """Count what there is, and choose what to show of it."""
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
    return Summary(count, previewable, media, preview)


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
    """What kind of medium a file is: by its name, else by what the node says of it."""
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
    """Return the suffix of a file's name as ``PurePosixPath`` has it, but at a tenth of the time."""
    if not isinstance(name, str):
        return ""
    last = name.rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    return last[dot:].lower() if 0 < dot < len(last) - 1 else ""


def _excerpt(text: object) -> dict[str, Any]:
    whole = str(text[0] if isinstance(text, tuple) and text else text)
    return {"content": whole} if len(whole) <= MAX_TEXT else {"content": whole[:MAX_TEXT], "truncated": True}


def _preview(slot: OutputSlot, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"mediaType": slot.key, **item, "nodeId": slot.node_id}
