"""comfy-assets: drop this folder into ComfyUI's ``custom_nodes`` and restart."""

NODE_CLASS_MAPPINGS: dict[str, type] = {}
