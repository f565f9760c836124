"""Warnings about installed packages with published vulnerabilities.

ComfyUI decides on the installed versions: the pack warns about them and does not require newer ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata

# By package: versions that fix vulnerabilities, oldest first, each with one CVE that it fixes.
_FIXES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "aiohttp": (
        ("3.12.14", "CVE-2025-53643"),
        ("3.13.3", "CVE-2025-69223"),
        ("3.13.4", "CVE-2026-22815"),
        ("3.14.0", "CVE-2026-34993"),
        ("3.14.1", "CVE-2026-54273"),
        ("3.14.2", "CVE-2026-69243"),
        ("3.14.3", "CVE-2026-69244"),
    ),
    "Pillow": (
        ("10.0.1", "CVE-2023-4863"),
        ("10.2.0", "CVE-2023-50447"),
        ("10.3.0", "CVE-2024-28219"),
        ("12.1.1", "CVE-2026-25990"),
        ("12.3.0", "CVE-2026-59205"),
    ),
    "filelock": (
        ("3.20.1", "CVE-2025-68146"),
        ("3.20.3", "CVE-2026-22701"),
    ),
}


def warnings(version_of: Callable[[str], str] = metadata.version) -> list[str]:
    """Return a sentence for each package with known vulnerabilities. Blocks: reads files."""
    return [sentence for name, fixes in _FIXES.items() if (sentence := _warning(name, fixes, version_of)) is not None]


def versions(version_of: Callable[[str], str] = metadata.version) -> dict[str, str]:
    """Return the installed versions of these packages."""
    return dict(_installed(version_of))


def _installed(version_of: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    for name in _FIXES:
        try:
            yield name, version_of(name)
        except metadata.PackageNotFoundError:
            continue


def _warning(name: str, fixes: tuple[tuple[str, str], ...], version_of: Callable[[str], str]) -> str | None:
    installed = versions(version_of).get(name)
    if installed is None:
        return None
    # Compared as numbers: as texts, 3.9 would be newer than 3.14.
    unfixed = [cve for fixed, cve in fixes if _numbers(installed) < _numbers(fixed)]
    if not unfixed:
        return None
    return (
        f"{name} {installed} has known vulnerabilities ({', '.join(unfixed)});"
        f' update it with: pip install --upgrade "{name}>={fixes[-1][0]}"'
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version; ``3.14.0rc1`` counts as 3.14.0."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
