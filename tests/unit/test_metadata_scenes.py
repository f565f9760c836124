"""Metadata of 3D files, and of workflows and other texts in files of their own."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.extraction import found, texts
from support.files import safetensors
from support.media_files import PROMPT, TAGS, WORKFLOW, glb

BOTH = {"prompt": PROMPT, "workflow": WORKFLOW}


SWARM = json.dumps({"sui_image_params": {"prompt": "a lighthouse"}})
SCENE: dict[str, Any] = {
    "asset": {"version": "2.0", "generator": "ComfyUI"},
    "accessors": [{"count": 24}, {"count": 36}, {"count": 24}, {"count": 10}, {"count": 12}],
    "meshes": [
        {"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 2}, "indices": 1}]},
        {"primitives": [{"attributes": {"POSITION": 3}, "mode": 5}, {"attributes": {"POSITION": 0}, "mode": 1}]},
        {"primitives": [{"attributes": {"POSITION": 4}}]},
    ],
    "materials": [{}, {}],
    "textures": [{"source": 0}],
    "animations": [],
    "extensionsUsed": ["KHR_materials_unlit"],
}
COUNTS = {
    "kind": "3d",
    "vertices": 24 + 10 + 12,
    "faces": 12 + 8 + 4,
    "meshes": 3,
    "materials": 2,
    "textures": 1,
    "extensions": ["KHR_materials_unlit"],
}


@pytest.mark.parametrize("extras", [TAGS, BOTH, {**TAGS, "other": [1, 2], "parameters": 5}])
def test_texts_and_counts_of_gltf(extras: dict[str, Any], tmp_path: Path) -> None:
    scene = SCENE | {"asset": {"version": "2.0", "extras": extras}}
    contents = found(glb(scene, bytes(1 << 20)), tmp_path)
    assert texts(contents) == BOTH
    assert contents.facts == {"format": "glb"} | COUNTS | {"embedded": ["prompt", "workflow"]}
    assert contents.mime_type == "model/gltf-binary"
    contents = found(json.dumps(scene).encode(), tmp_path)
    assert texts(contents) == BOTH
    assert contents.facts == {"format": "gltf"} | COUNTS | {"embedded": ["prompt", "workflow"]}
    assert contents.mime_type == "model/gltf+json"


def test_gltf_with_its_asset_at_the_end(tmp_path: Path) -> None:
    scene = {"buffers": [{"uri": "data:," + "x" * 5000}], "scenes": [{}], **SCENE}
    contents = found(json.dumps(scene).encode(), tmp_path)
    assert contents.facts == {"format": "gltf"} | COUNTS
    assert contents.mime_type == "model/gltf+json"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"accessors": "many"}, {"vertices", "faces"}),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": -7}, "indices": 99}]}]}, {"vertices", "faces"}),
        ({"materials": {}}, {"materials"}),
        ({"accessors": [{"count": -5}] * 5}, {"vertices", "faces"}),
    ],
)
def test_wrong_parts_of_a_scene_give_no_counts(change: dict[str, Any], missing: set[str], tmp_path: Path) -> None:
    scene = SCENE | change | {"asset": {"version": "2.0", "extras": TAGS}}
    contents = found(glb(scene), tmp_path)
    assert texts(contents) == BOTH
    assert missing.isdisjoint(contents.facts)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (glb(SCENE)[:-20], "The file is truncated. The description of the scene is damaged."),
        (b"glTF" + struct.pack("<II", 1, 20) + bytes(8), "The file is of a version of glTF that is not supported."),
        (b"glTF", "The file is truncated."),
        (b'{"asset": {"version": "2.0"}', "The description of the scene is damaged."),
    ],
)
def test_damaged_scenes_say_so(data: bytes, problem: str, tmp_path: Path) -> None:
    contents = found(data, tmp_path)
    assert (contents.facts["kind"], contents.facts["error"]) == ("3d", problem)


def test_a_large_scene_takes_little_memory(tmp_path: Path) -> None:
    scene = SCENE | {"accessors": [{}] * 400_000, "asset": {"version": "2.0", "extras": TAGS}}
    contents = found(glb(scene), tmp_path)
    assert texts(contents) == BOTH
    assert "vertices" not in contents.facts
    contents = found(glb(SCENE | {"x": "y" * (13 << 20)}), tmp_path)
    assert contents.facts["omitted"] == ["prompt", "workflow"]


PLY = b"ply\nformat %s 1.0\ncomment a lighthouse\nelement vertex 8\nproperty float x\n%selement face 12\nend_header\n"
SPLAT = b"property float f_dc_0\nproperty float opacity\nproperty float rot_0\n"


def fbx(version: int, vertices: int) -> bytes:
    def node(name: bytes, start: int, properties: bytes, *children: bytes) -> bytes:
        form = "<QQQB" if version >= 7500 else "<IIIB"
        size = struct.calcsize(form)
        body = b"".join(children) + (bytes(size) if children else b"")
        end = start + size + len(name) + len(properties) + len(body)
        return struct.pack(form, end, 1, len(properties), len(name)) + name + properties + body

    head, size = 27, struct.calcsize("<QQQB" if version >= 7500 else "<IIIB")
    array = b"d" + struct.pack("<III", 3 * vertices, 1, 4) + b"zlib"
    outer = head + size + len(b"Objects")
    inner = node(b"Vertices", outer + size + len(b"Geometry"), array)
    geometry = node(b"Geometry", outer, b"", inner)
    data = b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", version) + node(b"Objects", head, b"", geometry)
    return data + bytes(size)


def usdz(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "#usda 1.0")
    return buffer.getvalue()


MESHES: list[tuple[str, bytes, dict[str, Any]]] = [
    ("a", PLY % (b"ascii", b""), {"format": "ply", "vertices": 8, "faces": 12, "embedded": ["description"]}),
    ("a", PLY.replace(b"\n", b"\r\n") % (b"binary_little_endian", b""), {"format": "ply", "vertices": 8, "faces": 12}),
    ("a", PLY % (b"binary_little_endian", SPLAT), {"format": "ply", "splats": 8, "faces": 12}),
    ("a.obj", b"# mesh\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf 1 2 3\n", {"format": "obj", "vertices": 3, "faces": 1}),
    ("a.obj", b"v 0 0 0\r\n" * 500_000 + b"f 1 2 3\r\n", {"format": "obj", "vertices": 500_000, "faces": 1}),
    ("a.stl", bytes(80) + struct.pack("<I", 3) + bytes(150), {"format": "stl", "faces": 3}),
    ("a.stl", b"solid made".ljust(80) + struct.pack("<I", 3) + bytes(150), {"format": "stl", "faces": 3}),
    ("a", b"solid a\n" + b" facet normal 0 0 1\n  outer loop\n" * 7 + b"endsolid a\n", {"format": "stl", "faces": 7}),
    ("a", fbx(7400, 8), {"format": "fbx", "version": 7400, "vertices": 8}),
    ("a", fbx(7700, 8), {"format": "fbx", "version": 7700, "vertices": 8}),
    ("a.splat", bytes(320), {"format": "splat", "splats": 10}),
    (
        "a",
        gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 2, 99, 0, 12, 0, 0)),
        {"format": "spz", "version": 2, "splats": 99},
    ),
    ("a", usdz("scene.usdc"), {"format": "usdz"}),
    ("a", b"PXR-USDC\0\0", {"format": "usd"}),
]


@pytest.mark.parametrize(
    ("name", "data", "facts"), MESHES, ids=[f"{row[2]['format']}-{n}" for n, row in enumerate(MESHES)]
)
def test_facts_of_other_3d_files(name: str, data: bytes, facts: dict[str, Any], tmp_path: Path) -> None:
    contents = found(data, tmp_path, name)
    assert {key: contents.facts[key] for key in facts} == facts
    assert contents.facts["kind"] == "3d"
    assert "error" not in contents.facts
    assert contents.mime_type is not None


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.stl", bytes(80) + struct.pack("<I", 3) + bytes(149), "The file is truncated, or no STL file."),
        ("a.stl", b"solid a\n facet normal 0 0 1\n", "The file is truncated."),
        ("a.splat", bytes(33), "The file is truncated."),
        ("a.obj", b"\0\0\0", "The file has no vertices."),
        ("a", b"ply\nformat ascii 1.0\nelement vertex 1\n", "The file is truncated."),
    ],
)
def test_damaged_3d_files_say_so(name: str, data: bytes, problem: str, tmp_path: Path) -> None:
    assert found(data, tmp_path, name).facts["error"] == problem


API = {"prompt": PROMPT, "extra_data": {"extra_pnginfo": {"workflow": WORKFLOW}}, "client_id": "x"}
SUBGRAPHS = {"id": "x", "nodes": [], "links": [], "definitions": {"subgraphs": []}, "version": 0.4}
NAN = json.dumps({"1": {"class_type": "A", "inputs": {"x": float("nan")}}})


@pytest.mark.parametrize(
    ("name", "text", "documents"),
    [
        ("a.json", json.dumps(WORKFLOW), {"workflow": WORKFLOW}),
        ("a.json", "\ufeff" + json.dumps(WORKFLOW, indent=2), {"workflow": WORKFLOW}),
        ("a.json", json.dumps(SUBGRAPHS), {"workflow": SUBGRAPHS}),
        ("workflow", json.dumps(WORKFLOW), {"workflow": WORKFLOW}),
        ("a.json", json.dumps(PROMPT), {"prompt": PROMPT}),
        ("a.json", NAN, {"prompt": {"1": {"class_type": "A", "inputs": {"x": None}}}}),
        ("a.json", json.dumps(API), BOTH),
        ("a.json", json.dumps(BOTH), BOTH),
        ("a.json", json.dumps({"nodes": [], "edges": []}), {}),
        ("a.json", json.dumps({"weight_map": {}}), {}),
        ("a.json", json.dumps([1, 2]), {}),
        ("a.json", "{", {}),
        ("a.json", "", {}),
        ("a.json", json.dumps({"class_type": "x", "1": 5}), {}),
        ("a.swarm.json", SWARM, {"parameters": SWARM}),
        ("a.txt", "a lighthouse", {"description": "a lighthouse"}),
        ("a.md", "# a lighthouse\n", {"description": "# a lighthouse"}),
        ("a.txt", "a lighthouse\nSteps: 20, Sampler: Euler", {"parameters": "a lighthouse\nSteps: 20, Sampler: Euler"}),
        ("a.txt", "größe " * 20_000, {"description": ("größe " * 8192)[: 65536 * 6 // 8]}),
        ("a.txt", "\0binary", {}),
    ],
)  # fmt: skip
def test_texts_in_files_of_their_own(name: str, text: str, documents: dict[str, Any], tmp_path: Path) -> None:
    contents = found(text.encode(), tmp_path, name)
    assert texts(contents) == {
        key: value.strip() if key == "description" else value for key, value in documents.items()
    }
    assert contents.facts["kind"] == "text"
    assert "error" not in contents.facts


def test_a_text_in_utf_16(tmp_path: Path) -> None:
    assert texts(found("a größe".encode("utf-16"), tmp_path, "a.txt")) == {"description": "a größe"}


def test_graphs_in_the_header_of_a_saved_model_or_latent(tmp_path: Path) -> None:
    contents = found(safetensors(metadata=TAGS | {"format": "pt"}), tmp_path)
    assert texts(contents) == BOTH
    assert contents.facts["header"] == {"format": "pt"}
    assert contents.facts["kind"] == "model"
    latent = safetensors(metadata=TAGS).replace(b'"w":', b'"latent_tensor":')
    (length,) = struct.unpack_from("<Q", latent)
    latent = struct.pack("<Q", length + len('"latent_tensor":') - len('"w":')) + latent[8:]
    contents = found(latent, tmp_path, "a.latent")
    assert texts(contents) == BOTH
    assert contents.facts["kind"] == "other"
    plain = found(safetensors(metadata={"prompt": "a lighthouse", "workflow": ""}), tmp_path)
    assert plain.facts["header"] == {"prompt": "a lighthouse", "workflow": ""}
    assert plain.documents == {}
