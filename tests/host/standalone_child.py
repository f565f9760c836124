"""A child process: ``comfy-assets serve`` from the checkout. Arguments: those of the command."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location(
        "comfy_assets_node", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    sys.modules["comfy_assets_node"] = importlib.util.module_from_spec(spec)
    from comfy_assets_node.comfy_assets.cli import main

    sys.exit(main(sys.argv[1:]))
