"""Installed packages in which weaknesses are known that matter to a server: the log and ``status`` name them.

ComfyUI sets no upper bounds, so the requirements of this project keep such versions out where pip decides. Elsewhere,
as in portable builds, older ones may be there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

# The first version without the weakness, and what it is.
_SAFE: Mapping[str, tuple[str, str]] = {
    "aiohttp": ("3.13.3", "a small compressed body can fill the memory (CVE-2025-69223)"),
    "Pillow": ("12.1.1", "a crafted PSD file can write outside its memory (CVE-2026-25990)"),
    "filelock": ("3.20.1", "a link can make it truncate another file (CVE-2025-68146)"),
}


def weaknesses(installed: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each package that is older than it should be; ``installed`` are versions by name."""
    found = _installed() if installed is None else installed
    return [
        f"{name} {found[name]} has a known weakness: {reason}. Install {name} {safe} or newer."
        for name, (safe, reason) in _SAFE.items()
        if name in found and _numbers(found[name]) < _numbers(safe)
    ]


def _installed() -> dict[str, str]:
    versions = {}
    for name in _SAFE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # put there by other means than pip
    return versions


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
