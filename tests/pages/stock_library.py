"""A small library for ComfyUI's page, and graphs that add to it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from PIL import Image
from support.servers import make_base

INPUTS, OUTPUTS = 3, 5


def saving(prefix: str, color: int, steps: int = 0) -> dict[str, Any]:
    """A graph that saves a picture, after as many steps that take a moment each."""
    graph: dict[str, Any] = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": color}}
    }
    source = "1"
    for step in range(steps):
        size = {"width": 3000 + step % 2, "height": 3000, "upscale_method": "lanczos", "crop": "disabled"}
        graph[str(step + 10)] = {"class_type": "ImageScale", "inputs": {"image": [source, 0], **size}}
        source = str(step + 10)
    graph["2"] = {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": prefix}}
    return graph


def make_library(base: Path) -> Path:
    """Inputs, outputs, and a model with a picture beside it."""
    make_base(base)
    for number in range(OUTPUTS):
        _picture(base / "output" / f"out_{number:05d}_.png", (number * 40, 100, 200), 1_790_000_000 + number)
    for number in range(INPUTS):
        _picture(base / "input" / f"in_{number}.png", (200, number * 60, 100), 1_780_000_000 + number)
    (base / "models" / "loras" / "ink").mkdir(parents=True)
    header = b'{"weight":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    model = base / "models" / "loras" / "ink" / "style.safetensors"
    model.write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    _picture(model.with_suffix(".png"), (20, 200, 20), 1_770_000_000)
    return base


def _picture(path: Path, color: tuple[int, int, int], at: int) -> None:
    Image.new("RGB", (64, 48), color).save(path)
    os.utime(path, (at, at))
