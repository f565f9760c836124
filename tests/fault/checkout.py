"""For child processes: the checkout under its package name, and services over a library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "comfy_assets_node"


def load() -> None:
    """Make ``comfy_assets_node`` importable, as tests/conftest.py does."""
    spec = importlib.util.spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)


def services(base: Path) -> Any:
    """Services over a library with models, input and output below ``base``."""
    load()
    from comfy_assets_node.comfy_assets.app import Services
    from comfy_assets_node.comfy_assets.config import Config
    from comfy_assets_node.comfy_assets.host.base import HostFolders, LibraryFolder
    from comfy_assets_node.comfy_assets.host.testing import MemoryHost

    folders = HostFolders(
        (
            LibraryFolder("models", base / "models"),
            LibraryFolder("models", base / "models" / "loras", "loras", frozenset({".safetensors"})),
            LibraryFolder("input", base / "input"),
            LibraryFolder("output", base / "output"),
        )
    )
    return Services(MemoryHost(base / "user", folders), Config(scan_on_start=False))
