"""A library for pictures of the panel: painted landscapes with prompts, models with pictures, videos, a workflow."""

from __future__ import annotations

import json
import math
import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from panel_graphs import page_graph
from PIL import Image, ImageDraw, PngImagePlugin

NEWEST_S = 1_795_900_000
DAY_S = 86_400
SIZES = ((576, 384), (384, 576), (480, 480))
# Name, colours of the sky from top to horizon, of the sun, and of the nearest hills.
MOODS = (
    ("dawn", ((92, 110, 160), (245, 190, 165)), (255, 236, 200), (44, 52, 84)),
    ("noon", ((70, 140, 205), (205, 228, 240)), (255, 252, 235), (38, 92, 82)),
    ("dusk", ((58, 42, 98), (238, 128, 96)), (255, 214, 150), (36, 22, 58)),
    ("night", ((12, 18, 44), (52, 78, 122)), (235, 238, 250), (8, 14, 30)),
    ("fog", ((150, 168, 176), (226, 230, 228)), (250, 248, 240), (74, 96, 98)),
    ("autumn", ((120, 148, 172), (246, 214, 160)), (255, 240, 205), (122, 52, 30)),
)
PLACES = ("alpine valley", "quiet lake", "rolling hills", "northern coast", "desert ridge", "forest pass")
STYLES = ("watercolour", "gouache", "matte painting", "ink wash")
PICTURES = 36
BANDS = 8  # of the sky
HILLS = 5
LORAS = (("ink_wash", "Flux.1 D", ["ink wash", "sumi-e"]), ("soft_light", "SDXL 1.0", ["soft light"]),
         ("film_grain", "SDXL 1.0", ["35mm photo"]), ("paper_cut", "SD 1.5", ["paper cut"]))  # fmt: skip


def make_gallery(base: Path) -> Path:
    """Create the files. The pictures are the newest, a few a day."""
    for folder in ("output/landscapes", "output/studies", "input", "models/loras", "models/checkpoints"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        path = base / "output" / ("studies" if number % 4 == 3 else "landscapes") / f"{_title(number)}.png"
        _save(path, landscape(number), prompt(number))
        _date(path, NEWEST_S - number * DAY_S // 5)
    for number, (name, base_model, words) in enumerate(LORAS):
        path = base / "models/loras" / f"{name}.safetensors"
        _model(path, 40_000 + 9_000 * number)
        landscape(50 + number, (384, 384)).save(path.with_suffix(".preview.png"))
        facts = {"base_model": base_model, "civitai": {"trainedWords": words}}
        path.with_suffix(".metadata.json").write_text(json.dumps(facts))
    _model(base / "models/checkpoints/dreamscape_xl.safetensors", 400_000)
    for number in range(6):
        landscape(70 + number, (512, 512)).save(base / "input" / f"reference_{number + 1}.png")
    (base / "input" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nthis is no picture")
    for path in (*base.glob("models/*/*"), *base.glob("input/*")):
        _date(path, NEWEST_S - 30 * DAY_S)
    return base


def _mood(number: int) -> Any:
    return MOODS[number % 5 + number // 18 % 2]


def _title(number: int) -> str:
    return f"{PLACES[number % 6]} {_mood(number)[0]} {number + 1:02d}".replace(" ", "_")


def words(number: int) -> str:
    """Return the prompt of a picture."""
    mood, place = _mood(number)[0], PLACES[number % 6]
    return f"{place} at {mood}, {STYLES[number % 4]}, layered mountains, soft light"


def prompt(number: int) -> dict[str, Any]:
    """Return the executed graph of a picture."""
    lora = LORAS[number % 3][0]
    width, height = SIZES[number % 3]
    sampler = {"seed": 481_516_234 + 7919 * number, "steps": 24 + number % 3 * 4, "cfg": 6.5, "denoise": 1.0,
               "sampler_name": "dpmpp_2m", "scheduler": "karras", "model": ["2", 0], "positive": ["3", 0],
               "negative": ["4", 0], "latent_image": ["5", 0]}  # fmt: skip
    lora_inputs = {"lora_name": f"{lora}.safetensors", "strength_model": 0.6 + number % 3 / 10, "strength_clip": 1.0}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dreamscape_xl.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {**lora_inputs, "model": ["1", 0], "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": words(number), "clip": ["2", 1]}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry, text, watermark", "clip": ["2", 1]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": 1}},
        "6": {"class_type": "KSampler", "inputs": sampler},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "landscape"}},
    }


def landscape(number: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Paint the hills of this number under a sun: in flat colours, as pictures of them are small files."""
    width, height = (2 * each for each in size or SIZES[number % 3])  # twice as large, for smooth edges
    _, (top, horizon), sun, near = _mood(number)
    chance = random.Random(number)
    image = Image.new("RGB", (width, height), horizon)
    draw = ImageDraw.Draw(image)
    for band in range(BANDS):
        edges = [height * 0.6 * each / BANDS for each in (band, band + 1)]
        draw.rectangle((0, edges[0], width, edges[1]), fill=_mixed(top, horizon, band / BANDS))
    where = (chance.uniform(0.2, 0.8) * width, chance.uniform(0.16, 0.4) * height)
    for radius, strength in ((0.30, 0.10), (0.21, 0.12), (0.13, 0.16), (0.058, 1.0)):
        disc = Image.new("L", image.size)
        box = [each + sign * radius * min(width, height) for sign in (-1, 1) for each in where]
        ImageDraw.Draw(disc).ellipse(box, fill=round(255 * strength))
        image.paste(sun, mask=disc)
    for layer in range(HILLS):
        colour = _mixed(horizon, near, ((layer + 1) / HILLS) ** 1.15)
        outline = _ridge(width, height * (0.40 + 0.11 * layer), height * (0.105 - 0.012 * layer), chance)
        draw.polygon([*outline, (width, height), (0, height)], fill=colour)
    return image.reduce(2)


def _ridge(width: int, middle: float, reach: float, chance: random.Random) -> list[tuple[float, float]]:
    """Return the outline of a range of hills, from left to right."""
    waves = [
        (1.3 * 1.9**octave * chance.uniform(0.8, 1.2), reach / 1.75**octave, chance.random()) for octave in range(5)
    ]

    def height(x: float) -> float:
        return sum(high * math.sin(math.tau * (often * x + start)) for often, high, start in waves)

    return [(x, middle + height(x / width)) for x in range(0, width + 4, 4)]


def _mixed(one: Sequence[int], other: Sequence[int], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def _save(path: Path, image: Image.Image, graph: dict[str, Any]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    info.add_text("workflow", json.dumps(page_graph(graph["3"]["inputs"]["text"])))
    image.save(path, pnginfo=info, compress_level=1)


def _model(path: Path, size: int) -> None:
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    body = path.name.encode().ljust(size, b"\0")
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)


def _date(path: Path, when: float) -> None:
    os.utime(path, (when, when))
