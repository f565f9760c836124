"""The standalone server, in whose process something keeps opening and closing the store's file, as a node pack may.

Arguments: those of ``comfy-assets``, with ``--base-directory D``.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import checkout

checkout.load()

from comfy_assets_node.comfy_assets.cli import main  # noqa: E402


def read_again_and_again(store: Path) -> None:
    while True:
        for path in store.parent.glob("library.db"):
            path.read_bytes()
        time.sleep(0.005)


if __name__ == "__main__":
    base = Path(sys.argv[sys.argv.index("--base-directory") + 1])
    store = base / "user" / "__comfy_assets" / "library.db"
    threading.Thread(target=read_again_and_again, args=(store,), daemon=True).start()
    sys.exit(main())
