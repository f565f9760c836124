"""Which installed versions are warned of."""

from __future__ import annotations

from importlib import metadata

import pytest
from comfy_assets_node.comfy_assets import advisories

NEW = {"aiohttp": "3.14.3", "Pillow": "12.3.0", "filelock": "3.20.3"}


def warnings(**installed: str) -> list[str]:
    versions = {**NEW, **installed}
    return advisories.warnings(versions.__getitem__)


@pytest.mark.parametrize(
    ("package", "version", "told"),
    [
        ("aiohttp", "3.11.8", ["CVE-2025-53643", "CVE-2025-69223", "3.14.3"]),
        ("aiohttp", "3.14.2", ["CVE-2026-69244"]),
        ("Pillow", "9.4.0", ["CVE-2023-4863", "CVE-2024-28219", "CVE-2026-59205", "12.3.0"]),
        ("Pillow", "10.10.0", ["CVE-2026-25990"]),
        ("filelock", "3.9", ["CVE-2025-68146"]),
    ],
)
def test_old_versions(package: str, version: str, told: list[str]) -> None:
    (sentence,) = warnings(**{package: version})
    assert sentence.startswith(f"{package} {version} has known vulnerabilities")
    assert all(each in sentence for each in told)


@pytest.mark.parametrize("version", ["3.14.3", "3.14.10", "3.15", "4.0.0rc1"])
def test_new_versions(version: str) -> None:
    assert warnings(aiohttp=version) == []


def test_fixed_ones_are_not_named() -> None:
    (sentence,) = warnings(Pillow="10.3.0")
    assert "CVE-2024-28219" not in sentence


def test_packages_that_are_not_there() -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert advisories.warnings(missing) == []
    assert advisories.versions().keys() <= NEW.keys()
