"""Opens stores at the same moment as another process: one for each line that comes in."""

from __future__ import annotations

import sys
from pathlib import Path

import checkout

checkout.load()

from comfy_assets_node.comfy_assets.db.migrate import prepare  # noqa: E402

print("ready", flush=True)
for line in sys.stdin:
    try:
        prepare(Path(line.strip()))
    except Exception as error:
        print(repr(error), flush=True)
    else:
        print("opened", flush=True)
