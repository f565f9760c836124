"""Small valid files for every reader, to be damaged and grown: a reader without one fails a test.

``samples`` gives the files by the name of their format. Most are made for other tests, by the writers of this folder;
those that no other test needs are here.
"""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

from comfy_assets_node.comfy_assets.assets.media import metadata

from . import media_files, model_files, picture_files, real_files

MAX_SAMPLE = 40 << 10  # bytes; damage of a larger file is mostly damage of its pixels
_MOST = 12  # of a format: the library of real files has a hundred PNGs
_SHAPES = {"double_blocks.0.img_attn.qkv.weight": [9, 3], "lora_unet.lora_down.weight": [4, 8]}
_HEADER = {
    "modelspec.title": "Ink", "ss_tag_frequency": json.dumps({"10_x": {"a tag": 3}}), "x": "\u00e9", "empty": "",
    "prompt": json.dumps(media_files.PROMPT),
}  # fmt: skip
_A1111 = "a lighthouse, größe <lora:ink:0.8>\nNegative prompt: dull\nSteps: 20, Sampler: Euler a, Seed: 7, Size: 9x9"
_CIVITAI = {
    "id": 1, "modelId": 2, "trainedWords": ["a", "b"], "baseModel": "Pony", "description": "<p>x</p>",
    "model": {"name": "Ink", "type": "LORA", "tags": ["style"]},
}  # fmt: skip
_MANAGER = {"model_name": "Ink", "base_model": "Illustrious", "tags": [{"name": "a"}], "civitai": _CIVITAI}
_MATRIX = {"ModelName": "Ink", "VersionName": "2", "TrainedWords": ["a"], "BaseModel": "SDXL", "ModelId": 5}
_USER = {"activation text": "ink", "sd version": "SDXL", "notes": "n", "negative text": "bad"}
_TENSORS = {"a": model_files.TensorStub((2, 3)), "state_dict": {"b": model_files.TensorStub((4,), "HalfStorage")}}
_EMBEDDING = {"string_to_param": {"*": model_files.TensorStub((2, 768))}, "name": "ink", "step": 500, "x": [1.5, None]}


class Sample(NamedTuple):
    """A file: the name under which it is read, and its bytes."""

    name: str
    data: bytes


def _texts() -> Iterator[Sample]:
    for number, value in enumerate((_CIVITAI, _MANAGER, _MATRIX, _USER, {"modelVersions": [_CIVITAI], "id": 3})):
        yield Sample(f"{number}.civitai.info", json.dumps(value).encode())
    yield Sample("saved.json", json.dumps(media_files.WORKFLOW).encode())
    yield Sample("real.json", json.dumps(real_files.workflow("sample")).encode())
    yield Sample("api.json", json.dumps(media_files.PROMPT).encode())
    request = {"prompt": media_files.PROMPT, "extra_data": {"extra_pnginfo": {"workflow": media_files.WORKFLOW}}}
    yield Sample("request.json", json.dumps(request).encode())
    yield Sample("swarm.json", json.dumps({"sui_image_params": {"prompt": "a", "loras": ["x"], "seed": 9}}).encode())
    yield Sample("nan.json", b'\xef\xbb\xbf{"1": {"class_type": "A", "inputs": {"cfg": NaN, "t": "\\ud83d"}}}')
    yield Sample("00005.txt", _A1111.encode())
    yield Sample("caption.txt", "a lighthouse, größe".encode("utf-16"))
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4265146304\n"
    yield Sample("pointer.safetensors", pointer)


def _models() -> Iterator[Sample]:
    for number, header in enumerate((_HEADER, {}, None, {"x": {"y": [1]}, "ss_output_name": "z"})):
        yield Sample(f"{number}.safetensors", model_files.safetensors(header, _SHAPES))
    for order, version in (("<", 3), (">", 3), ("<", 1)):
        values = {
            "general.architecture": "flux", "general.name": "Ink", "general.file_type": 14, "x": 1.5, "y": True,
            "general.tags": ["a", "b"], "tokenizer.ggml.tokens": [str(number) for number in range(70)], "z": [1, 2],
            "long": "x" * 300,
        }  # fmt: skip
        data = model_files.gguf(values, {"double_blocks.0.img_attn.qkv.weight": ((256, 4), 12)}, version, order)
        yield Sample(f"{version}.gguf", data)
    for number, value in enumerate((_EMBEDDING, _TENSORS)):
        for protocol in (0, 2, 4):
            yield Sample(f"{number} {protocol}.pt", model_files.torch_archive(value, protocol))
        yield Sample(f"{number}.ckpt", model_files.torch_legacy(value))
    yield Sample("deflated.pt", model_files.torch_archive(_EMBEDDING, compression=zipfile.ZIP_DEFLATED))


def _scenes() -> Iterator[Sample]:
    spz = gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 2, 9, 0, 12, 0, 0) + bytes(180), mtime=0)
    yield Sample("x.spz", spz)
    package = struct.pack("<4s5H3I2H", b"PK\x03\x04", 10, 0, 0, 0, 0, 0, 9, 9, 9, 0) + b"scene.usdc" + b"PXR-USDC "
    yield Sample("x.usdz", package)
    yield Sample("x.usd", b"#usda 1.0\n" + bytes(40))
    yield Sample("x.splat", bytes(64))
    yield Sample("x.ksplat", bytes(64))
    floats = b"".join(b"property float %s\n" % name for name in (b"x", b"f_dc_0", b"rot_0", b"opacity"))
    yield Sample("x.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n" + floats + b"end_header\n")
    vertices = struct.pack("<cIII", b"d", 9, 0, 72) + bytes(72)
    yield Sample("x.fbx", b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400) + _fbx_objects(vertices))
    scene = {
        "asset": {"version": "2.0", "extras": media_files.TAGS}, "accessors": [{"count": 9}, {"count": 6}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}, {"mode": 5}]}], "materials": [{}],
        "extensionsUsed": ["KHR_x"], "animations": [{}], "textures": [{}],
    }  # fmt: skip
    yield Sample("x.gltf", json.dumps(scene).encode())
    yield Sample("x.glb", media_files.glb(scene, bytes(8)))


def _fbx_objects(vertices: bytes) -> bytes:
    """Return the nodes Objects, Geometry and Vertices within each other, as version 7400 has them."""
    start = 27
    sizes = [13 + len(name) for name in (b"Objects", b"Geometry", b"Vertices")]
    end = start + sum(sizes) + len(vertices)
    nodes = [
        struct.pack("<IIIB", end, count, length, len(name)) + name
        for name, count, length in ((b"Objects", 0, 0), (b"Geometry", 0, 0), (b"Vertices", 1, len(vertices)))
    ]
    return b"".join(nodes) + vertices + bytes(13)


def _pictures() -> Iterator[Sample]:
    for suffix, datas in picture_files.SAMPLES.items():
        yield from (Sample(f"x.{suffix}", data) for data in datas)
    yield Sample("x.heif", picture_files.heif(b"mif1", brands=[b"j2ki"], xmp=picture_files.xmp_packet(dc_title="a")))


def _media() -> Iterator[Sample]:
    for name, make in media_files.SAMPLES.items():
        yield Sample(f"x{name}" if name.startswith(".") else "x", make())
    common = media_files.chunk(b"COMM", struct.pack(">hIhHQ", 2, 60, 16, 16398, 0xBB80 << 48), ">")
    title = media_files.chunk(b"NAME", b"the sea", ">")
    body = b"AIFF" + common + title + media_files.chunk(b"SSND", bytes(248), ">")
    yield Sample("x.aiff", media_files.chunk(b"FORM", body, ">"))
    for container, codec in (("mpeg", "mpeg2video"), ("mpeg2video", "mpeg2video"), ("mpegts", "mpeg2video")):
        yield Sample("x", media_files.video(container, codec))


def _real() -> Iterator[Sample]:
    groups = (
        real_files.pngs, real_files.other_pictures, real_files.of_other_tools, real_files.videos, real_files.sounds,
        real_files.scenes_and_texts, real_files.odd_pictures, real_files.models,
    )  # fmt: skip
    for group in groups:
        yield from (Sample(PurePosixPath(each.path).name, each.data) for each in group())


@cache
def samples() -> dict[str, tuple[Sample, ...]]:
    """Return the samples by the name of their format. Needs PyAV and Pillow, which write most of them."""
    found: dict[str, list[Sample]] = {}
    made: Iterable[Iterator[Sample]] = (_pictures(), _media(), _models(), _scenes(), _texts(), _real())
    for each in (each for group in made for each in group):
        if len(each.data) > MAX_SAMPLE:
            continue
        format_ = metadata.detect(each.name, each.data[: metadata.HEAD])
        if format_ is not None and len(found.setdefault(format_.name, [])) < _MOST:
            found[format_.name].append(each)
    return {name: tuple(each) for name, each in found.items()}


FORMAT_NAMES = tuple(dict.fromkeys(each.name for each in (*metadata.FORMATS, *metadata.TEXTS)))
