"""The files beside a model that belong to it: descriptions and pictures, by their names and what they say. Pure.

Managers of models write them, and A1111 has users edit one: ``ink.safetensors`` has ``ink.civitai.info``, ``ink.json``,
``ink.txt``, ``ink.preview.png`` and so on. They are no assets of their own in lists; what they say is the model's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".pkl")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".mp4", ".webm")
# Ends of names in the order in which what they say counts: first what users edit, last what only lists words.
_DESCRIPTIONS = (
    ".metadata.json",
    ".civitai.info",
    ".cm-info.json",
    ".swarm.json",
    ".api_info.json",
    ".json",
    ".description.txt",
    ".txt",
)
_PREVIEWS = tuple(f"{middle}{suffix}" for middle in (".preview", ".thumb", "") for suffix in _PICTURES)
_ENDS = (*_DESCRIPTIONS, *_PREVIEWS)
_RANKS = {end: rank for rank, end in enumerate(_ENDS)}
FIRST_PICTURE = len(_DESCRIPTIONS)
"""Ranks from here on are those of pictures, in the order in which one of them is chosen."""

# Facts of descriptions that are their model's.
SHARED_FACTS = ("name", "base_model", "trained_words", "author", "description", "repo_url", "architecture")
_MAX_FACTS = 4096
_MAX_FILES = 10
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class SidecarLink(NamedTuple):
    """A sidecar's place among those of its model, both by row id."""

    model_id: int
    asset_id: int
    rank: int


def may_be_sidecar(name: str) -> bool:
    """Return whether a file of this name would belong to a model beside it."""
    return name.lower().endswith(_ENDS)


def links(names: Mapping[int, str]) -> list[SidecarLink]:
    """Return the links between the files of one folder, given by row id.

    Models of one name in several formats share their sidecars. Case does not matter, as on most users' disks.
    """
    lowered = [(row_id, name.lower()) for row_id, name in names.items()]
    others = [(row_id, lower) for row_id, lower in lowered if lower.endswith(_ENDS)]
    if not others:  # most folders hold only models
        return []
    models: defaultdict[str, list[int]] = defaultdict(list)
    for row_id, lower in lowered:
        if (stem := _stem(lower, MODEL_SUFFIXES)) is not None:
            models[stem].append(row_id)
    return [
        SidecarLink(model_id, row_id, rank)
        for row_id, lower in others
        for stem, rank in _readings(lower)
        for model_id in models.get(stem, ())
        if model_id != row_id
    ]


def model_stem(name: str) -> str | None:
    """Return the part of a model's name that its sidecars begin with, or None if it is not the name of a model."""
    stem = _stem(name.lower(), MODEL_SUFFIXES)
    return None if stem is None else name[: len(stem)]


def _stem(name: str, suffixes: tuple[str, ...]) -> str | None:
    if not name.endswith(suffixes):
        return None
    return next(
        (name[: -len(suffix)] for suffix in suffixes if name.endswith(suffix) and len(name) > len(suffix)), None
    )


def _readings(name: str) -> list[tuple[str, int]]:
    """Return the names of models that a file of this name may belong to, each with the rank of the file there."""
    return [(name[: -len(end)], rank) for end, rank in _RANKS.items() if name.endswith(end) and len(name) > len(end)]


def merged(metadata: str, descriptions: Sequence[str], files: Sequence[tuple[str, str]] = ()) -> str:
    """Return the metadata of a model with the facts of its descriptions, all JSON objects, in the order of their ranks.

    The first that states a fact decides, and descriptions before the model itself; trained words are collected.
    ``files`` are the ids and names of all sidecars.
    """
    facts = _decode(metadata)
    words: list[str] = []
    stated: dict[str, Any] = {}
    for text in descriptions:
        found = _decode(text)
        words += [word for word in found.get("trained_words", ()) if word not in words]
        stated = {key: found[key] for key in SHARED_FACTS if key in found} | stated
    if words:
        stated["trained_words"] = words
    merged_facts = facts | stated
    if files:
        merged_facts["sidecars"] = [{"id": asset_id, "name": name} for asset_id, name in files[:_MAX_FILES]]
    if len(encoded := msgspec.json.encode(merged_facts)) > _MAX_FACTS:
        merged_facts.pop("header", None)
        encoded = msgspec.json.encode(merged_facts)
    return encoded.decode()
