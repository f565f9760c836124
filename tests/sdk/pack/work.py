"""What the nodes of the tests do, for ComfyUI and for the standalone host alike.

``SDK_TEST_GATES`` names a folder: a node with a gate goes on until a file of that name is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STEP_S = 0.01
GATE_TIMEOUT_S = 180.0

WORK_INPUTS: Mapping[str, Any] = {
    "required": {
        "steps": ("INT", {"default": 1, "min": 1, "max": 10_000}),
        "gate": ("STRING", {"default": ""}),
        "preview": ("BOOLEAN", {"default": False}),
        "deaf": ("BOOLEAN", {"default": False}),
        "word": ("STRING", {"default": ""}),
    },
    "optional": {"image": ("IMAGE",)},
}
FAIL_INPUTS: Mapping[str, Any] = {"required": {"message": ("STRING", {"default": "it broke"})}}
FILE_INPUTS: Mapping[str, Any] = {
    "required": {"kind": (["text", "3d", "audio", "latent"],), "word": ("STRING", {"default": ""})}
}
ECHO_INPUTS: Mapping[str, Any] = {"required": {"value": ("*", {})}}


def work(
    report: Callable[[int, int], None],
    check: Callable[[], None],
    *,
    steps: int,
    gate: str,
    deaf: bool,
) -> None:
    """Report the steps, then wait for the gate; ``check`` raises when the prompt is interrupted, unless deaf."""
    for step in range(1, steps + 1):
        if not deaf:
            check()
        report(step, steps)
        time.sleep(STEP_S)
    deadline = time.monotonic() + GATE_TIMEOUT_S
    while gate and not (Path(os.environ["SDK_TEST_GATES"]) / gate).exists():
        if not deaf:
            check()
        time.sleep(STEP_S)
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened the gate {gate}")
    check()


def write_file(folder: Path, kind: str, word: str) -> dict[str, Any]:
    """Write an output of the kind; return what the node displays."""
    if kind == "text":
        return {"text": [word]}
    name, key, content = {
        "3d": (f"{word}.glb", "3d", b"glTF" + struct.pack("<II", 2, 12)),
        "audio": (f"{word}.wav", "audio", b""),
        "latent": (f"{word}.latent", "latents", struct.pack("<Q", 2) + b"{}"),
    }[kind]
    path = folder / name
    if kind == "audio":
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(word.encode().ljust(800, b"\0"))
    else:
        path.write_bytes(content)
    return {key: [{"filename": name, "subfolder": "", "type": "output"}]}


def echo(value: Any) -> dict[str, Any]:
    """Display a value as JSON."""
    return {"text": [json.dumps(value)]}


def fingerprint(key: str | None) -> dict[str, Any]:
    """Display a digest of a key, which tells that it has come without telling it."""
    return {"text": [hashlib.sha256((key or "").encode()).hexdigest()]}
