"""Which tags users may give and take, and which place the tags of a new asset choose. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..db.tags import ROOT_TAGS
from ..errors import InvalidTagsError, ReservedTagError
from ..host.base import RootKind
from ..models import MISSING_TAG, MODEL_TYPE_PREFIX
from .roots import Roots

MAX_TAGS = 100
MAX_TAG_LENGTH = 128
_DEFAULT_KIND: RootKind = "input"
_KINDS: dict[str, RootKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}


@dataclass(frozen=True)
class UploadDestination:
    """Where a new file goes, and the tags it gets besides those of its place."""

    kind: RootKind
    category: str | None
    folder: Path
    user_tags: tuple[str, ...]


def normalize_tags(tags: Sequence[str], field: str = "tags") -> tuple[str, ...]:
    """The tags as they are stored: composed Unicode, no space around them, no repeats. Raises InvalidTagsError."""
    cleaned = tuple(dict.fromkeys(unicodedata.normalize("NFC", tag).strip() for tag in tags))
    if len(cleaned) > MAX_TAGS:
        raise InvalidTagsError(f"An asset has at most {MAX_TAGS} tags.", details={"field": field})
    for tag in cleaned:
        problem = _problem(tag)
        if problem:
            raise InvalidTagsError(f"A tag {problem}.", details={"field": field})
    return cleaned


def _problem(tag: str) -> str | None:
    if not tag:
        return "must not be empty"
    if len(tag) > MAX_TAG_LENGTH:
        return f"has at most {MAX_TAG_LENGTH} characters"
    if "," in tag:
        return "must not contain a comma, which separates tags in queries"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in tag):
        return "must not contain control characters"
    return None


def is_reserved(tag: str) -> bool:
    """Whether a tag always says something that the library itself knows."""
    return tag in ROOT_TAGS or tag == MISSING_TAG or tag.startswith(MODEL_TYPE_PREFIX)


def check_not_reserved(tags: Iterable[str], place_tags: Iterable[str]) -> None:
    """Raise ReservedTagError if one of the tags is the library's own, or follows from the asset's place."""
    place = set(place_tags)
    refused = [tag for tag in tags if is_reserved(tag) or tag in place]
    if refused:
        raise ReservedTagError(
            "These tags follow from where the file lies and cannot be changed: " + ", ".join(refused) + ".",
            details={"field": "tags", "tags": refused},
        )


def choose_destination(tags: Sequence[str], roots: Roots) -> UploadDestination:
    """The place that normalized tags choose: ``models`` and a category, ``input`` (also when none is named),
    ``output`` or ``temp``. Raises InvalidTagsError.

    ``model_type:`` tags, which answers carry, may name the category too.
    """
    if MISSING_TAG in tags:
        raise _unusable(f"The tag {MISSING_TAG} is not for new assets.")
    kinds = [_KINDS[tag] for tag in tags if tag in _KINDS]
    if len(kinds) > 1:
        raise _unusable(f"An asset lies in one place; the tags name {', '.join(kinds)}.")
    kind = kinds[0] if kinds else _DEFAULT_KIND
    category = _category(tags, roots) if kind == "models" else None
    typed = [tag for tag in tags if tag.startswith(MODEL_TYPE_PREFIX)]
    if typed and (kind != "models" or typed != [f"{MODEL_TYPE_PREFIX}{category}"]):
        raise _unusable(f"The tag {typed[0]} does not fit the place.")
    folder = roots.destination(kind, category)
    if folder is None:
        raise _unusable(f"This server has no folder for {kind}.")
    own = {kind, category, *typed}
    return UploadDestination(kind, category, folder, tuple(tag for tag in tags if tag not in own))


def _category(tags: Sequence[str], roots: Roots) -> str:
    known = roots.categories()
    named = [c for c in dict.fromkeys(tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags) if c in known]
    if len(named) == 1:
        return named[0]
    if named:
        raise _unusable(f"A model has one category; the tags name {', '.join(named)}.")
    raise InvalidTagsError(
        "A model needs the tag of its category, such as checkpoints or loras.",
        details={"field": "tags", "categories": sorted(known)},
    )


def _unusable(message: str) -> InvalidTagsError:
    return InvalidTagsError(message, details={"field": "tags"})
