"""Fields that clients send for new assets, and the rules for names."""

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
    """Checked fields of a request for a new asset.

    ``tags`` are normalized, ``user_metadata`` is the text of a JSON object, ids are canonical UUIDs. ``name`` is the
    asset's name, ``file_name`` that of the client's file. ``hash`` is an algorithm and the digest that the content
    must have.
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
    """An asset returned for a request to create one; ``is_new`` is False if it existed already."""

    asset: Asset
    is_new: bool


def normalize_name(name: str, field: str = "name") -> str:
    """Return an asset's name in stored form: NFC, trimmed.

    Raises InvalidNameError if it is empty, too long, contains control characters, or is a path to another folder.
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
