"""A ComfyUI node pack that is removed while prompts with its node wait."""

from __future__ import annotations

from typing import Any


class Passing:
    """Does nothing; ``word`` keeps equal nodes from being taken for one."""

    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    CATEGORY = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"word": ("STRING", {"default": ""})}}

    def run(self, word: str) -> dict[str, Any]:
        return {"ui": {}}


NODE_CLASS_MAPPINGS = {"LoadPassing": Passing}
