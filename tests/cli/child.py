"""Runs the command in a process of its own that comes to a halt at one moment. Arguments: the moment, how, the command.

``kill`` ends the process there as ``kill -9`` does; ``wait`` says "there" and goes on once the work is asked to stop.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fault"))
import checkout

checkout.load()
from comfy_assets_node.comfy_assets.assets.maintenance import hardlinks, verify  # noqa: E402
from comfy_assets_node.comfy_assets.background.interruption import CancelToken  # noqa: E402
from comfy_assets_node.comfy_assets.cli import main  # noqa: E402
from comfy_assets_node.comfy_assets.db import files  # noqa: E402
from comfy_assets_node.comfy_assets.fs import atomic  # noqa: E402
from comfy_assets_node.comfy_assets.workflows.bundles import archive, importer  # noqa: E402

# Moments: the function that is called, and whether it runs before the halt.
MOMENTS: dict[str, tuple[Any, str, bool]] = {
    "comparing": (hardlinks, "_common_digest", False),
    "compared": (hardlinks, "_common_digest", True),
    "noted": (hardlinks, "_swap_in_link", False),
    "linked": (Path, "hardlink_to", True),
    "copied": (hardlinks, "_copy", True),
    "dressed": (hardlinks, "_restore_attributes", True),
    "replaced": (Path, "replace", True),
    "restamping": (files, "update_stat", False),
    "bundle copied": (archive, "_copy", True),
    "bundle extracted": (importer.BundleImporter, "_accept", True),
    "bundle placed": (atomic, "move_to_free_name", True),
    "bundle registered": (importer.contents, "of_assets", False),
    "reading": (verify.Verifier, "_digest", True),
}
tokens: list[CancelToken] = []
moment, how = sys.argv[1:3]


def halt() -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("there", flush=True)
    deadline = time.monotonic() + 20
    while not any(token.is_cancelled for token in tokens):
        assert time.monotonic() < deadline, "nobody asked to stop"
        time.sleep(0.01)


def halting(real: Callable[..., Any], after: bool) -> Callable[..., Any]:
    def wrapped(*arguments: Any) -> Any:
        if not after:
            halt()
        answer = real(*arguments)
        if after:
            halt()
        return answer

    return wrapped


def remember(self: CancelToken, real: Callable[[CancelToken], None] = CancelToken.__init__) -> None:
    real(self)
    tokens.append(self)


CancelToken.__init__ = remember  # type: ignore[method-assign]
# Tests that a shell starts in the background ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
owner, name, after = MOMENTS[moment]
setattr(owner, name, halting(getattr(owner, name), after))
raise SystemExit(main(sys.argv[3:]))
