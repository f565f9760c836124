"""A ComfyUI node that takes a while and stops when its prompt is interrupted."""

from __future__ import annotations

import time
from typing import Any

import comfy.model_management

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


NODE_CLASS_MAPPINGS = {"LoadWaiting": Waiting}
