"""A small library: images with embedded prompts and workflows, and small files in place of models."""

from __future__ import annotations

import colorsys
import json
import os
import struct
from pathlib import Path

from panel_graphs import page_graph, saving
from PIL import Image, ImageDraw, PngImagePlugin

SUBJECTS = (
    "castle on a cliff at dusk",
    "knight in golden armour",
    "red dragon over a mountain",
    "quiet street in the rain",
    "watercolor forest with a river",
    "robot in a flower field",
    "cat looking out of a window",
    "lighthouse in a storm",
)
PICTURES = 24


def make_library(base: Path) -> Path:
    """Create images with embedded prompts and workflows, and small files in place of models."""
    for kind in ("models/loras", "models/checkpoints", "input", "output/2026-11"):
        (base / kind).mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        subject = SUBJECTS[number % len(SUBJECTS)]
        path = base / "output" / "2026-11" / f"{subject.replace(' ', '_')}_{number:05d}_.png"
        _paint(path, number, subject)
        os.utime(path, (1_790_000_000 + number, 1_790_000_000 + number))
    for name in ("loras/ink_style", "loras/film_grain", "checkpoints/dreamscape_xl"):
        _model(base / "models" / f"{name}.safetensors", name.rpartition("/")[2])
    (base / "input" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is no picture")
    for path in (*(base / "models").rglob("*.safetensors"), base / "input" / "broken.png"):
        os.utime(path, (1_780_000_000, 1_780_000_000))  # older than the images, which then come first
    return base


def _paint(path: Path, number: int, subject: str) -> None:
    hue = number * 0.38 % 1
    size = ((512, 512), (512, 640), (640, 512))[number % 3]
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    for y in range(size[1]):
        draw.line([(0, y), (size[0], y)], fill=_colour(hue + 0.12 * y / size[1], 0.5, 0.25 + 0.6 * y / size[1]))
    for ball in range(4):
        x, y, radius = (number * 97 + ball * 173) % size[0], (number * 53 + ball * 211) % size[1], 40 + ball * 28
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_colour(hue + 0.07 * ball, 0.55, 0.75))
    info = PngImagePlugin.PngInfo()
    prompt = {**saving(path.stem), "6": {"class_type": "CLIPTextEncode", "inputs": {"text": subject}}}
    info.add_text("prompt", json.dumps(prompt))
    info.add_text("workflow", json.dumps(page_graph(subject)))
    picture.save(path, pnginfo=info)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _model(path: Path, title: str) -> None:
    tensor = {"dtype": "F16", "shape": [64, 64], "data_offsets": [0, 8192]}
    header = json.dumps({"__metadata__": {"modelspec.title": title}, "weight": tensor}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + title.encode().ljust(8192, b"\0"))
