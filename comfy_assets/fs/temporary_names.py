"""Names that files bear until they are complete: hidden from scans, lists of users' files and loaders' lists."""

from __future__ import annotations

import uuid

_BEGIN, _END = ".comfy-assets-", ".part"
PATTERN = f"{_BEGIN}*{_END}"  # as ``Path.glob`` takes it


def passing_name() -> str:
    """A name that no other file has."""
    return f"{_BEGIN}{uuid.uuid4().hex}{_END}"


def is_passing(name: str) -> bool:
    """Whether a file of this name is not complete yet."""
    return name.startswith(_BEGIN) and name.endswith(_END)
