"""The project's command line, from the checkout, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))
import checkout

checkout.load()
from comfy_assets_node.comfy_assets.cli import main  # noqa: E402

sys.exit(main())
