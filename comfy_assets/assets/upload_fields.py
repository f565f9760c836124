"""What clients say of the assets they make."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from ..errors import InvalidNameError
from ..models import Asset
from ..names import UnsafeName, check_leads_nowhere, safe_file_name, split_suffix
from .media.mime import DEFAULT_MIME, guess_mime

MAX_NAME_LENGTH = 255
_FALLBACK_NAME = "file"


@dataclass(frozen=True)
class UploadFields:
    """What a client says of a new asset. ``tags`` are normalized; ``user_metadata`` is a JSON object.

    ``name`` is what the asset is to be called, ``file_name`` what the client's file is called; ``hash`` is an
    algorithm and a digest that the content must have; ids are canonical UUIDs.
    """

    tags: tuple[str, ...] = ()
    file_name: str = ""
    name: str | None = None
    mime_type: str | None = None
    user_metadata: str | None = None
    id: str | None = None
    preview_id: str | None = None
    hash: tuple[Literal["blake3", "sha256"], bytes] | None = None


@dataclass(frozen=True)
class CreatedAsset:
    """The asset a client asked for, and whether it is a new one."""

    asset: Asset
    is_new: bool


def normalize_name(name: str, field: str = "name") -> str:
    """A name for an asset, as it is shown and listed: composed Unicode without space around it.

    Raises InvalidNameError for one that is empty or too long, has control characters, or reads as a path that
    leads to another folder.
    """
    composed = unicodedata.normalize("NFC", name).strip()
    try:
        check_leads_nowhere(composed)
    except UnsafeName as error:
        raise InvalidNameError(f"The name is refused: {error}.", details={"field": field}) from error
    if not 0 < len(composed) <= MAX_NAME_LENGTH:
        raise InvalidNameError(f"A name has 1 to {MAX_NAME_LENGTH} characters.", details={"field": field})
    if any(unicodedata.category(character) == "Cc" for character in composed):
        raise InvalidNameError("A name must not contain control characters.", details={"field": field})
    return composed


def upload_file_name(declared: UploadFields) -> str:
    """What the file of an upload is to be called: as the asset is, with the suffix of the client's file.

    Raises InvalidNameError.
    """
    suffix = split_suffix(declared.file_name)[1]
    name = declared.name if declared.name is not None else declared.file_name
    if suffix and guess_mime(name) == DEFAULT_MIME and not name.lower().endswith(suffix.lower()):
        name += suffix
    try:
        return safe_file_name(name, fallback=_FALLBACK_NAME + suffix)
    except UnsafeName as error:
        field = "file" if declared.name is None else "name"
        raise InvalidNameError(f"The file's name is refused: {error}.", details={"field": field}) from error
