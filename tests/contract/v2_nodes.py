"""Nodes for tests of Comfy API v2 on the standalone host: they wait, fail, and have outputs of every kind."""

from __future__ import annotations

import time
from typing import Any

from comfy_assets_node.comfy_assets.host.standalone.nodes import InputTypes, Node, NodeRegistry, Result, Run
from PIL import Image


class _Output(Node):
    """An output node that needs no other node; another ``number`` avoids the cached result."""

    output_node = True

    def input_types(self) -> InputTypes:
        return {"required": {}, "optional": {"number": ("INT", {"default": 0})}}


class Wait(_Output):
    """Reports steps and previews until it is interrupted, or the input folder holds a file named ``release``."""

    def execute(self, run: Run, **inputs: Any) -> Result:
        deadline = time.monotonic() + 30
        step = 0
        while not (self.folders.input / "release").exists():
            step = min(step + 1, 99)
            run.progress(step, 100)
            run.preview(Image.new("RGB", (8, 8), (step, 0, 0)))
            time.sleep(0.005)
            assert time.monotonic() < deadline, "nobody released the node"
        return Result()


class Fail(_Output):
    """Fails."""

    def execute(self, run: Run, **inputs: Any) -> Result:
        raise LookupError("it broke")


class Text(_Output):
    """Shows texts."""

    def execute(self, run: Run, **inputs: Any) -> Result:
        return Result((), {"text": ("grüße", "two")})


class _File(_Output):
    """Writes a file and shows it."""

    key, name = "files", "file.bin"

    def execute(self, run: Run, **inputs: Any) -> Result:
        self.folders.output.mkdir(exist_ok=True)
        (self.folders.output / self.name).write_bytes(self.name.encode())
        return Result((), {self.key: [{"filename": self.name, "subfolder": "", "type": "output"}]})


class Mesh(_File):
    """Names a 3D model by its bare path, as ComfyUI's nodes do."""

    def execute(self, run: Run, **inputs: Any) -> Result:
        (self.folders.output / "3d").mkdir(parents=True, exist_ok=True)
        (self.folders.output / "3d/mesh.glb").write_bytes(b"glTF")
        return Result((), {"3d": ["3d/mesh.glb"]})


class Latent(_File):
    """Saves a latent."""

    key, name = "latents", "saved.latent"


class Sound(_File):
    """Saves a sound."""

    key, name = "audio", "sound.wav"


class Film(_File):
    """Saves a video."""

    key, name = "gifs", "film.mp4"


class Names(_Output):
    """Shows the values that it is given as texts."""

    def input_types(self) -> InputTypes:
        return {"required": {"names": ("*", {})}}

    def execute(self, run: Run, **inputs: Any) -> Result:
        names = inputs["names"]
        return Result((), {"text": [str(name) for name in (names if isinstance(names, (list, tuple)) else [names])]})


def register(registry: NodeRegistry) -> None:
    """Add the nodes."""
    for node in (Wait, Fail, Text, Mesh, Latent, Sound, Film, Names):
        registry.register(node.__name__, node)
