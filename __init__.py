"""comfy-assets: drop this folder into ComfyUI's ``custom_nodes`` and restart."""

from __future__ import annotations

import gc
import logging
import sys

NODE_CLASS_MAPPINGS: dict[str, type] = {}
WEB_DIRECTORY: str | None = None  # the folder that ComfyUI registers by the name of ours


def _attach() -> str | None:
    """Attach to ComfyUI; return what becomes ``WEB_DIRECTORY``.

    Every failure is logged: a pack that does not work must not stop the server.
    """
    # Our import makes some 30,000 objects, nearly all of them to stay. They would bring the next full collection
    # forward, which walks the half million objects of a ComfyUI that has loaded torch: 150 ms and more, for nothing.
    # Without collections in between they count as one young generation, which takes a millisecond once they are on.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        from .comfy_assets.plugin import attach_to_comfyui

        return "./web" if attach_to_comfyui() else None
    except Exception:
        logging.getLogger("comfy_assets").exception(
            "comfy-assets could not start; ComfyUI goes on without it. "
            "If a module is missing: pip install -r requirements.txt in this folder."
        )
        return "./web"  # the panel tells that the pack does not work
    finally:
        if was_enabled:
            gc.enable()


# Only ComfyUI's loader imports the pack with a server around it; pip and test runners import it without one.
if __package__ and "server" in sys.modules and "folder_paths" in sys.modules:
    WEB_DIRECTORY = _attach()
