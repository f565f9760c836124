"""Whether the content of a new file is what its name, its declared type and its place say. Pure."""

from __future__ import annotations

import re

from ...errors import InvalidBodyError, UnsupportedContentError
from ...names import split_suffix
from .metadata import Extracted
from .mime import DEFAULT_MIME, guess_mime

# The types whose content is told by its first bytes.
_SNIFFED_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_SAFETENSORS = "application/safetensors"
_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(\s*;[\x20-\x7e]{0,128})?")


def check_mime(text: str) -> str:
    """A declared MIME type in lower case. Raises InvalidBodyError when it is none."""
    lowered = text.strip().lower()
    if not _MIME.fullmatch(lowered):
        raise InvalidBodyError("mime_type looks like image/png.", details={"field": "mime_type"})
    return lowered


def check_suffix(name: str, category: str | None, accepted: frozenset[str]) -> None:
    """Raise UnsupportedContentError if the loaders of a category do not take files of this name."""
    suffix = split_suffix(name)[1].lower()
    if category is not None and accepted and suffix not in accepted:
        raise UnsupportedContentError(
            f"{category} takes {', '.join(sorted(accepted))}, not {suffix or 'a name without a suffix'}.",
            details={"field": "file", "accepted": sorted(accepted)},
        )


def admitted_type(name: str, declared: str | None, extracted: Extracted) -> str:
    """The MIME type of a new file. Raises UnsupportedContentError when the content is of another kind than it says."""
    by_name = guess_mime(name)
    found = extracted.mime_type
    for claimed in (declared, by_name):
        if claimed in _SNIFFED_IMAGES and found not in _SNIFFED_IMAGES:
            raise _contradiction(claimed, found)
        if claimed == _SAFETENSORS and found != _SAFETENSORS:
            raise _contradiction(claimed, found)
    if found is not None and (declared is None or declared in _SNIFFED_IMAGES):
        return found
    return declared or by_name


def _contradiction(claimed: str, found: str | None) -> UnsupportedContentError:
    seen = f"the content is {found}" if found else "the content is not"
    return UnsupportedContentError(
        f"The file says that it is {claimed}, but {seen}.",
        details={"field": "file", "declared": claimed, "found": found or DEFAULT_MIME},
    )
