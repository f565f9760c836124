"""Files of a library that an earlier release has read: bytes that no version of a library changes."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

TIME_S = 1_750_000_000  # of every file
ORIENTATION, USER_COMMENT, EXIF_POINTER = 0x0112, 0x9286, 0x8769


def graph(word: str) -> dict[str, Any]:
    """Return a prompt with a word of its own."""
    return {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": f"a {word} in the garden"}}}


def workflow(word: str) -> dict[str, Any]:
    """Return a workflow with a word of its own."""
    return {"nodes": [{"id": 6, "type": "CLIPTextEncode", "widgets_values": [f"a {word} in the garden"]}]}


def png(*texts: tuple[str, str]) -> bytes:
    """Return a PNG of 30 by 20 with these texts. Its pixels are none."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0))
    parts = [_chunk(b"tEXt", f"{key}\0{text}".encode("latin-1")) for key, text in texts]
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(parts) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(orientation: int = 1, comment: bytes = b"") -> bytes:
    """Return a JPEG of 30 by 20 as stored, with an EXIF block. It has no pixels."""
    comment = b"ASCII\0\0\0" + comment
    first = struct.pack("<H HHIHH HHII I", 2, ORIENTATION, 3, 1, orientation, 0, EXIF_POINTER, 4, 1, 38, 0)
    second = struct.pack("<H HHII I", 1, USER_COMMENT, 7, len(comment), 56, 0)
    block = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + comment
    frame = struct.pack(">HBHHB", 17, 8, 20, 30, 3) + bytes(9)
    return (
        b"\xff\xd8\xff\xe1"
        + struct.pack(">H", len(block) + 2)
        + block
        + b"\xff\xc0"
        + frame
        + b"\xff\xda\0\x02\xff\xd9"
    )


def model(title: str) -> bytes:
    """Return a safetensors file with a title."""
    tensor = {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}
    text = json.dumps({"__metadata__": {"modelspec.title": title}, "w": tensor}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(8)


# The file that was called misnamed.bin when it was read, and was renamed before the release ended.
RENAMED = "models/loras/rightname.safetensors"
FILES = {
    "output/plain.png": png(("prompt", json.dumps(graph("zqplain"))), ("workflow", json.dumps(workflow("zqplain")))),
    "output/capital.png": png(("Prompt", json.dumps(graph("zqcapital")))),
    "output/twice.png": png(("prompt", json.dumps(json.dumps(graph("zqtwice"))))),
    "output/half.png": png(("prompt", '{"6": {"class_type": "A", "inputs": {"text": "zqhalf \\ud83d"}}}')),
    "output/turned.jpg": jpeg(6, b"a zqturned lamp\nSteps: 20, Seed: 1"),
    "output/comment.jpg": jpeg(
        1, json.dumps({"prompt": graph("zqcomment"), "workflow": workflow("zqcomment")}).encode()
    ),
    "output/chosen.jpg": jpeg(8),
    "output/chosen copy.jpg": jpeg(8),
    "output/notes.txt": b"zqnotes",
    RENAMED: model("zqrenamed"),
}


def write(base: Path) -> None:
    """Write the files below a base directory."""
    import os

    for name, data in FILES.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (TIME_S, TIME_S))
