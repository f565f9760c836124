"""A base directory to measure on: small safetensors models, and PNG outputs with a prompt and a workflow inside."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

from PIL import Image, PngImagePlugin

_CATEGORIES = ("checkpoints", "loras", "vae", "controlnet", "embeddings", "upscale_models", "diffusion_models")


def make_library(base: Path, models: int, outputs: int, seed: int = 11) -> None:
    """Write the files below ``base``; the same arguments give the same bytes."""
    rnd = random.Random(seed)
    for kind in ("models", "input", "output", "temp", "user", "custom_nodes"):
        (base / kind).mkdir(parents=True, exist_ok=True)
    for number in range(models):
        folder = base / "models" / _CATEGORIES[number % len(_CATEGORIES)] / f"group{number % 41}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"model_{number:06d}.safetensors").write_bytes(_model(rnd, number))
    nodes = [{"id": n, "type": "KSampler", "widgets_values": [rnd.random()] * 8} for n in range(30)]
    workflow = json.dumps({"nodes": nodes})
    for number in range(outputs):
        folder = base / "output" / f"month{number % 12 + 1:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("prompt", json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": number}}}))
        info.add_text("workflow", workflow)
        picture = Image.frombytes("RGB", (48, 48), rnd.randbytes(48 * 48 * 3))
        picture.save(folder / f"picture_{number:06d}.png", pnginfo=info, compress_level=1)


def _model(rnd: random.Random, number: int) -> bytes:
    header = {
        "__metadata__": {"modelspec.title": f"model {number}"},
        "weight": {"dtype": "F16", "shape": [64, 64], "data_offsets": [0, 8192]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + rnd.randbytes(8192)
