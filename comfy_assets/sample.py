"""A small library to look at on the first run: pictures with workflows inside, and tiny stand-ins for models."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_PICTURES = (("dawn", (250, 170, 90)), ("noon", (90, 170, 250)), ("dusk", (120, 80, 160)))
_MODELS = (("checkpoints/sample-base.safetensors", "sdxl"), ("loras/sample-style.safetensors", "sdxl"))
_SIZE = 256


def make_sample_library(base: Path) -> None:
    """Write the sample library below ``base``. Files that exist are left as they are."""
    for name, title in _MODELS:
        _write(base / "models" / name, _model_bytes(title))
    for name, colour in _PICTURES:
        _write_picture(base / "output" / "samples" / f"{name}.png", name, colour)
    _write(
        base / "README.txt",
        b"A sample library made by comfy-assets. The models are headers without weights; put your own beside them.\n",
    )


def _write(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _model_bytes(base_model: str) -> bytes:
    """A valid safetensors file of one 4 x 4 tensor."""
    header = {
        "__metadata__": {"ss_base_model_version": base_model, "modelspec.title": "A sample without weights"},
        "weight": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(32)


def _write_picture(path: Path, name: str, colour: tuple[int, int, int]) -> None:
    """A gradient, with the graph that would paint its colour embedded the way SaveImage does."""
    from PIL import Image, PngImagePlugin

    if path.exists():
        return
    red, green, blue = colour
    prompt = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": _SIZE, "height": _SIZE, "batch_size": 1, "color": red << 16 | green << 8 | blue},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"samples/{name}"}},
    }
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(prompt))
    gradient = Image.linear_gradient("L").resize((_SIZE, _SIZE))
    picture = Image.composite(Image.new("RGB", gradient.size, colour), Image.new("RGB", gradient.size), gradient)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, pnginfo=info)
