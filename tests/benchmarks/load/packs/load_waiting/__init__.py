"""A ComfyUI node that takes a while and stops when its prompt is interrupted.

The pack also keeps ComfyUI's own garbage collection short: every ten seconds it holds everything up for as long as it
takes to look through all that has been imported, which on a busy machine is longer than an interrupt may take.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import comfy.model_management
from server import PromptServer

STEP_S = 0.02


class Waiting:
    """Waits for some seconds; ``word`` keeps equal nodes from being taken for one."""

    RETURN_TYPES = ()
    FUNCTION = "wait"
    OUTPUT_NODE = True
    CATEGORY = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"seconds": ("FLOAT", {"default": 1.0}), "word": ("STRING", {"default": ""})}}

    def wait(self, seconds: float, word: str) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(STEP_S)
        return {"ui": {}}


def leave_out_imported(prompt: Any) -> Any:
    """Have garbage collections leave out what is there when the first prompt comes, which stays anyway."""
    if gc.get_freeze_count() == 0:
        gc.freeze()
    return prompt


PromptServer.instance.add_on_prompt_handler(leave_out_imported)
NODE_CLASS_MAPPINGS = {"LoadWaiting": Waiting}
