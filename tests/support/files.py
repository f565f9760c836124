"""Small files that are what they claim to be."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

Colour = int | str | tuple[int, ...]


def picture(colour: Colour = 0, size: tuple[int, int] = (4, 2), **texts: str) -> bytes:
    """Return a PNG of one colour, with transparency if that has four parts, and these texts in it."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    buffer = io.BytesIO()
    has_alpha = isinstance(colour, tuple) and len(colour) == 4
    Image.new("RGBA" if has_alpha else "RGB", size, colour).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def safetensors(fill: int = 0, elements: int = 4, metadata: dict[str, str] | None = None) -> bytes:
    """Return a valid safetensors file with one F16 tensor."""
    header: dict[str, Any] = {"w": {"dtype": "F16", "shape": [elements], "data_offsets": [0, 2 * elements]}}
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes([fill]) * (2 * elements)


async def write_tagged(library: Any, api: Any, files: Mapping[str, Sequence[str]]) -> None:
    """Write files, each with its path as content, scan them, and give them tags of a user."""
    for path in files:
        library.write(path, path.encode())
    await library.scan()
    for path, tags in files.items():
        asset = await library.asset(path.rpartition("/")[2])
        if tags:
            await api.send("POST", f"/api/assets/{asset['id']}/tags", json={"tags": tags})
