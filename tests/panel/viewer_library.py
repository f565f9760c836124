"""A library for the viewer: pictures whose files say how they were made, and one file of each other kind."""

from __future__ import annotations

import colorsys
import json
import os
import struct
from pathlib import Path

from panel_graphs import page_graph
from PIL import Image, ImageDraw, PngImagePlugin
from support.media_files import glb, sound, video

PICTURES = 40
NEWEST_S = 1_790_000_000
LONG_TEXT = "a line of notes\n" * 40_000
# Prompt, negative prompt and settings, of which neighbours differ in some.
SUBJECTS = ("red fox in the snow", "red fox in the forest", "grey wolf in the snow")
MODELS = ("dreamscape_xl", "ink_world")
_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def make_viewer_library(base: Path) -> Path:
    """Create the files. The pictures are the newest: ``picture_00.png`` comes first in the list."""
    (base / "output").mkdir(parents=True)
    for number in range(PICTURES):
        _save(base / f"output/picture_{number:02d}.png", picture(number), NEWEST_S - number, parameters(number))
    others = {
        "large.jpg": _jpeg(base / "output/large.jpg"),
        "moving.gif": _gif(base / "output/moving.gif"),
        "clip.webm": video("webm", "libvpx", size=(320, 192), frames=16),
        "song.flac": sound("flac", "flac"),
        "notes.txt": LONG_TEXT.encode(),
        "graph.json": json.dumps(page_graph("a graph in a file")).encode(),
        "shape.glb": pyramid(),
        "cube.stl": flat_cube(),
        "splats.ply": red_splats(),
        "cloud.splat": bytes(32 * 100),
        "empty.stl": b"solid nothing\nendsolid nothing\n",
        "cut.png": b"\x89PNG\r\n\x1a\nthis is no picture",
    }
    for number, (name, body) in enumerate(others.items()):
        path = base / "output" / name
        path.write_bytes(body)
        os.utime(path, (NEWEST_S - 1000 - number,) * 2)
    return base


def parameters(number: int) -> str:
    """Return the settings of a picture in the form of A1111."""
    settings = f"Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: {1000 + number}, Size: 512x512"
    prompt = f"{SUBJECTS[number % 3]}, <lora:fur_detail:0.{5 + number % 2}>"
    return f"{prompt}\nNegative prompt: blurry\n{settings}, Model: {MODELS[number % 2]}"


def picture(number: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Paint a picture of a size of its own."""
    width, height = size or ((512, 512), (512, 768), (896, 512))[number % 3]
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        red, green, blue = colorsys.hsv_to_rgb((number * 0.13 + 0.2 * y / height) % 1, 0.55, 0.35 + 0.5 * y / height)
        draw.line([(0, y), (width, y)], fill=(int(red * 255), int(green * 255), int(blue * 255)))
    for ball in range(5):
        x, y, radius = (number * 97 + ball * 173) % width, (number * 53 + ball * 211) % height, width // (9 + ball)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline="white", width=3)
    return image


def _save(path: Path, image: Image.Image, when: float, text: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    image.save(path, pnginfo=info)
    os.utime(path, (when, when))


def flat_cube() -> bytes:
    """Return a cube in STL whose normals are zero, as many programs write it."""
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            square = [[side if at == axis else (u, v)[(at - axis - 1) % 3] for at in range(3)] for u, v in _CORNERS]
            faces += [square[:3], [square[0], *square[2:]]]
    triangles = (struct.pack("<3f9fH", 0, 0, 0, *(each for point in face for each in point), 0) for face in faces)
    return bytes(80) + struct.pack("<I", len(faces)) + b"".join(triangles)


def red_splats() -> bytes:
    """Return Gaussian splats in PLY, whose red colour is a spherical harmonic."""
    names = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{axis}" for axis in range(3)))
    properties = "".join(f"property float {name}\n" for name in names)
    points = [(x / 20, y / 20, 0.0) for x in range(20) for y in range(20)]
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    return header.encode() + b"".join(struct.pack("<10f", *point, 1.7, -1.7, -1.7, 1, 0, 0, 0) for point in points)


def pyramid() -> bytes:
    """Return a pyramid of four triangles, one of each colour."""
    corners = [(0, 1, 0), (-1, -1, 1), (1, -1, 1), (0, -1, -1)]
    colours = [(0.9, 0.2, 0.2), (0.2, 0.8, 0.3), (0.2, 0.4, 0.9), (0.9, 0.8, 0.2)]
    faces = [(0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)]  # counter-clockwise, seen from outside
    points = [corners[corner] for face in faces for corner in face]
    buffer = b"".join(struct.pack("<3f", *point) for point in points)
    buffer += b"".join(struct.pack("<3f", *colour) for colour in colours for _ in range(3))
    views = [{"buffer": 0, "byteOffset": 144 * view, "byteLength": 144} for view in range(2)]
    common = {"componentType": 5126, "count": 12, "type": "VEC3"}
    accessors = [
        {**common, "bufferView": 0, "min": [-1, -1, -1], "max": [1, 1, 1]},
        {**common, "bufferView": 1},
    ]
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(buffer)}],
    }
    return glb(scene, buffer)


def add_picture(base: Path, number: int, when: float) -> None:
    """Add a picture to the output folder."""
    _save(base / f"output/added_{number:02d}.png", picture(number, (256, 256)), when, parameters(number))


def _jpeg(path: Path) -> bytes:
    picture(7, (3000, 2000)).save(path, quality=80)
    return path.read_bytes()


def _gif(path: Path) -> bytes:
    frames = [picture(number, (200, 150)) for number in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)
    return path.read_bytes()
