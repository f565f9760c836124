"""comfy-assets: drop this folder into ComfyUI's ``custom_nodes`` and restart."""

from __future__ import annotations

import logging
import sys

NODE_CLASS_MAPPINGS: dict[str, type] = {}
WEB_DIRECTORY = "./web"


def _attach() -> None:
    """Attach to ComfyUI. Whatever fails is logged: a pack that cannot work must not keep the server from working."""
    try:
        from .comfy_assets.plugin import attach_to_comfyui

        attach_to_comfyui()
    except Exception:
        logging.getLogger("comfy_assets").exception(
            "comfy-assets could not start; ComfyUI goes on without it. "
            "If a module is missing: pip install -r requirements.txt in this folder."
        )


# Imported by ComfyUI's loader there is a server; installed with pip, or collected by a test runner, there is none.
if __package__ and "server" in sys.modules and "folder_paths" in sys.modules:
    _attach()
