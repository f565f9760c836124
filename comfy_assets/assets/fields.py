"""Fields that clients send for assets: rules for names and tags, and the folder that the tags choose. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..db.tags import ROOT_TAGS
from ..errors import InvalidNameError, InvalidQueryError, InvalidTagsError, ReservedTagError
from ..host.base import RootKind
from ..models import MISSING_TAG, MODEL_TYPE_PREFIX, categories_of
from ..names import WINDOWS, UnsafeName, check_leads_nowhere, safe_file_name, split_suffix
from .media.mime import DEFAULT_MIME, guess_mime
from .roots import Roots

MAX_NAME_LENGTH = 255  # characters, as of a file on most systems; the file itself gets a name of at most 255 bytes
MAX_TAGS = 100
MAX_TAG_LENGTH = 128
_DEFAULT_KIND: RootKind = "input"
_KINDS: dict[str, RootKind] = {"models": "models", "input": "input", "output": "output", "temp": "temp"}
_FORMER_CATEGORIES = {"unet": "diffusion_models", "clip": "text_encoders"}
_FALLBACK_NAME = "file"  # for a name of characters that no file may have
_FALLBACK_FOLDER = "folder"
_MAX_PATH_LENGTH = 1024


@dataclass(frozen=True)
class UploadFields:
    """Checked fields of a request for a new asset.

    ``tags`` are normalized, ``user_metadata`` is the text of a JSON object, ids are canonical UUIDs. ``name`` is the
    asset's name, ``file_name`` that of the client's file, which goes into ``subfolder`` of the folder that the tags
    choose. ``hash`` is an algorithm and the digest that the content must have. ``expires_in`` is the number of seconds
    after which the asset is deleted.
    """

    tags: tuple[str, ...] = ()
    file_name: str = ""
    name: str | None = None
    mime_type: str | None = None
    user_metadata: str | None = None
    id: str | None = None
    preview_id: str | None = None
    hash: tuple[Literal["blake3", "sha256"], bytes] | None = None
    subfolder: tuple[str, ...] = ()
    expires_in: int | None = None


@dataclass(frozen=True)
class UploadDestination:
    """Folder for a new file, and the user's tags, which are kept in addition to the tags of the location."""

    kind: RootKind
    category: str | None
    folder: Path
    user_tags: tuple[str, ...]


def normalize_name(name: str, field: str = "name") -> str:
    """Return an asset's name in stored form: NFC, trimmed.

    Raises InvalidNameError if it is empty, too long, contains control characters, or is a path to another folder.
    """
    composed = unicodedata.normalize("NFC", name).strip()  # macOS sends names decomposed, others do not
    try:
        check_leads_nowhere(composed)
    except UnsafeName as error:
        raise InvalidNameError(f"The name is refused: {error}.", details={"field": field}) from error
    if not 0 < len(composed) <= MAX_NAME_LENGTH:
        raise InvalidNameError(f"A name has 1 to {MAX_NAME_LENGTH} characters.", details={"field": field})
    if any(unicodedata.category(character) == "Cc" for character in composed):
        raise InvalidNameError("A name must not contain control characters.", details={"field": field})
    return composed


def normalize_title(text: str, field: str = "name") -> str:
    """Return the name of a collection or saved search in stored form: NFC, trimmed.

    Raises InvalidNameError if it is empty, too long, or contains control characters.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH or any(unicodedata.category(each) == "Cc" for each in name):
        reason = f"A name has 1 to {MAX_NAME_LENGTH} characters, none of them a control character."
        raise InvalidNameError(reason, details={"field": field})
    return name


def upload_file_name(fields: UploadFields) -> str:
    """Return the file name for an upload: the asset's name with the suffix of the client's file.

    Raises InvalidNameError.
    """
    suffix = split_suffix(fields.file_name)[1]
    name = fields.name if fields.name is not None else fields.file_name
    # Clients often send a title without a suffix, but loaders and browsers select files by it.
    if suffix and guess_mime(name) == DEFAULT_MIME and not name.lower().endswith(suffix.lower()):
        name += suffix
    try:
        return safe_file_name(name, fallback=_FALLBACK_NAME + suffix)
    except UnsafeName as error:
        field = "file" if fields.name is None else "name"
        raise InvalidNameError(f"The file's name is refused: {error}.", details={"field": field}) from error


@dataclass(frozen=True)
class Placement:
    """The tags that choose a folder, the subfolder in it, and the name of a file."""

    tags: tuple[str, ...]
    subfolder: tuple[str, ...]
    name: str


def parse_placement(path: str, field: str) -> Placement:
    """Return where a new file with this path goes: ``models/loras/style/a.safetensors``, ``input/a.png``, ``a.png``.

    A path that begins with no root is one of an input. Names become such that every system can store them. Raises
    InvalidNameError for a path that leads to another folder or has no name.
    """
    if len(path) > _MAX_PATH_LENGTH:  # first: the work below grows with it
        raise InvalidNameError(f"A path has at most {_MAX_PATH_LENGTH} characters.", details={"field": field})
    try:
        check_leads_nowhere(path)
        parts = unicodedata.normalize("NFC", path).split("/")
        depth = {"models": 2}.get(parts[0], 1 if parts[0] in ROOT_TAGS else 0)
        if len(parts) <= depth or not all(part.strip() for part in parts):
            raise UnsafeName("it needs a name, and the category of a model")
        folders = tuple(safe_file_name(part, fallback=_FALLBACK_FOLDER) for part in parts[depth:-1])
    except UnsafeName as error:
        raise InvalidNameError(f"The path is refused: {error}.", details={"field": field}) from error
    return Placement(tuple(parts[:depth]), folders, parts[-1])


def normalize_tags(tags: Sequence[str], field: str = "tags") -> tuple[str, ...]:
    """Return the tags in stored form: NFC, trimmed, without duplicates. Raises InvalidTagsError."""
    cleaned = tuple(dict.fromkeys(unicodedata.normalize("NFC", tag).strip() for tag in tags))
    if len(cleaned) > MAX_TAGS:
        raise InvalidTagsError(f"An asset has at most {MAX_TAGS} tags.", details={"field": field})
    for tag in cleaned:
        problem = _problem(tag)
        if problem:
            raise InvalidTagsError(f"A tag {problem}.", details={"field": field})
    return cleaned


def folder_path(text: str, field: str, *, windows: bool = WINDOWS) -> str:
    """Return a folder's path to filter by, from its root on: "models/loras/style". A slash at its end is removed.

    Raises InvalidQueryError if it is no such path.
    """
    path = text.replace("\\", "/") if windows else text
    parts = path.removesuffix("/").split("/")
    if parts[0] not in ROOT_TAGS:
        problem = f"begins with {', '.join(ROOT_TAGS[:-1])} or {ROOT_TAGS[-1]}, as in output/2026 or models/loras/style"
    elif any(part.strip(" ") in ("", ".", "..") for part in parts):
        problem = "has no empty parts, and none that are dots"
    else:
        return "/".join(parts)
    raise InvalidQueryError(f"{field}: A folder's path {problem}.", details={"field": field})


def _problem(tag: str) -> str | None:
    if not tag:
        return "must not be empty"
    if len(tag) > MAX_TAG_LENGTH:
        return f"has at most {MAX_TAG_LENGTH} characters"
    if "," in tag:
        return "must not contain a comma, which separates tags in queries"
    # Control characters, lone surrogates, and the separators of lines and paragraphs.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in tag):
        return "must not contain control characters"
    return None


def is_reserved(tag: str) -> bool:
    """Return whether the library itself sets this tag, at any location of an asset."""
    return tag in ROOT_TAGS or tag == MISSING_TAG or tag.startswith(MODEL_TYPE_PREFIX)


def check_not_reserved(tags: Iterable[str], place_tags: Iterable[str]) -> None:
    """Raise ReservedTagError if the library sets one of the tags, in general or because of the asset's location."""
    place = set(place_tags)
    refused = [tag for tag in tags if is_reserved(tag) or tag in place]
    if refused:
        raise ReservedTagError(
            "These tags follow from the file's location and cannot be changed: " + ", ".join(refused) + ".",
            details={"field": "tags", "tags": refused},
        )


def choose_destination(tags: Sequence[str], roots: Roots) -> UploadDestination:
    """Return the destination that normalized tags choose. Raises InvalidTagsError.

    The location is ``models`` with a category (see ``_named_categories``), ``input`` (the default), ``output`` or
    ``temp``. A ``model_type:`` tag may name the category too, because clients send back the tags of a response.
    """
    if MISSING_TAG in tags:
        raise _unusable(f"A new asset cannot have the tag {MISSING_TAG}.")
    kinds = [_KINDS[tag] for tag in tags if tag in _KINDS]
    if len(kinds) > 1:
        raise _unusable(f"An asset has one location; the tags name {', '.join(kinds)}.")
    kind = kinds[0] if kinds else _DEFAULT_KIND
    category = _category(tags, roots) if kind == "models" else None
    typed = [tag for tag in tags if tag.startswith(MODEL_TYPE_PREFIX)]
    if typed and (kind != "models" or typed != [f"{MODEL_TYPE_PREFIX}{category}"]):
        raise _unusable(f"The tag {typed[0]} contradicts the location.")
    folder = roots.destination(kind, category)
    if folder is None:
        raise _unusable(f"This server has no folder for {kind}.")
    own = {kind, category, *typed}  # the location implies these
    return UploadDestination(kind, category, folder, tuple(tag for tag in tags if tag not in own))


def reference_category(tags: Sequence[str], roots: Roots) -> str | None:
    """Return the category of a model without a file of its own, None for other assets and if it is not clear.

    Since they place no file, the tags are free: any, in any order. Raises InvalidTagsError for ``missing``, and
    ReservedTagError for a model type that is not of a category, or for several.
    """
    if MISSING_TAG in tags:
        raise _unusable(f"A new asset cannot have the tag {MISSING_TAG}.")
    known = roots.categories()
    typed = set(categories_of(tags))
    if len(typed) > 1 or not typed <= known:  # the sets of such tags must stay few
        raise ReservedTagError(
            f"An asset can have one tag that begins with {MODEL_TYPE_PREFIX}, of a category of this server.",
            details={"field": "tags", "tags": sorted(MODEL_TYPE_PREFIX + category for category in typed)},
        )
    named = [*typed] or [*_named_categories(tags, known)]
    return named[0] if "models" in tags and len(named) == 1 else None


def typed_tags(tags: tuple[str, ...], file_name: str, category: str | None, roots: Roots) -> tuple[str, ...]:
    """Return the tags of an asset; for models also the category, and the model type if its loaders accept the file."""
    if category is None:
        return tags
    accepted = roots.suffixes(category)
    loads = not accepted or split_suffix(file_name)[1].lower() in accepted
    typed = (f"{MODEL_TYPE_PREFIX}{category}",) if loads else ()
    return (*(tag for tag in tags if not tag.startswith(MODEL_TYPE_PREFIX)), category, *typed)


def _category(tags: Sequence[str], roots: Roots) -> str:
    known = roots.categories()
    named = [*_named_categories(tags, known)]
    if len(named) == 1:
        return named[0]
    if named:
        raise _unusable(f"A model has one category; the tags name {', '.join(named)}.")
    raise InvalidTagsError(
        "A model needs the tag of its category, such as checkpoints or loras.",
        details={"field": "tags", "categories": sorted(known)},
    )


def _named_categories(tags: Sequence[str], known: frozenset[str]) -> dict[str, None]:
    """Return the categories that tags name, in order: by their own names, or else by other forms of these.

    Other forms are the singular (``checkpoint``), a path below the category (``loras/styles``) and the names that
    ComfyUI had before.
    """
    bare = dict.fromkeys(tag.removeprefix(MODEL_TYPE_PREFIX) for tag in tags)
    named = dict.fromkeys(tag for tag in bare if tag in known)
    if named:
        return named
    bases = [base for base in (tag.partition("/")[0] for tag in bare) if base not in ROOT_TAGS]
    forms = [_FORMER_CATEGORIES.get(base, base) + ending for base in bases for ending in ("", "s", "es")]
    return dict.fromkeys(form for form in forms if form in known)


def _unusable(message: str) -> InvalidTagsError:
    return InvalidTagsError(message, details={"field": "tags"})
