"""Path texts as the operating system accepts them."""

from __future__ import annotations

import os
from pathlib import Path

# Windows refuses paths of more than 259 characters, and folders of more than 247, without the prefix.
_LONGEST_PLAIN = 240
_PREFIX = "\\\\?\\"


def extended(path: str) -> str:
    """Return an absolute path in the form that Windows accepts beyond 260 characters; unchanged elsewhere."""
    if os.name != "nt" or len(path) < _LONGEST_PLAIN or path.startswith(_PREFIX):
        return path
    if path.startswith("\\\\"):  # a network share
        return f"{_PREFIX}UNC\\{path[2:]}"
    return _PREFIX + path


def extended_path(folder: Path | str, name: str = "") -> Path:
    """Return a path, or that of a file in a folder, in the form that Windows accepts beyond 260 characters."""
    return Path(extended(os.path.join(folder, name) if name else str(folder)))  # noqa: PTH118 - called for every file
