"""Create a small library for the first run: images with embedded graphs, and tiny placeholders for models."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_PICTURES = (("dawn", (250, 170, 90)), ("noon", (90, 170, 250)), ("dusk", (120, 80, 160)))
_MODELS = (("checkpoints/sample-base.safetensors", "sdxl"), ("loras/sample-style.safetensors", "sdxl"))
_SIZE = 256


def make_sample_library(base: Path) -> None:
    """Write the sample library below ``base``. Existing files are kept."""
    for name, title in _MODELS:
        _write(base / "models" / name, _model_bytes(title))
    for name, colour in _PICTURES:
        _write_picture(base / "output" / "samples" / f"{name}.png", name, colour)
    _write(
        base / "README.txt",
        b"A sample library created by comfy-assets. The models have no weights. Put your own files beside them.\n",
    )


def _write(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _model_bytes(base_model: str) -> bytes:
    """Return a valid safetensors file with one 4 x 4 tensor."""
    header = {
        "__metadata__": {"ss_base_model_version": base_model, "modelspec.title": "A sample without weights"},
        "weight": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 32]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensors to 8 bytes
    return struct.pack("<Q", len(text)) + text + bytes(32)


def _write_picture(path: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Write a gradient with an embedded graph that would paint its colour, as SaveImage embeds it."""
    from PIL import Image, PngImagePlugin  # here, because most runs do not need it

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
